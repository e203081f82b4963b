// AMX, the matrix units of newer Intel processors: whether there are any, products of bfloat16 tiles,
// and packing rows into tiles.
//
// A tile is 16 rows of 64 bytes. Of a product, the left tile holds 16 rows of 32 values, the right
// one 16 columns of 32 values, interleaved in pairs: (value 2 i, value 2 i + 1) of a column are
// neighbours in row i.
#pragma once

#include <torch/headeronly/util/BFloat16.h>

#include <algorithm>
#include <cstdint>

#include "isa.h"
#include "sparse_conv.h"

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define PCPT_AMX 1
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace pcpt::amx {

using torch::headeronly::BFloat16;

// Whether the processor has AMX and the kernel lets this process use it. As torch's own kernels,
// ATEN_CPU_CAPABILITY=default|avx2 forbids it.
inline bool available() {
#ifdef PCPT_AMX
  static const bool answer = [] {
    unsigned a, b, c, d;
    if (best_isa() != Isa::avx512) return false;
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

#ifdef PCPT_AMX
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512bf16,amx-tile,amx-bf16")

constexpr int64_t TILE = 16;     // rows of a tile, and floats in one
constexpr int64_t DEPTH = 32;    // values that a product of tiles sums
constexpr int64_t GROUP = 32;    // rows and columns of four tiles of sums

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

inline void round_to(BFloat16* to, const float* from, int64_t count) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 lanes = count - i >= 16 ? 0xFFFF : (1u << (count - i)) - 1;
    const __m256bh half = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes, from + i));
    _mm256_mask_storeu_epi16(to + i, lanes, (__m256i)half);
  }
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

// Rows `index` of a matrix, `count` of them, as (count / 2, width) pairs of consecutive rows,
// padded by zeros to whole tiles.
inline void pack_pairs(const BFloat16* data, int64_t ld, const int32_t* index, int64_t count,
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

// Pairs (count / 2, width) of pack_pairs, turned: (width, count) values, `ld` a row.
inline void transpose_pairs(const BFloat16* from, int64_t width, int64_t count, BFloat16* to,
                     int64_t ld) {
  for (int64_t p = 0; p < count / 2; p += 16) {
    for (int64_t c = 0; c < width; c += 16) {
      __m512i v[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) v[i] = _mm512_loadu_si512(from + (p + i) * 2 * width + 2 * c);
      turn(v);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) _mm512_storeu_si512(to + (c + i) * ld + 2 * p, v[i]);
    }
  }
}

#pragma GCC pop_options
#endif

}  // namespace pcpt::amx
