// Depth images of a bare cloud: a thread is one point under some views. The nearest point wins a pixel
// by an atomic minimum, for positive floats order as their bits do.
#include "checks.h"
#include "device.h"
#include "geometry.h"

namespace {

using pcpt::Tensor;
using torch::headeronly::ScalarType;

constexpr int THREADS = 256;
constexpr uint32_t NOTHING = 0xffffffffu;  // above every depth; what cudaMemset can write

__device__ void splat(const pcpt::Pixel& pixel, int32_t height, int32_t width, int32_t radius,
                      uint32_t* __restrict__ image) {
  // Bounds on the centre, in float: what lies beyond reaches no pixel and may not fit an int.
  const float u = pixel.u + 0.5f, v = pixel.v + 0.5f, low = static_cast<float>(-radius);
  if (!(pixel.z > 0.f && u >= low && u < static_cast<float>(width + radius) && v >= low &&
        v < static_cast<float>(height + radius)))
    return;
  const int32_t column = pcpt::floor_to_int(u), row = pcpt::floor_to_int(v);
  const int32_t left = column > radius ? column - radius : 0;
  const int32_t right = column + radius < width ? column + radius : width - 1;
  const int32_t bottom = row + radius < height ? row + radius : height - 1;
  const uint32_t z = __float_as_uint(pixel.z);
  for (int32_t y = row > radius ? row - radius : 0; y <= bottom; ++y) {
    for (int32_t x = left; x <= right; ++x) {
      uint32_t* target = image + int64_t(y) * width + x;
      if (z < *target) atomicMin(target, z);  // most points are hidden: a read is cheaper
    }
  }
}

__global__ void render(const float* __restrict__ points, int64_t num_points,
                       const float* __restrict__ projections, int64_t num_views,
                       int views_per_block, int32_t height, int32_t width, int32_t radius,
                       uint32_t* __restrict__ depth) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= num_points) return;
  const float x = points[3 * i], y = points[3 * i + 1], z = points[3 * i + 2];
  const int64_t first = int64_t(blockIdx.y) * views_per_block;
  for (int64_t view = first; view < first + views_per_block && view < num_views; ++view) {
    const pcpt::Projection projection = pcpt::load_projection(projections + 12 * view);
    splat(pcpt::project(projection, x, y, z), height, width, radius,
          depth + view * height * width);
  }
}

__global__ void empty_to_zero(uint32_t* depth, int64_t count) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count && depth[i] == NOTHING) depth[i] = 0u;
}

Tensor render_depth_cuda(const Tensor& points,      // (N, 3) float32
                         const Tensor& projection,  // (V, 3, 4) float32
                         int64_t height, int64_t width, int64_t radius_pixels) {
  pcpt::check_render_depth(points, projection);
  const int64_t num_points = points.size(0), num_views = projection.size(0);
  const pcpt::Launch launch(points);
  Tensor out = torch::stable::new_empty(points, {num_views, height, width});
  uint32_t* depth = reinterpret_cast<uint32_t*>(out.mutable_data_ptr<float>());
  const int64_t pixels = num_views * height * width;
  if (pixels == 0) return out;
  pcpt::check_cuda(cudaMemsetAsync(depth, 0xff, 4 * pixels, launch.stream()), "render_depth");
  // A few views a block, but blocks enough to fill the GPU first.
  const int64_t blocks = pcpt::blocks_for(num_points, THREADS);
  int views_per_block = blocks * num_views < 8 * 2048 ? 1 : 8;
  while (num_views > int64_t(65535) * views_per_block) views_per_block *= 2;
  const dim3 grid(static_cast<unsigned>(blocks),
                  static_cast<unsigned>((num_views + views_per_block - 1) / views_per_block));
  PCPT_LAUNCH(render, grid, THREADS, 0, launch.stream(), points.const_data_ptr<float>(), num_points,
              projection.const_data_ptr<float>(), num_views, views_per_block,
              static_cast<int32_t>(height), static_cast<int32_t>(width),
              static_cast<int32_t>(radius_pixels), depth);
  PCPT_LAUNCH(empty_to_zero, pcpt::blocks_for(pixels, THREADS), THREADS, 0, launch.stream(), depth,
              pixels);
  return out;
}

}  // namespace

PCPT_CUDA_KERNELS(m) { m.impl("render_depth", TORCH_BOX(&render_depth_cuda)); }
