// What the sparse convolutions of all types share: how work is cut, and who does what.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>

namespace pcpt {

using torch::stable::Tensor;

// Lists those of `count` output rows that have a neighbour, counted from first_out, and returns their
// number. Entries outside the input are as good as absent: a wrong table cannot read foreign memory.
// Both lists need room for FIND_SLACK more.
int64_t find_pairs(const int32_t* neighbors, int64_t count, int64_t num_in, int64_t first_out,
                   int32_t* in, int32_t* out);
constexpr int64_t FIND_SLACK = 16;

// Contiguous features, gradients and tables; weights of any strides.
void convolve_float(const Tensor& features, const Tensor& weight, const Tensor& neighbors,
                    Tensor& out);
void sum_outer_products_float(const Tensor& features, const Tensor& grad, const Tensor& neighbors,
                              Tensor& out);
void convolve_bf16(const Tensor& features, const Tensor& weight, const Tensor& neighbors,
                   Tensor& out);
void sum_outer_products_bf16(const Tensor& features, const Tensor& grad, const Tensor& neighbors,
                             Tensor& out);

inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Cuts `total` into equal pieces of at most `most`, rounded up to a multiple; the last may be
// shorter, and nothing is one piece of length 0.
struct Cut {
  int64_t total, size, count;

  Cut(int64_t total, int64_t most, int64_t multiple = 1) : total(total) {
    const int64_t least = std::max<int64_t>(1, (total + most - 1) / most);
    size = std::max(multiple, round_up((total + least - 1) / least, multiple));
    count = std::max<int64_t>(1, (total + size - 1) / size);
  }
  int64_t begin(int64_t piece) const { return piece * size; }
  int64_t length(int64_t piece) const { return std::min(size, total - piece * size); }
};

// Output rows of a weight gradient that are summed apart: at least SEGMENT, in at most SEGMENTS sums.
// The order of summation depends on these and on no other piece of work.
inline Cut segments_of(int64_t num_out) {
  constexpr int64_t SEGMENT = 2048, SEGMENTS = 16;
  return Cut(num_out, std::max(SEGMENT, (num_out + SEGMENTS - 1) / SEGMENTS));
}

// Size of the pieces of `total` that gives every thread a few tasks, of which there are `others` for
// each piece. It changes no result, so it may follow the number of threads.
inline int64_t fair_size(int64_t total, int64_t others, int64_t least, int64_t most) {
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t tasks = threads > 1 ? 3 * threads : 1;
  return std::clamp(total * others / tasks, least, most);
}

}  // namespace pcpt
