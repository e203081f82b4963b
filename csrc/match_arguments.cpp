#include "match_arguments.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "checks.h"
#include "projection_matrices.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

Tensor as_float(const Tensor& tensor) {
  return pcpt::as_contiguous(
      tensor.scalar_type() == ScalarType::Float ? tensor
                                                : torch::stable::to(tensor, ScalarType::Float));
}

bool fits_int32(int64_t height, int64_t width) {
  return height == 0 || width <= INT32_MAX / height;
}

}  // namespace

pcpt::MatchArguments pcpt::check_match_points_to_pixels(
    const Tensor& points, const Tensor& depth, const Tensor& depth_intrinsics,
    const Tensor& depth_camera_to_world, const std::optional<Tensor>& color_intrinsics,
    const std::optional<Tensor>& color_camera_to_world, int64_t color_height, int64_t color_width,
    double absolute_tolerance, double relative_tolerance, int64_t border) {
  check_points(points);
  STD_TORCH_CHECK(depth.dim() == 3, "depth must be (V, H, W)");
  STD_TORCH_CHECK(is_floating(points) && is_floating(depth), "expected floating points and depth");
  STD_TORCH_CHECK(depth.device() == points.device(), "points and depth must be on one device");
  STD_TORCH_CHECK(absolute_tolerance >= 0 && relative_tolerance >= 0 && border >= 0,
                  "tolerances and border must be 0 or more");
  const int64_t num_views = depth.size(0), height = depth.size(1), width = depth.size(2);
  if (color_height < 0) {
    color_height = height;
    color_width = width;
  }
  STD_TORCH_CHECK(fits_int32(height, width), "images must have fewer than 2^31 pixels");
  STD_TORCH_CHECK(color_intrinsics || (color_height == height && color_width == width),
                  "a colour size needs colour intrinsics");
  STD_TORCH_CHECK(depth_intrinsics.dim() == 3 && depth_intrinsics.size(0) == num_views,
                  "expected a camera a view");

  std::vector<float> depth_projection =
      projection_matrices(depth_intrinsics, depth_camera_to_world);
  std::vector<float> color_projection =
      color_intrinsics || color_camera_to_world
          ? projection_matrices(color_intrinsics.value_or(depth_intrinsics),
                                color_camera_to_world.value_or(depth_camera_to_world))
          : depth_projection;
  STD_TORCH_CHECK(color_projection.size() == depth_projection.size(), "expected a camera a view");
  return {as_float(points),
          as_float(depth),
          std::move(depth_projection),
          std::move(color_projection),
          static_cast<int32_t>(height),
          static_cast<int32_t>(width),
          static_cast<float>(border - 0.5),
          static_cast<float>(color_width - border - 0.5),
          static_cast<float>(color_height - border - 0.5),
          static_cast<float>(absolute_tolerance),
          static_cast<float>(relative_tolerance)};
}
