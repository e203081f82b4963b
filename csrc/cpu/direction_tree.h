// Points sorted by direction, and a tree of cones around them in which the point farthest beyond a
// plane is found without asking all: hidden_point_removal.cpp's data.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "supporting_plane.h"

namespace pcpt {

constexpr int64_t LANES = 8;       // points and nodes come in whole vectors of the widest registers
constexpr int64_t CHILDREN = 8;    // of a node
constexpr int64_t LEAF = 2 * LANES;  // points of a lowest node

inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// One array a coordinate, filled up with origins, which lie beyond no plane.
struct Points {
  std::vector<double> x, y, z;
  std::vector<int32_t> source;

  int64_t count() const { return static_cast<int64_t>(source.size()); }
  int64_t room() const { return static_cast<int64_t>(x.size()); }
  Vector3 at(int64_t i) const { return {x[i], y[i], z[i]}; }
  void set(int64_t i, const Points& from, int64_t j) {
    x[i] = from.x[j], y[i] = from.y[j], z[i] = from.z[j];
    source[i] = from.source[j];
  }
  void resize(int64_t count) {
    source.resize(count);
    for (std::vector<double>* part : {&x, &y, &z}) {
      part->resize(round_up(count, LEAF));
      std::fill(part->begin() + count, part->end(), 0.0);
    }
  }
};

// A node's points p have 0 <= p . axis <= top, and p - (p . axis) axis no longer than `radius`.
struct Level {
  std::vector<double> x, y, z, top, radius_squared;  // axis; zeros fill up whole vectors

  explicit Level(int64_t count) {
    for (std::vector<double>* part : {&x, &y, &z, &top, &radius_squared})
      part->resize(round_up(count, CHILDREN));
  }

  void enclose(int64_t node, const Points& points, int64_t first, int64_t last) {
    Vector3 sum{0.0, 0.0, 0.0};
    for (int64_t i = first; i < last; ++i)
      sum.x += points.x[i], sum.y += points.y[i], sum.z += points.z[i];
    const double inverse = 1.0 / std::max(std::sqrt(dot(sum, sum)), 1e-300);
    const Vector3 axis{sum.x * inverse, sum.y * inverse, sum.z * inverse};
    double low = 1e300, high = 0.0, widest = 0.0;
    for (int64_t i = first; i < last; ++i) {
      const Vector3 point = points.at(i);
      const double along = dot(point, axis);
      const Vector3 across{point.x - along * axis.x, point.y - along * axis.y,
                           point.z - along * axis.z};
      low = std::min(low, along), high = std::max(high, along);
      widest = std::max(widest, dot(across, across));
    }
    x[node] = axis.x, y[node] = axis.y, z[node] = axis.z;
    top[node] = high;
    radius_squared[node] = low < 0.0 ? 1e300 : widest;  // too wide for a cone: asked every time
  }
};

// Levels from the leaves up; the topmost has at most CHILDREN nodes.
struct DirectionTree {
  std::vector<Level> levels;

  explicit DirectionTree(const Points& points) {
    int64_t size = LEAF;
    for (;; size *= CHILDREN) {
      const int64_t nodes = (points.count() + size - 1) / size;
      Level& level = levels.emplace_back(nodes);
      for (int64_t node = 0; node < nodes; ++node)
        level.enclose(node, points, node * size, std::min((node + 1) * size, points.count()));
      if (nodes <= CHILDREN) return;
    }
  }
};

}  // namespace pcpt
