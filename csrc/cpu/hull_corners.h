// Which of some points are corners of the hull, for one instruction set. Included once for each, with
//   PCPT_ISA     namespace of this instruction set
//   PCPT_ANY     (m) whether any lane of a mask is set, where the set has a fast way
// A vector holds a group of points that lie in nearly the same direction; lane by lane they ask what
// they would ask alone.
namespace PCPT_ISA {

#include "supporting_plane.h"

typedef double Vector __attribute__((vector_size(8 * pcpt::GROUP)));
typedef double Unaligned __attribute__((vector_size(8 * pcpt::GROUP), aligned(8), may_alias));
typedef int64_t Mask __attribute__((vector_size(8 * pcpt::GROUP)));

inline bool any(const Mask& mask) {
#ifdef PCPT_ANY
  return PCPT_ANY(mask);
#else
  int64_t lanes = 0;
  for (int i = 0; i < pcpt::GROUP; ++i) lanes |= mask[i];
  return lanes != 0;
#endif
}

inline Vector3<Vector> load(const pcpt::Points& points, int64_t first) {
  return {*reinterpret_cast<const Unaligned*>(points.x.data() + first),
          *reinterpret_cast<const Unaligned*>(points.y.data() + first),
          *reinterpret_cast<const Unaligned*>(points.z.data() + first)};
}

// The point farthest beyond the plane of each lane.
class Search {
 public:
  Search(const pcpt::Points& points, const SupportingPlane<Vector>& plane, const Mask& active)
      : points_(points), normal_(plane.normal()) {
    const Vector tolerance = plane.tolerance();
    best_ = active ? 1.0 + tolerance : Vector{} + INFINITY;  // of the others none is beyond
    slack_ = 2.0 * tolerance;  // cones that all but reach it count
    length_squared_ = dot(normal_, normal_) * (1.0 + ROUNDING);
  }

  // Points come in pairs, of which the last may be an origin: it lies beyond no plane.
  void scan(int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i += 2) {
      const Vector here = along(i), next = along(i + 1);
      const Mask second = next > here;  // two at once: a shorter chain than best_ after best_
      const Vector farther = second ? next : here;
      const Mask better = farther > best_;
      best_ = better ? farther : best_;
      place_ = better ? i - second : place_;
    }
  }

  // One node of the tree, and what lies below it if it reaches beyond a plane.
  void descend(const pcpt::DirectionTree& tree, int64_t depth, int64_t node) {
    const pcpt::Cone& cone = tree.levels[depth][node];
    Vector along = cone.x * normal_.x + cone.y * normal_.y + cone.z * normal_.z;
    const Vector across_squared = length_squared_ - along * along;
    along = along > 0.0 ? along : Vector{};
    const Vector gap = best_ - slack_ - along * cone.top;
    if (!any((gap < 0.0) | (across_squared * cone.radius_squared > gap * gap))) return;
    if (depth == 0) {
      scan(node * pcpt::LEAF, std::min((node + 1) * pcpt::LEAF, points_.count()));
      return;
    }
    const int64_t below = static_cast<int64_t>(tree.levels[depth - 1].size());
    const int64_t last = std::min((node + 1) * pcpt::CHILDREN, below);
    for (int64_t child = node * pcpt::CHILDREN; child < last; ++child)
      descend(tree, depth - 1, child);
  }

  Mask found() const { return place_ >= 0; }

  Vector3<Vector> farthest() const {
    Vector3<Vector> result;
    for (int i = 0; i < pcpt::GROUP; ++i) {
      const int64_t place = place_[i] < 0 ? 0 : place_[i];
      result.x[i] = points_.x[place], result.y[i] = points_.y[place], result.z[i] = points_.z[place];
    }
    return result;
  }

 private:
  Vector along(int64_t i) const {
    return points_.x[i] * normal_.x + points_.y[i] * normal_.y + points_.z[i] * normal_.z;
  }

  const pcpt::Points& points_;
  Vector3<Vector> normal_;
  Vector slack_, length_squared_, best_;
  Mask place_ = Mask{} - 1;
};

// Tilts the planes through the active points until no point that `look` looks at lies beyond one;
// those for which that cannot be are no longer active.
template <typename Look>
void separate(const pcpt::Points& points, SupportingPlane<Vector>& plane, Mask& active,
              const Look& look) {
  Mask open = active;
  for (int tilts = 0; tilts < MAX_TILTS && any(open); ++tilts) {
    Search search(points, plane, open);
    look(search);
    open &= search.found();
    SupportingPlane<Vector> tilted = plane;
    const Mask possible = tilted.tilt(search.farthest());
    plane.take(tilted, open);
    active &= possible | ~open;
    open &= possible;
  }
}

// Sets corner[i] for every point of one view, in the order of direction.
void find_corners(const pcpt::Points& points, uint8_t* corner) {
  // First among the neighbours: most of those that are no corners end here.
  const int64_t count = points.count();
  pcpt::Points rest;
  std::vector<int32_t> place;
  for (int64_t first = 0; first < count; first += pcpt::GROUP) {
    SupportingPlane<Vector> plane(load(points, first));
    Mask active = Mask{} - 1;
    separate(points, plane, active, [&](Search& search) {
      search.scan(std::max<int64_t>(0, first - pcpt::MARGIN),
                  std::min(count, first + pcpt::GROUP + pcpt::MARGIN));
    });
    for (int64_t i = 0; i < std::min(pcpt::GROUP, count - first); ++i)
      if (active[i]) place.push_back(static_cast<int32_t>(first + i));
  }
  const int64_t num_rest = static_cast<int64_t>(place.size());
  rest.resize(num_rest);
  for (int64_t i = 0; i < num_rest; ++i) rest.set(i, points, place[i]);

  const pcpt::DirectionTree tree(rest);
  const int64_t top = static_cast<int64_t>(tree.levels.size()) - 1;
  std::fill(corner, corner + count, uint8_t{0});
  for (int64_t first = 0; first < num_rest; first += pcpt::GROUP) {
    SupportingPlane<Vector> plane(load(rest, first));
    Mask active = Mask{} - 1;
    separate(rest, plane, active, [&](Search& search) {
      search.scan(std::max<int64_t>(0, first - pcpt::MARGIN),
                  std::min(num_rest, first + pcpt::GROUP + pcpt::MARGIN));
    });
    separate(rest, plane, active, [&](Search& search) { search.descend(tree, top, 0); });
    for (int64_t i = 0; i < std::min(pcpt::GROUP, num_rest - first); ++i)
      corner[place[first + i]] = active[i] != 0;
  }
}

}  // namespace PCPT_ISA
#undef PCPT_ISA
#undef PCPT_ANY
