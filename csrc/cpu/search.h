// What nearest_neighbors and ball_query share on the CPU: a task is a run of queries of one cloud,
// and all tasks of a cloud share what was built over its points.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>
#include <vector>

#include "check_values.h"
#include "neighbors.h"
#include "parallel.h"
#include "point_tree.h"

namespace pcpt {

constexpr int MAX_TREE_CHANNELS = 8;  // boxes of three channels tell little among more

template <typename T>
struct Cloud {
  const T *queries, *points;  // (num_queries, channels), (num_points, channels)
  int64_t num_queries, num_points;
  int channels, k;
  int64_t* index;  // (num_queries, k)
  T* distance;     // (num_queries, k)

  std::optional<PointTree<T>> tree;
  std::optional<Packs<T>> packs;
  std::vector<int32_t> order;  // of the queries; empty for their own
};

// prepare(Cloud&) once for each cloud that has queries and points, then run(cloud, first, last) for
// runs of its queries, which writes their results; elsewhere they are -1 and inf.
template <typename T, typename Prepare, typename Run>
void search_clouds(const torch::stable::Tensor& queries, const torch::stable::Tensor& query_lengths,
                   const torch::stable::Tensor& points, const torch::stable::Tensor& lengths, int k,
                   const torch::stable::Tensor& index, const torch::stable::Tensor& distance,
                   const Prepare& prepare, const Run& run) {
  constexpr int64_t TASK = 128;  // queries
  const int64_t num_clouds = points.size(0), num_points = points.size(1);
  const int64_t num_queries = queries.size(1);
  const int channels = static_cast<int>(points.size(2));
  check_values(query_lengths, num_queries, "query_lengths");
  check_values(lengths, num_points, "lengths");
  int64_t* all_index = index.mutable_data_ptr<int64_t>();
  T* all_distance = distance.mutable_data_ptr<T>();
  std::fill(all_index, all_index + num_clouds * num_queries * k, int64_t(-1));
  std::fill(all_distance, all_distance + num_clouds * num_queries * k,
            std::numeric_limits<T>::infinity());
  std::vector<Cloud<T>> clouds(num_clouds);
  for_each_task(num_clouds, [&](int64_t b) {
    Cloud<T>& cloud = clouds[b];
    cloud.queries = queries.const_data_ptr<T>() + b * num_queries * channels;
    cloud.points = points.const_data_ptr<T>() + b * num_points * channels;
    cloud.num_points = lengths.const_data_ptr<int64_t>()[b];
    cloud.num_queries = cloud.num_points ? query_lengths.const_data_ptr<int64_t>()[b] : 0;
    cloud.channels = channels;
    cloud.k = k;
    cloud.index = all_index + b * num_queries * k;
    cloud.distance = all_distance + b * num_queries * k;
    if (cloud.num_queries > 0) prepare(cloud);
  });
  const int64_t tasks = (num_queries + TASK - 1) / TASK;
  for_each_task(num_clouds * tasks, [&](int64_t i) {
    const Cloud<T>& cloud = clouds[i / tasks];
    const int64_t first = i % tasks * TASK, last = std::min(first + TASK, cloud.num_queries);
    if (first < last) run(cloud, first, last);
  });
}

}  // namespace pcpt
