// What operators ask of their tensors, the same on every device. The Python wrappers check and explain
// all of it, before the call or when it is refused; this keeps a direct call of torch.ops.pcpt from
// foreign memory. So does what is done about the numbers in them: cpu/check_values.h asks, CUDA
// kernels clamp lengths and pass over the rest.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cmath>
#include <cstdint>
#include <initializer_list>

namespace pcpt {

inline bool is_floating(const torch::stable::Tensor& tensor) {
  using torch::headeronly::ScalarType;
  const ScalarType type = tensor.scalar_type();
  return type == ScalarType::Float || type == ScalarType::Double || type == ScalarType::Half ||
         type == ScalarType::BFloat16;
}

// Asked for first: a call that changes nothing costs more than the question.
inline torch::stable::Tensor as_contiguous(const torch::stable::Tensor& tensor) {
  return tensor.is_contiguous() ? tensor : torch::stable::contiguous(tensor);
}

inline void check_contiguous(std::initializer_list<const torch::stable::Tensor*> tensors,
                             torch::headeronly::ScalarType type, const char* message) {
  for (const torch::stable::Tensor* tensor : tensors)
    STD_TORCH_CHECK(tensor->scalar_type() == type && tensor->is_contiguous(), message);
}

inline void check_points(const torch::stable::Tensor& points) {
  STD_TORCH_CHECK(points.dim() == 2 && points.size(1) == 3, "points must be (N, 3)");
}

inline void check_projection(const torch::stable::Tensor& projection, int64_t num_views) {
  STD_TORCH_CHECK(projection.dim() == 3 && projection.size(0) == num_views &&
                      projection.size(1) == 3 && projection.size(2) == 4,
                  "projections must be (V, 3, 4)");
}

inline void check_render_depth(const torch::stable::Tensor& points,
                               const torch::stable::Tensor& projection) {
  check_points(points);
  STD_TORCH_CHECK(projection.dim() == 3, "projections must be (V, 3, 4)");
  check_projection(projection, projection.size(0));
  check_contiguous({&points, &projection}, torch::headeronly::ScalarType::Float,
                   "render_depth: expected contiguous float32 tensors");
}

inline void check_sample_pixels(const torch::stable::Tensor& values,
                                const torch::stable::Tensor& view_index,
                                const torch::stable::Tensor& pixel, int64_t height, int64_t width) {
  using torch::headeronly::ScalarType;
  STD_TORCH_CHECK(values.is_contiguous() && view_index.is_contiguous() && pixel.is_contiguous(),
                  "sample_pixels: expected contiguous tensors");
  STD_TORCH_CHECK(view_index.dim() == 1 && view_index.scalar_type() == ScalarType::Long,
                  "view_index must be (M,) int64");
  const ScalarType precise =
      values.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  STD_TORCH_CHECK(pixel.dim() == 2 && pixel.size(0) == view_index.size(0) && pixel.size(1) == 2 &&
                      pixel.scalar_type() == precise,
                  "pixel must be (M, 2), float64 for float64 features and float32 otherwise");
  STD_TORCH_CHECK(height >= 1 && width >= 1 && width <= INT32_MAX / height,
                  "sample_pixels: a map must have 1 to 2^31 - 1 cells");
}

inline void check_gather_max(const torch::stable::Tensor& values,
                             const torch::stable::Tensor& index,
                             const torch::stable::Tensor& starts) {
  STD_TORCH_CHECK(values.dim() == 2 && values.is_contiguous() && values.size(0) <= INT32_MAX,
                  "gather_max: values must be contiguous (N, C), of 2^31 - 1 rows at most");
  STD_TORCH_CHECK(index.dim() == 1 && starts.dim() == 1 && starts.size(0) >= 1,
                  "gather_max: index must be (M,) and starts (S + 1,)");
  check_contiguous({&index, &starts}, torch::headeronly::ScalarType::Long,
                   "gather_max: index and starts must be contiguous int64");
}

inline void check_rotated_iou(const torch::stable::Tensor& boxes,
                              const torch::stable::Tensor& other_boxes, bool aligned) {
  for (const torch::stable::Tensor* tensor : {&boxes, &other_boxes})
    STD_TORCH_CHECK(tensor->dim() == 2 && tensor->size(1) == 7, "boxes must be (N, 7)");
  check_contiguous({&boxes, &other_boxes}, torch::headeronly::ScalarType::Double,
                   "rotated_iou: expected contiguous float64 tensors");
  STD_TORCH_CHECK(!aligned || boxes.size(0) == other_boxes.size(0),
                  "rotated_iou: aligned boxes must be as many");
}

inline void check_hidden_point_removal(const torch::stable::Tensor& points,
                                       const torch::stable::Tensor& viewpoints,
                                       const torch::stable::Tensor& lengths,
                                       double radius_factor) {
  constexpr char message[] =
      "hidden_point_removal: expected contiguous float64 tensors and int64 lengths";
  STD_TORCH_CHECK(points.dim() == 3 && points.size(2) == 3 && viewpoints.dim() == 3 &&
                      viewpoints.size(2) == 3 && viewpoints.size(0) == points.size(0) &&
                      lengths.dim() == 1 && lengths.size(0) == points.size(0),
                  "points must be (B, N, 3), viewpoints (B, V, 3) and lengths (B,)");
  check_contiguous({&points, &viewpoints}, torch::headeronly::ScalarType::Double, message);
  check_contiguous({&lengths}, torch::headeronly::ScalarType::Long, message);
  STD_TORCH_CHECK(radius_factor >= 1.0 && radius_factor < HUGE_VAL,
                  "hidden_point_removal: radius_factor must be a number from 1 up");
}

}  // namespace pcpt
