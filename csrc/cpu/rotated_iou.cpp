// Overlap over union of boxes turned about the vertical, and its derivative.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "boxes.h"
#include "checks.h"

namespace {

using pcpt::Box;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t GRAIN = 256;  // pairs that are worth a thread

std::vector<Box> load_boxes(const Tensor& boxes) {
  std::vector<Box> loaded(boxes.size(0));
  const double* data = boxes.const_data_ptr<double>();
  torch::stable::parallel_for(0, boxes.size(0), GRAIN, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) loaded[i] = pcpt::load_box(data + 7 * i);
  });
  return loaded;
}

Tensor rotated_iou_cpu(const Tensor& boxes,        // (N, 7) float64
                       const Tensor& other_boxes,  // (M, 7) float64
                       bool aligned, bool bev) {
  pcpt::check_rotated_iou(boxes, other_boxes, aligned);
  const std::vector<Box> first = load_boxes(boxes), second = load_boxes(other_boxes);
  const int64_t rows = boxes.size(0), columns = aligned ? 1 : other_boxes.size(0);
  Tensor out = aligned ? torch::stable::new_empty(boxes, {rows})
                       : torch::stable::new_empty(boxes, {rows, columns});
  double* iou = out.mutable_data_ptr<double>();
  const int64_t grain = std::max<int64_t>(1, GRAIN / std::max<int64_t>(1, columns));
  torch::stable::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j < columns; ++j)
        iou[i * columns + j] = pcpt::box_iou(first[i], second[aligned ? i : j], bev);
  });
  return out;
}

// Derivative by the boxes of one side; grad of pair (i, j) lies at i * stride_i + j * stride_j. Every
// sum is one thread's, in order.
Tensor gradient_by(const Tensor& like, const std::vector<Box>& boxes,
                   const std::vector<Box>& others, const double* grad, int64_t stride_i,
                   int64_t stride_j, bool aligned, bool bev) {
  Tensor out = torch::stable::new_zeros(like, {static_cast<int64_t>(boxes.size()), 7});
  double* gradient = out.mutable_data_ptr<double>();
  const int64_t columns = aligned ? 1 : static_cast<int64_t>(others.size());
  const int64_t grain = std::max<int64_t>(1, GRAIN / std::max<int64_t>(1, columns));
  torch::stable::parallel_for(0, out.size(0), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j < columns; ++j)
        pcpt::add_box_iou_gradient(boxes[i], others[aligned ? i : j], bev,
                                   grad[i * stride_i + j * stride_j], gradient + 7 * i);
  });
  return out;
}

std::tuple<Tensor, Tensor> rotated_iou_backward_cpu(const Tensor& grad,  // (N, M) or (N,) float64
                                                    const Tensor& boxes,
                                                    const Tensor& other_boxes, bool aligned,
                                                    bool bev) {
  pcpt::check_rotated_iou(boxes, other_boxes, aligned);
  const int64_t columns = aligned ? 1 : other_boxes.size(0);
  STD_TORCH_CHECK(grad.scalar_type() == ScalarType::Double && grad.is_contiguous() &&
                      grad.numel() == boxes.size(0) * columns,
                  "rotated_iou: grad must be contiguous float64, one number a pair");
  const std::vector<Box> first = load_boxes(boxes), second = load_boxes(other_boxes);
  const double* by_pair = grad.const_data_ptr<double>();
  return {gradient_by(boxes, first, second, by_pair, columns, 1, aligned, bev),
          gradient_by(boxes, second, first, by_pair, 1, columns, aligned, bev)};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) {
  m.impl("rotated_iou", TORCH_BOX(&rotated_iou_cpu));
  m.impl("rotated_iou_backward", TORCH_BOX(&rotated_iou_backward_cpu));
}
