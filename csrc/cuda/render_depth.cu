// Depth images of a bare cloud: a thread is one point in one view. The nearest point wins a pixel by
// an atomic minimum, for positive floats order as their bits do.
#include "device.h"
#include "geometry.h"

namespace {

using pcpt::Tensor;
using torch::headeronly::ScalarType;

constexpr int THREADS = 256;
constexpr uint32_t NOTHING = 0x7f800000u;  // +inf

__global__ void clear(uint32_t* depth, int64_t count) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) depth[i] = NOTHING;
}

__global__ void splat(const float* __restrict__ points, int64_t num_points,
                      const float* __restrict__ projections, int32_t height, int32_t width,
                      int32_t radius, uint32_t* __restrict__ depth) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= num_points) return;
  const int64_t view = blockIdx.y;
  const pcpt::Projection projection = pcpt::load_projection(projections + 12 * view);
  const pcpt::Pixel pixel =
      pcpt::project(projection, points[3 * i], points[3 * i + 1], points[3 * i + 2]);
  // Bounds on the centre, in float: what lies beyond reaches no pixel and may not fit an int.
  const float u = pixel.u + 0.5f, v = pixel.v + 0.5f, low = static_cast<float>(-radius);
  if (!(pixel.z > 0.f && u >= low && u < static_cast<float>(width + radius) && v >= low &&
        v < static_cast<float>(height + radius)))
    return;
  const int32_t column = pcpt::floor_to_int(u), row = pcpt::floor_to_int(v);
  const int32_t left = column > radius ? column - radius : 0;
  const int32_t right = column + radius < width ? column + radius : width - 1;
  const int32_t bottom = row + radius < height ? row + radius : height - 1;
  uint32_t* image = depth + view * height * width;
  const uint32_t z = __float_as_uint(pixel.z);
  for (int32_t y = row > radius ? row - radius : 0; y <= bottom; ++y) {
    for (int32_t x = left; x <= right; ++x) {
      uint32_t* target = image + int64_t(y) * width + x;
      if (z < *target) atomicMin(target, z);  // most points are hidden: a read is cheaper
    }
  }
}

__global__ void empty_to_zero(uint32_t* depth, int64_t count) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count && depth[i] == NOTHING) depth[i] = 0u;
}

Tensor render_depth_cuda(const Tensor& points,      // (N, 3) float32
                         const Tensor& projection,  // (V, 3, 4) float32
                         int64_t height, int64_t width, int64_t radius_pixels) {
  STD_TORCH_CHECK(points.dim() == 2 && points.size(1) == 3 && projection.dim() == 3 &&
                      projection.size(1) == 3 && projection.size(2) == 4,
                  "points must be (N, 3) and projection (V, 3, 4)");
  STD_TORCH_CHECK(points.scalar_type() == ScalarType::Float && points.is_contiguous() &&
                      projection.scalar_type() == ScalarType::Float && projection.is_contiguous(),
                  "render_depth: expected contiguous float32 tensors");
  const int64_t num_points = points.size(0), num_views = projection.size(0);
  STD_TORCH_CHECK(num_views <= 65535, "render_depth: more than 65,535 views; call it in parts");
  const pcpt::Launch launch(points);
  Tensor out = torch::stable::new_empty(points, {num_views, height, width});
  uint32_t* depth = reinterpret_cast<uint32_t*>(out.mutable_data_ptr<float>());
  const int64_t pixels = num_views * height * width;
  PCPT_LAUNCH(clear, pcpt::blocks_for(pixels, THREADS), THREADS, 0, launch.stream(), depth, pixels);
  PCPT_LAUNCH(splat, dim3(pcpt::blocks_for(num_points, THREADS), num_views), THREADS, 0,
              launch.stream(), points.const_data_ptr<float>(), num_points,
              projection.const_data_ptr<float>(), static_cast<int32_t>(height),
              static_cast<int32_t>(width), static_cast<int32_t>(radius_pixels), depth);
  PCPT_LAUNCH(empty_to_zero, pcpt::blocks_for(pixels, THREADS), THREADS, 0, launch.stream(), depth,
              pixels);
  return out;
}

}  // namespace

PCPT_CUDA_KERNELS(m) { m.impl("render_depth", TORCH_BOX(&render_depth_cuda)); }
