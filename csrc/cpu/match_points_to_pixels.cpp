// Finds the visible (point, view) pairs. A task is one view and one block of points; tasks collect
// their pairs on their own and a prefix sum over tasks places them, so that the order of the result
// (view, then point) does not depend on the number of threads.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "geometry.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t BLOCK = 2048;  // the arrays of a block stay in the first-level cache

struct Match {
  int32_t offset;  // of the point within its block
  float u, v, depth_error;
};

struct Views {
  const float* depth;  // (V, H, W)
  const float* depth_projection;  // (V, 3, 4)
  const float* color_projection;  // (V, 3, 4)
  int32_t height, width;
  float lower, upper_u, upper_v;  // colour pixels kept: lower <= u < upper_u
  float absolute_tolerance, relative_tolerance;
};

// Depth pixel under each point, -1 where there is none, and the point's depth.
void find_cells(const pcpt::Projection& projection, const float* points, int64_t count,
                int32_t height, int32_t width, int32_t* __restrict__ cell, float* __restrict__ z) {
  float x[BLOCK], y[BLOCK];
  for (int64_t i = 0; i < count; ++i) {  // one array a coordinate, so that the next loop vectorises
    x[i] = points[3 * i];
    y[i] = points[3 * i + 1];
    z[i] = points[3 * i + 2];
  }
  const float height_f = static_cast<float>(height), width_f = static_cast<float>(width);
  for (int64_t i = 0; i < count; ++i) {
    const pcpt::Pixel pixel = pcpt::project(projection, x[i], y[i], z[i]);
    const float column = pixel.u + 0.5f, row = pixel.v + 0.5f;
    // Bitwise: && would be a branch. Comparisons with nan are false.
    const bool inside = (pixel.z > 0.f) & (column >= 0.f) & (column < width_f) & (row >= 0.f) &
                        (row < height_f);
    const int32_t index = static_cast<int32_t>(inside ? row : 0.f) * width +
                          static_cast<int32_t>(inside ? column : 0.f);
    cell[i] = inside ? index : -1;
    z[i] = pixel.z;
  }
}

int64_t match_block(const Views& views, int64_t view, const float* points, int64_t count,
                    Match* found) {
  const int64_t pixels = int64_t(views.height) * views.width;
  const pcpt::Projection to_depth = pcpt::load_projection(views.depth_projection + 12 * view);
  const pcpt::Projection to_color = pcpt::load_projection(views.color_projection + 12 * view);
  const float* depth = views.depth + view * pixels;
  int32_t cell[BLOCK];
  float z[BLOCK];
  find_cells(to_depth, points, count, views.height, views.width, cell, z);

  int64_t matched = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (cell[i] < 0) continue;
    const float measured = depth[cell[i]];
    const float error = z[i] - measured;
    const float tolerance = views.absolute_tolerance + views.relative_tolerance * measured;
    if (!(measured > 0.f) || !std::isfinite(measured) || !(std::fabs(error) <= tolerance)) continue;
    const pcpt::Pixel color =
        pcpt::project(to_color, points[3 * i], points[3 * i + 1], points[3 * i + 2]);
    if (color.z > 0.f && color.u >= views.lower && color.u < views.upper_u &&
        color.v >= views.lower && color.v < views.upper_v) {
      found[matched++] = {static_cast<int32_t>(i), color.u, color.v, error};
    }
  }
  return matched;
}

void check_inputs(const Tensor& points, const Tensor& depth, const Tensor& depth_projection,
                  const Tensor& color_projection) {
  const Tensor* all[] = {&points, &depth, &depth_projection, &color_projection};
  for (const Tensor* tensor : all) {
    STD_TORCH_CHECK(tensor->scalar_type() == ScalarType::Float && tensor->is_contiguous(),
                    "match_points_to_pixels: expected contiguous float32 tensors");
  }
  STD_TORCH_CHECK(points.dim() == 2 && points.size(1) == 3, "points must be (N, 3)");
  STD_TORCH_CHECK(depth.dim() == 3, "depth must be (V, H, W)");
  const Tensor* projections[] = {&depth_projection, &color_projection};
  for (const Tensor* tensor : projections) {
    STD_TORCH_CHECK(tensor->dim() == 3 && tensor->size(0) == depth.size(0) &&
                        tensor->size(1) == 3 && tensor->size(2) == 4,
                    "projections must be (V, 3, 4)");
  }
}

// The pairs of every task, view by view and block by block.
std::vector<std::vector<Match>> match_all(const Views& views, int64_t num_views,
                                          const float* points, int64_t num_points) {
  const int64_t num_blocks = (num_points + BLOCK - 1) / BLOCK;
  std::vector<std::vector<Match>> matches(num_views * num_blocks);
  torch::stable::parallel_for(0, num_views * num_blocks, 1, [&](int64_t begin, int64_t end) {
    Match found[BLOCK];
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task % num_blocks * BLOCK;
      const int64_t count = std::min(BLOCK, num_points - first);
      const int64_t matched =
          match_block(views, task / num_blocks, points + 3 * first, count, found);
      matches[task].assign(found, found + matched);
    }
  });
  return matches;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> match_points_to_pixels_cpu(
    const Tensor& points,            // (N, 3) float32
    const Tensor& depth,             // (V, H, W) float32
    const Tensor& depth_projection,  // (V, 3, 4) float32
    const Tensor& color_projection,  // (V, 3, 4) float32
    int64_t color_height, int64_t color_width, double absolute_tolerance,
    double relative_tolerance, int64_t border) {
  check_inputs(points, depth, depth_projection, color_projection);
  const Views views{depth.const_data_ptr<float>(),
                    depth_projection.const_data_ptr<float>(),
                    color_projection.const_data_ptr<float>(),
                    static_cast<int32_t>(depth.size(1)),
                    static_cast<int32_t>(depth.size(2)),
                    static_cast<float>(border - 0.5),
                    static_cast<float>(color_width - border - 0.5),
                    static_cast<float>(color_height - border - 0.5),
                    static_cast<float>(absolute_tolerance),
                    static_cast<float>(relative_tolerance)};
  const int64_t num_views = depth.size(0);
  const auto matches =
      match_all(views, num_views, points.const_data_ptr<float>(), points.size(0));

  const int64_t num_tasks = static_cast<int64_t>(matches.size());
  std::vector<int64_t> start(num_tasks + 1, 0);
  for (int64_t task = 0; task < num_tasks; ++task) {
    start[task + 1] = start[task] + static_cast<int64_t>(matches[task].size());
  }
  const int64_t total = start[num_tasks];
  Tensor point_index = torch::stable::new_empty(points, {total}, ScalarType::Long);
  Tensor view_index = torch::stable::new_empty(points, {total}, ScalarType::Long);
  Tensor pixel = torch::stable::new_empty(points, {total, 2});
  Tensor depth_error = torch::stable::new_empty(points, {total});
  int64_t* point_out = point_index.mutable_data_ptr<int64_t>();
  int64_t* view_out = view_index.mutable_data_ptr<int64_t>();
  float* pixel_out = pixel.mutable_data_ptr<float>();
  float* error_out = depth_error.mutable_data_ptr<float>();
  torch::stable::parallel_for(0, num_tasks, 8, [&](int64_t begin, int64_t end) {
    const int64_t num_blocks = num_tasks / num_views;
    for (int64_t task = begin; task < end; ++task) {
      int64_t row = start[task];
      for (const Match& match : matches[task]) {
        point_out[row] = task % num_blocks * BLOCK + match.offset;
        view_out[row] = task / num_blocks;
        pixel_out[2 * row] = match.u;
        pixel_out[2 * row + 1] = match.v;
        error_out[row] = match.depth_error;
        ++row;
      }
    }
  });
  return {point_index, view_index, pixel, depth_error};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) {
  m.impl("match_points_to_pixels", TORCH_BOX(&match_points_to_pixels_cpu));
}
