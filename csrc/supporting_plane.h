// Is a point a corner of the convex hull of some points and the origin? It is where a plane through
// it leaves all of them on the origin's side. The planes through one point that do not hold the
// origin are n . x = 1 with n = point / |point|^2 + s u + t v, so every other point f is a bound on
// the slope, a s + b t <= c with a = u . f, b = v . f, c = 1 - n0 . f, and the question is whether
// the bounds have a common solution. The least slope that meets a set of bounds is fixed by at most
// two of them: bounds are met one after another, each time the two that matter are kept, and the
// slope only grows until no bound is broken or none is possible.
//
// Shared by the CPU and CUDA kernels of hidden_point_removal; its reference says the same in PyTorch.
#pragma once

#include <math.h>

#include "geometry.h"

namespace pcpt {

struct Vector3 {
  double x, y, z;
};

PCPT_HOST_DEVICE double dot(const Vector3& a, const Vector3& b) {
  return a.x * b.x + a.y * b.y + a.z * b.z;
}
PCPT_HOST_DEVICE bool equal(const Vector3& a, const Vector3& b) {
  return a.x == b.x && a.y == b.y && a.z == b.z;
}

// A steeper plane all but holds the line of sight: where points lie in one plane with the viewpoint,
// or exactly behind each other, only rounding would tell it from one that does. The squared bound.
constexpr double MAX_SLOPE_SQUARED = 1e12;
// Beyond a plane means beyond it by more than its rounding error.
constexpr double ROUNDING = 4e-15;

class SupportingPlane {
 public:
  // Through a point other than the origin, square to its direction.
  PCPT_HOST_DEVICE explicit SupportingPlane(const Vector3& point) {
    const double inverse = 1.0 / dot(point, point);
    start_ = {point.x * inverse, point.y * inverse, point.z * inverse};
    // Square to the point and each other, and about as long as it: u by the axis furthest from it.
    const double x = fabs(point.x), y = fabs(point.y), z = fabs(point.z);
    if (x <= y && x <= z)
      u_ = {0.0, -point.z, point.y};
    else if (y <= z)
      u_ = {point.z, 0.0, -point.x};
    else
      u_ = {-point.y, point.x, 0.0};
    v_ = {point.y * u_.z - point.z * u_.y, point.z * u_.x - point.x * u_.z,
          point.x * u_.y - point.y * u_.x};
  }

  // n of the plane n . x = 1
  PCPT_HOST_DEVICE Vector3 normal() const {
    return {start_.x + s_ * u_.x + t_ * v_.x, start_.y + s_ * u_.y + t_ * v_.y,
            start_.z + s_ * u_.z + t_ * v_.z};
  }
  // Points with n . x above it lie beyond the plane.
  PCPT_HOST_DEVICE double limit() const { return 1.0 + ROUNDING * (1.0 + fabs(s_) + fabs(t_)); }

  // Tilts the plane as little as puts a point that lies beyond it on it, and keeps the bounds that
  // hold the plane. False where that is impossible or too steep: the first point is no corner.
  PCPT_HOST_DEVICE bool tilt(const Vector3& point) {
    const Bound bound{dot(u_, point), dot(v_, point), 1.0 - dot(start_, point)};
    const double inverse = 1.0 / (bound.a * bound.a + bound.b * bound.b);
    // The slopes that put the plane on the point form a line; its place nearest to none, and the
    // stretch low <= tau <= high along (-b, a) that the kept bounds leave of it.
    const double s = bound.c * bound.a * inverse, t = bound.c * bound.b * inverse;
    double low = -INFINITY, high = INFINITY;
    int low_index = 0, high_index = 0;
    bool possible = true;
    for (int i = 0; i < 2; ++i) {
      const Bound& kept = kept_[i];
      const double rate = kept.b * bound.a - kept.a * bound.b;
      const double room = kept.c - kept.a * s - kept.b * t;
      const double tau = room / rate;
      const bool from_above = rate > 0.0 && tau < high, from_below = rate < 0.0 && tau > low;
      high = from_above ? tau : high;
      high_index = from_above ? i : high_index;
      low = from_below ? tau : low;
      low_index = from_below ? i : low_index;
      possible &= rate != 0.0 || room >= 0.0;
    }
    if (!(possible && low <= high)) return false;
    const double tau = low > 0.0 ? low : high < 0.0 ? high : 0.0;
    const Bound other = kept_[low > 0.0 ? low_index : high_index];
    kept_[1] = tau == 0.0 ? Bound{0.0, 0.0, 0.0} : other;
    kept_[0] = bound;
    s_ = s - tau * bound.b;
    t_ = t + tau * bound.a;
    return s_ * s_ + t_ * t_ <= MAX_SLOPE_SQUARED;  // false for nan: the point lies right before
  }

 private:
  struct Bound {
    double a, b, c;  // a s + b t <= c; zeros bound nothing
  };

  Vector3 start_, u_, v_;
  double s_ = 0.0, t_ = 0.0;
  Bound kept_[2] = {{0.0, 0.0, 0.0}, {0.0, 0.0, 0.0}};
};

// Each tilt makes the plane steeper, so that none comes back; but rounding could make one step stand
// still, and then the points are as good as on the plane.
constexpr int MAX_TILTS = 1000;

}  // namespace pcpt
