// Sparse convolution in bfloat16 on the matrix units of AMX, with sums in float32; on other
// processors in float32 all through. AVX-512's own bfloat16 product runs at half the rate of its
// float32 one where both exist, so it is not used.
//
// Gathered rows are copied into tiles, padded by zeros.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "amx.h"
#include "parallel.h"
#include "sparse_conv.h"

namespace {

using torch::headeronly::BFloat16;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Tiles are 16 rows and columns: a stem's three channels are faster in float32.
bool fits_tiles(int64_t channels, int64_t columns) {
  return pcpt::amx::available() && channels >= 16 && columns >= 16;
}

Tensor to_float(const Tensor& half) {
  const Tensor from = torch::stable::contiguous(half);
  Tensor wide = torch::stable::new_empty(from, from.sizes(), ScalarType::Float);
  const BFloat16* data = from.const_data_ptr<BFloat16>();
  std::copy_n(data, from.numel(), wide.mutable_data_ptr<float>());
  return wide;
}

template <typename Compute>  // void(Tensor& float32_result)
void in_float(Tensor& out, const Compute& compute) {
  Tensor wide = torch::stable::new_empty(out, out.sizes(), ScalarType::Float);
  compute(wide);
  std::copy_n(wide.const_data_ptr<float>(), wide.numel(), out.mutable_data_ptr<BFloat16>());
}

#ifdef PCPT_AMX
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512bf16,amx-tile,amx-bf16")

using namespace pcpt::amx;
using pcpt::Cut;
using pcpt::fair_size;
using pcpt::FIND_SLACK;
using pcpt::round_up;

constexpr int64_t ROWS = 1024;   // output rows of a task
constexpr int64_t PANEL = 128;   // output columns of a task
constexpr int64_t BAND = 128;    // input channels of a task of the weight gradient
constexpr int64_t BLOCK = 512;   // output rows that stay in the cache while all taps pass
constexpr int64_t CHUNK = 256;   // pairs packed at a time; sets the order of summation

// The weights of all taps as right operands: (depth / 2, width) pairs for each, whole tiles both.
class PackedWeights {
 public:
  explicit PackedWeights(const Tensor& weight)
      : depth_(round_up(weight.size(1), DEPTH)), ld_(2 * round_up(weight.size(2), GROUP)) {
    const int64_t channels = weight.size(1), columns = weight.size(2);
    const int64_t tap = weight.stride(0), row = weight.stride(1), column = weight.stride(2);
    const BFloat16* data = weight.const_data_ptr<BFloat16>();
    pairs_.reset(new BFloat16[weight.size(0) * depth_ / 2 * ld_]);
    pcpt::for_each_task(weight.size(0), [&](int64_t k) {
      BFloat16* to = pairs_.get() + k * depth_ / 2 * ld_;
      std::memset(static_cast<void*>(to), 0, depth_ / 2 * ld_ * sizeof(BFloat16));
      const BFloat16* from = data + k * tap;
      if (column == 1) {
        pack_rows(from, row, channels, columns, to);
      } else if (row == 1) {
        pack_columns(from, column, channels, columns, to);
      } else {
        for (int64_t d = 0; d < channels; ++d)
          for (int64_t c = 0; c < columns; ++c)
            to[d / 2 * ld_ + 2 * c + d % 2] = from[d * row + c * column];
      }
    });
  }
  int64_t depth() const { return depth_; }
  int64_t ld() const { return ld_; }
  const BFloat16* at(int64_t tap, int64_t left) const {
    return pairs_.get() + tap * depth_ / 2 * ld_ + 2 * left;
  }

 private:
  void pack_rows(const BFloat16* from, int64_t row, int64_t channels, int64_t columns,
                 BFloat16* to) const {
    for (int64_t d = 0; d < channels; d += 2) {
      const BFloat16 *even = from + d * row, *odd = d + 1 < channels ? even + row : nullptr;
      for (int64_t c = 0; c < columns; c += 16)
        _mm512_storeu_si512(to + d / 2 * ld_ + 2 * c,
                            interleave(even + c, odd ? odd + c : nullptr, columns - c));
    }
  }
  // Of a transposed weight: a column's values are neighbours, so pairs only need to be turned.
  void pack_columns(const BFloat16* from, int64_t column, int64_t channels, int64_t columns,
                    BFloat16* to) const {
    for (int64_t d = 0; d < channels; d += DEPTH) {
      const __mmask32 lanes =
          channels - d >= DEPTH ? ~__mmask32(0) : (__mmask32(1) << (channels - d)) - 1;
      for (int64_t c = 0; c < columns; c += TILE) {
        __m512i v[TILE];
        for (int64_t i = 0; i < TILE; ++i)
          v[i] = c + i < columns ? _mm512_maskz_loadu_epi16(lanes, from + (c + i) * column + d)
                                 : _mm512_setzero_si512();
        turn(v);
        for (int64_t i = 0; i < TILE; ++i)
          _mm512_storeu_si512(to + (d / 2 + i) * ld_ + 2 * c, v[i]);
      }
    }
  }

  int64_t depth_, ld_;
  std::unique_ptr<BFloat16[]> pairs_;
};

void convolve_amx(const Tensor& features, const Tensor& weight, const Tensor& neighbors,
                  Tensor& out) {
  const int64_t num_in = features.size(0), channels = features.size(1);
  const int64_t volume = weight.size(0), columns = weight.size(2), num_out = neighbors.size(1);
  const BFloat16* in_data = features.const_data_ptr<BFloat16>();
  const int32_t* table = neighbors.const_data_ptr<int32_t>();
  BFloat16* out_data = out.mutable_data_ptr<BFloat16>();

  const Cut panels(columns, PANEL, GROUP);
  const Cut blocks(num_out, fair_size(num_out, panels.count, ROWS / 4, ROWS));
  const PackedWeights weights(weight);
  const int64_t depth = weights.depth();
  pcpt::for_each_task(blocks.count * panels.count, [&](int64_t task) {
    const Tiles tiles;
    const int64_t block = task / panels.count, panel = task % panels.count;
    const int64_t first = blocks.begin(block), rows = blocks.length(block);
    const int64_t left = panels.begin(panel), wide = panels.length(panel);
    const int64_t width = round_up(wide, GROUP);
    std::vector<float> sums(rows * width);
    std::vector<BFloat16> gathered(GROUP * depth);  // stays zero beyond the channels
    alignas(64) float product[GROUP * GROUP];

    int32_t in_rows[ROWS + FIND_SLACK], out_rows[ROWS + FIND_SLACK];
    for (int64_t k = 0; k < volume; ++k) {
      const int64_t pairs =
          pcpt::find_pairs(table + k * num_out + first, rows, num_in, 0, in_rows, out_rows);
      for (int64_t p = 0; p < pairs; p += GROUP) {
        const int64_t count = std::min(GROUP, pairs - p);
        for (int64_t r = 0; r < count; ++r)
          std::memcpy(static_cast<void*>(&gathered[r * depth]),
                      in_data + in_rows[p + r] * channels, channels * sizeof(BFloat16));
        for (int64_t c = 0; c < width; c += GROUP) {
          _tile_zero(0);
          _tile_zero(1);
          _tile_zero(2);
          _tile_zero(3);
          multiply(gathered.data(), depth, weights.at(k, left + c), weights.ld(), depth);
          store_sums(product, GROUP);
          for (int64_t r = 0; r < count; ++r) {
            float* target = &sums[out_rows[p + r] * width + c];
            const float* from = product + r * GROUP;
            _mm512_storeu_ps(target, _mm512_loadu_ps(target) + _mm512_load_ps(from));
            _mm512_storeu_ps(target + 16, _mm512_loadu_ps(target + 16) + _mm512_load_ps(from + 16));
          }
        }
      }
    }
    for (int64_t r = 0; r < rows; ++r)
      round_to(out_data + (first + r) * columns + left, &sums[r * width], wide);
  });
}

// One tap of one block: target += sum over pairs p of a[in[p]]^T b[out[p]].
struct OuterProducts {
  std::vector<BFloat16> a_pairs, a_turned, b_pairs;

  OuterProducts()
      : a_pairs(CHUNK * BAND), a_turned(CHUNK * BAND), b_pairs(CHUNK * PANEL) {}

  void add(const BFloat16* a, int64_t lda, int64_t channels, const int32_t* in, const BFloat16* b,
           int64_t ldb, int64_t columns, const int32_t* out, int64_t pairs, float* target,
           int64_t ld_target) {
    const int64_t height = round_up(channels, GROUP), width = round_up(columns, GROUP);
    for (int64_t p = 0; p < pairs; p += CHUNK) {
      const int64_t count = std::min(CHUNK, pairs - p), depth = round_up(count, DEPTH);
      pack_pairs(a, lda, in + p, count, channels, a_pairs.data(), height);
      transpose_pairs(a_pairs.data(), height, depth, a_turned.data(), CHUNK);
      pack_pairs(b, ldb, out + p, count, columns, b_pairs.data(), width);
      for (int64_t r = 0; r < height; r += GROUP) {
        for (int64_t c = 0; c < width; c += GROUP) {
          float* corner = target + r * ld_target + c;
          load_sums(corner, ld_target);
          multiply(&a_turned[r * CHUNK], CHUNK, &b_pairs[2 * c], 2 * width, depth);
          store_sums(corner, ld_target);
        }
      }
    }
  }
};

void sum_outer_products_amx(const Tensor& features, const Tensor& grad, const Tensor& neighbors,
                            Tensor& out) {
  const int64_t num_in = features.size(0), channels = features.size(1);
  const int64_t volume = neighbors.size(0), num_out = grad.size(0), columns = grad.size(1);
  const BFloat16* in_data = features.const_data_ptr<BFloat16>();
  const BFloat16* grad_data = grad.const_data_ptr<BFloat16>();
  const int32_t* table = neighbors.const_data_ptr<int32_t>();
  BFloat16* out_data = out.mutable_data_ptr<BFloat16>();

  const Cut segments = pcpt::segments_of(num_out);
  const Cut panels(columns, PANEL, GROUP);
  const Cut bands(channels,
                  fair_size(channels, segments.count * panels.count, GROUP, BAND), GROUP);
  const int64_t height = round_up(channels, GROUP), ld = round_up(columns, GROUP);
  const int64_t size = volume * height * ld;
  const std::unique_ptr<float[]> sums(new float[segments.count * size]);
  pcpt::for_each_task(segments.count * bands.count * panels.count, [&](int64_t task) {
    const Tiles tiles;
    OuterProducts products;
    const int64_t segment = task / (bands.count * panels.count);
    const int64_t band = task / panels.count % bands.count, panel = task % panels.count;
    const int64_t begin = segments.begin(segment), end = begin + segments.length(segment);
    const int64_t top = bands.begin(band), left = panels.begin(panel);
    const int64_t rows = bands.length(band), wide = panels.length(panel);
    float* corner = sums.get() + segment * size + top * ld + left;
    for (int64_t k = 0; k < volume; ++k)
      for (int64_t r = 0; r < round_up(rows, GROUP); ++r)
        std::fill_n(corner + (k * height + r) * ld, round_up(wide, GROUP), 0.f);

    int32_t in_rows[BLOCK + FIND_SLACK], out_rows[BLOCK + FIND_SLACK];
    for (int64_t first = begin; first < end; first += BLOCK) {
      for (int64_t k = 0; k < volume; ++k) {  // all taps of a block: its rows are in the cache
        const int64_t pairs =
            pcpt::find_pairs(table + k * num_out + first, std::min(BLOCK, end - first), num_in,
                             first, in_rows, out_rows);
        products.add(in_data + top, channels, rows, in_rows, grad_data + left, columns, wide,
                     out_rows, pairs, corner + k * height * ld, ld);
      }
    }
  });
  pcpt::for_each_task(volume, [&](int64_t k) {
    std::vector<float> total(columns);
    for (int64_t r = 0; r < channels; ++r) {
      const float* from = sums.get() + (k * height + r) * ld;
      std::copy_n(from, columns, total.data());
      for (int64_t segment = 1; segment < segments.count; ++segment)
        for (int64_t c = 0; c < columns; ++c) total[c] += from[segment * size + c];
      round_to(out_data + (k * channels + r) * columns, total.data(), columns);
    }
  });
}

#pragma GCC pop_options
#endif

bool multiplies_bf16() { return pcpt::amx::available(); }

}  // namespace

void pcpt::convolve_bf16(const Tensor& features, const Tensor& weight, const Tensor& neighbors,
                         Tensor& out) {
#ifdef PCPT_AMX
  if (fits_tiles(weight.size(1), weight.size(2)))
    return convolve_amx(features, weight, neighbors, out);
#endif
  in_float(out, [&](Tensor& wide) {
    convolve_float(to_float(features), to_float(weight), neighbors, wide);
  });
}

void pcpt::sum_outer_products_bf16(const Tensor& features, const Tensor& grad,
                                   const Tensor& neighbors, Tensor& out) {
#ifdef PCPT_AMX
  if (fits_tiles(features.size(1), grad.size(1)))
    return sum_outer_products_amx(features, grad, neighbors, out);
#endif
  in_float(out, [&](Tensor& wide) {
    sum_outer_products_float(to_float(features), to_float(grad), neighbors, wide);
  });
}

STABLE_TORCH_LIBRARY_IMPL(pcpt, CompositeExplicitAutograd, m) {
  m.impl("multiplies_bf16", TORCH_BOX(&multiplies_bf16));
}
