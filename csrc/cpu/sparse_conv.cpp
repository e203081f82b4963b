// Sparse convolution over a neighbour table and its weight gradient. The input gradient is the same
// convolution over the inverse table with transposed weights.
//
// Work is cut into tasks whose size depends on the shapes alone and each element of a result is
// summed by one task in a fixed order, so results do not depend on the number of threads.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/Dispatch_v2.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "parallel.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PCPT_X86 1
#include <immintrin.h>
#endif

namespace {

using torch::stable::Tensor;

template <typename T>
struct Gemm {
  int lanes;  // columns come in whole vectors of this many
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
  static const Gemm<T> best = [] {
#ifdef PCPT_X86
    if (__builtin_cpu_supports("avx512f")) return avx512::gemm<T>();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::gemm<T>();
#endif
    return baseline::gemm<T>();
  }();
  return best;
}

constexpr int64_t TILE = 128;    // output rows of a task; its sums stay in the first-level cache
constexpr int64_t PANEL = 64;    // output columns of a task, a multiple of every vector length
constexpr int64_t CHUNK = 64;    // pairs summed in registers before they are added to the gradient
constexpr int64_t CHANNELS = 48; // input channels of a task of the weight gradient

// The rows of a stretch of the table that have a neighbour. Entries outside the input count as
// absent, so that a wrong table cannot read foreign memory.
int64_t find_pairs(const int32_t* neighbors, int64_t count, int64_t num_in, int32_t first_out,
                   int32_t* in, int32_t* out) {
  int64_t pairs = 0;
  for (int64_t o = 0; o < count; ++o) {
    in[pairs] = neighbors[o];
    out[pairs] = first_out + static_cast<int32_t>(o);
    pairs += static_cast<uint64_t>(static_cast<int64_t>(neighbors[o])) <
             static_cast<uint64_t>(num_in);
  }
  return pairs;
}

template <typename T>
struct Matrices {  // (count, rows, columns), columns adjacent
  const T* data;
  int64_t stride, ld;
  std::unique_ptr<T[]> owned;
};

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Columns adjacent and padded by zeros to whole vectors; `tensor` is used in place if it is so.
template <typename T>
Matrices<T> whole_vectors(const Tensor& tensor, int64_t lanes) {
  const int64_t count = tensor.size(0), rows = tensor.size(1), columns = tensor.size(2);
  const int64_t s0 = tensor.stride(0), s1 = tensor.stride(1), s2 = tensor.stride(2);
  const T* data = tensor.const_data_ptr<T>();
  if (s2 == 1 && columns % lanes == 0) return {data, s0, s1, nullptr};
  const int64_t ld = round_up(columns, lanes);
  std::unique_ptr<T[]> padded(new T[count * rows * ld]);
  constexpr int64_t BLOCK = 16;  // square blocks: one side of a transposition always jumps
  const int64_t bands = (rows + BLOCK - 1) / BLOCK;
  pcpt::for_each_task(count * bands, [&](int64_t task) {
    const int64_t k = task / bands, first = task % bands * BLOCK;
    const int64_t last = std::min(first + BLOCK, rows);
    const T* from = data + k * s0;
    T* to = padded.get() + k * rows * ld;
    for (int64_t left = 0; left < ld; left += BLOCK) {
      const int64_t right = std::min(left + BLOCK, ld);
      for (int64_t r = first; r < last; ++r)
        for (int64_t c = left; c < right; ++c)
          to[r * ld + c] = c < columns ? from[r * s1 + c * s2] : T(0);
    }
  });
  const T* result = padded.get();
  return {result, rows * ld, ld, std::move(padded)};
}

// Columns [left, left + wide) of one tap's weights as (depth, width), whole vectors: in place if they
// lie so, else copied to `buffer`.
template <typename T>
class Taps {
 public:
  Taps(const Tensor& weight)
      : data_(weight.const_data_ptr<T>()), depth_(weight.size(1)), stride_(weight.stride(0)),
        row_(weight.stride(1)), column_(weight.stride(2)) {}

  bool in_place(int64_t wide) const { return column_ == 1 && wide % gemm<T>().lanes == 0; }

  const T* panel(int64_t tap, int64_t left, int64_t wide, int64_t width, T* buffer,
                 int64_t* ld) const {
    const T* from = data_ + tap * stride_ + left * column_;
    if (in_place(wide)) {
      *ld = row_;
      return from;
    }
    *ld = width;
    const int64_t lanes = gemm<T>().lanes;
    if (row_ == 1 && wide == width && depth_ % lanes == 0) {
      gemm<T>().transpose(from, column_, wide, depth_, buffer, width);
    } else {
      for (int64_t d = 0; d < depth_; ++d)
        for (int64_t c = 0; c < width; ++c)
          buffer[d * width + c] = c < wide ? from[d * row_ + c * column_] : T(0);
    }
    return buffer;
  }

 private:
  const T* data_;
  int64_t depth_, stride_, row_, column_;
};

static int64_t knob(const char* n, int64_t d) { return getenv(n) ? atoi(getenv(n)) : d; }

template <typename T>
void convolve(const Tensor& features, const Tensor& weight, const Tensor& neighbors, Tensor& out) {
  const Gemm<T>& g = gemm<T>();
  const int64_t num_in = features.size(0), depth = features.size(1);
  const int64_t volume = weight.size(0), columns = weight.size(2), num_out = neighbors.size(1);
  const Taps<T> taps(weight);
  const int64_t GROUP = knob("GROUP", 512), TILE = knob("TILE", 512), DEPTH = knob("DEPTH", 100000);
  const T* in_data = features.const_data_ptr<T>();
  const int32_t* table = neighbors.const_data_ptr<int32_t>();
  T* out_data = out.mutable_data_ptr<T>();

  const int64_t groups = (num_out + GROUP - 1) / GROUP, panels = (columns + PANEL - 1) / PANEL;
  pcpt::for_each_task(groups * panels, [&](int64_t task) {
    const int64_t first = task / panels * GROUP, left = task % panels * PANEL;
    const int64_t rows = std::min(GROUP, num_out - first), wide = std::min(PANEL, columns - left);
    const int64_t width = round_up(wide, g.lanes);
    std::unique_ptr<T[]> buffer(new T[(taps.in_place(wide) ? 0 : depth * width)]);
    std::unique_ptr<T[]> sums(new T[rows * width]());
    int32_t in_rows[2049], out_rows[2049];
    for (int64_t k = 0; k < volume; ++k) {
      int64_t ld;
      const T* panel = taps.panel(k, left, wide, width, buffer.get(), &ld);
      for (int64_t tile = 0; tile < rows; tile += TILE) {
        const int64_t pairs = find_pairs(table + k * num_out + first + tile,
                                         std::min(TILE, rows - tile), num_in, tile, in_rows, out_rows);
        for (int64_t d = 0; d < depth; d += DEPTH)
          g.products(pairs, in_data + d, depth, in_rows, std::min(DEPTH, depth - d), panel + d * ld, ld, width, sums.get(), width,
                   out_rows);
      }
    }
    for (int64_t r = 0; r < rows; ++r)
      std::copy_n(sums.get() + r * width, wide, out_data + (first + r) * columns + left);
  });
}

template <typename T>
void sum_outer_products(const Tensor& features, const Tensor& grad, const Tensor& neighbors,
                        Tensor& out) {
  const Gemm<T>& g = gemm<T>();
  const int64_t SEGMENT = knob("SEGMENT", 2048), BLOCK = knob("BLOCK", 512), CHUNK = knob("CHUNK", 64), CHANNELS = knob("CHANNELS", 32);
  const int64_t num_in = features.size(0), channels = features.size(1);
  const int64_t volume = neighbors.size(0), num_out = grad.size(0), columns = grad.size(1);
  const Matrices<T> grads = whole_vectors<T>(torch::stable::unsqueeze(grad, 0), g.lanes);
  const T* in_data = features.const_data_ptr<T>();
  const int32_t* table = neighbors.const_data_ptr<int32_t>();
  T* out_data = out.mutable_data_ptr<T>();
  const int64_t ld = grads.ld;

  const int64_t panels = (columns + PANEL - 1) / PANEL;
  const int64_t bands = (channels + CHANNELS - 1) / CHANNELS;
  const int64_t segments = std::max<int64_t>(1, num_out / SEGMENT);
  const int64_t size = volume * channels * ld;
  std::unique_ptr<T[]> partial(new T[segments * size]());
  pcpt::for_each_task(segments * bands * panels, [&](int64_t task) {
    const int64_t segment = task / (bands * panels);
    const int64_t begin = segment * num_out / segments, end = (segment + 1) * num_out / segments;
    const int64_t top = task / panels % bands * CHANNELS, left = task % panels * PANEL;
    const int64_t rows = std::min(CHANNELS, channels - top), width = std::min(PANEL, ld - left);
    int32_t in_rows[2049], out_rows[2049];
    for (int64_t first = begin; first < end; first += BLOCK) {
      for (int64_t k = 0; k < volume; ++k) {
        const int64_t pairs = find_pairs(table + k * num_out + first, std::min(BLOCK, end - first), num_in,
                           static_cast<int32_t>(first), in_rows, out_rows);
        T* target = partial.get() + segment * size + (k * channels + top) * ld + left;
        for (int64_t p = 0; p < pairs; p += CHUNK)
          g.outer_products(rows, in_data + top, channels, in_rows + p, grads.data + left, ld, width,
                       out_rows + p, std::min(CHUNK, pairs - p), target, ld);
      }
    }
  });
  pcpt::for_each_task(volume, [&](int64_t k) {
    for (int64_t r = k * channels; r < (k + 1) * channels; ++r) {
      T* target = out_data + r * columns;
      std::copy_n(partial.get() + r * ld, columns, target);
      for (int64_t s = 1; s < segments; ++s) {
        const T* from = partial.get() + s * size + r * ld;
        for (int64_t c = 0; c < columns; ++c) target[c] += from[c];
      }
    }
  });
}

void check(const Tensor& features, const Tensor& other, const Tensor& neighbors) {
  STD_TORCH_CHECK(features.dim() == 2 && neighbors.dim() == 2 &&
                      features.scalar_type() == other.scalar_type() &&
                      neighbors.scalar_type() == torch::headeronly::ScalarType::Int,
                  "sparse_conv takes matrices of one floating type and an int32 table");
}

Tensor sparse_conv_cpu(const Tensor& features, const Tensor& weight, const Tensor& neighbors,
                       const Tensor& /*inverse: for the gradient*/) {
  check(features, weight, neighbors);
  STD_TORCH_CHECK(weight.dim() == 3 && weight.size(0) == neighbors.size(0) &&
                      weight.size(1) == features.size(1),
                  "sparse_conv: weight must be (K, C_in, C_out)");
  const Tensor in = torch::stable::contiguous(features);
  const Tensor table = torch::stable::contiguous(neighbors);
  Tensor out = torch::stable::new_empty(features, {table.size(1), weight.size(2)});
  THO_DISPATCH_V2(in.scalar_type(), "sparse_conv", AT_WRAP([&] {
                    convolve<scalar_t>(in, weight, table, out);
                  }),
                  AT_EXPAND(AT_FLOATING_TYPES));
  return out;
}

Tensor sparse_conv_grad_weight_cpu(const Tensor& features, const Tensor& grad,
                                   const Tensor& neighbors,
                                   const Tensor& /*inverse: for the gradient*/) {
  check(features, grad, neighbors);
  STD_TORCH_CHECK(grad.dim() == 2 && grad.size(0) == neighbors.size(1),
                  "sparse_conv_grad_weight: grad must be (N_out, C_out)");
  const Tensor in = torch::stable::contiguous(features);
  const Tensor grads = torch::stable::contiguous(grad);
  const Tensor table = torch::stable::contiguous(neighbors);
  Tensor out = torch::stable::new_empty(features, {table.size(0), in.size(1), grads.size(1)});
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
