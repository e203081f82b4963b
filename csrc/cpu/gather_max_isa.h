// The maximum over gathered rows, some vectors of channels at a time, which stay in registers while
// the rows pass by. Included by every_isa.h, once for each instruction set.
namespace PCPT_ISA {

// Channels channel .. channel + VECTORS * width - 1 of a bag whose first place has a row.
template <typename T, int VECTORS>
void pool_vectors(const Bags<T>& bags, int64_t bag, int64_t first, int64_t channel) {
  typedef typename Pack<T>::Vector Vector;
  typedef typename Pack<T>::Unaligned Unaligned;
  typedef std::conditional_t<sizeof(T) == 4, int32_t, int64_t> Index;
  typedef Index Indices __attribute__((vector_size(PCPT_BYTES)));
  constexpr int width = Pack<T>::width;
  const auto load = [&](int64_t number, int i) {
    const T* from = bags.values + number * bags.channels + channel + i * width;
    return static_cast<Vector>(*reinterpret_cast<const Unaligned*>(from));
  };
  Vector best[VECTORS];
  Indices held[VECTORS];
#pragma GCC unroll 8
  for (int i = 0; i < VECTORS; ++i) {
    best[i] = load(bags.index[first], i);
    held[i] = static_cast<Index>(bags.index[first]) - Indices{};
  }
  for (int64_t place = first + 1; place < bags.starts[bag + 1]; ++place) {
    const int64_t number = bags.index[place];
    if (!bags.has(number)) continue;
    const Indices current = static_cast<Index>(number) - Indices{};
#pragma GCC unroll 8
    for (int i = 0; i < VECTORS; ++i) {
      const Vector value = load(number, i);
      // A nan is taken as well, and the first one stays: nothing is beyond it.
      const Indices takes = ~(value <= best[i]) & (best[i] == best[i]);
      best[i] = takes ? value : best[i];
      held[i] = takes ? current : held[i];
    }
  }
  const int64_t at = bag * bags.channels + channel;
#pragma GCC unroll 8
  for (int i = 0; i < VECTORS; ++i) {
    *reinterpret_cast<Unaligned*>(bags.out + at + i * width) = best[i];
    for (int c = 0; c < width; ++c) bags.row[at + i * width + c] = static_cast<int32_t>(held[i][c]);
  }
}

template <typename T>
void pool_channel(const Bags<T>& bags, int64_t bag, int64_t first, int64_t channel) {
  int64_t held = bags.index[first];
  T best = bags.values[held * bags.channels + channel];
  for (int64_t place = first + 1; place < bags.starts[bag + 1]; ++place) {
    const int64_t number = bags.index[place];
    if (!bags.has(number)) continue;
    const T value = bags.values[number * bags.channels + channel];
    if (!(value <= best) && best == best) {
      best = value;
      held = number;
    }
  }
  bags.out[bag * bags.channels + channel] = best;
  bags.row[bag * bags.channels + channel] = static_cast<int32_t>(held);
}

// Whether all rows of the bags are rows of the values, or -1.
template <typename T>
bool pool(const Bags<T>& bags, int64_t begin, int64_t end) {
  constexpr int width = Pack<T>::width;
  const int64_t channels = bags.channels;
  bool good = true;
  for (int64_t bag = begin; bag < end; ++bag) {
    int64_t first = bags.starts[bag + 1];
    for (int64_t place = first - 1; place >= bags.starts[bag]; --place) {
      if (bags.has(bags.index[place]))
        first = place;
      else
        good &= bags.index[place] == -1;
    }
    if (first == bags.starts[bag + 1]) {
      std::fill_n(bags.out + bag * channels, channels, T(0));
      std::fill_n(bags.row + bag * channels, channels, -1);
      continue;
    }
    int64_t channel = 0;
    for (; channel + 4 * width <= channels; channel += 4 * width)
      pool_vectors<T, 4>(bags, bag, first, channel);
    for (; channel + width <= channels; channel += width)
      pool_vectors<T, 1>(bags, bag, first, channel);
    for (; channel < channels; ++channel) pool_channel(bags, bag, first, channel);
  }
  return good;
}

}  // namespace PCPT_ISA
