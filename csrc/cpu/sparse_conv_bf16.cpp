// Sparse convolution in bfloat16 on the matrix units of AMX, with sums in float32; on other
// processors in float32 all through. AVX-512's own bfloat16 product runs at half the rate of its
// float32 one where both exist, so it is not used.
//
// A tile of AMX is 16 rows of 64 bytes. Of a product, the left tile holds 16 rows of 32 values, the
// right one 16 columns of 32 values, interleaved in pairs: (value 2 i, value 2 i + 1) of a column are
// neighbours in row i. Gathered rows are copied into such tiles, padded by zeros.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "parallel.h"
#include "sparse_conv.h"

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define PCPT_AMX 1
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

using torch::headeronly::BFloat16;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Whether the processor has AMX and the kernel lets this process use it. As torch's own kernels,
// ATEN_CPU_CAPABILITY=default|avx2 forbids it.
bool has_amx() {
#ifdef PCPT_AMX
  static const bool answer = [] {
    const char* variable = std::getenv("ATEN_CPU_CAPABILITY");
    const std::string most = variable ? variable : "";
    unsigned a, b, c, d;
    if (most == "default" || most == "avx2") return false;
    if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl")) return false;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a >> 5 & 1)) return false;  // avx512_bf16
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    if (!(d >> 22 & 1) || !(d >> 24 & 1)) return false;  // amx-bf16, amx-tile
    constexpr long REQUEST = 0x1023, TILE_DATA = 18;     // ARCH_REQ_XCOMP_PERM, of Linux 5.16
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
  }();
  return answer;
#else
  return false;
#endif
}

// Tiles are 16 rows and columns: a stem's three channels are faster in float32.
bool fits_tiles(int64_t channels, int64_t columns) {
  return has_amx() && channels >= 16 && columns >= 16;
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

using pcpt::Cut;
using pcpt::fair_size;
using pcpt::FIND_SLACK;
using pcpt::round_up;

constexpr int64_t TILE = 16;     // rows of a tile, and floats in one
constexpr int64_t DEPTH = 32;    // values that a product of tiles sums
constexpr int64_t GROUP = 32;    // rows and columns of four tiles of sums
constexpr int64_t ROWS = 1024;   // output rows of a task
constexpr int64_t PANEL = 128;   // output columns of a task
constexpr int64_t BAND = 128;    // input channels of a task of the weight gradient
constexpr int64_t BLOCK = 512;   // output rows that stay in the cache while all taps pass
constexpr int64_t CHUNK = 256;   // pairs packed at a time; sets the order of summation

// All eight tiles at their full size, while it lives.
class Tiles {
 public:
  Tiles() {
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t bytes[16] = {};
      uint8_t rows[16] = {};
    } configuration;
    std::fill_n(configuration.bytes, 8, 64);
    std::fill_n(configuration.rows, 8, 16);
    _tile_loadconfig(&configuration);
  }
  ~Tiles() { _tile_release(); }
};

// Adds to the sums in tiles 0 to 3, 2 x 2 of them: left rows (2 x 16, depth) times right columns
// (depth / 2, 2 x 16 pairs); distances in values.
inline void multiply(const BFloat16* left, int64_t left_row, const BFloat16* right,
                     int64_t right_row, int64_t depth) {
  for (int64_t d = 0; d < depth; d += DEPTH, left += DEPTH, right += DEPTH / 2 * right_row) {
    _tile_loadd(4, left, 2 * left_row);
    _tile_loadd(6, right, 2 * right_row);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, right + 2 * TILE, 2 * right_row);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, left + TILE * left_row, 2 * left_row);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

inline void load_sums(const float* sums, int64_t row) {
  _tile_loadd(0, sums, 4 * row);
  _tile_loadd(1, sums + TILE, 4 * row);
  _tile_loadd(2, sums + TILE * row, 4 * row);
  _tile_loadd(3, sums + TILE * row + TILE, 4 * row);
}

inline void store_sums(float* sums, int64_t row) {
  _tile_stored(0, sums, 4 * row);
  _tile_stored(1, sums + TILE, 4 * row);
  _tile_stored(2, sums + TILE * row, 4 * row);
  _tile_stored(3, sums + TILE * row + TILE, 4 * row);
}

void round_to(BFloat16* to, const float* from, int64_t count) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 lanes = count - i >= 16 ? 0xFFFF : (1u << (count - i)) - 1;
    const __m256bh half = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes, from + i));
    _mm256_mask_storeu_epi16(to + i, lanes, (__m256i)half);
  }
}

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
      for (int64_t d = 0; d < channels; ++d)
        for (int64_t c = 0; c < columns; ++c)
          to[d / 2 * ld_ + 2 * c + d % 2] = data[k * tap + d * row + c * column];
    });
  }
  int64_t depth() const { return depth_; }
  int64_t ld() const { return ld_; }
  const BFloat16* at(int64_t tap, int64_t left) const {
    return pairs_.get() + tap * depth_ / 2 * ld_ + 2 * left;
  }

 private:
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

// 16 values of two rows, interleaved: the low half of a lane is of `even`. Either may be null.
// Masks throughout, as GCC 12 warns of its own unmasked intrinsics.
inline __m512i interleave(const BFloat16* even, const BFloat16* odd, int64_t left) {
  const __mmask16 lanes = left >= 16 ? 0xFFFF : (1u << left) - 1;
  __m512i low = _mm512_setzero_si512(), high = low;
  if (even) low = _mm512_maskz_cvtepu16_epi32(lanes, _mm256_maskz_loadu_epi16(lanes, even));
  if (odd) high = _mm512_maskz_cvtepu16_epi32(lanes, _mm256_maskz_loadu_epi16(lanes, odd));
  return _mm512_or_si512(low, _mm512_maskz_slli_epi32(0xFFFF, high, 16));
}

// Rows `index` of a matrix, `count` of them, as (CHUNK / 2, width) pairs of consecutive rows.
void pack_pairs(const BFloat16* data, int64_t ld, const int32_t* index, int64_t count,
                int64_t wide, BFloat16* to, int64_t width) {
  for (int64_t p = 0; p < round_up(count, DEPTH); p += 2, to += 2 * width) {
    const BFloat16* even = p < count ? data + index[p] * ld : nullptr;
    const BFloat16* odd = p + 1 < count ? data + index[p + 1] * ld : nullptr;
    for (int64_t c = 0; c < width; c += 16) {
      const int64_t left = std::max<int64_t>(0, wide - c);
      const bool some = left > 0;
      _mm512_storeu_si512(to + 2 * c,
                          interleave(some && even ? even + c : nullptr,
                                     some && odd ? odd + c : nullptr, left));
    }
  }
}

// Turns 16 x 16 pairs: log2(16) rounds swap ever larger off-diagonal blocks.
inline void turn(__m512i* v) {
#pragma GCC unroll 4
  for (int size = 1; size < 16; size *= 2) {
    alignas(64) int32_t low[16], high[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      low[i] = i & size ? 16 + i - size : i;
      high[i] = i & size ? 16 + i : i + size;
    }
    const __m512i low_lanes = _mm512_load_si512(low), high_lanes = _mm512_load_si512(high);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      if (i & size) continue;
      const __m512i a = v[i], b = v[i + size];
      v[i] = _mm512_permutex2var_epi32(a, low_lanes, b);
      v[i + size] = _mm512_permutex2var_epi32(a, high_lanes, b);
    }
  }
}

// Pairs (count / 2, width) of pack_pairs, turned: (width, count) values.
void transpose_pairs(const BFloat16* from, int64_t width, int64_t count, BFloat16* to) {
  for (int64_t p = 0; p < count / 2; p += 16) {
    for (int64_t c = 0; c < width; c += 16) {
      __m512i v[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) v[i] = _mm512_loadu_si512(from + (p + i) * 2 * width + 2 * c);
      turn(v);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) _mm512_storeu_si512(to + (c + i) * CHUNK + 2 * p, v[i]);
    }
  }
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
      transpose_pairs(a_pairs.data(), height, depth, a_turned.data());
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

bool multiplies_bf16() { return has_amx(); }

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
