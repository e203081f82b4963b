// Is a point a corner of the convex hull of some points and the origin? It is where a plane through
// it leaves all of them on the origin's side. The planes through one point that do not hold the
// origin are n . x = 1 with n = point / |point|^2 + s u + t v, so every other point f is a bound on
// the slope, a s + b t <= c with a = u . f, b = v . f, c = 1 - n0 . f, and the question is whether
// the bounds have a common solution. The least slope that meets a set of bounds is fixed by at most
// two of them: bounds are met one after another, each time the two that matter are kept, and the
// slope only grows until no bound is broken or none is possible.
//
// T is double, or a vector of doubles: as many points at once. Included inside a namespace, by the
// CUDA kernel of hidden_point_removal once and by its CPU kernel for each instruction set; needs
// <cmath> and geometry.h. The reference of the operator says the same in PyTorch.

// A steeper plane all but holds the line of sight: where points lie in one plane with the viewpoint,
// or exactly behind each other, only rounding would tell it from one that does. The squared bound.
constexpr double MAX_SLOPE_SQUARED = 1e12;
// Beyond a plane means beyond it by more than its rounding error.
constexpr double ROUNDING = 4e-15;
// Each tilt makes the plane steeper, so that none comes back; but rounding could make one step stand
// still, and then the points are as good as on the plane.
constexpr int MAX_TILTS = 1000;

template <typename T>
struct Vector3 {
  T x, y, z;
};

template <typename A, typename B>
PCPT_HOST_DEVICE auto dot(const Vector3<A>& a, const Vector3<B>& b) -> decltype(a.x * b.x) {
  return a.x * b.x + a.y * b.y + a.z * b.z;
}

template <typename T>
class SupportingPlane {
 public:
  using Mask = decltype(T{} < T{});

  // Through points other than the origin, square to their directions.
  PCPT_HOST_DEVICE explicit SupportingPlane(const Vector3<T>& p) {
    const T inverse = 1.0 / dot(p, p), zero = T{};
    start_ = {p.x * inverse, p.y * inverse, p.z * inverse};
    // Square to the point and each other, and about as long as it: u by the axis furthest from it.
    const T x = p.x < 0.0 ? -p.x : p.x, y = p.y < 0.0 ? -p.y : p.y, z = p.z < 0.0 ? -p.z : p.z;
    const Mask far_x = (x <= y) & (x <= z), far_y = y <= z;
    u_.x = far_x ? zero : far_y ? p.z : -p.y;
    u_.y = far_x ? -p.z : far_y ? zero : p.x;
    u_.z = far_x ? p.y : far_y ? -p.x : zero;
    v_ = {p.y * u_.z - p.z * u_.y, p.z * u_.x - p.x * u_.z, p.x * u_.y - p.y * u_.x};
  }

  // n of the plane n . x = 1
  PCPT_HOST_DEVICE Vector3<T> normal() const {
    return {start_.x + s_ * u_.x + t_ * v_.x, start_.y + s_ * u_.y + t_ * v_.y,
            start_.z + s_ * u_.z + t_ * v_.z};
  }
  // Becomes another of the same points' planes in the lanes of a mask.
  PCPT_HOST_DEVICE void take(const SupportingPlane& other, const Mask& mask) {
    s_ = mask ? other.s_ : s_;
    t_ = mask ? other.t_ : t_;
    for (int i = 0; i < 2; ++i) {
      kept_[i].a = mask ? other.kept_[i].a : kept_[i].a;
      kept_[i].b = mask ? other.kept_[i].b : kept_[i].b;
      kept_[i].c = mask ? other.kept_[i].c : kept_[i].c;
    }
  }
  // What rounding may add to n . x
  PCPT_HOST_DEVICE T tolerance() const {
    return ROUNDING * (1.0 + (s_ < 0.0 ? -s_ : s_) + (t_ < 0.0 ? -t_ : t_));
  }

  // Tilts the planes as little as puts a point that lies beyond each on it, and keeps the bounds
  // that hold the planes. False where that is impossible or too steep: no corner there.
  PCPT_HOST_DEVICE Mask tilt(const Vector3<T>& point) {
    const Bound bound{dot(u_, point), dot(v_, point), 1.0 - dot(start_, point)};
    const T inverse = 1.0 / (bound.a * bound.a + bound.b * bound.b), zero = T{};
    // The slopes that put the plane on the point form a line; its place nearest to none, and the
    // stretch low <= tau <= high along (-b, a) that the kept bounds leave of it.
    const T s = bound.c * bound.a * inverse, t = bound.c * bound.b * inverse;
    T low = zero - INFINITY, high = zero + INFINITY;
    T low_index = zero, high_index = zero, impossible = zero;
    for (int i = 0; i < 2; ++i) {
      const Bound& kept = kept_[i];
      const T rate = kept.b * bound.a - kept.a * bound.b;
      const T room = kept.c - kept.a * s - kept.b * t;
      const T tau = room / rate, index = zero + i;
      const Mask from_above = (rate > 0.0) & (tau < high), from_below = (rate < 0.0) & (tau > low);
      high = from_above ? tau : high;
      high_index = from_above ? index : high_index;
      low = from_below ? tau : low;
      low_index = from_below ? index : low_index;
      impossible = (rate == 0.0) & (room < 0.0) ? zero + 1.0 : impossible;
    }
    const T tau = low > 0.0 ? low : high < 0.0 ? high : zero;
    const T index = low > 0.0 ? low_index : high_index;
    const Mask alone = tau == 0.0, second = index > 0.5;
    kept_[1] = {alone ? zero : second ? kept_[1].a : kept_[0].a,
                alone ? zero : second ? kept_[1].b : kept_[0].b,
                alone ? zero : second ? kept_[1].c : kept_[0].c};
    kept_[0] = bound;
    s_ = s - tau * bound.b;
    t_ = t + tau * bound.a;
    // The slope is nan where the point lies right before.
    return (impossible == 0.0) & (low <= high) & (s_ * s_ + t_ * t_ <= MAX_SLOPE_SQUARED);
  }

 private:
  struct Bound {
    T a, b, c;  // a s + b t <= c; zeros bound nothing
  };

  Vector3<T> start_, u_, v_;
  T s_{}, t_{};
  Bound kept_[2] = {};
};
