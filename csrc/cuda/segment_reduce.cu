// Rows reduced by segment: sorted by segment once, then a thread is one channel of one segment, or of
// a piece of a long one. Pieces are cut by their place, so sums never depend on timing.
#include <torch/headeronly/core/Dispatch_v2.h>

#include <tuple>

#include "device.h"

namespace {

using pcpt::Tensor;
using torch::headeronly::ScalarType;

constexpr int THREADS = 256;
constexpr int32_t PIECE = 256;  // rows that one thread goes through

// Rows in the order of their segments.
struct Sorted {
  const int64_t* segment;  // (N,) ascending
  const int64_t* row;      // (N,)
  const int32_t* begin;    // (S + 1,) first place of each segment
  int32_t num_rows, num_segments, channels;
};

__device__ int32_t first_place(const int64_t* segment, int32_t num_rows, int64_t wanted) {
  int32_t low = 0, high = num_rows;
  while (low < high) {
    const int32_t middle = low + (high - low) / 2;
    if (segment[middle] < wanted)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

__global__ void find_segments(const int64_t* __restrict__ segment, int32_t num_rows,
                              int32_t num_segments, int32_t* __restrict__ begin) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i <= num_segments) begin[i] = first_place(segment, num_rows, i);
}

// What a thread makes of rows; `row` is -1 before the first.
template <typename T>
struct Sum {
  T value = 0;
  __device__ void add(T other, int32_t) { value += other; }
  __device__ int32_t row() const { return 0; }
};

template <typename T, bool LARGEST>
struct Extreme {
  T value = 0;
  int32_t row_ = -1;
  __device__ void add(T other, int32_t number) {
    const bool beyond = LARGEST ? other > value : other < value;
    // The first nan stays: nothing is beyond it.
    if (number >= 0 && (row_ < 0 || beyond || (other != other && value == value))) {
      value = other;
      row_ = number;
    }
  }
  __device__ int32_t row() const { return row_; }
};

template <typename T, typename Reduce>
__global__ void reduce_short(Sorted sorted, const T* __restrict__ values, T* __restrict__ out,
                             int32_t* __restrict__ holder) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= int64_t(sorted.num_segments) * sorted.channels) return;
  const int32_t segment = static_cast<int32_t>(i / sorted.channels);
  const int32_t channel = static_cast<int32_t>(i % sorted.channels);
  const int32_t begin = sorted.begin[segment], end = sorted.begin[segment + 1];
  if (end - begin > PIECE) return;
  Reduce reduce;
  for (int32_t place = begin; place < end; ++place) {
    const int64_t row = sorted.row[place];
    reduce.add(values[row * sorted.channels + channel], static_cast<int32_t>(row));
  }
  out[i] = reduce.value;
  if (holder) holder[i] = reduce.row();
}

// A long segment covers the start of at least one block of PIECE sorted rows. Block p is reduced in
// two parts: up to the first segment border within it, for the segment that comes in from before
// (part 2p), and from the last border on, for the one that goes on behind it (part 2p + 1). A block
// without a border is part 2p alone.
template <typename T, typename Reduce>
__global__ void reduce_pieces(Sorted sorted, const T* __restrict__ values, int64_t count,
                              T* __restrict__ part, int32_t* __restrict__ part_holder) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int64_t piece = i / sorted.channels;
  const int32_t channel = static_cast<int32_t>(i % sorted.channels);
  const int32_t first = static_cast<int32_t>(piece / 2 * PIECE);
  const int32_t last = first + PIECE < sorted.num_rows ? first + PIECE : sorted.num_rows;
  const int64_t in = sorted.segment[first], out = sorted.segment[last - 1];
  const bool behind = piece % 2 == 1;
  const int64_t mine = behind ? out : in;
  if (mine < 0 || mine >= sorted.num_segments || (behind && in == out)) return;
  const int32_t begin = sorted.begin[mine], end = sorted.begin[mine + 1];
  if (end - begin <= PIECE) return;
  const int32_t from = begin > first ? begin : first, to = end < last ? end : last;
  Reduce reduce;
  for (int32_t place = from; place < to; ++place) {
    const int64_t row = sorted.row[place];
    reduce.add(values[row * sorted.channels + channel], static_cast<int32_t>(row));
  }
  part[i] = reduce.value;
  part_holder[i] = reduce.row();
}

template <typename T, typename Reduce>
__global__ void join_pieces(Sorted sorted, const T* __restrict__ part,
                            const int32_t* __restrict__ part_holder, T* __restrict__ out,
                            int32_t* __restrict__ holder) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= int64_t(sorted.num_segments) * sorted.channels) return;
  const int32_t segment = static_cast<int32_t>(i / sorted.channels);
  const int32_t channel = static_cast<int32_t>(i % sorted.channels);
  const int32_t begin = sorted.begin[segment], end = sorted.begin[segment + 1];
  if (end - begin <= PIECE) return;
  Reduce reduce;
  for (int32_t block = begin / PIECE; block * PIECE < end; ++block) {
    // Only where the segment begins can another one come into the block from before it.
    const bool behind = sorted.segment[block * PIECE] != segment;
    const int64_t from = (int64_t(block) * 2 + behind) * sorted.channels + channel;
    reduce.add(part[from], part_holder[from]);
  }
  out[i] = reduce.value;
  if (holder) holder[i] = reduce.row();
}

template <typename T, typename Reduce>
void reduce(const pcpt::Launch& launch, const Tensor& values, const Tensor& segment_index,
            int64_t num_segments, T* out, int32_t* holder) {
  const int64_t num_rows = values.size(0), channels = values.size(1);
  const auto [segment, row] = pcpt::stable_sort(segment_index);
  const auto integer = std::make_optional(ScalarType::Int);
  Tensor begin = torch::stable::new_empty(values, {num_segments + 1}, integer);
  int32_t* begins = begin.mutable_data_ptr<int32_t>();
  const Sorted sorted{segment.const_data_ptr<int64_t>(), row.const_data_ptr<int64_t>(), begins,
                      static_cast<int32_t>(num_rows), static_cast<int32_t>(num_segments),
                      static_cast<int32_t>(channels)};
  const T* from = values.const_data_ptr<T>();
  PCPT_LAUNCH(find_segments, pcpt::blocks_for(num_segments + 1, THREADS), THREADS, 0,
              launch.stream(), sorted.segment, sorted.num_rows, sorted.num_segments, begins);
  const unsigned blocks = pcpt::blocks_for(num_segments * channels, THREADS);
  PCPT_LAUNCH((reduce_short<T, Reduce>), blocks, THREADS, 0, launch.stream(), sorted, from, out,
              holder);
  if (num_rows <= PIECE) return;  // no segment is long
  const int64_t parts = (num_rows + PIECE - 1) / PIECE * 2;
  Tensor part = torch::stable::new_empty(values, {parts, channels});
  Tensor part_holder = torch::stable::new_empty(values, {parts, channels}, integer);
  T* to = part.mutable_data_ptr<T>();
  int32_t* part_rows = part_holder.mutable_data_ptr<int32_t>();
  PCPT_LAUNCH((reduce_pieces<T, Reduce>), pcpt::blocks_for(parts * channels, THREADS), THREADS, 0,
              launch.stream(), sorted, from, parts * channels, to, part_rows);
  PCPT_LAUNCH((join_pieces<T, Reduce>), blocks, THREADS, 0, launch.stream(), sorted, to, part_rows,
              out, holder);
}

template <typename T>
void reduce_sum(const pcpt::Launch& launch, const Tensor& values, const Tensor& segment_index,
                int64_t num_segments, T* out) {
  reduce<T, Sum<T>>(launch, values, segment_index, num_segments, out, nullptr);
}

template <typename T>
void reduce_extreme(const pcpt::Launch& launch, const Tensor& values, const Tensor& segment_index,
                    int64_t num_segments, bool largest, T* out, int32_t* holder) {
  if (largest)
    reduce<T, Extreme<T, true>>(launch, values, segment_index, num_segments, out, holder);
  else
    reduce<T, Extreme<T, false>>(launch, values, segment_index, num_segments, out, holder);
}

void check(const Tensor& values, const Tensor& segment_index, int64_t num_segments) {
  STD_TORCH_CHECK(values.dim() == 2 && values.is_contiguous() && segment_index.dim() == 1 &&
                      segment_index.size(0) == values.size(0) && segment_index.is_contiguous() &&
                      segment_index.scalar_type() == ScalarType::Long,
                  "segment_reduce: expected contiguous values (N, C) and segment_index (N,) int64");
  STD_TORCH_CHECK(num_segments >= 0 && num_segments < INT32_MAX && values.size(0) <= INT32_MAX - PIECE,
                  "segment_reduce: more than 2^31 - 257 rows, or a bad number of segments");
}

Tensor segment_sum_cuda(const Tensor& values,         // (N, C) float32 or float64
                        const Tensor& segment_index,  // (N,) int64; outside 0..S-1 is left out
                        int64_t num_segments) {
  check(values, segment_index, num_segments);
  const pcpt::Launch launch(values);
  Tensor out = torch::stable::new_empty(values, {num_segments, values.size(1)});
  THO_DISPATCH_V2(values.scalar_type(), "segment_sum", AT_WRAP([&] {
                    reduce_sum(launch, values, segment_index, num_segments,
                               out.mutable_data_ptr<scalar_t>());
                  }),
                  AT_EXPAND(AT_FLOATING_TYPES));
  return out;
}

std::tuple<Tensor, Tensor> segment_extreme_cuda(const Tensor& values,         // as above
                                                const Tensor& segment_index,  // as above
                                                int64_t num_segments, bool largest) {
  check(values, segment_index, num_segments);
  const pcpt::Launch launch(values);
  Tensor out = torch::stable::new_empty(values, {num_segments, values.size(1)});
  Tensor row = torch::stable::new_empty(values, {num_segments, values.size(1)},
                                        std::make_optional(ScalarType::Int));
  int32_t* holder = row.mutable_data_ptr<int32_t>();
  THO_DISPATCH_V2(values.scalar_type(), "segment_extreme", AT_WRAP([&] {
                    reduce_extreme(launch, values, segment_index, num_segments, largest,
                                   out.mutable_data_ptr<scalar_t>(), holder);
                  }),
                  AT_EXPAND(AT_FLOATING_TYPES));
  return {out, row};
}

}  // namespace

PCPT_CUDA_KERNELS(m) {
  m.impl("segment_sum", TORCH_BOX(&segment_sum_cuda));
  m.impl("segment_extreme", TORCH_BOX(&segment_extreme_cuda));
}
