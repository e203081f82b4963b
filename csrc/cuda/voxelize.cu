// Occupied voxels by sorting: keys in lexicographic order, the first of each run is a voxel, and a
// prefix sum numbers them. Points are checked on the way, and the host waits once, for the number of
// voxels together with what the check found.
#include "device.h"
#include "voxel_key.h"

namespace {

using pcpt::Tensor;
using torch::headeronly::ScalarType;

constexpr int THREADS = 256;

struct Outcome {
  int64_t num_voxels, bad;  // bad: whether a point is not finite or out of range
};

__global__ void make_keys(const float* __restrict__ points, const int64_t* __restrict__ batch,
                          int64_t num_points, float voxel_size, int64_t* __restrict__ keys,
                          Outcome* __restrict__ outcome) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= num_points) return;
  const float* point = points + 3 * i;
  bool good = batch[i] >= 0 && batch[i] < pcpt::COORDINATE_LIMIT;
  for (int axis = 0; axis < 3; ++axis) good = good && pcpt::in_voxel_range(point[axis], voxel_size);
  keys[i] = good ? pcpt::voxel_key(batch[i], point, voxel_size) : 0;
  if (!good) outcome->bad = 1;  // whoever writes, the same
}

__global__ void mark_first(const int64_t* __restrict__ keys, int64_t num_points,
                           int32_t* __restrict__ first) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < num_points) first[i] = i == 0 || keys[i] != keys[i - 1];
}

__global__ void report(const int32_t* __restrict__ numbers, int64_t num_points,
                       Outcome* __restrict__ outcome) {
  outcome->num_voxels = numbers[num_points - 1];
}

// Point i in the order of the keys belongs to the voxel numbers[i] - 1.
__global__ void write_voxels(const int64_t* __restrict__ keys, const int64_t* __restrict__ order,
                             const int32_t* __restrict__ numbers, int64_t num_points,
                             int4* __restrict__ coordinates, int64_t* __restrict__ point_to_voxel) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= num_points) return;
  const int32_t voxel = numbers[i] - 1;
  point_to_voxel[order[i]] = voxel;
  if (i > 0 && numbers[i - 1] - 1 == voxel) return;
  int32_t axes[4];
  pcpt::unpack(keys[i], axes);
  coordinates[voxel] = make_int4(axes[0], axes[1], axes[2], axes[3]);
}

std::tuple<Tensor, Tensor> voxelize_cuda(const Tensor& points,  // (N, 3) float32
                                         double voxel_size,
                                         const Tensor& batch_index) {  // (N,) int64
  STD_TORCH_CHECK(points.dim() == 2 && points.size(1) == 3 &&
                      points.scalar_type() == ScalarType::Float && points.is_contiguous(),
                  "points must be contiguous (N, 3) float32");
  STD_TORCH_CHECK(batch_index.dim() == 1 && batch_index.size(0) == points.size(0) &&
                      batch_index.scalar_type() == ScalarType::Long && batch_index.is_contiguous(),
                  "batch_index must be contiguous (N,) int64");
  const int64_t num_points = points.size(0);
  STD_TORCH_CHECK(num_points <= INT32_MAX, "voxelize: more than 2^31 - 1 points");
  Tensor point_to_voxel = torch::stable::new_empty(batch_index, {num_points});
  if (num_points == 0)
    return {torch::stable::new_empty(points, {0, 4}, ScalarType::Int), point_to_voxel};

  const pcpt::Launch launch(points);
  const cudaStream_t stream = launch.stream();
  const unsigned blocks = pcpt::blocks_for(num_points, THREADS);
  Tensor keys = torch::stable::new_empty(batch_index, {num_points});
  Tensor first = torch::stable::new_empty(points, {num_points}, ScalarType::Int);
  Tensor result = torch::stable::new_zeros(batch_index, {2});
  auto* outcome = reinterpret_cast<Outcome*>(result.mutable_data_ptr<int64_t>());
  PCPT_LAUNCH(make_keys, blocks, THREADS, 0, stream, points.const_data_ptr<float>(),
              batch_index.const_data_ptr<int64_t>(), num_points, static_cast<float>(voxel_size),
              keys.mutable_data_ptr<int64_t>(), outcome);
  const auto [sorted, order] = pcpt::stable_sort(keys);
  PCPT_LAUNCH(mark_first, blocks, THREADS, 0, stream, sorted.const_data_ptr<int64_t>(), num_points,
              first.mutable_data_ptr<int32_t>());
  const Tensor numbers = pcpt::cumsum(first);
  PCPT_LAUNCH(report, 1, 1, 0, stream, numbers.const_data_ptr<int32_t>(), num_points, outcome);
  const Outcome found = launch.read(outcome);
  STD_TORCH_CHECK(found.bad == 0, "voxelize: points or batch_index out of range");

  Tensor coordinates =
      torch::stable::new_empty(points, {found.num_voxels, 4}, ScalarType::Int);
  PCPT_LAUNCH(write_voxels, blocks, THREADS, 0, stream, sorted.const_data_ptr<int64_t>(),
              order.const_data_ptr<int64_t>(), numbers.const_data_ptr<int32_t>(), num_points,
              reinterpret_cast<int4*>(coordinates.mutable_data_ptr<int32_t>()),
              point_to_voxel.mutable_data_ptr<int64_t>());
  return {coordinates, point_to_voxel};
}

}  // namespace

PCPT_CUDA_KERNELS(m) { m.impl("voxelize", TORCH_BOX(&voxelize_cuda)); }
