// Clouds sorted along a Morton curve, and boxes around every 32 points and every 1,024: what searches
// of large clouds prune with. Boxes are of the first three channels.
#pragma once

#include "warp.h"

namespace pcpt {

constexpr int BUCKET = 32;  // points a box, and boxes a larger box
constexpr int BOX = 6;      // low x, y, z, high x, y, z

template <typename T>
struct Curve {
  const T* points;       // (B, N, C), along the curve
  const int32_t* rows;   // (B, N) where they came from, -1 for points absent or not finite: last
  const T* boxes;        // (B, num_boxes, 6)
  const T* large_boxes;  // (B, num_large, 6)
  int32_t num_points, num_boxes, num_large, channels;

  __device__ Curve cloud(int64_t b) const {
    return {points + b * num_points * channels, rows + b * num_points, boxes + b * num_boxes * BOX,
            large_boxes + b * num_large * BOX, num_points, num_boxes, num_large, channels};
  }
};

// No point in a box is nearer than this, squared: rounding keeps order, so no computed distance is
// less either. inf for an empty box.
template <typename T>
__device__ __forceinline__ T squared_gap(const T* box, const T* point, int channels) {
  T sum = 0;
  for (int axis = 0; axis < 3 && axis < channels; ++axis) {
    const T below = box[axis] - point[axis], above = point[axis] - box[3 + axis];
    const T most = below > above ? below : above, gap = most > T(0) ? most : T(0);
    sum += gap * gap;
  }
  return sum;
}

template <typename T>
__device__ bool is_finite_point(const T* point, int channels) {
  bool finite = true;
  for (int c = 0; c < channels; ++c) finite &= is_finite(point[c]);
  return finite;
}

// (B, 4): the lowest corner of each cloud, and cells per unit of a cube of 1,024 cells a side.
template <typename T>
__global__ void measure_clouds(const T* __restrict__ points, const int64_t* __restrict__ lengths,
                               int32_t num_points, int32_t channels, T* __restrict__ frame) {
  __shared__ T extreme[32][BOX];
  const auto length = static_cast<int32_t>(trusted_length(lengths[blockIdx.x], num_points));
  points += int64_t(blockIdx.x) * num_points * channels;
  T box[BOX];
  for (int i = 0; i < BOX; ++i) box[i] = i < 3 ? infinity<T>() : -infinity<T>();
  for (int32_t row = threadIdx.x; row < length; row += blockDim.x) {
    const T* point = points + int64_t(row) * channels;
    if (!is_finite_point(point, channels)) continue;
    for (int axis = 0; axis < 3 && axis < channels; ++axis) {
      box[axis] = point[axis] < box[axis] ? point[axis] : box[axis];
      box[3 + axis] = point[axis] > box[3 + axis] ? point[axis] : box[3 + axis];
    }
  }
  for (int i = 0; i < BOX; ++i) {
    for (int bits = 16; bits > 0; bits /= 2) {
      const T other = __shfl_xor_sync(FULL_WARP, box[i], bits);
      if (i < 3 ? other < box[i] : other > box[i]) box[i] = other;
    }
    if (threadIdx.x % 32 == 0) extreme[threadIdx.x / 32][i] = box[i];
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  T widest = 0;
  for (int axis = 0; axis < 3 && axis < channels; ++axis) {
    for (int warp = 1; warp < blockDim.x / 32; ++warp) {
      box[axis] = extreme[warp][axis] < box[axis] ? extreme[warp][axis] : box[axis];
      box[3 + axis] = extreme[warp][3 + axis] > box[3 + axis] ? extreme[warp][3 + axis] : box[3 + axis];
    }
    const T wide = box[3 + axis] - box[axis];
    widest = wide > widest ? wide : widest;
  }
  for (int axis = 0; axis < 3; ++axis) frame[4 * blockIdx.x + axis] = box[axis];
  frame[4 * blockIdx.x + 3] = widest > T(0) ? T(1024) / widest : T(0);
}

// Keys that sort points by cloud, then along the curve, then what is absent.
template <typename T>
__global__ void curve_keys(const T* __restrict__ points, const int64_t* __restrict__ lengths,
                           int32_t num_points, int32_t channels, const T* __restrict__ frame,
                           int64_t count, int64_t* __restrict__ keys) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int64_t cloud = i / num_points;
  const T* point = points + i * channels;
  uint32_t key = 0;
  for (int axis = 0; axis < 3 && axis < channels; ++axis) {
    const T cell = (point[axis] - frame[4 * cloud + axis]) * frame[4 * cloud + 3];
    // A cloud wider than its type holds makes this inf or nan; any order is right.
    uint32_t x = cell >= T(0) && cell < T(1024) ? static_cast<uint32_t>(cell) : 1023u;
    x = (x | x << 16) & 0x030000ffu;  // spread to every third bit
    x = (x | x << 8) & 0x0300f00fu;
    x = (x | x << 4) & 0x030c30c3u;
    x = (x | x << 2) & 0x09249249u;
    key |= x << axis;
  }
  const bool present = i % num_points < lengths[cloud] && is_finite_point(point, channels);
  keys[i] = cloud << 32 | (present ? key : 0xffffffffu);
}

template <typename T>
__global__ void gather_curve(const T* __restrict__ points, int32_t num_points, int32_t channels,
                             const int64_t* __restrict__ keys, const int64_t* __restrict__ order,
                             int64_t count, T* __restrict__ sorted, int32_t* __restrict__ rows) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const bool present = static_cast<uint32_t>(keys[i]) != 0xffffffffu;
  rows[i] = present ? static_cast<int32_t>(order[i] % num_points) : -1;
  for (int c = 0; c < channels; ++c) sorted[i * channels + c] = points[order[i] * channels + c];
}

// A thread is a box, around 32 points or 32 boxes.
template <typename T>
__global__ void bound_points(const T* __restrict__ sorted, const int32_t* __restrict__ rows,
                             int32_t num_points, int32_t channels, int32_t num_boxes, int64_t count,
                             T* __restrict__ boxes) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int64_t cloud = i / num_boxes;
  T box[BOX];
  for (int j = 0; j < BOX; ++j) box[j] = j < 3 ? infinity<T>() : -infinity<T>();
  for (int32_t place = i % num_boxes * BUCKET, j = 0; j < BUCKET && place < num_points; ++j, ++place) {
    if (rows[cloud * num_points + place] < 0) continue;
    const T* point = sorted + (cloud * num_points + place) * channels;
    for (int axis = 0; axis < 3 && axis < channels; ++axis) {
      box[axis] = point[axis] < box[axis] ? point[axis] : box[axis];
      box[3 + axis] = point[axis] > box[3 + axis] ? point[axis] : box[3 + axis];
    }
  }
  for (int j = 0; j < BOX; ++j) boxes[i * BOX + j] = box[j];
}

template <typename T>
__device__ void join_boxes(const T* boxes, int first, int last, T* joined) {
  for (int i = 0; i < BOX; ++i) joined[i] = i < 3 ? infinity<T>() : -infinity<T>();
  for (int box = first; box < last; ++box) {
    for (int i = 0; i < BOX; ++i) {
      const T value = boxes[int64_t(box) * BOX + i];
      if (i < 3 ? value < joined[i] : value > joined[i]) joined[i] = value;
    }
  }
}

template <typename T>
__global__ void bound_boxes(const T* __restrict__ boxes, int32_t num_boxes, int32_t num_large,
                            int64_t count, T* __restrict__ large_boxes) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int32_t first = static_cast<int32_t>(i % num_large) * BUCKET;
  const int32_t last = first + BUCKET < num_boxes ? first + BUCKET : num_boxes;
  join_boxes(boxes + i / num_large * num_boxes * BOX, first, last, large_boxes + i * BOX);
}

// The tensors that a Curve points into: keep them while kernels are launched.
template <typename T>
struct SortedClouds {
  Tensor points, rows, boxes, large_boxes;
  Curve<T> curve;
};

template <typename T>
SortedClouds<T> sort_clouds(const Launch& launch, const Tensor& points, const Tensor& lengths) {
  constexpr int THREADS = 256;
  const int64_t num_clouds = points.size(0), num_points = points.size(1), channels = points.size(2);
  const int64_t count = num_clouds * num_points;
  const int64_t num_boxes = (num_points + BUCKET - 1) / BUCKET;
  const int64_t num_large = (num_boxes + BUCKET - 1) / BUCKET;
  Tensor frame = torch::stable::new_empty(points, {num_clouds, 4});
  Tensor keys = torch::stable::new_empty(lengths, {count});
  SortedClouds<T> sorted{
      torch::stable::new_empty(points, {num_clouds, num_points, channels}),
      torch::stable::new_empty(lengths, {num_clouds, num_points},
                               std::make_optional(torch::headeronly::ScalarType::Int)),
      torch::stable::new_empty(points, {num_clouds, num_boxes, BOX}),
      torch::stable::new_empty(points, {num_clouds, num_large, BOX}),
      {}};
  const T* from = points.const_data_ptr<T>();
  const int64_t* length = lengths.const_data_ptr<int64_t>();
  const int32_t n = static_cast<int32_t>(num_points), c = static_cast<int32_t>(channels);
  const int32_t boxes = static_cast<int32_t>(num_boxes), large = static_cast<int32_t>(num_large);
  T* frames = frame.mutable_data_ptr<T>();
  PCPT_LAUNCH(measure_clouds<T>, num_clouds, num_points > 2048 ? 1024 : 128, 0, launch.stream(), from,
              length, n, c, frames);
  PCPT_LAUNCH(curve_keys<T>, blocks_for(count, THREADS), THREADS, 0, launch.stream(), from, length, n,
              c, frames, count, keys.mutable_data_ptr<int64_t>());
  const auto [sorted_keys, order] = stable_sort(keys);
  T* places = sorted.points.template mutable_data_ptr<T>();
  int32_t* rows = sorted.rows.template mutable_data_ptr<int32_t>();
  T* box = sorted.boxes.template mutable_data_ptr<T>();
  T* large_box = sorted.large_boxes.template mutable_data_ptr<T>();
  PCPT_LAUNCH(gather_curve<T>, blocks_for(count, THREADS), THREADS, 0, launch.stream(), from, n, c,
              sorted_keys.const_data_ptr<int64_t>(), order.const_data_ptr<int64_t>(), count, places,
              rows);
  PCPT_LAUNCH(bound_points<T>, blocks_for(num_clouds * num_boxes, THREADS), THREADS, 0,
              launch.stream(), places, rows, n, c, boxes, num_clouds * num_boxes, box);
  PCPT_LAUNCH(bound_boxes<T>, blocks_for(num_clouds * num_large, THREADS), THREADS, 0,
              launch.stream(), box, boxes, large, num_clouds * num_large, large_box);
  sorted.curve = {places, rows, box, large_box, n, boxes, large, c};
  return sorted;
}

}  // namespace pcpt
