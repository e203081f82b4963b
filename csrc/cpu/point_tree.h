// Points in packs of sixteen, and a tree of boxes over them: what searches among points share.
//
// Points are sorted along a Morton curve of their first three channels and cut into packs; sixteen
// neighbouring packs share a node that holds their boxes, sixteen nodes a node above, and so on up to
// one root. So one vector operation tests all children of a node, and the tree needs no pointers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace pcpt {

constexpr int PACK = 16;

// Uninitialised memory that vectors need not straddle.
template <typename T>
class Buffer {
 public:
  explicit Buffer(int64_t count = 0)
      : data_(static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 127) / 64 * 64))) {
    if (!data_) throw std::bad_alloc();
  }
  T* get() const { return data_.get(); }
  T& operator[](int64_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
};

inline int stored_channels(int channels) { return std::max(channels, 3); }

template <typename T>
inline bool is_finite(const T* point, int channels) {
  T sum = 0;  // 0 * inf and 0 * nan are nan
  for (int c = 0; c < channels; ++c) sum += T(0) * point[c];
  return sum == 0;
}

// A point as packs hold points: zeros make up three channels, which changes no distance.
template <typename T>
inline void pad_point(const T* point, int channels, T* padded) {
  std::copy(point, point + channels, padded);
  std::fill(padded + channels, padded + stored_channels(channels), T(0));
}

// (packs, channels, 16). Places without a point hold nan, at no distance from anything.
template <typename T>
class Packs {
 public:
  // rows: which points, in which order; null for all in their own.
  Packs(const T* points, const int32_t* rows, int64_t count, int channels)
      : channels_(stored_channels(channels)),
        count_((count + PACK - 1) / PACK),
        values_(count_ * channels_ * PACK) {
    for (int64_t pack = 0; pack < count_; ++pack) {
      T* to = values_.get() + pack * channels_ * PACK;
      for (int lane = 0; lane < PACK; ++lane) {
        const int64_t place = pack * PACK + lane;
        const T absent = std::numeric_limits<T>::quiet_NaN();
        const T* from = place < count ? points + (rows ? rows[place] : place) * channels : nullptr;
        for (int c = 0; c < channels; ++c) to[c * PACK + lane] = from ? from[c] : absent;
        for (int c = channels; c < 3; ++c) to[c * PACK + lane] = T(0);
      }
    }
  }
  int channels() const { return channels_; }
  int64_t count() const { return count_; }
  const T* pack(int64_t i) const { return values_.get() + i * channels_ * PACK; }

 private:
  int channels_;
  int64_t count_;
  Buffer<T> values_;
};

// Rows of the points that are finite, along a Morton curve of their first three channels.
template <typename T>
inline std::vector<int32_t> curve_order(const T* points, int64_t count, int channels) {
  const int axes = std::min(channels, 3);
  std::vector<int32_t> rows;
  rows.reserve(count);
  T low[3], high[3];
  for (int axis = 0; axis < 3; ++axis) {
    low[axis] = std::numeric_limits<T>::max();
    high[axis] = std::numeric_limits<T>::lowest();
  }
  for (int64_t i = 0; i < count; ++i) {
    const T* point = points + i * channels;
    if (!is_finite(point, channels)) continue;
    rows.push_back(static_cast<int32_t>(i));
    for (int axis = 0; axis < axes; ++axis) {
      low[axis] = std::min(low[axis], point[axis]);
      high[axis] = std::max(high[axis], point[axis]);
    }
  }
  // Points mostly lie on surfaces: as many cells on the face of a cube as there are packs, four-fold.
  int bits = 1;
  while (bits < 10 && (int64_t(1) << (2 * bits)) < static_cast<int64_t>(rows.size()) / 4) ++bits;
  T widest = 0;
  for (int axis = 0; axis < axes; ++axis) widest = std::max(widest, high[axis] - low[axis]);
  const T cells = static_cast<T>(1 << bits);
  const T scale = widest > 0 ? cells / widest : T(0);

  std::vector<std::pair<uint32_t, int32_t>> keyed(rows.size()), other(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const T* point = points + int64_t(rows[i]) * channels;
    uint32_t key = 0;
    for (int axis = 0; axis < axes; ++axis) {
      const T cell = (point[axis] - low[axis]) * scale;
      // A cloud wider than its type holds makes this inf or nan; any order is right.
      uint32_t x = cell >= 0 && cell < cells ? static_cast<uint32_t>(cell) : (1u << bits) - 1;
      x = (x | x << 16) & 0x030000ffu;  // spread to every third bit
      x = (x | x << 8) & 0x0300f00fu;
      x = (x | x << 4) & 0x030c30c3u;
      x = (x | x << 2) & 0x09249249u;
      key |= x << axis;
    }
    keyed[i] = {key, rows[i]};
  }
  for (int shift = 0; shift < 3 * bits; shift += 8) {
    int32_t start[257] = {};
    for (const auto& entry : keyed) ++start[(entry.first >> shift & 255) + 1];
    for (int digit = 0; digit < 256; ++digit) start[digit + 1] += start[digit];
    for (const auto& entry : keyed) other[start[entry.first >> shift & 255]++] = entry;
    keyed.swap(other);
  }
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = keyed[i].second;
  return rows;
}

template <typename T>
class PointTree {
 public:
  static constexpr int NODE = 6 * PACK;  // low x, high x, low y, ... of sixteen boxes

  PointTree(const T* points, int64_t count, int channels)
      : rows_(curve_order(points, count, channels)),
        packs_(points, rows_.data(), static_cast<int64_t>(rows_.size()), channels) {
    rows_.resize(packs_.count() * PACK, -1);
    for (int64_t nodes = packs_.count(), first = 0; first == 0 || nodes > 1;) {
      nodes = std::max<int64_t>(1, (nodes + PACK - 1) / PACK);
      first_.push_back(first);
      first += nodes;
      num_nodes_ = first;
    }
    boxes_ = Buffer<T>(num_nodes_ * NODE);
    for (int64_t i = 0; i < num_nodes_ * NODE; ++i)
      boxes_[i] = std::numeric_limits<T>::infinity() * (i / PACK % 2 ? -1 : 1);
    for (int64_t pack = 0; pack < packs_.count(); ++pack) add_box(0, pack, packs_.pack(pack), 1);
    for (int level = 1; level < levels(); ++level)
      for (int64_t i = 0; i < first_[level] - first_[level - 1]; ++i)
        add_box(level, i, node(level - 1, i), 2);
  }

  int channels() const { return packs_.channels(); }
  int levels() const { return static_cast<int>(first_.size()); }  // of nodes; the last is the root's
  int64_t num_nodes() const { return num_nodes_; }
  int64_t num_packs() const { return packs_.count(); }
  // Node i of a level; its child c is pack, or node of the level below, 16 i + c.
  int64_t number(int level, int64_t i) const { return first_[level] + i; }
  const T* node(int level, int64_t i) const { return boxes_.get() + number(level, i) * NODE; }
  const T* pack(int64_t i) const { return packs_.pack(i); }
  // (packs, 16) rows of the points, -1 where there is none
  const int32_t* rows() const { return rows_.data(); }

 private:
  // Box of the child whose sixteen points (stride 1) or boxes (stride 2) these are.
  void add_box(int level, int64_t child, const T* from, int stride) {
    T* box = boxes_.get() + number(level, child / PACK) * NODE + child % PACK;
    for (int axis = 0; axis < 3; ++axis, from += stride * PACK) {
      const T* upper = from + (stride - 1) * PACK;
      T low = std::numeric_limits<T>::infinity(), high = -low;
      for (int lane = 0; lane < PACK; ++lane) {  // comparisons with nan are false
        low = from[lane] < low ? from[lane] : low;
        high = upper[lane] > high ? upper[lane] : high;
      }
      box[2 * axis * PACK] = low;
      box[(2 * axis + 1) * PACK] = high;
    }
  }

  std::vector<int32_t> rows_;
  Packs<T> packs_;
  std::vector<int64_t> first_;  // number of the first node of each level
  int64_t num_nodes_ = 0;
  Buffer<T> boxes_;
};

}  // namespace pcpt
