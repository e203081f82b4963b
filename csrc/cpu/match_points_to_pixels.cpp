// Finds the visible (point, view) pairs. A task is one view and a run of blocks of points; blocks
// collect their pairs on their own and a prefix sum places them, so that the order of the result
// (view, then point) does not depend on the number of threads.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "empty.h"
#include "match_arguments.h"
#include "parallel.h"
#include "projection.h"

namespace {

using pcpt::POINT_BLOCK;
using torch::stable::Tensor;

constexpr int64_t BLOCKS_PER_TASK = 16;

struct Cloud {
  const float* points;  // (N, 3)
  int64_t num_points, num_blocks;

  const float* block(int64_t index) const { return points + 3 * POINT_BLOCK * index; }
  int64_t size(int64_t index) const {
    return std::min(POINT_BLOCK, num_points - POINT_BLOCK * index);
  }
};

struct Views {
  int64_t count;
  const float* depth;             // (V, H, W)
  const float* depth_projection;  // (V, 3, 4)
  const float* color_projection;  // (V, 3, 4)
  pcpt::MatchView common;         // what all views share
};

// The matches of a block: their offsets, then u, v and depth errors.
struct Found {
  int64_t count = 0;
  std::unique_ptr<float[]> values;

  const float* column(int64_t index) const { return values.get() + index * count; }
};

Found copy(const pcpt::BlockPoints& matches, int64_t count) {
  Found found;
  if (count == 0) return found;
  found.count = count;
  found.values.reset(new float[4 * count]);
  float* to = found.values.get();
  std::memcpy(to, matches.offset, 4 * count);
  std::memcpy(to + count, matches.u, 4 * count);
  std::memcpy(to + 2 * count, matches.v, 4 * count);
  std::memcpy(to + 3 * count, matches.depth, 4 * count);
  return found;
}

// A view may lie far from most blocks of a large cloud: their bounds say so without their points.
// With one view that would be read once, finding the bounds costs as much as it saves.
std::vector<pcpt::Box> bounds_of(const Cloud& cloud, int64_t num_views) {
  std::vector<pcpt::Box> bounds(num_views > 1 ? cloud.num_blocks : 0);
  torch::stable::parallel_for(
      0, static_cast<int64_t>(bounds.size()), 32, [&](int64_t begin, int64_t end) {
        for (int64_t block = begin; block < end; ++block)
          bounds[block] = pcpt::projection_kernels().bounds(cloud.block(block), cloud.size(block));
      });
  return bounds;
}

// The pairs of every block under every view, view by view.
std::vector<Found> match_all(const Views& views, const Cloud& cloud) {
  std::vector<Found> found(views.count * cloud.num_blocks);
  const int64_t pixels = int64_t(views.common.height) * views.common.width;
  if (pixels == 0) return found;
  const std::vector<pcpt::Box> bounds = bounds_of(cloud, views.count);
  const pcpt::ProjectionKernels& kernels = pcpt::projection_kernels();
  const int64_t runs = (cloud.num_blocks + BLOCKS_PER_TASK - 1) / BLOCKS_PER_TASK;
  pcpt::for_each_task(views.count * runs, [&](int64_t task) {
    const int64_t index = task / runs, first = task % runs * BLOCKS_PER_TASK;
    pcpt::MatchView view = views.common;
    view.depth = views.depth + index * pixels;
    view.to_depth = pcpt::load_projection(views.depth_projection + 12 * index);
    view.to_color = pcpt::load_projection(views.color_projection + 12 * index);
    view.same_camera =
        std::equal(view.to_depth.m, view.to_depth.m + 12, view.to_color.m);
    const pcpt::Frustum frustum = pcpt::frustum_of(view.to_depth, view.height, view.width);
    pcpt::BlockPoints matches;
    for (int64_t block = first; block < std::min(first + BLOCKS_PER_TASK, cloud.num_blocks);
         ++block) {
      if (!bounds.empty() && pcpt::is_outside(frustum, bounds[block])) continue;
      const int64_t count =
          kernels.match(view, cloud.block(block), cloud.size(block), matches);
      found[index * cloud.num_blocks + block] = copy(matches, count);
    }
  });
  return found;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> match_points_to_pixels_cpu(
    const Tensor& points, const Tensor& depth, const Tensor& depth_intrinsics,
    const Tensor& depth_camera_to_world, const std::optional<Tensor>& color_intrinsics,
    const std::optional<Tensor>& color_camera_to_world, int64_t color_height, int64_t color_width,
    double absolute_tolerance, double relative_tolerance, int64_t border) {
  const pcpt::MatchArguments arguments = pcpt::check_match_points_to_pixels(
      points, depth, depth_intrinsics, depth_camera_to_world, color_intrinsics,
      color_camera_to_world, color_height, color_width, absolute_tolerance, relative_tolerance,
      border);
  Views views{depth.size(0), arguments.depth.const_data_ptr<float>(),
              arguments.depth_projection.data(), arguments.color_projection.data(),
              pcpt::MatchView{}};
  views.common.height = arguments.height;
  views.common.width = arguments.width;
  views.common.lower = arguments.lower;
  views.common.upper_u = arguments.upper_u;
  views.common.upper_v = arguments.upper_v;
  views.common.absolute_tolerance = arguments.absolute_tolerance;
  views.common.relative_tolerance = arguments.relative_tolerance;
  const int64_t num_points = points.size(0);
  const Cloud cloud{arguments.points.const_data_ptr<float>(), num_points,
                    (num_points + POINT_BLOCK - 1) / POINT_BLOCK};
  const std::vector<Found> found = match_all(views, cloud);

  const int64_t num_parts = static_cast<int64_t>(found.size());
  std::vector<int64_t> start(num_parts + 1, 0);
  for (int64_t part = 0; part < num_parts; ++part) start[part + 1] = start[part] + found[part].count;
  const int64_t total = start[num_parts];
  Tensor point_index = pcpt::empty<int64_t, 1>({total});
  Tensor view_index = pcpt::empty<int64_t, 1>({total});
  Tensor pixel = pcpt::empty<float, 2>({total, 2});
  Tensor depth_error = pcpt::empty<float, 1>({total});
  int64_t* point_out = point_index.mutable_data_ptr<int64_t>();
  int64_t* view_out = view_index.mutable_data_ptr<int64_t>();
  float* pixel_out = pixel.mutable_data_ptr<float>();
  float* error_out = depth_error.mutable_data_ptr<float>();
  torch::stable::parallel_for(0, num_parts, 64, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t count = found[part].count, row = start[part];
      if (count == 0) continue;
      const int64_t first = part % cloud.num_blocks * POINT_BLOCK;
      const Found& block = found[part];
      const float *u = block.column(1), *v = block.column(2);
      int32_t offset[POINT_BLOCK];
      std::memcpy(offset, block.column(0), 4 * count);
      for (int64_t i = 0; i < count; ++i) point_out[row + i] = first + offset[i];
      std::fill_n(view_out + row, count, part / cloud.num_blocks);
      for (int64_t i = 0; i < count; ++i) {
        pixel_out[2 * (row + i)] = u[i];
        pixel_out[2 * (row + i) + 1] = v[i];
      }
      std::memcpy(error_out + row, block.column(3), 4 * count);
    }
  });
  return {point_index, view_index, pixel, depth_error};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) {
  m.impl("match_points_to_pixels", TORCH_BOX(&match_points_to_pixels_cpu));
}
