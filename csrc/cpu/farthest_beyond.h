// The point farthest beyond a plane, for one instruction set. Included once for each, with
//   PCPT_ISA     namespace of this instruction set
//   PCPT_BYTES   vector register size
// Products are not fused, so every instruction set finds the same.
namespace PCPT_ISA {

typedef double Vector __attribute__((vector_size(PCPT_BYTES)));
typedef double Unaligned __attribute__((vector_size(PCPT_BYTES), aligned(8), may_alias));
typedef int64_t Index __attribute__((vector_size(PCPT_BYTES)));
typedef uint64_t Unsigned __attribute__((vector_size(PCPT_BYTES)));
constexpr int lanes = PCPT_BYTES / sizeof(double);

inline Vector load(const double* p) { return *reinterpret_cast<const Unaligned*>(p); }

// The farthest point so far, lane by lane.
class Search {
 public:
  Search(const pcpt::Points& points, const pcpt::SupportingPlane& plane)
      : points_(points), normal_(plane.normal()), best_(Vector{} + plane.limit()) {
    for (int i = 0; i < lanes; ++i) lane_[i] = i;
    near_ = 2.0 - plane.limit();  // nodes that all but reach the plane are asked as well
    length_squared_ = pcpt::dot(normal_, normal_) * (1.0 + pcpt::ROUNDING);
  }

  // Whole vectors of points.
  void scan(int64_t first, int64_t last) {
    Index at = lane_ + first;
    for (int64_t i = first; i < last; i += lanes, at += lanes) {
      const Vector along = normal_.x * load(points_.x.data() + i) +
                           normal_.y * load(points_.y.data() + i) +
                           normal_.z * load(points_.z.data() + i);
      const Index better = along > best_;
      best_ = better ? along : best_;
      place_ = better ? at : place_;
    }
  }

  // The children first..first+7 of one node, and below them those that reach beyond the plane.
  void descend(const pcpt::DirectionTree& tree, int64_t depth, int64_t first) {
    const pcpt::Level& level = tree.levels[depth];
    int64_t reaches[pcpt::CHILDREN];
    for (int64_t i = 0; i < pcpt::CHILDREN; i += lanes) {
      const int64_t k = first + i;
      Vector along = normal_.x * load(level.x.data() + k) + normal_.y * load(level.y.data() + k) +
                     normal_.z * load(level.z.data() + k);
      const Vector across_squared = length_squared_ - along * along;
      along = along > 0.0 ? along : Vector{};
      const Vector gap = near_ - along * load(level.top.data() + k);
      const Index reach =
          (gap < 0.0) | (across_squared * load(level.radius_squared.data() + k) > gap * gap);
      __builtin_memcpy(reaches + i, &reach, sizeof(reach));
    }
    for (int64_t i = 0; i < pcpt::CHILDREN; ++i) {
      if (!reaches[i]) continue;
      if (depth > 0)
        descend(tree, depth - 1, (first + i) * pcpt::CHILDREN);
      else
        scan((first + i) * pcpt::LEAF, (first + i + 1) * pcpt::LEAF);
    }
  }

  // The farthest, the first of several; -1 where none lies beyond.
  int64_t result() {
#pragma GCC unroll 4
    for (int half = lanes / 2; half > 0; half /= 2) {
      const Vector other = __builtin_shuffle(best_, lane_ ^ half);
      const Index other_place = __builtin_shuffle(place_, lane_ ^ half);
      const Index before = (Unsigned)other_place < (Unsigned)place_;  // -1 comes last
      const Index better = (other > best_) | ((other == best_) & before);
      best_ = better ? other : best_;
      place_ = better ? other_place : place_;
    }
    return place_[0];
  }

 private:
  const pcpt::Points& points_;
  pcpt::Vector3 normal_;
  double near_, length_squared_;
  Vector best_;
  Index place_ = Index{} - 1, lane_;
};

int64_t farthest_of_range(const pcpt::Points& points, int64_t first, int64_t last,
                          const pcpt::SupportingPlane& plane) {
  Search search(points, plane);
  search.scan(first, last);
  return search.result();
}

int64_t farthest_of_tree(const pcpt::Points& points, const pcpt::DirectionTree& tree,
                         const pcpt::SupportingPlane& plane) {
  Search search(points, plane);
  search.descend(tree, static_cast<int64_t>(tree.levels.size()) - 1, 0);
  return search.result();
}

}  // namespace PCPT_ISA
#undef PCPT_ISA
#undef PCPT_BYTES
