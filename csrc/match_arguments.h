// Arguments of match_points_to_pixels, checked and prepared in one place for every device: in Python
// the same took longer than matching a small cloud.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace pcpt {

struct __attribute__((visibility("hidden"))) MatchArguments {  // as the tensors in it
  torch::stable::Tensor points;         // (N, 3) contiguous float32
  torch::stable::Tensor depth;          // (V, H, W) contiguous float32
  std::vector<float> depth_projection;  // (V, 3, 4), as all that follows on the CPU
  std::vector<float> color_projection;  // (V, 3, 4)
  int32_t height, width;                // of the depth images
  float lower, upper_u, upper_v;        // colour pixels kept: lower <= u < upper_u
  float absolute_tolerance, relative_tolerance;
};

// Points and depth of any floating type and strides, matrices of any floating type and device; the
// colour camera and its size (-1) are the depth camera's by default. Raises, without a word on which
// argument: the Python wrapper finds it again and explains.
MatchArguments check_match_points_to_pixels(
    const torch::stable::Tensor& points, const torch::stable::Tensor& depth,
    const torch::stable::Tensor& depth_intrinsics,
    const torch::stable::Tensor& depth_camera_to_world,
    const std::optional<torch::stable::Tensor>& color_intrinsics,
    const std::optional<torch::stable::Tensor>& color_camera_to_world, int64_t color_height,
    int64_t color_width, double absolute_tolerance, double relative_tolerance, int64_t border);

}  // namespace pcpt
