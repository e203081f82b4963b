// The inner products of sparse_conv, for one instruction set. Included once for each, with
//   PCPT_ISA     namespace of this instruction set
//   PCPT_BYTES   vector register size
//   PCPT_STRIP   widest strip of columns, in vectors: strip * rows accumulators must fit the file
// and, where the set has them, PCPT_FMA_FLOAT and PCPT_FMA_DOUBLE (fused multiply-add), and
// PCPT_COMPRESS (AVX-512's). Each block keeps ROWS x VECS accumulators in registers for the whole
// depth; rows are read where they lie, so nothing is gathered into a buffer first.
namespace PCPT_ISA {

template <typename T>
struct Simd {
  static constexpr int lanes = PCPT_BYTES / sizeof(T);
  typedef T Vector __attribute__((vector_size(PCPT_BYTES)));
  typedef T Unaligned __attribute__((vector_size(PCPT_BYTES), aligned(sizeof(T)), may_alias));

  static Vector load(const T* p) { return *reinterpret_cast<const Unaligned*>(p); }
  static void store(T* p, Vector v) { *reinterpret_cast<Unaligned*>(p) = v; }
  static void add_to(T* p, Vector v) { *reinterpret_cast<Unaligned*>(p) += v; }
  static Vector splat(T value) { return value - Vector{}; }  // x - 0 is x: compiles to a broadcast
};

#ifdef PCPT_FMA_FLOAT
inline Simd<float>::Vector multiply_add(Simd<float>::Vector a, Simd<float>::Vector b,
                                        Simd<float>::Vector c) {
  return PCPT_FMA_FLOAT(a, b, c);
}
inline Simd<double>::Vector multiply_add(Simd<double>::Vector a, Simd<double>::Vector b,
                                         Simd<double>::Vector c) {
  return PCPT_FMA_DOUBLE(a, b, c);
}
#else
template <typename V>
inline V multiply_add(V a, V b, V c) {
  return a * b + c;
}
#endif

// c[out[r]] += a[in[r]] * b, for ROWS rows r and VECS vectors of columns.
template <typename T, int VECS, int ROWS>
void product_block(const T* a, int64_t lda, const int32_t* in, int64_t depth, const T* b,
                   int64_t ldb, T* c, int64_t ldc, const int32_t* out) {
  using S = Simd<T>;
  const T* row[ROWS];
  typename S::Vector sum[ROWS][VECS] = {};
  for (int r = 0; r < ROWS; ++r) row[r] = a + in[r] * lda;
  for (int64_t d = 0; d < depth; ++d, b += ldb) {
    typename S::Vector columns[VECS];
#pragma GCC unroll 16
    for (int v = 0; v < VECS; ++v) columns[v] = S::load(b + v * S::lanes);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      const typename S::Vector value = S::splat(row[r][d]);
#pragma GCC unroll 16
      for (int v = 0; v < VECS; ++v) sum[r][v] = multiply_add(value, columns[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; ++r) {
    T* target = c + out[r] * ldc;
#pragma GCC unroll 16
    for (int v = 0; v < VECS; ++v) S::add_to(target + v * S::lanes, sum[r][v]);
  }
}

// sum[r] += sum over pairs p of a[in[p]][r] * b[out[p]], for ROWS channels r of a.
template <typename T, int VECS, int ROWS>
void outer_block(const T* a, int64_t lda, const int32_t* in, const T* b, int64_t ldb,
                 const int32_t* out, int64_t pairs, T* target, int64_t ld_target) {
  using S = Simd<T>;
  typename S::Vector sum[ROWS][VECS] = {};
  for (int64_t p = 0; p < pairs; ++p) {
    const T* channels = a + in[p] * lda;
    const T* row = b + out[p] * ldb;
    typename S::Vector columns[VECS];
#pragma GCC unroll 16
    for (int v = 0; v < VECS; ++v) columns[v] = S::load(row + v * S::lanes);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      const typename S::Vector value = S::splat(channels[r]);
#pragma GCC unroll 16
      for (int v = 0; v < VECS; ++v) sum[r][v] = multiply_add(value, columns[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; ++r, target += ld_target)
#pragma GCC unroll 16
    for (int v = 0; v < VECS; ++v) S::add_to(target + v * S::lanes, sum[r][v]);
}

template <int VECS>
constexpr int rows_of_strip = VECS == PCPT_STRIP ? 6 : 8;

// The last rows, fewer than a full block: picks the block made for their number.
template <typename T, int VECS, int ROWS>
void product_rest(int64_t rows, const T* a, int64_t lda, const int32_t* in, int64_t depth,
                  const T* b, int64_t ldb, T* c, int64_t ldc, const int32_t* out) {
  if constexpr (ROWS > 0) {
    if (rows == ROWS)
      product_block<T, VECS, ROWS>(a, lda, in, depth, b, ldb, c, ldc, out);
    else
      product_rest<T, VECS, ROWS - 1>(rows, a, lda, in, depth, b, ldb, c, ldc, out);
  }
}

template <typename T, int VECS, int ROWS>
void outer_rest(int64_t rows, const T* a, int64_t lda, const int32_t* in, const T* b, int64_t ldb,
                const int32_t* out, int64_t pairs, T* target, int64_t ld_target) {
  if constexpr (ROWS > 0) {
    if (rows == ROWS)
      outer_block<T, VECS, ROWS>(a, lda, in, b, ldb, out, pairs, target, ld_target);
    else
      outer_rest<T, VECS, ROWS - 1>(rows, a, lda, in, b, ldb, out, pairs, target, ld_target);
  }
}

template <typename T, int VECS>
void product_strip(int64_t rows, const T* a, int64_t lda, const int32_t* in, int64_t depth,
                   const T* b, int64_t ldb, T* c, int64_t ldc, const int32_t* out) {
  constexpr int ROWS = rows_of_strip<VECS>;
  for (; rows >= ROWS; rows -= ROWS, in += ROWS, out += ROWS)
    product_block<T, VECS, ROWS>(a, lda, in, depth, b, ldb, c, ldc, out);
  product_rest<T, VECS, ROWS - 1>(rows, a, lda, in, depth, b, ldb, c, ldc, out);
}

template <typename T, int VECS>
void outer_strip(int64_t rows, const T* a, int64_t lda, const int32_t* in, const T* b, int64_t ldb,
                 const int32_t* out, int64_t pairs, T* target, int64_t ld_target) {
  constexpr int ROWS = rows_of_strip<VECS>;
  for (; rows >= ROWS; rows -= ROWS, a += ROWS, target += ROWS * ld_target)
    outer_block<T, VECS, ROWS>(a, lda, in, b, ldb, out, pairs, target, ld_target);
  outer_rest<T, VECS, ROWS - 1>(rows, a, lda, in, b, ldb, out, pairs, target, ld_target);
}

// Columns in strips of PCPT_STRIP vectors, and one narrower strip for the rest; width is a multiple
// of the vector length.
template <typename T, int VECS = PCPT_STRIP>
void products(int64_t rows, const T* a, int64_t lda, const int32_t* in, int64_t depth, const T* b,
              int64_t ldb, int64_t width, T* c, int64_t ldc, const int32_t* out) {
  constexpr int columns = VECS * Simd<T>::lanes;
  for (; width >= columns; width -= columns, b += columns, c += columns)
    product_strip<T, VECS>(rows, a, lda, in, depth, b, ldb, c, ldc, out);
  if constexpr (VECS > 1)
    if (width > 0) products<T, VECS - 1>(rows, a, lda, in, depth, b, ldb, width, c, ldc, out);
}

template <typename T, int VECS = PCPT_STRIP>
void outer_products(int64_t rows, const T* a, int64_t lda, const int32_t* in, const T* b,
                    int64_t ldb, int64_t width, const int32_t* out, int64_t pairs, T* target,
                    int64_t ld_target) {
  constexpr int columns = VECS * Simd<T>::lanes;
  for (; width >= columns; width -= columns, b += columns, target += columns)
    outer_strip<T, VECS>(rows, a, lda, in, b, ldb, out, pairs, target, ld_target);
  if constexpr (VECS > 1)
    if (width > 0)
      outer_products<T, VECS - 1>(rows, a, lda, in, b, ldb, width, out, pairs, target, ld_target);
}

// Lane i is a[mask[i]], or b[mask[i] - lanes] where the mask passes the lanes of a.
template <typename V, typename Mask>
inline V shuffle(V a, V b, Mask mask) {
#ifdef __clang__
  constexpr int lanes = sizeof(V) / sizeof(a[0]);
  V v;
  for (int i = 0; i < lanes; ++i) v[i] = mask[i] < lanes ? a[mask[i]] : b[mask[i] - lanes];
  return v;
#else
  return __builtin_shuffle(a, b, mask);
#endif
}

// to[c][r] = from[r][c]; rows and columns are multiples of the vector length L, and squares of
// L x L are turned in registers: log2(L) rounds swap ever larger off-diagonal blocks.
template <typename T>
void transpose(const T* from, int64_t ld, int64_t rows, int64_t columns, T* to, int64_t ld_to) {
  using S = Simd<T>;
  constexpr int L = S::lanes;
  typedef std::conditional_t<sizeof(T) == 4, int32_t, int64_t> Index;
  typedef Index Mask __attribute__((vector_size(PCPT_BYTES)));
  for (int64_t r = 0; r < rows; r += L) {
    for (int64_t c = 0; c < columns; c += L) {
      typename S::Vector v[L];
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) v[i] = S::load(from + (r + i) * ld + c);
#pragma GCC unroll 4
      for (int size = 1; size < L; size *= 2) {
        Mask low, high;
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) {
          low[i] = i & size ? L + i - size : i;
          high[i] = i & size ? L + i : i + size;
        }
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) {
          if (i & size) continue;
          const typename S::Vector a = v[i], b = v[i + size];
          v[i] = shuffle(a, b, low);
          v[i + size] = shuffle(a, b, high);
        }
      }
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) S::store(to + (c + i) * ld_to + r, v[i]);
    }
  }
}

// Without a branch: whether a row has a neighbour is as good as random. Writes up to a vector beyond
// the pairs found.
inline int64_t find_pairs(const int32_t* neighbors, int64_t count, int64_t num_in,
                          int64_t first_out, int32_t* in, int32_t* out) {
  const uint32_t limit = static_cast<uint32_t>(num_in);  // -1 is far above it
  int64_t pairs = 0, o = 0;
#ifdef PCPT_COMPRESS
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (; o + 16 <= count; o += 16) {
    const __m512i found = _mm512_loadu_si512(neighbors + o);
    const __m512i row = _mm512_add_epi32(lane, _mm512_set1_epi32(first_out + o));
    const __mmask16 present = _mm512_cmplt_epu32_mask(found, _mm512_set1_epi32(limit));
    _mm512_storeu_si512(in + pairs, _mm512_maskz_compress_epi32(present, found));
    _mm512_storeu_si512(out + pairs, _mm512_maskz_compress_epi32(present, row));
    pairs += __builtin_popcount(present);
  }
#endif
  for (; o < count; ++o) {
    in[pairs] = neighbors[o];
    out[pairs] = static_cast<int32_t>(first_out + o);
    pairs += static_cast<uint32_t>(neighbors[o]) < limit;
  }
  return pairs;
}

template <typename T>
Gemm<T> gemm() {
  return {Simd<T>::lanes, find_pairs, products<T>, outer_products<T>, transpose<T>};
}

}  // namespace PCPT_ISA

#undef PCPT_ISA
#undef PCPT_BYTES
#undef PCPT_STRIP
#undef PCPT_FMA_FLOAT
#undef PCPT_FMA_DOUBLE
#undef PCPT_COMPRESS
