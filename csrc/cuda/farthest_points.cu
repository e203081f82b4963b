// Farthest point sampling: a block is a cloud. Small clouds live in registers; large ones are sorted
// along a curve, and a new sample only looks at the boxes in which it can change anything.
#include <torch/headeronly/core/Dispatch_v2.h>

#include "curve.h"

namespace {

using pcpt::Ranked;
using pcpt::Tensor;
using torch::headeronly::ScalarType;

constexpr int HELD = 8;  // points a thread holds in registers
constexpr int RESIDENT_CHANNELS = 3;
template <typename T>
constexpr int RESIDENT_THREADS = sizeof(T) == 4 ? 1024 : 512;  // that the registers suffice for

// The best of the block, in every thread. `slots` is (2, 32); calls alternate between its halves, so
// that one barrier a call is enough.
template <typename T>
__device__ Ranked<T> block_farthest(Ranked<T> best, Ranked<T>* slots, int turn) {
  best = pcpt::warp_farthest(best);
  const int warps = blockDim.x / 32, lane = threadIdx.x % 32;
  if (warps == 1) return best;
  slots += turn % 2 * 32;
  if (lane == 0) slots[threadIdx.x / 32] = best;
  __syncthreads();
  return pcpt::warp_farthest(lane < warps ? slots[lane] : Ranked<T>{T(-1), INT32_MAX});
}

// Larger first: the start if it is a point, else the first that is.
template <typename T>
__device__ void prefer_start(int32_t row, int32_t start, Ranked<T>& first) {
  const T value = row == start ? T(2) : T(1);
  if (value > first.value || (value == first.value && row < first.row)) first = {value, row};
}

template <typename T>
__global__ void __launch_bounds__(RESIDENT_THREADS<T>)
sample_resident(const T* __restrict__ points, const int64_t* __restrict__ lengths,
                const int64_t* __restrict__ starts, int32_t num_points, int32_t channels,
                int64_t num_samples, int64_t* __restrict__ samples) {
  __shared__ Ranked<T> slots[64];
  const int64_t cloud = blockIdx.x;
  points += cloud * num_points * channels;
  samples += cloud * num_samples;
  const int64_t length = pcpt::trusted_length(lengths[cloud], num_points);
  T position[HELD][RESIDENT_CHANNELS], distance[HELD];
  Ranked<T> best{T(-1), INT32_MAX};
#pragma unroll
  for (int i = 0; i < HELD; ++i) {
    const int32_t row = threadIdx.x + i * blockDim.x;
    bool present = row < length;
#pragma unroll
    for (int c = 0; c < RESIDENT_CHANNELS; ++c) {
      position[i][c] = present && c < channels ? points[int64_t(row) * channels + c] : T(0);
      present &= pcpt::is_finite(position[i][c]);
    }
    // Squared distance to the nearest sample, -1 where there is no point or it has been taken.
    distance[i] = present ? pcpt::infinity<T>() : T(-1);
    if (present) prefer_start(row, static_cast<int32_t>(starts[cloud]), best);
  }
  Ranked<T> taken = block_farthest(best, slots, 0);
  for (int64_t sample = 0; sample < num_samples; ++sample) {
    const bool left = taken.value >= T(0);  // the same in all threads
    if (threadIdx.x == 0) samples[sample] = left ? taken.row : -1;
    if (!left) continue;
    T at[RESIDENT_CHANNELS];
#pragma unroll
    for (int c = 0; c < RESIDENT_CHANNELS; ++c)
      at[c] = c < channels ? points[int64_t(taken.row) * channels + c] : T(0);
    best = {T(-1), INT32_MAX};
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
      const int32_t row = threadIdx.x + i * blockDim.x;
      const T found = pcpt::squared_distance(position[i], at, RESIDENT_CHANNELS);
      if (found < distance[i]) distance[i] = found;
      if (row == taken.row) distance[i] = T(-1);
      if (distance[i] > best.value) best = {distance[i], row};  // rows ascend: the first stays
    }
    taken = block_farthest(best, slots, static_cast<int>(sample + 1));
  }
}

// A run of points along the curve that a lane answers for: its box, and its point farthest from all
// samples.
template <typename T>
struct Run {
  T box[pcpt::BOX];
  Ranked<T> best;
};

// Lane after lane, the runs of a warp that the sample may change, each by all lanes together.
template <typename T>
__device__ void update_runs(const pcpt::Curve<T>& curve, const T* points, int32_t taken,
                            int32_t run_length, T* distance, Run<T>& mine) {
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32, warp = threadIdx.x / 32;
  const T* at = points + int64_t(taken) * curve.channels;
  const T gap = pcpt::squared_gap(mine.box, at, curve.channels);
  // Not where they are equal: the point just taken may be the farthest of its box, at distance 0.
  unsigned changed = __ballot_sync(pcpt::FULL_WARP, !(mine.best.value < gap));
  for (; changed; changed &= changed - 1) {
    const int owner = __ffs(changed) - 1;
    // Neighbouring runs belong to different warps, which then share the work on them.
    const int32_t first = (owner * warps + warp) * run_length;
    Ranked<T> best{T(-1), INT32_MAX};
    for (int32_t place = first + lane; place < first + run_length; place += 32) {
      if (place >= curve.num_points || curve.rows[place] < 0) continue;
      const int32_t row = curve.rows[place];
      const T found =
          pcpt::squared_distance(curve.points + int64_t(place) * curve.channels, at, curve.channels);
      T nearest = distance[place];
      if (found < nearest) nearest = found;
      if (row == taken) nearest = T(-1);
      distance[place] = nearest;
      if (nearest > best.value || (nearest == best.value && row < best.row)) best = {nearest, row};
    }
    best = pcpt::warp_farthest(best);
    if (lane == owner) mine.best = best;
  }
}

template <typename T>
__global__ void __launch_bounds__(1024) sample_curve(
    const T* __restrict__ points, pcpt::Curve<T> curves, const int64_t* __restrict__ starts,
    int32_t run_length, int64_t num_samples, T* __restrict__ distance,
    int64_t* __restrict__ samples) {
  __shared__ Ranked<T> slots[64];
  const int64_t cloud = blockIdx.x;
  const pcpt::Curve<T> curve = curves.cloud(cloud);
  points += cloud * curve.num_points * curve.channels;
  distance += cloud * curve.num_points;
  samples += cloud * num_samples;
  const int32_t warps = blockDim.x / 32, boxes = run_length / pcpt::BUCKET;
  const int32_t run = threadIdx.x % 32 * warps + threadIdx.x / 32;
  const int32_t last = (run + 1) * boxes < curve.num_boxes ? (run + 1) * boxes : curve.num_boxes;
  Run<T> mine;
  pcpt::join_boxes(curve.boxes, run * boxes, last, mine.box);
  // An empty run is at no distance of any sample, and stays so.
  mine.best = {mine.box[0] <= mine.box[3] ? pcpt::infinity<T>() : T(-1), INT32_MAX};
  Ranked<T> taken{T(-1), INT32_MAX};
  for (int32_t place = threadIdx.x; place < curve.num_points; place += blockDim.x) {
    distance[place] = pcpt::infinity<T>();
    if (curve.rows[place] >= 0)
      prefer_start(curve.rows[place], static_cast<int32_t>(starts[cloud]), taken);
  }
  taken = block_farthest(taken, slots, 0);
  __syncthreads();  // distances were written by other threads
  for (int64_t sample = 0; sample < num_samples; ++sample) {
    const bool left = taken.value >= T(0);  // the same in all threads
    if (threadIdx.x == 0) samples[sample] = left ? taken.row : -1;
    if (!left) continue;
    update_runs(curve, points, taken.row, run_length, distance, mine);
    taken = block_farthest(mine.best, slots, static_cast<int>(sample + 1));
  }
}

template <typename T>
void sample_clouds(const pcpt::Launch& launch, const Tensor& points, const Tensor& lengths,
                   const int64_t* start, int64_t num_samples, int64_t* samples) {
  const int64_t num_clouds = points.size(0), num_points = points.size(1), channels = points.size(2);
  const T* from = points.const_data_ptr<T>();
  if (num_points == 0 ||
      (num_points <= HELD * RESIDENT_THREADS<T> && channels <= RESIDENT_CHANNELS)) {
    const int64_t threads = std::max<int64_t>(1, (num_points + HELD * 32 - 1) / (HELD * 32)) * 32;
    PCPT_LAUNCH(sample_resident<T>, num_clouds, threads, 0, launch.stream(), from,
                lengths.const_data_ptr<int64_t>(), start, static_cast<int32_t>(num_points),
                static_cast<int32_t>(channels), num_samples, samples);
    return;
  }
  const pcpt::SortedClouds<T> sorted = pcpt::sort_clouds<T>(launch, points, lengths);
  Tensor distance = torch::stable::new_empty(points, {num_clouds, num_points});
  // As many runs as a block has threads, of whole boxes.
  const int64_t boxes = (sorted.curve.num_boxes + 1023) / 1024;
  const int64_t runs = (sorted.curve.num_boxes + boxes - 1) / boxes;
  PCPT_LAUNCH(sample_curve<T>, num_clouds, (runs + 31) / 32 * 32, 0, launch.stream(), from,
              sorted.curve, start, static_cast<int32_t>(boxes * pcpt::BUCKET), num_samples,
              distance.mutable_data_ptr<T>(), samples);
}

Tensor farthest_points_cuda(const Tensor& points,       // (B, N, C) float32 or float64
                            const Tensor& lengths,      // (B,) int64, in 0..N
                            const Tensor& start_index,  // (B,) int64, in the cloud
                            int64_t num_samples) {
  STD_TORCH_CHECK(points.dim() == 3 && points.is_contiguous() && points.size(1) <= INT32_MAX / 2,
                  "farthest_points: points must be contiguous (B, N, C), N < 2^30");
  for (const Tensor* tensor : {&lengths, &start_index})
    STD_TORCH_CHECK(tensor->scalar_type() == ScalarType::Long && tensor->is_contiguous() &&
                        tensor->dim() == 1 && tensor->size(0) == points.size(0),
                    "farthest_points: lengths and start_index must be contiguous (B,) int64");
  const pcpt::Launch launch(points);
  Tensor samples = torch::stable::new_empty(lengths, {points.size(0), num_samples});
  if (points.size(0) == 0 || num_samples == 0) return samples;
  THO_DISPATCH_V2(points.scalar_type(), "farthest_points", AT_WRAP([&] {
                    sample_clouds<scalar_t>(launch, points, lengths,
                                            start_index.const_data_ptr<int64_t>(), num_samples,
                                            samples.mutable_data_ptr<int64_t>());
                  }),
                  AT_EXPAND(AT_FLOATING_TYPES));
  return samples;
}

}  // namespace

PCPT_CUDA_KERNELS(m) { m.impl("farthest_points", TORCH_BOX(&farthest_points_cuda)); }
