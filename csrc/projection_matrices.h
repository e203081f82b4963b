// Cameras as matrices that project points. Always computed on the CPU, whatever the points are on:
// the matrices are few and small.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <vector>

namespace pcpt {

// Intrinsics (V, 3, 3) times world-to-camera of camera_to_world (V, 4, 4), of any floating type and
// device, as (V, 3, 4). Inverted and multiplied in float64. Raises unless the two are a camera's.
std::vector<float> projection_matrices(const torch::stable::Tensor& intrinsics,
                                       const torch::stable::Tensor& camera_to_world);

}  // namespace pcpt
