// The first points, by row, within a radius. Full balls are found soon by looking at rows in order,
// sparse ones of large clouds through a tree: each query tries the first rows, then the tree.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/Dispatch_v2.h>

#include <tuple>

#include "isa.h"
#include "search.h"

namespace {

using torch::stable::Tensor;

constexpr int64_t MIN_TREE_POINTS = 4096;  // clouds up to here are looked through,
constexpr int64_t SCANNED = 1024;          // of larger ones so many rows

#define PCPT_KERNELS "ball_query_isa.h"
#include "every_isa.h"

template <typename T>
void prepare(pcpt::Cloud<T>& cloud) {
  const bool large = cloud.num_points > MIN_TREE_POINTS && cloud.channels <= pcpt::MAX_TREE_CHANNELS;
  cloud.packs.emplace(cloud.points, nullptr, large ? SCANNED : cloud.num_points, cloud.channels);
  if (large) cloud.tree.emplace(cloud.points, cloud.num_points, cloud.channels);
}

std::tuple<Tensor, Tensor> ball_query_cpu(const Tensor& queries,        // (B, M, C)
                                          const Tensor& query_lengths,  // (B,) int64
                                          const Tensor& points,         // (B, N, C)
                                          const Tensor& lengths,        // (B,) int64
                                          double radius, int64_t k) {
  pcpt::check_neighbors(queries, query_lengths, points, lengths, k);
  const int64_t num_clouds = points.size(0), num_queries = queries.size(1);
  Tensor index = torch::stable::new_empty(lengths, {num_clouds, num_queries, k});
  Tensor distance = torch::stable::new_empty(queries, {num_clouds, num_queries, k});
  THO_DISPATCH_V2(
      points.scalar_type(), "ball_query", AT_WRAP([&] {
        const scalar_t limit = static_cast<scalar_t>(radius * radius);
        const auto query_run = PCPT_BEST(query_balls<scalar_t>);
        pcpt::search_clouds<scalar_t>(
            queries, query_lengths, points, lengths, static_cast<int>(k), index, distance,
            prepare<scalar_t>, [&](const pcpt::Cloud<scalar_t>& cloud, int64_t first, int64_t last) {
              query_run(cloud, limit, first, last);
            });
      }),
      AT_EXPAND(AT_FLOATING_TYPES));
  return {index, distance};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) { m.impl("ball_query", TORCH_BOX(&ball_query_cpu)); }
