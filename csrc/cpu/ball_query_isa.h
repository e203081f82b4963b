// The first points, by row, within a radius of a query. Included by every_isa.h, once for each
// instruction set.
namespace PCPT_ISA {

// Packs in the order of the rows, until k are found. How many were found.
template <typename T>
int scan(const pcpt::Packs<T>& packs, const T* query, T limit, int k, int32_t* rows) {
  int found = 0;
  for (int64_t i = 0; i < packs.count(); ++i) {
    const Pack<T> distances = squared_distance(packs.pack(i), query, packs.channels());
    for (uint32_t bits = less(distances, Pack<T>::splat(limit)); bits; bits &= bits - 1) {
      rows[found++] = static_cast<int32_t>(i * pcpt::PACK + __builtin_ctz(bits));
      if (found == k) return found;
    }
  }
  return found;
}

// All points in the ball, of which the k lowest rows stay, sorted.
template <typename T>
void collect(const pcpt::PointTree<T>& tree, int level, int64_t node, const T* query, T limit, int k,
             int32_t* rows, int& found) {
  const Pack<T> bound = Pack<T>::splat(limit);
  uint32_t children = less(squared_gap(tree.node(level, node), query), bound);
  for (; children; children &= children - 1) {
    const int64_t below = node * pcpt::PACK + __builtin_ctz(children);
    if (level > 0) {
      collect(tree, level - 1, below, query, limit, k, rows, found);
      continue;
    }
    const int32_t* candidates = tree.rows() + below * pcpt::PACK;
    const Pack<T> distances = squared_distance(tree.pack(below), query, tree.channels());
    for (uint32_t bits = less(distances, bound); bits; bits &= bits - 1) {
      const int32_t row = candidates[__builtin_ctz(bits)];
      if (found == k && row > rows[k - 1]) continue;
      int place = found < k ? found++ : k - 1;
      for (; place > 0 && row < rows[place - 1]; --place) rows[place] = rows[place - 1];
      rows[place] = row;
    }
  }
}

template <typename T>
void query_balls(const pcpt::Cloud<T>& cloud, T limit, int64_t first, int64_t last) {
  const int channels = cloud.channels, k = cloud.k;
  std::vector<T> query(cloud.packs->channels());
  int32_t rows[pcpt::MAX_NEIGHBORS];
  for (; first < last; ++first) {
    const T* given = cloud.queries + first * channels;
    if (!pcpt::is_finite(given, channels)) continue;
    pcpt::pad_point(given, channels, query.data());
    int found = scan(*cloud.packs, query.data(), limit, k, rows);
    if (found < k && cloud.tree) {
      found = 0;
      collect(*cloud.tree, cloud.tree->levels() - 1, 0, query.data(), limit, k, rows, found);
    }
    for (int i = 0; i < found; ++i) {
      const T* point = cloud.points + int64_t(rows[i]) * channels;
      T sum = 0;
      for (int c = 0; c < channels; ++c) sum += (given[c] - point[c]) * (given[c] - point[c]);
      cloud.index[first * k + i] = rows[i];
      cloud.distance[first * k + i] = sum;
    }
  }
}

}  // namespace PCPT_ISA
