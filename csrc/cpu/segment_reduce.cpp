// Rows reduced by segment, in the order of the rows. Nothing is sorted: a task owns some segments, or
// some channels of all, and passes over the index of every row for them.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/Dispatch_v2.h>

#include <algorithm>
#include <optional>
#include <tuple>

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t CHANNEL_BLOCK = 16;  // a cache line of floats

struct Shape {
  int64_t num_rows, channels, num_segments;
};

// What a task owns: segments first..last-1, channels begin..end-1.
struct Part {
  int64_t first, last, begin, end;
};

template <typename Work>  // void(Part)
void for_each_part(const Shape& shape, const Work& work) {
  const int64_t threads = torch::stable::get_num_threads();
  if (shape.num_segments >= 4 * threads) {
    torch::stable::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        work(Part{shape.num_segments * i / threads, shape.num_segments * (i + 1) / threads, 0,
                  shape.channels});
    });
    return;
  }
  const int64_t blocks = (shape.channels + CHANNEL_BLOCK - 1) / CHANNEL_BLOCK;
  torch::stable::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    work(Part{0, shape.num_segments, begin * CHANNEL_BLOCK,
              std::min(end * CHANNEL_BLOCK, shape.channels)});
  });
}

template <typename T>
void sum_part(const Shape& shape, const T* values, const int64_t* segment, const Part& part,
              T* out) {
  const int64_t width = part.end - part.begin;
  for (int64_t i = 0; i < shape.num_rows; ++i) {
    if (segment[i] < part.first || segment[i] >= part.last) continue;
    const T* __restrict__ row = values + i * shape.channels + part.begin;
    T* __restrict__ sum = out + segment[i] * shape.channels + part.begin;
    for (int64_t c = 0; c < width; ++c) sum[c] += row[c];
  }
}

// holder: (S, C) number of the row that holds the extreme so far, -1 at first.
template <typename T, bool LARGEST>
void extreme_part(const Shape& shape, const T* values, const int64_t* segment, const Part& part,
                  T* out, int32_t* holder) {
  const int64_t width = part.end - part.begin;
  for (int64_t i = 0; i < shape.num_rows; ++i) {
    if (segment[i] < part.first || segment[i] >= part.last) continue;
    const int64_t at = segment[i] * shape.channels + part.begin;
    const T* __restrict__ row = values + i * shape.channels + part.begin;
    T* __restrict__ best = out + at;
    int32_t* __restrict__ held = holder + at;
    const int32_t number = static_cast<int32_t>(i);
    for (int64_t c = 0; c < width; ++c) {
      const bool beyond = LARGEST ? row[c] > best[c] : row[c] < best[c];
      // The first nan stays: nothing is beyond it.
      const bool takes = beyond | (held[c] < 0) | ((row[c] != row[c]) & (best[c] == best[c]));
      best[c] = takes ? row[c] : best[c];
      held[c] = takes ? number : held[c];
    }
  }
}

Shape check(const Tensor& values, const Tensor& segment_index, int64_t num_segments) {
  STD_TORCH_CHECK(values.dim() == 2 && values.is_contiguous() && segment_index.dim() == 1 &&
                      segment_index.size(0) == values.size(0) && segment_index.is_contiguous() &&
                      segment_index.scalar_type() == ScalarType::Long,
                  "segment_reduce: expected contiguous values (N, C) and segment_index (N,) int64");
  STD_TORCH_CHECK(num_segments >= 0 && values.size(0) <= INT32_MAX,
                  "segment_reduce: more than 2^31 - 1 rows, or a negative number of segments");
  return {values.size(0), values.size(1), num_segments};
}

Tensor segment_sum_cpu(const Tensor& values,         // (N, C) float32 or float64
                       const Tensor& segment_index,  // (N,) int64; outside 0..S-1 is left out
                       int64_t num_segments) {
  const Shape shape = check(values, segment_index, num_segments);
  Tensor out = torch::stable::new_zeros(values, {shape.num_segments, shape.channels});
  const int64_t* segment = segment_index.const_data_ptr<int64_t>();
  THO_DISPATCH_V2(values.scalar_type(), "segment_sum", AT_WRAP([&] {
                    const scalar_t* from = values.const_data_ptr<scalar_t>();
                    scalar_t* to = out.mutable_data_ptr<scalar_t>();
                    for_each_part(shape, [&](const Part& part) {
                      sum_part(shape, from, segment, part, to);
                    });
                  }),
                  AT_EXPAND(AT_FLOATING_TYPES));
  return out;
}

std::tuple<Tensor, Tensor> segment_extreme_cpu(const Tensor& values,         // as above
                                               const Tensor& segment_index,  // as above
                                               int64_t num_segments, bool largest) {
  const Shape shape = check(values, segment_index, num_segments);
  Tensor out = torch::stable::new_zeros(values, {shape.num_segments, shape.channels});
  Tensor row = torch::stable::new_empty(values, {shape.num_segments, shape.channels},
                                        std::make_optional(ScalarType::Int));
  const int64_t* segment = segment_index.const_data_ptr<int64_t>();
  int32_t* holder = row.mutable_data_ptr<int32_t>();
  std::fill(holder, holder + shape.num_segments * shape.channels, -1);
  THO_DISPATCH_V2(values.scalar_type(), "segment_extreme", AT_WRAP([&] {
                    const scalar_t* from = values.const_data_ptr<scalar_t>();
                    scalar_t* to = out.mutable_data_ptr<scalar_t>();
                    for_each_part(shape, [&](const Part& part) {
                      if (largest)
                        extreme_part<scalar_t, true>(shape, from, segment, part, to, holder);
                      else
                        extreme_part<scalar_t, false>(shape, from, segment, part, to, holder);
                    });
                  }),
                  AT_EXPAND(AT_FLOATING_TYPES));
  return {out, row};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) {
  m.impl("segment_sum", TORCH_BOX(&segment_sum_cpu));
  m.impl("segment_extreme", TORCH_BOX(&segment_extreme_cpu));
}
