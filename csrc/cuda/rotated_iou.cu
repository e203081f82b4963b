// Overlap over union of boxes turned about the vertical: a thread is one pair. The derivative: a
// block is one box, whose threads share the boxes of the other side and sum in a fixed order.
#include <tuple>

#include "boxes.h"
#include "checks.h"
#include "device.h"

namespace {

using pcpt::Box;
using pcpt::Tensor;
using torch::headeronly::ScalarType;

constexpr int THREADS = 128;

__global__ void overlap(const double* __restrict__ boxes, const double* __restrict__ other_boxes,
                        int64_t count, int64_t columns, bool aligned, bool bev,
                        double* __restrict__ iou) {
  const int64_t pair = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (pair >= count) return;
  const int64_t i = pair / columns, j = aligned ? i : pair % columns;
  iou[pair] =
      pcpt::box_iou(pcpt::load_box(boxes + 7 * i), pcpt::load_box(other_boxes + 7 * j), bev);
}

// grad of pair (i, j) lies at i * stride_i + j * stride_j.
__global__ void gradient_by_all(const double* __restrict__ boxes,
                                const double* __restrict__ others, int64_t num_others,
                                const double* __restrict__ grad, int64_t stride_i,
                                int64_t stride_j, bool bev, double* __restrict__ gradient) {
  __shared__ double partial[7][THREADS];
  const int64_t i = blockIdx.x;
  const int thread = static_cast<int>(threadIdx.x);
  const Box box = pcpt::load_box(boxes + 7 * i);
  double sum[7] = {};
  for (int64_t j = thread; j < num_others; j += THREADS)
    pcpt::add_box_iou_gradient(box, pcpt::load_box(others + 7 * j), bev,
                               grad[i * stride_i + j * stride_j], sum);
  for (int k = 0; k < 7; ++k) partial[k][thread] = sum[k];
  for (int half = THREADS / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half)
      for (int k = 0; k < 7; ++k) partial[k][thread] += partial[k][thread + half];
  }
  if (thread == 0)
    for (int k = 0; k < 7; ++k) gradient[7 * i + k] = partial[k][0];
}

__global__ void gradient_by_one(const double* __restrict__ boxes,
                                const double* __restrict__ others, int64_t count,
                                const double* __restrict__ grad, bool bev,
                                double* __restrict__ gradient) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  double sum[7] = {};
  pcpt::add_box_iou_gradient(pcpt::load_box(boxes + 7 * i), pcpt::load_box(others + 7 * i), bev,
                             grad[i], sum);
  for (int k = 0; k < 7; ++k) gradient[7 * i + k] = sum[k];
}

Tensor rotated_iou_cuda(const Tensor& boxes,        // (N, 7) float64
                        const Tensor& other_boxes,  // (M, 7) float64
                        bool aligned, bool bev) {
  pcpt::check_rotated_iou(boxes, other_boxes, aligned);
  const pcpt::Launch launch(boxes);
  const int64_t rows = boxes.size(0), columns = aligned ? 1 : other_boxes.size(0);
  Tensor out = aligned ? torch::stable::new_empty(boxes, {rows})
                       : torch::stable::new_empty(boxes, {rows, columns});
  PCPT_LAUNCH(overlap, pcpt::blocks_for(rows * columns, THREADS), THREADS, 0, launch.stream(),
              boxes.const_data_ptr<double>(), other_boxes.const_data_ptr<double>(), rows * columns,
              columns, aligned, bev, out.mutable_data_ptr<double>());
  return out;
}

Tensor gradient_by(const pcpt::Launch& launch, const Tensor& boxes, const Tensor& others,
                   const Tensor& grad, int64_t stride_i, int64_t stride_j, bool aligned, bool bev) {
  const int64_t count = boxes.size(0);
  Tensor out = torch::stable::new_empty(boxes, {count, 7});
  if (aligned) {
    PCPT_LAUNCH(gradient_by_one, pcpt::blocks_for(count, THREADS), THREADS, 0, launch.stream(),
                boxes.const_data_ptr<double>(), others.const_data_ptr<double>(), count,
                grad.const_data_ptr<double>(), bev, out.mutable_data_ptr<double>());
  } else {
    PCPT_LAUNCH(gradient_by_all, pcpt::blocks_for(count, 1), THREADS, 0, launch.stream(),
                boxes.const_data_ptr<double>(), others.const_data_ptr<double>(), others.size(0),
                grad.const_data_ptr<double>(), stride_i, stride_j, bev,
                out.mutable_data_ptr<double>());
  }
  return out;
}

std::tuple<Tensor, Tensor> rotated_iou_backward_cuda(const Tensor& grad,  // (N, M) or (N,) float64
                                                     const Tensor& boxes,
                                                     const Tensor& other_boxes, bool aligned,
                                                     bool bev) {
  pcpt::check_rotated_iou(boxes, other_boxes, aligned);
  const int64_t columns = aligned ? 1 : other_boxes.size(0);
  STD_TORCH_CHECK(grad.scalar_type() == ScalarType::Double && grad.is_contiguous() &&
                      grad.numel() == boxes.size(0) * columns,
                  "rotated_iou: grad must be contiguous float64, one number a pair");
  const pcpt::Launch launch(boxes);
  return {gradient_by(launch, boxes, other_boxes, grad, columns, 1, aligned, bev),
          gradient_by(launch, other_boxes, boxes, grad, 1, columns, aligned, bev)};
}

}  // namespace

PCPT_CUDA_KERNELS(m) {
  m.impl("rotated_iou", TORCH_BOX(&rotated_iou_cuda));
  m.impl("rotated_iou_backward", TORCH_BOX(&rotated_iou_backward_cuda));
}
