// Sixteen numbers at a time, whatever the vector registers hold. Included by every_isa.h, once for
// each instruction set. No contraction and no reordering: results are those of scalar code.
namespace PCPT_ISA {

template <typename T>
struct Pack {
  typedef T Vector __attribute__((vector_size(PCPT_BYTES)));
  typedef T Unaligned __attribute__((vector_size(PCPT_BYTES), aligned(sizeof(T)), may_alias));
  static constexpr int width = PCPT_BYTES / sizeof(T), parts = pcpt::PACK / width;

  Vector part[parts];

  static Pack load(const T* p) {
    Pack pack;
#pragma GCC unroll 8
    for (int i = 0; i < parts; ++i) pack.part[i] = *reinterpret_cast<const Unaligned*>(p + i * width);
    return pack;
  }
  static Pack splat(T value) {
    Pack pack;
#pragma GCC unroll 8
    for (int i = 0; i < parts; ++i) pack.part[i] = value - Vector{};  // x - 0 is x: a broadcast
    return pack;
  }
  void store(T* p) const {
#pragma GCC unroll 8
    for (int i = 0; i < parts; ++i) *reinterpret_cast<Unaligned*>(p + i * width) = part[i];
  }
};

// Part by part, `expression` of the vectors x, y (and the lanes' numbers do not matter).
#define PCPT_PACK_OPERATION(name, expression)                              \
  template <typename T>                                                    \
  inline Pack<T> name(const Pack<T>& a, const Pack<T>& b) {                \
    Pack<T> result;                                                        \
    _Pragma("GCC unroll 8") for (int i = 0; i < Pack<T>::parts; ++i) {     \
      const typename Pack<T>::Vector x = a.part[i], y = b.part[i];         \
      result.part[i] = expression;                                         \
    }                                                                      \
    return result;                                                         \
  }
PCPT_PACK_OPERATION(operator+, x + y)
PCPT_PACK_OPERATION(operator-, x - y)
PCPT_PACK_OPERATION(operator*, x* y)
PCPT_PACK_OPERATION(smaller, x < y ? x : y)  // y where either is nan
PCPT_PACK_OPERATION(larger, x > y ? x : y)
#undef PCPT_PACK_OPERATION

inline uint32_t less_bits(Pack<float>::Vector a, Pack<float>::Vector b) {
#ifdef PCPT_LESS_FLOAT
  return static_cast<uint32_t>(PCPT_LESS_FLOAT(a, b));
#else
  uint32_t bits = 0;
  for (int i = 0; i < Pack<float>::width; ++i) bits |= uint32_t(a[i] < b[i]) << i;
  return bits;
#endif
}

inline uint32_t less_bits(Pack<double>::Vector a, Pack<double>::Vector b) {
#ifdef PCPT_LESS_DOUBLE
  return static_cast<uint32_t>(PCPT_LESS_DOUBLE(a, b));
#else
  uint32_t bits = 0;
  for (int i = 0; i < Pack<double>::width; ++i) bits |= uint32_t(a[i] < b[i]) << i;
  return bits;
#endif
}

// Bit i: a[i] < b[i]; false for nan.
template <typename T>
inline uint32_t less(const Pack<T>& a, const Pack<T>& b) {
  uint32_t bits = 0;
#pragma GCC unroll 8
  for (int i = 0; i < Pack<T>::parts; ++i)
    bits |= less_bits(a.part[i], b.part[i]) << (i * Pack<T>::width);
  return bits;
}

// The largest of sixteen numbers, none of them nan.
template <typename T>
inline T largest(const Pack<T>& pack) {
  typedef typename Pack<T>::Vector Vector;
  constexpr int width = Pack<T>::width;
  Vector best = pack.part[0];
#pragma GCC unroll 8
  for (int i = 1; i < Pack<T>::parts; ++i) best = pack.part[i] > best ? pack.part[i] : best;
#ifdef __clang__
  T result = best[0];
  for (int i = 1; i < width; ++i) result = best[i] > result ? best[i] : result;
  return result;
#else
  typedef std::conditional_t<sizeof(T) == 4, int32_t, int64_t> Index;
  typedef Index Mask __attribute__((vector_size(PCPT_BYTES)));
#pragma GCC unroll 4
  for (int half = width / 2; half > 0; half /= 2) {
    Mask turned;
#pragma GCC unroll 16
    for (int i = 0; i < width; ++i) turned[i] = (i + half) % width;
    const Vector other = __builtin_shuffle(best, turned);
    best = other > best ? other : best;
  }
  return best[0];
#endif
}

// Squared distances of the points of a pack, (channels, 16), to one point.
template <typename T>
inline Pack<T> squared_distance(const T* pack, const T* point, int channels) {
  Pack<T> gap = Pack<T>::load(pack) - Pack<T>::splat(point[0]);
  Pack<T> sum = gap * gap;
  const auto add = [&](int channel) {
    gap = Pack<T>::load(pack + channel * pcpt::PACK) - Pack<T>::splat(point[channel]);
    sum = sum + gap * gap;
  };
  add(1);
  add(2);  // packs have three channels at least
  for (int channel = 3; channel < channels; ++channel) add(channel);
  return sum;
}

// No point in box i of a node is nearer to `point` than this, squared: rounding keeps order, so
// neither is any distance that squared_distance finds. inf where there is no box.
template <typename T>
inline Pack<T> squared_gap(const T* node, const T* point) {
  Pack<T> sum;
#pragma GCC unroll 3
  for (int axis = 0; axis < 3; ++axis) {
    const Pack<T> at = Pack<T>::splat(point[axis]);
    const Pack<T> low = Pack<T>::load(node + 2 * axis * pcpt::PACK);
    const Pack<T> high = Pack<T>::load(node + (2 * axis + 1) * pcpt::PACK);
    const Pack<T> gap = larger(larger(low - at, at - high), Pack<T>::splat(T(0)));
    sum = axis == 0 ? gap * gap : sum + gap * gap;
  }
  return sum;
}

}  // namespace PCPT_ISA
