// Exact k nearest neighbours, through a tree, or point by point where there are few queries or many
// channels. How is in nearest_neighbors_isa.h.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/Dispatch_v2.h>

#include <cstring>
#include <tuple>

#include "isa.h"
#include "search.h"

namespace {

using torch::stable::Tensor;

constexpr int64_t MIN_TREE_QUERIES = 32;  // that repay building a tree
constexpr int64_t SORTED = 4096;  // queries from which on neighbours in space follow each other

// A distance and a row, in the order of results. The bits of floats >= 0 are ordered as they are.
template <typename T>
struct NearEntry {
  T distance_;
  int32_t row_;

  static NearEntry make(T distance, int32_t row) { return {distance, row}; }
  static NearEntry none() { return {std::numeric_limits<T>::infinity(), -1}; }
  T distance() const { return distance_; }
  int64_t row() const { return row_; }
  bool operator<(const NearEntry& other) const {
    return distance_ < other.distance_ || (distance_ == other.distance_ && row_ < other.row_);
  }
};

template <>
struct NearEntry<float> {
  uint64_t key;

  static NearEntry make(float distance, int32_t row) {
    uint32_t bits;
    std::memcpy(&bits, &distance, 4);
    return {uint64_t(bits) << 32 | static_cast<uint32_t>(row)};
  }
  static NearEntry none() { return make(std::numeric_limits<float>::infinity(), -1); }
  float distance() const {
    const uint32_t bits = static_cast<uint32_t>(key >> 32);
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  }
  int64_t row() const { return static_cast<int32_t>(key); }
  bool operator<(const NearEntry& other) const { return key < other.key; }
};

// The next number after one that is not negative; inf after inf.
template <typename T>
T next_above(T value) {
  if (value == std::numeric_limits<T>::infinity()) return value;
  std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t> bits;
  std::memcpy(&bits, &value, sizeof(T));
  ++bits;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

#define PCPT_KERNELS "nearest_neighbors_isa.h"
#include "every_isa.h"

template <typename T>
void prepare(pcpt::Cloud<T>& cloud) {
  if (cloud.channels > pcpt::MAX_TREE_CHANNELS || cloud.num_queries < MIN_TREE_QUERIES) {
    cloud.packs.emplace(cloud.points, nullptr, cloud.num_points, cloud.channels);
    return;
  }
  cloud.tree.emplace(cloud.points, cloud.num_points, cloud.channels);
  if (cloud.num_queries >= SORTED)
    cloud.order = pcpt::curve_order(cloud.queries, cloud.num_queries, cloud.channels);
}

template <typename T>
void run(const pcpt::Cloud<T>& cloud, int64_t first, int64_t last) {
  (cloud.packs ? PCPT_BEST(search_packs<T>) : PCPT_BEST(search_tree<T>))(cloud, first, last);
}

std::tuple<Tensor, Tensor> nearest_neighbors_cpu(const Tensor& queries,        // (B, M, C)
                                                 const Tensor& query_lengths,  // (B,) int64
                                                 const Tensor& points,         // (B, N, C)
                                                 const Tensor& lengths,        // (B,) int64
                                                 int64_t k) {
  pcpt::check_neighbors(queries, query_lengths, points, lengths, k);
  const int64_t num_clouds = points.size(0), num_queries = queries.size(1);
  Tensor index = torch::stable::new_empty(lengths, {num_clouds, num_queries, k});
  Tensor distance = torch::stable::new_empty(queries, {num_clouds, num_queries, k});
  THO_DISPATCH_V2(points.scalar_type(), "nearest_neighbors", AT_WRAP([&] {
                    pcpt::search_clouds<scalar_t>(queries, query_lengths, points, lengths,
                                                  static_cast<int>(k), index, distance,
                                                  prepare<scalar_t>, run<scalar_t>);
                  }),
                  AT_EXPAND(AT_FLOATING_TYPES));
  return {index, distance};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) {
  m.impl("nearest_neighbors", TORCH_BOX(&nearest_neighbors_cpu));
}
