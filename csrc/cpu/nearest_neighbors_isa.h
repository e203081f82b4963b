// Nearest neighbours of some queries in one cloud, through its tree or point by point: the same
// results. Included by every_isa.h, once for each instruction set.
namespace PCPT_ISA {

// Adds the candidates of a pack that `bits` names; of k entries, sorted, the last fall out.
template <typename T>
inline void insert(NearEntry<T>* entries, int k, uint32_t bits, const T* distance,
                   const int32_t* rows) {
  for (; bits; bits &= bits - 1) {
    const int lane = __builtin_ctz(bits);
    const NearEntry<T> entry = NearEntry<T>::make(distance[lane], rows[lane]);
    if (!(entry < entries[k - 1])) continue;
    int place = k - 1;
    for (; place > 0 && entry < entries[place - 1]; --place) entries[place] = entries[place - 1];
    entries[place] = entry;
  }
}

#ifdef PCPT_AVX512
// The same without a branch, new[i] = min(old[i], max(old[i - 1], entry)), in registers that hold
// entries beyond the k-th as well.
template <int VECTORS>
inline void insert_in(NearEntry<float>* entries, uint32_t bits, const float* distance,
                      const int32_t* rows) {
  __m512i* memory = reinterpret_cast<__m512i*>(entries);
  __m512i vector[VECTORS];
#pragma GCC unroll 16
  for (int v = 0; v < VECTORS; ++v) vector[v] = _mm512_load_si512(memory + v);
  for (; bits; bits &= bits - 1) {
    const int lane = __builtin_ctz(bits);
    const uint64_t key = NearEntry<float>::make(distance[lane], rows[lane]).key;
    const __m512i added = _mm512_set1_epi64(static_cast<int64_t>(key));
#pragma GCC unroll 16
    for (int v = VECTORS - 1; v >= 0; --v) {
      const __m512i below = v > 0 ? vector[v - 1] : _mm512_setzero_si512();
      const __m512i shifted = _mm512_alignr_epi64(vector[v], below, 7);
      vector[v] = _mm512_min_epu64(vector[v], _mm512_max_epu64(shifted, added));
    }
  }
#pragma GCC unroll 16
  for (int v = 0; v < VECTORS; ++v) _mm512_store_si512(memory + v, vector[v]);
}

inline void insert(NearEntry<float>* entries, int k, uint32_t bits, const float* distance,
                   const int32_t* rows) {
  if (k <= 8) return insert_in<1>(entries, bits, distance, rows);
  if (k <= 16) return insert_in<2>(entries, bits, distance, rows);
  if (k <= 24) return insert_in<3>(entries, bits, distance, rows);
  if (k <= 40) return insert_in<5>(entries, bits, distance, rows);
  if (k <= 64) return insert_in<8>(entries, bits, distance, rows);
  return insert_in<16>(entries, bits, distance, rows);
}
#endif

// The k nearest points seen so far, nearest first.
template <typename T>
class Nearest {
 public:
  Nearest() = default;
  Nearest(NearEntry<T>* entries, int k) : entries_(entries), k_(k) {
    for (int i = 0; i < pcpt::MAX_NEIGHBORS; ++i) entries_[i] = NearEntry<T>::none();
    update_limit();
  }

  // Only points nearer than this can enter; never more than inf, as overflow is no distance.
  T limit() const { return limit_; }

  // Sixteen candidates: all that are near enough enter.
  void offer(const Pack<T>& distances, const int32_t* rows) {
    const uint32_t bits = less(distances, Pack<T>::splat(limit_));
    if (!bits) return;
    alignas(64) T distance[pcpt::PACK];
    distances.store(distance);
    insert(entries_, k_, bits, distance, rows);
    update_limit();
  }

  void write(int64_t* index, T* distance) const {
    for (int i = 0; i < k_; ++i) {
      index[i] = entries_[i].row();
      distance[i] = entries_[i].distance();
    }
  }

 private:
  // One beyond the farthest, as equals of a lower row still enter.
  void update_limit() { limit_ = next_above(entries_[k_ - 1].distance()); }

  NearEntry<T>* entries_ = nullptr;  // (MAX_NEIGHBORS,)
  int k_ = 0;
  T limit_ = 0;
};

// Nearest child first; the others follow while they may hold something nearer.
template <typename T>
void descend(const pcpt::PointTree<T>& tree, int level, int64_t node, const T* query,
             Nearest<T>& nearest) {
  constexpr T FAR = std::numeric_limits<T>::infinity();
  alignas(64) T gap[pcpt::PACK];
  const Pack<T> gaps = squared_gap(tree.node(level, node), query);
  uint32_t bits = less(gaps, Pack<T>::splat(nearest.limit()));
  gaps.store(gap);
  while (bits) {
    int child = 0;
    T least = FAR;
    for (uint32_t rest = bits; rest; rest &= rest - 1) {
      const int i = __builtin_ctz(rest);
      child = gap[i] < least ? i : child;
      least = gap[i] < least ? gap[i] : least;
    }
    if (!(least < nearest.limit())) return;
    bits &= ~(1u << child);
    const int64_t below = node * pcpt::PACK + child;
    if (level > 0)
      descend(tree, level - 1, below, query, nearest);
    else
      nearest.offer(squared_distance(tree.pack(below), query, tree.channels()),
                    tree.rows() + below * pcpt::PACK);
  }
}

template <typename T>
void search_tree(const pcpt::Cloud<T>& cloud, int64_t first, int64_t last) {
  alignas(64) NearEntry<T> entries[pcpt::MAX_NEIGHBORS];
  T query[3 + pcpt::MAX_TREE_CHANNELS];
  const bool sorted = !cloud.order.empty();
  if (sorted) last = std::min(last, static_cast<int64_t>(cloud.order.size()));
  for (int64_t i = first; i < last; ++i) {
    const int64_t row = sorted ? cloud.order[i] : i;
    const T* given = cloud.queries + row * cloud.channels;
    if (!pcpt::is_finite(given, cloud.channels)) continue;
    pcpt::pad_point(given, cloud.channels, query);
    Nearest<T> nearest(entries, cloud.k);
    descend(*cloud.tree, cloud.tree->levels() - 1, 0, query, nearest);
    nearest.write(cloud.index + row * cloud.k, cloud.distance + row * cloud.k);
  }
}

// Some queries against every pack, their sums in registers.
template <typename T, int QUERIES>
void scan_group(const pcpt::Cloud<T>& cloud, int64_t first) {
  const int channels = cloud.channels, k = cloud.k;
  const T* queries = cloud.queries + first * channels;
  alignas(64) NearEntry<T> entries[QUERIES][pcpt::MAX_NEIGHBORS];
  Nearest<T> nearest[QUERIES];
  for (int q = 0; q < QUERIES; ++q) nearest[q] = Nearest<T>(entries[q], k);
  for (int64_t i = 0; i < cloud.packs->count(); ++i) {
    const T* pack = cloud.packs->pack(i);
    Pack<T> sum[QUERIES];
    for (int q = 0; q < QUERIES; ++q) sum[q] = Pack<T>::splat(T(0));
    for (int c = 0; c < channels; ++c) {
      const Pack<T> points = Pack<T>::load(pack + c * pcpt::PACK);
#pragma GCC unroll 8
      for (int q = 0; q < QUERIES; ++q) {
        const Pack<T> gap = Pack<T>::splat(queries[q * channels + c]) - points;
        sum[q] = sum[q] + gap * gap;
      }
    }
    int32_t rows[pcpt::PACK];
    for (int lane = 0; lane < pcpt::PACK; ++lane)
      rows[lane] = static_cast<int32_t>(i * pcpt::PACK + lane);
#pragma GCC unroll 8
    for (int q = 0; q < QUERIES; ++q) nearest[q].offer(sum[q], rows);
  }
  for (int q = 0; q < QUERIES; ++q)
    nearest[q].write(cloud.index + (first + q) * k, cloud.distance + (first + q) * k);
}

template <typename T>
void search_packs(const pcpt::Cloud<T>& cloud, int64_t first, int64_t last) {
  constexpr int GROUP = PCPT_BYTES / 2 / sizeof(T);  // sums that fit the registers
  for (; first + GROUP <= last; first += GROUP) scan_group<T, GROUP>(cloud, first);
  for (; first < last; ++first) scan_group<T, 1>(cloud, first);
}

}  // namespace PCPT_ISA
