// What nearest_neighbors and ball_query share on both devices: the shapes of their arguments.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>

namespace pcpt {

constexpr int MAX_NEIGHBORS = 128;  // as in pcpt/ops/nearest_neighbors.py
// CUDA kernels count rows in int32_t, past the last by less than the threads of a block hold.
constexpr int64_t MAX_CUDA_ROWS = INT32_MAX / 2;

inline void check_neighbors(const torch::stable::Tensor& queries,        // (B, M, C)
                            const torch::stable::Tensor& query_lengths,  // (B,) int64
                            const torch::stable::Tensor& points,         // (B, N, C)
                            const torch::stable::Tensor& lengths,        // (B,) int64
                            int64_t k, int64_t most_rows = INT32_MAX) {
  STD_TORCH_CHECK(queries.dim() == 3 && points.dim() == 3 && queries.size(0) == points.size(0) &&
                      queries.size(2) == points.size(2) && queries.is_contiguous() &&
                      points.is_contiguous() && queries.scalar_type() == points.scalar_type(),
                  "expected contiguous queries (B, M, C) and points (B, N, C) of one dtype");
  STD_TORCH_CHECK(k >= 1 && k <= MAX_NEIGHBORS, "k is ", k, ", expected 1..", MAX_NEIGHBORS);
  STD_TORCH_CHECK(points.size(1) <= most_rows && queries.size(1) <= most_rows, "more than ",
                  most_rows, " points or queries");
  for (const torch::stable::Tensor* count : {&query_lengths, &lengths})
    STD_TORCH_CHECK(count->scalar_type() == torch::headeronly::ScalarType::Long &&
                        count->is_contiguous() && count->dim() == 1 &&
                        count->size(0) == points.size(0),
                    "lengths must be contiguous (B,) int64");
}

}  // namespace pcpt
