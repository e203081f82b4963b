// Neighbour table of a sparse convolution: one hash table of the input voxels, probed by each tap
// at each output voxel. A task is one tap, which writes its own row of the table.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "parallel.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t LIMIT = int64_t(1) << 15;  // as COORDINATE_LIMIT in pcpt/ops/kernel_map.py
constexpr int64_t EMPTY = -1;                // no key is negative

struct Voxel {
  int64_t batch, x, y, z;

  explicit Voxel(const int32_t* c) : batch(c[0]), x(c[1]), y(c[2]), z(c[3]) {}

  bool inside() const {
    return batch >= 0 && batch < LIMIT && std::min({x, y, z}) >= -LIMIT &&
           std::max({x, y, z}) < LIMIT;
  }
  int64_t key() const {
    return (batch << 48) | ((x + LIMIT) << 32) | ((y + LIMIT) << 16) | (z + LIMIT);
  }
};

// Open addressing with linear probing, at most half full.
class VoxelTable {
 public:
  VoxelTable(const int32_t* coordinates, int64_t count) {
    int bits = 4;
    while ((int64_t(1) << bits) < 2 * count) ++bits;
    shift_ = 64 - bits;
    mask_ = (uint64_t(1) << bits) - 1;
    keys_.assign(mask_ + 1, EMPTY);
    rows_.assign(mask_ + 1, -1);
    for (int64_t row = 0; row < count; ++row) {
      const Voxel voxel(coordinates + 4 * row);
      if (!voxel.inside()) continue;  // the caller has checked; never index by a bad key
      const int64_t key = voxel.key();
      const uint64_t at = slot(key);
      if (keys_[at] == key) {
        if (duplicate_ < 0) duplicate_ = row;
        continue;
      }
      keys_[at] = key;
      rows_[at] = static_cast<int32_t>(row);
    }
  }

  int32_t find(int64_t key) const { return rows_[slot(key)]; }  // -1: no such voxel

  int64_t duplicate() const { return duplicate_; }  // first row that repeats an earlier one, or -1

 private:
  uint64_t slot(int64_t key) const {  // of the key, or the empty one where it would be
    uint64_t at = (static_cast<uint64_t>(key) * 0x9E3779B97F4A7C15u) >> shift_;
    while (keys_[at] != key && keys_[at] != EMPTY) at = (at + 1) & mask_;
    return at;
  }

  std::vector<int64_t> keys_;
  std::vector<int32_t> rows_;
  uint64_t mask_;
  int shift_;
  int64_t duplicate_ = -1;
};

// Whether tap k is minus tap K-1-k for all k, as in every centred kernel.
bool antisymmetric(const int32_t* offsets, int64_t volume) {
  for (int64_t i = 0; i < 3 * volume; ++i) {
    const int64_t tap = i / 3, axis = i % 3;
    if (offsets[i] != -offsets[3 * (volume - 1 - tap) + axis]) return false;
  }
  return true;
}

std::tuple<Tensor, Tensor> kernel_map_cpu(const Tensor& coordinates, const Tensor& out_coordinates,
                                          const Tensor& offsets) {
  const Tensor in = torch::stable::contiguous(coordinates);
  const Tensor out = torch::stable::contiguous(out_coordinates);
  const Tensor taps = torch::stable::contiguous(offsets);
  for (const Tensor& tensor : {in, out, taps}) {
    STD_TORCH_CHECK(tensor.scalar_type() == ScalarType::Int && tensor.dim() == 2,
                    "kernel_map takes int32 matrices");
  }
  STD_TORCH_CHECK(in.size(1) == 4 && out.size(1) == 4 && taps.size(1) == 3,
                  "kernel_map takes (N, 4) coordinates and (K, 3) offsets");
  const int64_t num_in = in.size(0), num_out = out.size(0), volume = taps.size(0);
  const int32_t* in_data = in.const_data_ptr<int32_t>();
  const int32_t* out_data = out.const_data_ptr<int32_t>();
  const int32_t* tap_data = taps.const_data_ptr<int32_t>();

  const VoxelTable table(in_data, num_in);
  Tensor neighbors = torch::stable::new_empty(offsets, {volume, num_out});
  int32_t* result = neighbors.mutable_data_ptr<int32_t>();

  // Of a submanifold map only the first half is looked up: o finds i under tap k exactly if i finds
  // o under the opposite tap.
  const bool mirrored =
      in_data == out_data && num_in == num_out && antisymmetric(tap_data, volume);
  pcpt::for_each_task(mirrored ? (volume + 1) / 2 : volume, [&](int64_t k) {
    const int32_t* tap = tap_data + 3 * k;
    int32_t* row = result + k * num_out;
    int32_t* opposite = mirrored ? result + (volume - 1 - k) * num_out : row;
    if (opposite != row) std::fill(opposite, opposite + num_out, -1);
    for (int64_t o = 0; o < num_out; ++o) {
      Voxel voxel(out_data + 4 * o);
      voxel.x += tap[0];
      voxel.y += tap[1];
      voxel.z += tap[2];
      const int32_t i = voxel.inside() ? table.find(voxel.key()) : -1;
      row[o] = i;
      if (opposite != row && i >= 0) opposite[i] = static_cast<int32_t>(o);
    }
  });

  Tensor duplicate = torch::stable::new_empty(coordinates, {}, ScalarType::Long);
  *duplicate.mutable_data_ptr<int64_t>() = table.duplicate();
  return {neighbors, duplicate};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) { m.impl("kernel_map", TORCH_BOX(&kernel_map_cpu)); }
