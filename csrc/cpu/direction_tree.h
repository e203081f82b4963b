// Points sorted by direction, and a tree of cones around them in which those beyond a plane are found
// without asking all: the data of hidden_point_removal.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace pcpt {

constexpr int64_t GROUP = 8;     // points asked at once; they come in whole groups
constexpr int64_t CHILDREN = 4;  // nodes below a node
constexpr int64_t LEAF = 16;     // points below a lowest node
constexpr int64_t MARGIN = 16;   // neighbours in the order on each side of a group that it asks first

inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// One array a coordinate, filled up with origins, which lie beyond no plane.
struct Points {
  std::vector<double> x, y, z;
  std::vector<int32_t> source;

  int64_t count() const { return static_cast<int64_t>(source.size()); }
  void set(int64_t i, const Points& from, int64_t j) {
    x[i] = from.x[j], y[i] = from.y[j], z[i] = from.z[j];
    source[i] = from.source[j];
  }
  void resize(int64_t count) {
    source.resize(count);
    for (std::vector<double>* part : {&x, &y, &z}) {
      part->resize(round_up(count, GROUP));
      std::fill(part->begin() + count, part->end(), 0.0);
    }
  }
};

// A cone's points p have 0 <= p . axis <= top, and p - (p . axis) axis no longer than its radius.
struct Cone {
  double x, y, z, top, radius_squared;  // axis
};

inline Cone enclose(const Points& points, int64_t first, int64_t last) {
  double x = 0.0, y = 0.0, z = 0.0;
  for (int64_t i = first; i < last; ++i) x += points.x[i], y += points.y[i], z += points.z[i];
  const double inverse = 1.0 / std::max(std::sqrt(x * x + y * y + z * z), 1e-300);
  x *= inverse, y *= inverse, z *= inverse;
  double low = 1e300, high = 0.0, widest = 0.0;
  for (int64_t i = first; i < last; ++i) {
    const double along = points.x[i] * x + points.y[i] * y + points.z[i] * z;
    const double across_x = points.x[i] - along * x, across_y = points.y[i] - along * y,
                 across_z = points.z[i] - along * z;
    low = std::min(low, along), high = std::max(high, along);
    widest =
        std::max(widest, across_x * across_x + across_y * across_y + across_z * across_z);
  }
  return {x, y, z, high, low < 0.0 ? 1e300 : widest};  // too wide for a cone: asked every time
}

// Levels from the groups up; node k of one has the nodes CHILDREN * k... of the next lower.
struct DirectionTree {
  std::vector<std::vector<Cone>> levels;

  explicit DirectionTree(const Points& points) {
    int64_t nodes = 0;
    for (int64_t size = LEAF; nodes != 1; size *= CHILDREN) {
      nodes = std::max<int64_t>(1, (points.count() + size - 1) / size);
      std::vector<Cone>& level = levels.emplace_back(nodes);
      for (int64_t k = 0; k < nodes; ++k)
        level[k] = enclose(points, k * size, std::min((k + 1) * size, points.count()));
    }
  }
};

}  // namespace pcpt
