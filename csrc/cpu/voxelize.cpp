// Occupied voxels of a batch of clouds. Voxels are numbered as they are met, through a hash table,
// and renumbered once in the order of their coordinates: sorting U voxels, not N points.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <tuple>

#include "geometry.h"
#include "numbering.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

using pcpt::COORDINATE_LIMIT;

// Batch and coordinates in one number with their lexicographic order; 15 + 3 * 16 bits.
int64_t pack(int64_t batch, const float* point, float voxel_size) {
  int64_t key = batch;
  for (int axis = 0; axis < 3; ++axis) {
    const int32_t cell = pcpt::floor_to_int(point[axis] / voxel_size);
    key = key << 16 | (cell + COORDINATE_LIMIT);
  }
  return key;
}

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

  pcpt::Numbering numbering;
  int64_t last_key = -1;
  int32_t last_number = -1;
  for (int64_t i = 0; i < num_points; ++i) {
    if (voxel[i] != last_key) {  // neighbouring pixels often share a voxel
      last_key = voxel[i];
      last_number = numbering.number(last_key);
    }
    voxel[i] = last_number;
  }

  const auto [coordinates, rank] = numbering.sorted(points);
  torch::stable::parallel_for(0, num_points, 1 << 15, [&, &rank = rank](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) voxel[i] = rank[voxel[i]];
  });
  return {coordinates, point_to_voxel};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) { m.impl("voxelize", TORCH_BOX(&voxelize_cpu)); }
