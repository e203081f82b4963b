// Exact k nearest neighbours: a warp answers queries, with its lists in registers. It compares them
// with all points, or goes through the boxes of large clouds.
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
// Queries of a warp that share the points in shared memory: fewer where a list takes more registers.
template <int SLOTS>
constexpr int QUERIES = 4 / SLOTS;
constexpr int PAIR = 64;                    // points compared at once, two a lane
constexpr int64_t MIN_CURVE_POINTS = 4096;  // from here on boxes are worth sorting for
constexpr int64_t MIN_CURVE_QUERIES = 64;
constexpr int64_t CURVE_CHANNELS = 3;

template <typename T>
struct Problem {
  const T *queries, *points;               // (B, M, C), (B, N, C)
  const int64_t *query_lengths, *lengths;  // (B,)
  int32_t num_queries, num_points, channels, k;
  int64_t* index;  // (B, M, k)
  T* distance;     // (B, M, k)
};

template <typename T, int SLOTS>
__device__ void write_list(const Problem<T>& problem, int64_t cloud, int32_t query,
                           const WarpList<T, SLOTS>& list) {
  const int64_t first = (cloud * problem.num_queries + query) * problem.k;
#pragma unroll
  for (int i = 0; i < SLOTS; ++i) {
    const int32_t place = i * 32 + threadIdx.x % 32;
    if (place >= problem.k) continue;
    problem.index[first + place] = list.slot(i).row;
    problem.distance[first + place] = list.slot(i).value;
  }
}

// A block takes some queries a warp past tiles of points, DEPTH channels at a time. More channels
// than DEPTH are only allowed where a tile is one PAIR.
template <typename T, int SLOTS, int DEPTH, int TILE>
__global__ void __launch_bounds__(THREADS) search_tiles(Problem<T> problem) {
  constexpr int NUM = QUERIES<SLOTS>;
  __shared__ T point[DEPTH][TILE];
  __shared__ T query[DEPTH][WARPS * NUM];
  const int64_t cloud = blockIdx.y;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, channels = problem.channels;
  const auto length =
      static_cast<int32_t>(pcpt::trusted_length(problem.lengths[cloud], problem.num_points));
  const auto num_queries =
      static_cast<int32_t>(pcpt::trusted_length(problem.query_lengths[cloud], problem.num_queries));
  const int32_t first = blockIdx.x * WARPS * NUM;
  const T* points = problem.points + cloud * problem.num_points * channels;
  const T* queries = problem.queries + cloud * problem.num_queries * channels;
  WarpList<T, SLOTS> list[NUM];
#pragma unroll
  for (int q = 0; q < NUM; ++q) list[q].clear(problem.k);
  for (int32_t tile = 0; tile < length; tile += TILE) {
    T sum[NUM][2] = {};
    for (int begin = 0; begin < channels; begin += DEPTH) {
      const int depth = channels - begin < DEPTH ? channels - begin : DEPTH;
      __syncthreads();
      for (int i = threadIdx.x; i < TILE * depth; i += THREADS) {
        const int32_t row = tile + i / depth;
        point[i % depth][i / depth] =
            row < length ? points[int64_t(row) * channels + begin + i % depth] : T(0);
      }
      if (tile == 0 || channels > DEPTH) {
        for (int i = threadIdx.x; i < WARPS * NUM * depth; i += THREADS) {
          const int32_t row = first + i / depth;
          query[i % depth][i / depth] =
              row < num_queries ? queries[int64_t(row) * channels + begin + i % depth] : T(0);
        }
      }
      __syncthreads();
      for (int part = 0; part < TILE; part += PAIR) {
        for (int c = 0; c < depth; ++c) {
          const T near[2] = {point[c][part + lane], point[c][part + 32 + lane]};
#pragma unroll
          for (int q = 0; q < NUM; ++q) {
            const T at = query[c][warp * NUM + q];
#pragma unroll
            for (int half = 0; half < 2; ++half)
              sum[q][half] += (at - near[half]) * (at - near[half]);
          }
        }
        if (begin + depth < channels) continue;
#pragma unroll
        for (int q = 0; q < NUM; ++q) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int32_t row = tile + part + half * 32 + lane;
            list[q].offer({row < length ? sum[q][half] : pcpt::infinity<T>(), row});
            sum[q][half] = 0;
          }
        }
      }
    }
  }
#pragma unroll
  for (int q = 0; q < NUM; ++q) {
    const int32_t row = first + warp * NUM + q;
    if (row < num_queries) write_list(problem, cloud, row, list[q]);
  }
}

// The 32 points of each box of a large box that may hold something nearer, the nearest box first.
template <typename T, int SLOTS>
__device__ void visit(const pcpt::Curve<T>& curve, int32_t large, const T* query,
                      WarpList<T, SLOTS>& list) {
  const int lane = threadIdx.x % 32;
  const int32_t box = large * pcpt::BUCKET + lane;
  const T gap = box < curve.num_boxes
                    ? pcpt::squared_gap(curve.boxes + int64_t(box) * pcpt::BOX, query, curve.channels)
                    : pcpt::infinity<T>();
  const int nearest = pcpt::warp_first(Ranked<T>{gap, lane}).row;
  unsigned waiting = 0xffffffffu;
  for (int next = nearest;;) {
    const int32_t place = (large * pcpt::BUCKET + next) * pcpt::BUCKET + lane;
    Ranked<T> found{pcpt::infinity<T>(), 0};
    if (place < curve.num_points && curve.rows[place] >= 0)
      found = {pcpt::squared_distance(query, curve.points + int64_t(place) * curve.channels,
                                      curve.channels),
               curve.rows[place]};
    list.offer(found);
    waiting &= ~(1u << next);
    // Equally far may still be nearer by row. No box at inf holds a neighbour.
    waiting &= __ballot_sync(pcpt::FULL_WARP,
                             gap <= list.last().value && gap < pcpt::infinity<T>());
    if (!waiting) return;
    next = __ffs(waiting) - 1;
  }
}

template <typename T>
__device__ T large_gap(const pcpt::Curve<T>& curve, int32_t large, const T* query) {
  return pcpt::squared_gap(curve.large_boxes + int64_t(large) * pcpt::BOX, query, curve.channels);
}

template <typename T, int SLOTS>
__global__ void __launch_bounds__(THREADS) search_curve(Problem<T> problem, pcpt::Curve<T> curves) {
  const int64_t cloud = blockIdx.y;
  const int lane = threadIdx.x % 32;
  const int32_t row = blockIdx.x * WARPS + threadIdx.x / 32;
  if (row >= pcpt::trusted_length(problem.query_lengths[cloud], problem.num_queries)) return;
  const pcpt::Curve<T> curve = curves.cloud(cloud);
  const T* query = problem.queries + (cloud * problem.num_queries + row) * problem.channels;
  WarpList<T, SLOTS> list;
  list.clear(problem.k);
  // The large box nearest to the query first: it sets how far to look.
  Ranked<T> best{pcpt::infinity<T>(), INT32_MAX};
  for (int32_t large = lane; large < curve.num_large; large += 32) {
    const T gap = large_gap(curve, large, query);
    if (gap < best.value) best = {gap, large};
  }
  best = pcpt::warp_first(best);
  // A query that is not finite has no neighbours.
  if (pcpt::is_finite_point(query, curve.channels) && best.value < pcpt::infinity<T>()) {
    visit(curve, best.row, query, list);
    for (int32_t begin = 0; begin < curve.num_large; begin += 32) {
      const int32_t large = begin + lane;
      const T gap = large < curve.num_large && large != best.row ? large_gap(curve, large, query)
                                                                 : pcpt::infinity<T>();
      unsigned waiting = 0xffffffffu;
      for (;;) {
        waiting &= __ballot_sync(pcpt::FULL_WARP,
                                 gap <= list.last().value && gap < pcpt::infinity<T>());
        if (!waiting) break;
        visit(curve, begin + __ffs(waiting) - 1, query, list);
        waiting &= waiting - 1;
      }
    }
  }
  write_list(problem, cloud, row, list);
}

template <typename T>
__global__ void clear(int64_t* index, T* distance, int64_t count) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  index[i] = -1;
  distance[i] = pcpt::infinity<T>();
}

template <typename T, int SLOTS>
void launch_search(const pcpt::Launch& launch, const Problem<T>& problem, int64_t num_clouds,
                   const std::optional<pcpt::SortedClouds<T>>& sorted) {
  if (sorted) {
    const dim3 blocks(pcpt::blocks_for(problem.num_queries, WARPS), num_clouds);
    PCPT_LAUNCH((search_curve<T, SLOTS>), blocks, THREADS, 0, launch.stream(), problem,
                sorted->curve);
    return;
  }
  const dim3 blocks(pcpt::blocks_for(problem.num_queries, WARPS * QUERIES<SLOTS>), num_clouds);
  if (problem.channels <= 4)
    PCPT_LAUNCH((search_tiles<T, SLOTS, 4, 256>), blocks, THREADS, 0, launch.stream(), problem);
  else
    PCPT_LAUNCH((search_tiles<T, SLOTS, 16, PAIR>), blocks, THREADS, 0, launch.stream(), problem);
}

template <typename T>
void search(const pcpt::Launch& launch, const Tensor& queries, const Tensor& query_lengths,
            const Tensor& points, const Tensor& lengths, int32_t k, const Tensor& index,
            const Tensor& distance) {
  const int64_t num_clouds = points.size(0), num_queries = queries.size(1);
  const Problem<T> problem{queries.const_data_ptr<T>(),
                           points.const_data_ptr<T>(),
                           query_lengths.const_data_ptr<int64_t>(),
                           lengths.const_data_ptr<int64_t>(),
                           static_cast<int32_t>(num_queries),
                           static_cast<int32_t>(points.size(1)),
                           static_cast<int32_t>(points.size(2)),
                           k,
                           index.mutable_data_ptr<int64_t>(),
                           distance.mutable_data_ptr<T>()};
  const int64_t count = num_clouds * num_queries * k;
  PCPT_LAUNCH(clear<T>, pcpt::blocks_for(count, THREADS), THREADS, 0, launch.stream(), problem.index,
              problem.distance, count);
  std::optional<pcpt::SortedClouds<T>> sorted;
  if (points.size(1) >= MIN_CURVE_POINTS && points.size(2) <= CURVE_CHANNELS &&
      num_queries >= MIN_CURVE_QUERIES)
    sorted = pcpt::sort_clouds<T>(launch, points, lengths);
  if (k <= 32)
    launch_search<T, 1>(launch, problem, num_clouds, sorted);
  else if (k <= 64)
    launch_search<T, 2>(launch, problem, num_clouds, sorted);
  else
    launch_search<T, 4>(launch, problem, num_clouds, sorted);
}

std::tuple<Tensor, Tensor> nearest_neighbors_cuda(const Tensor& queries,        // (B, M, C)
                                                  const Tensor& query_lengths,  // (B,) int64
                                                  const Tensor& points,         // (B, N, C)
                                                  const Tensor& lengths,        // (B,) int64
                                                  int64_t k) {
  pcpt::check_neighbors(queries, query_lengths, points, lengths, k, pcpt::MAX_CUDA_ROWS);
  const int64_t num_clouds = points.size(0), num_queries = queries.size(1);
  STD_TORCH_CHECK(num_clouds <= 65535, "more than 65,535 clouds; call it in parts");
  const pcpt::Launch launch(points);
  Tensor index = torch::stable::new_empty(lengths, {num_clouds, num_queries, k});
  Tensor distance = torch::stable::new_empty(queries, {num_clouds, num_queries, k});
  THO_DISPATCH_V2(points.scalar_type(), "nearest_neighbors", AT_WRAP([&] {
                    search<scalar_t>(launch, queries, query_lengths, points, lengths,
                                     static_cast<int32_t>(k), index, distance);
                  }),
                  AT_EXPAND(AT_FLOATING_TYPES));
  return {index, distance};
}

}  // namespace

PCPT_CUDA_KERNELS(m) { m.impl("nearest_neighbors", TORCH_BOX(&nearest_neighbors_cuda)); }
