// Farthest point sampling of one cloud. Included by every_isa.h, once for each instruction set.
namespace PCPT_ISA {

// Every pack and node remembers its point farthest from all samples. A new sample changes nothing
// in a box that lies beyond the farthest distance within it, which is nearly all of them.
template <typename T>
class Sampler {
 public:
  explicit Sampler(const pcpt::PointTree<T>& tree)
      : tree_(tree),
        distance_(tree.num_packs() * pcpt::PACK),
        farthest_(tree.num_nodes() * pcpt::PACK),
        row_(tree.num_nodes() * pcpt::PACK) {
    // Squared distance to the nearest sample, -1 where there is no point or it has been taken.
    for (int64_t i = 0; i < tree.num_packs() * pcpt::PACK; ++i)
      distance_[i] = tree.rows()[i] < 0 ? T(-1) : std::numeric_limits<T>::infinity();
    for (int64_t i = 0; i < tree.num_nodes() * pcpt::PACK; ++i) {
      farthest_[i] = T(-1);
      row_[i] = -1;
    }
    int64_t children = tree.num_packs();
    for (int level = 0; level < tree.levels(); ++level) {
      T* of_level = farthest_.get() + tree.number(level, 0) * pcpt::PACK;
      std::fill(of_level, of_level + children, std::numeric_limits<T>::infinity());
      children = (children + pcpt::PACK - 1) / pcpt::PACK;
    }
  }

  // Takes the point at a place of the packs, and returns the row farthest from all taken, or -1.
  int32_t take(int64_t place, const T* sample) {
    sample_ = sample;
    distance_[place] = T(-1);
    return update_node(tree_.levels() - 1, 0).row;
  }

 private:
  struct Best {
    T distance;
    int32_t row;
  };

  static Best best_of(const Pack<T>& distances, const int32_t* rows) {
    const T best = largest(distances);
    const uint32_t others = less(distances, Pack<T>::splat(best));
    uint32_t bits = ~others & 0xffffu;
    int32_t row = rows[__builtin_ctz(bits)];
    while (bits &= bits - 1) row = std::min(row, rows[__builtin_ctz(bits)]);  // ties are rare
    return {best, best < 0 ? -1 : row};
  }

  Best update_pack(int64_t pack) {
    T* distance = distance_.get() + pack * pcpt::PACK;
    const Pack<T> found = squared_distance(tree_.pack(pack), sample_, tree_.channels());
    const Pack<T> nearest = smaller(found, Pack<T>::load(distance));
    nearest.store(distance);
    return best_of(nearest, tree_.rows() + pack * pcpt::PACK);
  }

  Best update_node(int level, int64_t node) {
    const int64_t number = tree_.number(level, node);
    T* farthest = farthest_.get() + number * pcpt::PACK;
    int32_t* row = row_.get() + number * pcpt::PACK;
    const Pack<T> gap = squared_gap(tree_.node(level, node), sample_);
    // Not where they are equal: the point just taken may be the farthest of its box, at distance 0.
    uint32_t bits = ~less(Pack<T>::load(farthest), gap) & 0xffffu;
    for (; bits; bits &= bits - 1) {
      const int child = __builtin_ctz(bits);
      const int64_t below = node * pcpt::PACK + child;
      const Best best = level == 0 ? update_pack(below) : update_node(level - 1, below);
      farthest[child] = best.distance;
      row[child] = best.row;
    }
    return best_of(Pack<T>::load(farthest), row);
  }

  const pcpt::PointTree<T>& tree_;
  pcpt::Buffer<T> distance_, farthest_;
  pcpt::Buffer<int32_t> row_;
  const T* sample_ = nullptr;
};

template <typename T>
void sample_cloud(const T* points, int64_t num_points, int channels, int64_t start,
                  int64_t num_samples, int64_t* samples) {
  std::fill(samples, samples + num_samples, int64_t(-1));
  if (num_points == 0 || num_samples == 0) return;
  const pcpt::PointTree<T> tree(points, num_points, channels);
  std::vector<int32_t> place(num_points, -1);
  int32_t row = std::numeric_limits<int32_t>::max();
  for (int64_t i = 0; i < tree.num_packs() * pcpt::PACK; ++i) {
    if (tree.rows()[i] < 0) continue;
    place[tree.rows()[i]] = static_cast<int32_t>(i);
    row = std::min(row, tree.rows()[i]);
  }
  if (tree.num_packs() == 0) return;
  if (start >= 0 && start < num_points && place[start] >= 0) row = static_cast<int32_t>(start);
  Sampler<T> sampler(tree);
  std::vector<T> sample(tree.channels());
  for (int64_t i = 0; i < num_samples && row >= 0; ++i) {
    samples[i] = row;
    pcpt::pad_point(points + int64_t(row) * channels, channels, sample.data());
    row = sampler.take(place[row], sample.data());
  }
}

}  // namespace PCPT_ISA
