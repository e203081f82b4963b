// Depth images of a bare cloud. The nearest point wins a pixel, whatever the order of the points.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <vector>

#include "checks.h"
#include "projection.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

struct Image {
  float* depth;  // (H, W), 0 = nothing
  int32_t height, width;
};

// Splats points that reach into the image into its rows first..last-1.
void splat(const pcpt::BlockPoints& points, int64_t count, int32_t radius, int32_t first,
           int32_t last, const Image& image) {
  for (int64_t i = 0; i < count; ++i) {
    const float z = points.depth[i];
    const int32_t column = pcpt::floor_to_int(points.u[i] + 0.5f);
    const int32_t row = pcpt::floor_to_int(points.v[i] + 0.5f);
    const int32_t left = std::max(column - radius, 0);
    const int32_t right = std::min(column + radius, image.width - 1);
    const int32_t bottom = std::min(row + radius, last - 1);
    for (int32_t y = std::max(row - radius, first); y <= bottom; ++y) {
      float* line = image.depth + int64_t(y) * image.width;
      for (int32_t x = left; x <= right; ++x) {
        const float nearest = line[x];  // written back in any case: a branch would be a guess
        line[x] = (nearest == 0.f) | (z < nearest) ? z : nearest;
      }
    }
  }
}

struct Cloud {
  const float* points;
  int64_t count;
  std::vector<pcpt::Box> bounds;  // of its blocks

  Cloud(const float* points, int64_t count)
      : points(points), count(count),
        bounds((count + pcpt::POINT_BLOCK - 1) / pcpt::POINT_BLOCK) {
    torch::stable::parallel_for(
        0, static_cast<int64_t>(bounds.size()), 32, [&](int64_t begin, int64_t end) {
          for (int64_t block = begin; block < end; ++block)
            bounds[block] = pcpt::projection_kernels().bounds(of(block), size(block));
        });
  }
  const float* of(int64_t block) const { return points + 3 * pcpt::POINT_BLOCK * block; }
  int64_t size(int64_t block) const {
    return std::min(pcpt::POINT_BLOCK, count - pcpt::POINT_BLOCK * block);
  }
};

void render(const pcpt::Projection& projection, const Cloud& cloud, int32_t radius, int32_t first,
            int32_t last, const Image& image) {
  const pcpt::ProjectionKernels& kernels = pcpt::projection_kernels();
  const pcpt::Frustum frustum = pcpt::frustum_of(projection, image.height, image.width, radius);
  pcpt::BlockPoints points;
  for (int64_t block = 0; block < static_cast<int64_t>(cloud.bounds.size()); ++block) {
    if (pcpt::is_outside(frustum, cloud.bounds[block])) continue;
    const int64_t count = kernels.inside(projection, image.height, image.width, radius,
                                         cloud.of(block), cloud.size(block), points);
    splat(points, count, radius, first, last, image);
  }
}

Tensor render_depth_cpu(const Tensor& points,      // (N, 3) float32
                        const Tensor& projection,  // (V, 3, 4) float32
                        int64_t height, int64_t width, int64_t radius_pixels) {
  pcpt::check_render_depth(points, projection);
  const int64_t num_views = projection.size(0);
  Tensor out = torch::stable::new_zeros(points, {num_views, height, width});
  const Cloud cloud(points.const_data_ptr<float>(), points.size(0));
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
      render(pcpt::load_projection(matrix + 12 * view), cloud, static_cast<int32_t>(radius_pixels),
             static_cast<int32_t>(height * band / bands),
             static_cast<int32_t>(height * (band + 1) / bands), image);
    }
  });
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) { m.impl("render_depth", TORCH_BOX(&render_depth_cpu)); }
