// Sparse convolution over a neighbour table and its weight gradient. The input gradient is the same
// convolution over the inverse table with transposed weights.
//
// Every element of a result is summed in an order that depends on the shapes alone, so results do not
// depend on the number of threads.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/Dispatch_v2.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "isa.h"
#include "parallel.h"
#include "sparse_conv.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <typename T>
struct Gemm {
  int lanes;  // columns come in whole vectors of this many
  // Lists those of `count` output rows that have a neighbour, counted from first_out. Entries
  // outside the input are as good as absent: a wrong table cannot read foreign memory.
  int64_t (*find_pairs)(const int32_t* neighbors, int64_t count, int64_t num_in, int64_t first_out,
                        int32_t* in, int32_t* out);
  // c[out[r]] += a[in[r]] b for each row r; b is (depth, width)
  void (*products)(int64_t rows, const T* a, int64_t lda, const int32_t* in, int64_t depth,
                   const T* b, int64_t ldb, int64_t width, T* c, int64_t ldc, const int32_t* out);
  // target += sum over pairs p of a[in[p]]^T b[out[p]]; target is (rows, width)
  void (*outer_products)(int64_t rows, const T* a, int64_t lda, const int32_t* in, const T* b,
                         int64_t ldb, int64_t width, const int32_t* out, int64_t pairs, T* target,
                         int64_t ld_target);
  // to[c][r] = from[r][c] for whole vectors of rows and columns
  void (*transpose)(const T* from, int64_t ld, int64_t rows, int64_t columns, T* to, int64_t width);
};

#ifdef PCPT_X86
#pragma GCC push_options
#pragma GCC target("avx512f")
#define PCPT_ISA avx512
#define PCPT_BYTES 64
#define PCPT_STRIP 4
#define PCPT_FMA_FLOAT _mm512_fmadd_ps
#define PCPT_FMA_DOUBLE _mm512_fmadd_pd
#define PCPT_COMPRESS 1
#include "sparse_gemm.h"
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define PCPT_ISA avx2
#define PCPT_BYTES 32
#define PCPT_STRIP 2
#define PCPT_FMA_FLOAT _mm256_fmadd_ps
#define PCPT_FMA_DOUBLE _mm256_fmadd_pd
#include "sparse_gemm.h"
#pragma GCC pop_options
#endif

#define PCPT_ISA baseline
#define PCPT_BYTES 16
#define PCPT_STRIP 2
#include "sparse_gemm.h"

template <typename T>
const Gemm<T>& gemm() {
  static const Gemm<T> best = PCPT_BEST(gemm<T>());
  return best;
}

using pcpt::Cut;
using pcpt::fair_size;
using pcpt::round_up;

constexpr int64_t CHUNK = 64;   // pairs summed in registers before they are added to memory
constexpr int64_t ROWS = 1024;  // most output rows that share a transposed tap
constexpr int64_t BLOCK = 512;  // output rows that stay in the cache while all taps pass
constexpr int64_t PANEL = 64;   // output columns of a task: a multiple of every vector length
constexpr int64_t BAND = 64;    // input channels of a task of the weight gradient

// Weights of one tap for some output columns, as (depth, width) rows of whole vectors.
template <typename T>
class Weights {
 public:
  explicit Weights(const Tensor& weight)
      : data_(weight.const_data_ptr<T>()), depth_(weight.size(1)), tap_(weight.stride(0)),
        row_(weight.stride(1)), column_(weight.stride(2)) {}

  // Columns [left, left + wide): in place if they lie so, else in `buffer` of depth x width.
  std::pair<const T*, int64_t> panel(int64_t tap, int64_t left, int64_t wide, int64_t width,
                                     std::vector<T>& buffer) const {
    const T* from = data_ + tap * tap_ + left * column_;
    if (column_ == 1 && wide == width) return {from, row_};
    buffer.resize(depth_ * width);
    if (row_ == 1 && wide == width && depth_ % gemm<T>().lanes == 0) {
      gemm<T>().transpose(from, column_, wide, depth_, buffer.data(), width);
    } else {
      for (int64_t d = 0; d < depth_; ++d)
        for (int64_t c = 0; c < width; ++c)
          buffer[d * width + c] = c < wide ? from[d * row_ + c * column_] : T(0);
    }
    return {buffer.data(), width};
  }

 private:
  const T* data_;
  int64_t depth_, tap_, row_, column_;
};

template <typename T>
void convolve(const Tensor& features, const Tensor& weight, const Tensor& neighbors, Tensor& out) {
  const Gemm<T>& g = gemm<T>();
  const int64_t num_in = features.size(0), depth = features.size(1);
  const int64_t volume = weight.size(0), columns = weight.size(2), num_out = neighbors.size(1);
  const Weights<T> weights(weight);
  const T* in_data = features.const_data_ptr<T>();
  const int32_t* table = neighbors.const_data_ptr<int32_t>();
  T* out_data = out.mutable_data_ptr<T>();

  const Cut panels(columns, PANEL, g.lanes);
  const Cut blocks(num_out, fair_size(num_out, panels.count, ROWS / 4, ROWS));
  pcpt::for_each_task(blocks.count * panels.count, [&](int64_t task) {
    const int64_t block = task / panels.count, panel = task % panels.count;
    const int64_t first = blocks.begin(block), rows = blocks.length(block);
    const int64_t left = panels.begin(panel), wide = panels.length(panel);
    const int64_t width = round_up(wide, g.lanes);
    std::vector<T> buffer, padded(wide == width ? 0 : rows * width);
    T* sums = wide == width ? out_data + first * columns + left : padded.data();
    const int64_t ld = wide == width ? columns : width;
    for (int64_t r = 0; r < rows; ++r) std::fill_n(sums + r * ld, width, T(0));

    int32_t in_rows[ROWS + pcpt::FIND_SLACK], out_rows[ROWS + pcpt::FIND_SLACK];
    for (int64_t k = 0; k < volume; ++k) {
      const int64_t pairs =
          g.find_pairs(table + k * num_out + first, rows, num_in, 0, in_rows, out_rows);
      if (pairs == 0) continue;
      const auto [tap, ld_tap] = weights.panel(k, left, wide, width, buffer);
      g.products(pairs, in_data, depth, in_rows, depth, tap, ld_tap, width, sums, ld, out_rows);
    }
    if (sums == padded.data())
      for (int64_t r = 0; r < rows; ++r)
        std::copy_n(sums + r * width, wide, out_data + (first + r) * columns + left);
  });
}

// Rows padded by zeros to `ld` columns.
template <typename T>
std::vector<T> padded_rows(const T* data, int64_t rows, int64_t columns, int64_t ld) {
  std::vector<T> padded(rows * ld);
  for (int64_t r = 0; r < rows; ++r) std::copy_n(data + r * columns, columns, &padded[r * ld]);
  return padded;
}

template <typename T>
void sum_outer_products(const Tensor& features, const Tensor& grad, const Tensor& neighbors,
                        Tensor& out) {
  const Gemm<T>& g = gemm<T>();
  const int64_t num_in = features.size(0), channels = features.size(1);
  const int64_t volume = neighbors.size(0), num_out = grad.size(0), columns = grad.size(1);
  const T* in_data = features.const_data_ptr<T>();
  const T* grad_data = grad.const_data_ptr<T>();
  const int32_t* table = neighbors.const_data_ptr<int32_t>();
  T* out_data = out.mutable_data_ptr<T>();

  const int64_t ld = round_up(columns, g.lanes);
  std::vector<T> padded;
  if (ld != columns) {
    padded = padded_rows(grad_data, num_out, columns, ld);
    grad_data = padded.data();
  }
  // Each segment of rows has a sum of its own; a single one is summed in place.
  const Cut segments = pcpt::segments_of(num_out);
  const Cut panels(ld, PANEL, g.lanes);
  const Cut bands(channels, fair_size(channels, segments.count * panels.count, BAND / 4, BAND));
  const int64_t size = volume * channels * ld;
  const bool in_place = segments.count == 1 && ld == columns;
  const std::unique_ptr<T[]> partial(in_place ? nullptr : new T[segments.count * size]);
  T* sums = in_place ? out_data : partial.get();

  pcpt::for_each_task(segments.count * bands.count * panels.count, [&](int64_t task) {
    const int64_t segment = task / (bands.count * panels.count);
    const int64_t band = task / panels.count % bands.count, panel = task % panels.count;
    const int64_t begin = segments.begin(segment), end = begin + segments.length(segment);
    const int64_t top = bands.begin(band), rows = bands.length(band);
    const int64_t left = panels.begin(panel), width = panels.length(panel);
    T* corner = sums + segment * size + top * ld + left;
    for (int64_t k = 0; k < volume; ++k)
      for (int64_t r = 0; r < rows; ++r)
        std::fill_n(corner + (k * channels + r) * ld, width, T(0));

    int32_t in_rows[BLOCK + pcpt::FIND_SLACK], out_rows[BLOCK + pcpt::FIND_SLACK];
    for (int64_t first = begin; first < end; first += BLOCK) {
      for (int64_t k = 0; k < volume; ++k) {  // all taps of a block: its rows are in the cache
        const int64_t pairs = g.find_pairs(table + k * num_out + first,
                                           std::min(BLOCK, end - first), num_in, first, in_rows,
                                           out_rows);
        for (int64_t p = 0; p < pairs; p += CHUNK)
          g.outer_products(rows, in_data + top, channels, in_rows + p, grad_data + left, ld, width,
                           out_rows + p, std::min(CHUNK, pairs - p), corner + k * channels * ld,
                           ld);
      }
    }
  });
  if (in_place) return;
  pcpt::for_each_task(volume, [&](int64_t k) {
    for (int64_t r = k * channels; r < (k + 1) * channels; ++r) {
      std::copy_n(sums + r * ld, columns, out_data + r * columns);
      for (int64_t segment = 1; segment < segments.count; ++segment) {
        const T* from = sums + segment * size + r * ld;
        for (int64_t c = 0; c < columns; ++c) out_data[r * columns + c] += from[c];
      }
    }
  });
}

}  // namespace

int64_t pcpt::find_pairs(const int32_t* neighbors, int64_t count, int64_t num_in, int64_t first_out,
                         int32_t* in, int32_t* out) {
  return gemm<float>().find_pairs(neighbors, count, num_in, first_out, in, out);
}

void pcpt::convolve_float(const Tensor& features, const Tensor& weight, const Tensor& neighbors,
                          Tensor& out) {
  convolve<float>(features, weight, neighbors, out);
}

void pcpt::sum_outer_products_float(const Tensor& features, const Tensor& grad,
                                    const Tensor& neighbors, Tensor& out) {
  sum_outer_products<float>(features, grad, neighbors, out);
}

namespace {

void check(const Tensor& features, const Tensor& other, const Tensor& neighbors) {
  STD_TORCH_CHECK(features.dim() == 2 && neighbors.dim() == 2 &&
                      features.scalar_type() == other.scalar_type() &&
                      neighbors.scalar_type() == ScalarType::Int,
                  "sparse_conv takes matrices of one floating type and an int32 table");
}

Tensor sparse_conv_cpu(const Tensor& features, const Tensor& weight, const Tensor& neighbors,
                       const Tensor& /*inverse: for the gradient*/,
                       const std::optional<Tensor>& /*plan: for CUDA*/,
                       const std::optional<Tensor>& /*inverse_plan*/) {
  check(features, weight, neighbors);
  STD_TORCH_CHECK(weight.dim() == 3 && weight.size(0) == neighbors.size(0) &&
                      weight.size(1) == features.size(1),
                  "sparse_conv: weight must be (K, C_in, C_out)");
  const Tensor in = torch::stable::contiguous(features);
  const Tensor table = torch::stable::contiguous(neighbors);
  Tensor out = torch::stable::new_empty(features, {table.size(1), weight.size(2)});
  if (in.scalar_type() == ScalarType::BFloat16) {
    pcpt::convolve_bf16(in, weight, table, out);
    return out;
  }
  THO_DISPATCH_V2(in.scalar_type(), "sparse_conv", AT_WRAP([&] {
                    convolve<scalar_t>(in, weight, table, out);
                  }),
                  AT_EXPAND(AT_FLOATING_TYPES));
  return out;
}

Tensor sparse_conv_grad_weight_cpu(const Tensor& features, const Tensor& grad,
                                   const Tensor& neighbors,
                                   const Tensor& /*inverse: for the gradient*/,
                                   const std::optional<Tensor>& /*plan: for CUDA*/,
                                   const std::optional<Tensor>& /*inverse_plan*/) {
  check(features, grad, neighbors);
  STD_TORCH_CHECK(grad.dim() == 2 && grad.size(0) == neighbors.size(1),
                  "sparse_conv_grad_weight: grad must be (N_out, C_out)");
  const Tensor in = torch::stable::contiguous(features);
  const Tensor grads = torch::stable::contiguous(grad);
  const Tensor table = torch::stable::contiguous(neighbors);
  Tensor out = torch::stable::new_empty(features, {table.size(0), in.size(1), grads.size(1)});
  if (in.scalar_type() == ScalarType::BFloat16) {
    pcpt::sum_outer_products_bf16(in, grads, table, out);
    return out;
  }
  THO_DISPATCH_V2(in.scalar_type(), "sparse_conv_grad_weight", AT_WRAP([&] {
                    sum_outer_products<scalar_t>(in, grads, table, out);
                  }),
                  AT_EXPAND(AT_FLOATING_TYPES));
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) {
  m.impl("sparse_conv", TORCH_BOX(&sparse_conv_cpu));
  m.impl("sparse_conv_grad_weight", TORCH_BOX(&sparse_conv_grad_weight_cpu));
}
