// What the warps of the neighbour kernels share: the best of a warp, sorted lists held in registers,
// and distances summed in the order of the references.
#pragma once

#include "device.h"

namespace pcpt {

constexpr unsigned FULL_WARP = 0xffffffffu;

template <typename T>
__host__ __device__ __forceinline__ T infinity() {
  return static_cast<T>(HUGE_VAL);
}

template <typename T>
__device__ __forceinline__ bool is_finite(T value) {
  return value - value == T(0);
}

template <typename T>
__device__ __forceinline__ T squared_distance(const T* a, const T* b, int channels) {
  T sum = (a[0] - b[0]) * (a[0] - b[0]);
  for (int c = 1; c < channels; ++c) sum += (a[c] - b[c]) * (a[c] - b[c]);
  return sum;
}

// A value and the row it belongs to.
template <typename T>
struct Ranked {
  T value;
  int32_t row;
};

template <typename T>
__device__ __forceinline__ bool operator<(const Ranked<T>& a, const Ranked<T>& b) {
  return a.value < b.value || (a.value == b.value && a.row < b.row);
}

template <typename T>
__device__ __forceinline__ Ranked<T> shuffle(const Ranked<T>& a, int lane) {
  return {__shfl_sync(FULL_WARP, a.value, lane), __shfl_sync(FULL_WARP, a.row, lane)};
}

// The largest value of a warp, of equals the lowest row; in every lane. None is nan.
template <typename T>
__device__ __forceinline__ Ranked<T> warp_farthest(Ranked<T> best) {
  for (int bits = 16; bits > 0; bits /= 2) {
    const T value = __shfl_xor_sync(FULL_WARP, best.value, bits);
    const int32_t row = __shfl_xor_sync(FULL_WARP, best.row, bits);
    if (value > best.value || (value == best.value && row < best.row)) best = {value, row};
  }
  return best;
}

// In one instruction each where the GPU has them: bits of floats >= 0 are ordered as they are, and
// anything below is none.
__device__ __forceinline__ Ranked<float> warp_farthest(Ranked<float> best) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  return warp_farthest<float>(best);
#else
  const unsigned key = best.value < 0.f ? 0u : __float_as_uint(best.value) + 1u;
  const unsigned most = __reduce_max_sync(FULL_WARP, key);
  const unsigned row = key == most ? static_cast<unsigned>(best.row) : 0xffffffffu;
  const int32_t first = static_cast<int32_t>(__reduce_min_sync(FULL_WARP, row));
  return {most == 0u ? -1.f : __uint_as_float(most - 1u), first};
#endif
}

// The first of a warp, in every lane.
template <typename T>
__device__ __forceinline__ Ranked<T> warp_first(Ranked<T> best) {
  for (int bits = 16; bits > 0; bits /= 2) {
    const Ranked<T> other = {__shfl_xor_sync(FULL_WARP, best.value, bits),
                             __shfl_xor_sync(FULL_WARP, best.row, bits)};
    if (other < best) best = other;
  }
  return best;
}

// The k first of all that are offered, sorted: place 32 i + lane lies in slot i of the lane.
template <typename T, int SLOTS>
class WarpList {
 public:
  __device__ void clear(int k) {
    k_ = k;
#pragma unroll
    for (int i = 0; i < SLOTS; ++i) entry_[i] = {infinity<T>(), -1};
    update_last();
  }

  // Nothing beyond this can enter. inf at row -1 while there is room: no distance of inf enters.
  __device__ const Ranked<T>& last() const { return last_; }

  // A candidate of each lane; nan for none. All lanes together.
  __device__ void offer(const Ranked<T>& mine) {
    unsigned waiting = __ballot_sync(FULL_WARP, mine < last_);
    if (!waiting) return;
    for (; waiting; waiting &= waiting - 1) insert(shuffle(mine, __ffs(waiting) - 1));
    update_last();
  }

  __device__ const Ranked<T>& slot(int i) const { return entry_[i]; }

 private:
  // new[place] = min(old[place], max(old[place - 1], added))
  __device__ void insert(const Ranked<T>& added) {
    const int lane = threadIdx.x & 31;
#pragma unroll
    for (int i = SLOTS - 1; i >= 0; --i) {
      Ranked<T> before = {__shfl_up_sync(FULL_WARP, entry_[i].value, 1),
                          __shfl_up_sync(FULL_WARP, entry_[i].row, 1)};
      const Ranked<T> carried = i > 0 ? shuffle(entry_[i > 0 ? i - 1 : 0], 31) : added;
      if (lane == 0) before = carried;
      if (before < added) before = added;
      if (before < entry_[i]) entry_[i] = before;
    }
  }

  __device__ void update_last() {
#pragma unroll
    for (int i = 0; i < SLOTS; ++i)
      if ((k_ - 1) / 32 == i) last_ = shuffle(entry_[i], (k_ - 1) % 32);
  }

  Ranked<T> entry_[SLOTS], last_;
  int k_;
};

}  // namespace pcpt
