// Depth images of a bare cloud. The nearest point wins a pixel, whatever the order of the points.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>

#include "geometry.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

struct Image {
  float* depth;  // (H, W), 0 = nothing
  int32_t height, width;
};

// Splats every point into the rows first..last-1 of one view.
void splat(const pcpt::Projection& projection, const float* points, int64_t num_points,
           int32_t radius, int32_t first, int32_t last, const Image& image) {
  // Bounds on the centre, in float: what lies beyond reaches no pixel and may not fit an int.
  const float low = static_cast<float>(-radius);
  const float high_u = static_cast<float>(image.width + radius);
  const float high_v = static_cast<float>(image.height + radius);
  for (int64_t i = 0; i < num_points; ++i) {
    const pcpt::Pixel pixel =
        pcpt::project(projection, points[3 * i], points[3 * i + 1], points[3 * i + 2]);
    const float u = pixel.u + 0.5f, v = pixel.v + 0.5f;
    if (!(pixel.z > 0.f && u >= low && u < high_u && v >= low && v < high_v)) continue;
    const int32_t column = pcpt::floor_to_int(u), row = pcpt::floor_to_int(v);
    const int32_t right = std::min(column + radius, image.width - 1);
    const int32_t bottom = std::min(row + radius, last - 1);
    for (int32_t y = std::max(row - radius, first); y <= bottom; ++y) {
      float* line = image.depth + int64_t(y) * image.width;
      for (int32_t x = std::max(column - radius, 0); x <= right; ++x) {
        if (line[x] == 0.f || pixel.z < line[x]) line[x] = pixel.z;
      }
    }
  }
}

Tensor render_depth_cpu(const Tensor& points,      // (N, 3) float32
                        const Tensor& projection,  // (V, 3, 4) float32
                        int64_t height, int64_t width, int64_t radius_pixels) {
  STD_TORCH_CHECK(points.dim() == 2 && points.size(1) == 3 && projection.dim() == 3 &&
                      projection.size(1) == 3 && projection.size(2) == 4,
                  "points must be (N, 3) and projection (V, 3, 4)");
  STD_TORCH_CHECK(points.scalar_type() == ScalarType::Float && points.is_contiguous() &&
                      projection.scalar_type() == ScalarType::Float && projection.is_contiguous(),
                  "render_depth: expected contiguous float32 tensors");
  const int64_t num_views = projection.size(0);
  Tensor out = torch::stable::new_zeros(points, {num_views, height, width});
  const float* position = points.const_data_ptr<float>();
  const float* matrix = projection.const_data_ptr<float>();
  float* depth = out.mutable_data_ptr<float>();

  // A task owns a band of rows of one view, so no two threads write one pixel. Every band projects
  // all points again: bands are made only as far as views alone leave threads idle.
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t bands = std::max<int64_t>(
      1, std::min<int64_t>(height, threads / std::max<int64_t>(num_views, 1)));
  torch::stable::parallel_for(0, num_views * bands, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t view = task / bands, band = task % bands;
      const Image image{depth + view * height * width, static_cast<int32_t>(height),
                        static_cast<int32_t>(width)};
      splat(pcpt::load_projection(matrix + 12 * view), position, points.size(0),
            static_cast<int32_t>(radius_pixels), static_cast<int32_t>(height * band / bands),
            static_cast<int32_t>(height * (band + 1) / bands), image);
    }
  });
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) { m.impl("render_depth", TORCH_BOX(&render_depth_cpu)); }
