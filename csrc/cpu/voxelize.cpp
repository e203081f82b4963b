// Occupied voxels of a batch of clouds. Voxels are numbered as they are met, through a hash table,
// and renumbered once in the order of their coordinates: sorting U voxels, not N points.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "geometry.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t LIMIT = 1 << 15;

// Batch and coordinates in one number with their lexicographic order; 15 + 3 * 16 bits.
int64_t pack(int64_t batch, const float* point, float voxel_size) {
  int64_t key = batch;
  for (int axis = 0; axis < 3; ++axis) {
    const int32_t cell = pcpt::floor_to_int(point[axis] / voxel_size);
    key = key << 16 | (cell + LIMIT);
  }
  return key;
}

// Numbers keys 0, 1, ... in the order in which they first come. Open addressing; it grows with the
// keys rather than the points, so that it stays in the cache.
class Numbering {
 public:
  int32_t number(int64_t key) {
    if (2 * keys_.size() >= slots_.size()) grow();
    const size_t slot = find(key);
    if (slots_[slot] < 0) {
      slots_[slot] = static_cast<int32_t>(keys_.size());
      keys_.push_back(key);
    }
    return slots_[slot];
  }

  const std::vector<int64_t>& keys() const { return keys_; }

 private:
  size_t find(int64_t key) const {
    const size_t mask = slots_.size() - 1;
    uint64_t hash = static_cast<uint64_t>(key) * 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio
    size_t slot = (hash ^ hash >> 32) & mask;
    while (slots_[slot] >= 0 && keys_[slots_[slot]] != key) slot = (slot + 1) & mask;
    return slot;
  }

  void grow() {
    slots_.assign(std::max<size_t>(1024, 4 * slots_.size()), -1);
    for (size_t i = 0; i < keys_.size(); ++i) slots_[find(keys_[i])] = static_cast<int32_t>(i);
  }

  std::vector<int32_t> slots_;  // number of the key, -1 = free; a power of two of them
  std::vector<int64_t> keys_;
};

std::tuple<Tensor, Tensor> voxelize_cpu(const Tensor& points,  // (N, 3) float32, in range
                                        double voxel_size,
                                        const Tensor& batch_index) {  // (N,) int64, in range
  STD_TORCH_CHECK(points.dim() == 2 && points.size(1) == 3 &&
                      points.scalar_type() == ScalarType::Float && points.is_contiguous(),
                  "points must be contiguous (N, 3) float32");
  STD_TORCH_CHECK(batch_index.dim() == 1 && batch_index.size(0) == points.size(0) &&
                      batch_index.scalar_type() == ScalarType::Long && batch_index.is_contiguous(),
                  "batch_index must be contiguous (N,) int64");
  const int64_t num_points = points.size(0);
  STD_TORCH_CHECK(num_points <= INT32_MAX, "voxelize: more than 2^31 - 1 points");
  const float* position = points.const_data_ptr<float>();
  const int64_t* batch = batch_index.const_data_ptr<int64_t>();
  Tensor point_to_voxel = torch::stable::new_empty(batch_index, {num_points});
  int64_t* voxel = point_to_voxel.mutable_data_ptr<int64_t>();

  const float edge = static_cast<float>(voxel_size);
  torch::stable::parallel_for(0, num_points, 1 << 15, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) voxel[i] = pack(batch[i], position + 3 * i, edge);
  });

  Numbering numbering;
  int64_t last_key = -1;
  int32_t last_number = -1;
  for (int64_t i = 0; i < num_points; ++i) {
    if (voxel[i] != last_key) {  // neighbouring pixels often share a voxel
      last_key = voxel[i];
      last_number = numbering.number(last_key);
    }
    voxel[i] = last_number;
  }

  const std::vector<int64_t>& keys = numbering.keys();
  const int64_t num_voxels = static_cast<int64_t>(keys.size());
  std::vector<std::pair<int64_t, int32_t>> order(num_voxels);
  for (int64_t i = 0; i < num_voxels; ++i) order[i] = {keys[i], static_cast<int32_t>(i)};
  std::sort(order.begin(), order.end());
  std::vector<int32_t> rank(num_voxels);
  Tensor coordinates = torch::stable::new_empty(points, {num_voxels, 4}, ScalarType::Int);
  int32_t* out = coordinates.mutable_data_ptr<int32_t>();
  for (int64_t row = 0; row < num_voxels; ++row, out += 4) {
    const auto [key, number] = order[row];
    rank[number] = static_cast<int32_t>(row);
    out[0] = static_cast<int32_t>(key >> 48);
    for (int axis = 0; axis < 3; ++axis) {
      out[1 + axis] = static_cast<int32_t>((key >> (32 - 16 * axis) & 0xFFFF) - LIMIT);
    }
  }
  torch::stable::parallel_for(0, num_points, 1 << 15, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) voxel[i] = rank[voxel[i]];
  });
  return {coordinates, point_to_voxel};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) { m.impl("voxelize", TORCH_BOX(&voxelize_cpu)); }
