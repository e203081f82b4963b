// The first points, by row, within a radius: a warp answers a query. It looks at rows in order until
// it has enough; in large clouds only at the first ones, and then into the boxes that the ball meets.
#include <torch/headeronly/core/Dispatch_v2.h>

#include <optional>
#include <tuple>

#include "curve.h"
#include "neighbors.h"

namespace {

using pcpt::Ranked;
using pcpt::Tensor;
using pcpt::WarpList;

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int64_t MIN_CURVE_POINTS = 4096;  // from here on boxes are worth sorting for
constexpr int64_t CURVE_CHANNELS = 3;
constexpr int32_t SCANNED = 1024;           // rows looked at before

template <typename T>
struct Problem {
  const T *queries, *points;               // (B, M, C), (B, N, C)
  const int64_t *query_lengths, *lengths;  // (B,)
  int32_t num_queries, num_points, channels, k;
  T limit;         // squared
  int64_t* index;  // (B, M, k)
  T* distance;     // (B, M, k)
};

// Writes the rows below `last` that lie in the ball, k at most. How many there are.
template <typename T>
__device__ int scan(const Problem<T>& problem, const T* points, int32_t last, const T* query,
                    int64_t* index, T* distance) {
  const int lane = threadIdx.x % 32;
  int found = 0;
  for (int32_t begin = 0; begin < last && found < problem.k; begin += 32) {
    const int32_t row = begin + lane;
    T at = pcpt::infinity<T>();
    if (row < last)
      at = pcpt::squared_distance(query, points + int64_t(row) * problem.channels, problem.channels);
    const unsigned inside = __ballot_sync(pcpt::FULL_WARP, at < problem.limit);
    const int place = found + __popc(inside & ((1u << lane) - 1));
    if ((inside >> lane & 1) && place < problem.k) {
      index[place] = row;
      distance[place] = at;
    }
    found += __popc(inside);
  }
  return found < problem.k ? found : problem.k;
}

// The lowest rows in the ball: a list of rows alone, each at distance 0 of the others.
template <typename T, int SLOTS>
__device__ void collect(const pcpt::Curve<T>& curve, T limit, const T* query,
                        WarpList<T, SLOTS>& list) {
  const int lane = threadIdx.x % 32;
  for (int32_t begin = 0; begin < curve.num_large; begin += 32) {
    const int32_t large = begin + lane;
    const bool meets = large < curve.num_large &&
                       pcpt::squared_gap(curve.large_boxes + int64_t(large) * pcpt::BOX, query,
                                         curve.channels) < limit;
    for (unsigned some = __ballot_sync(pcpt::FULL_WARP, meets); some; some &= some - 1) {
      const int32_t first = (begin + __ffs(some) - 1) * pcpt::BUCKET, box = first + lane;
      const bool met = box < curve.num_boxes &&
                       pcpt::squared_gap(curve.boxes + int64_t(box) * pcpt::BOX, query,
                                         curve.channels) < limit;
      for (unsigned boxes = __ballot_sync(pcpt::FULL_WARP, met); boxes; boxes &= boxes - 1) {
        const int32_t place = (first + __ffs(boxes) - 1) * pcpt::BUCKET + lane;
        Ranked<T> found{pcpt::infinity<T>(), 0};
        if (place < curve.num_points && curve.rows[place] >= 0 &&
            pcpt::squared_distance(query, curve.points + int64_t(place) * curve.channels,
                                   curve.channels) < limit)
          found = {T(0), curve.rows[place]};
        list.offer(found);
      }
    }
  }
}

template <typename T, int SLOTS, bool SORTED>
__global__ void __launch_bounds__(THREADS) query_balls(Problem<T> problem, pcpt::Curve<T> curves) {
  const int64_t cloud = blockIdx.y;
  const int lane = threadIdx.x % 32;
  const int32_t row = blockIdx.x * WARPS + threadIdx.x / 32;
  if (row >= problem.num_queries) return;
  const int64_t first = (cloud * problem.num_queries + row) * problem.k;
  int64_t* index = problem.index + first;
  T* distance = problem.distance + first;
  for (int i = lane; i < problem.k; i += 32) {
    index[i] = -1;
    distance[i] = pcpt::infinity<T>();
  }
  __syncwarp();
  if (row >= problem.query_lengths[cloud]) return;
  const T* query = problem.queries + (cloud * problem.num_queries + row) * problem.channels;
  if (!pcpt::is_finite_point(query, problem.channels)) return;
  const T* points = problem.points + cloud * problem.num_points * problem.channels;
  const auto length =
      static_cast<int32_t>(pcpt::trusted_length(problem.lengths[cloud], problem.num_points));
  const bool partly = SORTED && length > SCANNED;
  const int found = scan(problem, points, partly ? SCANNED : length, query, index, distance);
  if (!partly || found == problem.k) return;
  WarpList<T, SLOTS> list;
  list.clear(problem.k);
  collect(curves.cloud(cloud), problem.limit, query, list);
  __syncwarp();
#pragma unroll
  for (int i = 0; i < SLOTS; ++i) {
    const int place = i * 32 + lane;
    const int32_t near = list.slot(i).row;
    if (place >= problem.k || near < 0) continue;
    index[place] = near;
    distance[place] = pcpt::squared_distance(query, points + int64_t(near) * problem.channels,
                                             problem.channels);
  }
}

template <typename T, int SLOTS>
void launch_query(const pcpt::Launch& launch, const Problem<T>& problem, int64_t num_clouds,
                  const std::optional<pcpt::SortedClouds<T>>& sorted) {
  const dim3 blocks(pcpt::blocks_for(problem.num_queries, WARPS), num_clouds);
  if (sorted)
    PCPT_LAUNCH((query_balls<T, SLOTS, true>), blocks, THREADS, 0, launch.stream(), problem,
                sorted->curve);
  else
    PCPT_LAUNCH((query_balls<T, SLOTS, false>), blocks, THREADS, 0, launch.stream(), problem,
                pcpt::Curve<T>{});
}

template <typename T>
void query(const pcpt::Launch& launch, const Tensor& queries, const Tensor& query_lengths,
           const Tensor& points, const Tensor& lengths, double radius, int32_t k,
           const Tensor& index, const Tensor& distance) {
  const Problem<T> problem{queries.const_data_ptr<T>(),
                           points.const_data_ptr<T>(),
                           query_lengths.const_data_ptr<int64_t>(),
                           lengths.const_data_ptr<int64_t>(),
                           static_cast<int32_t>(queries.size(1)),
                           static_cast<int32_t>(points.size(1)),
                           static_cast<int32_t>(points.size(2)),
                           k,
                           static_cast<T>(radius * radius),
                           index.mutable_data_ptr<int64_t>(),
                           distance.mutable_data_ptr<T>()};
  std::optional<pcpt::SortedClouds<T>> sorted;
  if (points.size(1) >= MIN_CURVE_POINTS && points.size(2) <= CURVE_CHANNELS)
    sorted = pcpt::sort_clouds<T>(launch, points, lengths);
  if (k <= 32)
    launch_query<T, 1>(launch, problem, points.size(0), sorted);
  else if (k <= 64)
    launch_query<T, 2>(launch, problem, points.size(0), sorted);
  else
    launch_query<T, 4>(launch, problem, points.size(0), sorted);
}

std::tuple<Tensor, Tensor> ball_query_cuda(const Tensor& queries,        // (B, M, C)
                                           const Tensor& query_lengths,  // (B,) int64
                                           const Tensor& points,         // (B, N, C)
                                           const Tensor& lengths,        // (B,) int64
                                           double radius, int64_t k) {
  pcpt::check_neighbors(queries, query_lengths, points, lengths, k, pcpt::MAX_CUDA_ROWS);
  const int64_t num_clouds = points.size(0);
  STD_TORCH_CHECK(num_clouds <= 65535, "more than 65,535 clouds; call it in parts");
  const pcpt::Launch launch(points);
  Tensor index = torch::stable::new_empty(lengths, {num_clouds, queries.size(1), k});
  Tensor distance = torch::stable::new_empty(queries, {num_clouds, queries.size(1), k});
  THO_DISPATCH_V2(points.scalar_type(), "ball_query", AT_WRAP([&] {
                    query<scalar_t>(launch, queries, query_lengths, points, lengths, radius,
                                    static_cast<int32_t>(k), index, distance);
                  }),
                  AT_EXPAND(AT_FLOATING_TYPES));
  return {index, distance};
}

}  // namespace

PCPT_CUDA_KERNELS(m) { m.impl("ball_query", TORCH_BOX(&ball_query_cuda)); }
