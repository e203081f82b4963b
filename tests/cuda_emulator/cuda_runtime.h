// CUDA on the CPU, for tests: csrc/cuda/*.cu compiled as plain C++ against this header run their
// kernels on CPU tensors, block after block, each thread of a block a fiber.
//
// Between two barriers the threads of a block run in shuffled order, and so do the blocks of a grid,
// so a kernel that leans on an order no GPU promises gives other results here too. A thread runs
// undisturbed up to its next barrier: what emulation cannot show is a race *within* such a stretch
// (compute-sanitizer can), and it says nothing about speed. Not emulated: textures, streams that
// overlap, cooperative groups, asynchronous copies, tensor cores.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static  // blocks run one at a time
#define PCPT_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(emulator::dynamic_shared())
#define PCPT_LAUNCH(kernel, blocks, threads, shared_bytes, stream, ...) \
  emulator::launch(dim3(blocks), dim3(threads), shared_bytes,           \
                   [&](auto... arguments) { (kernel)(arguments...); }, __VA_ARGS__)

struct dim3 {
  unsigned x, y, z;
  // 64-bit, as callers count in int64_t; a GPU's limits are checked at launch.
  dim3(int64_t x = 1, int64_t y = 1, int64_t z = 1)
      : x(static_cast<unsigned>(x)), y(static_cast<unsigned>(y)), z(static_cast<unsigned>(z)) {}
};
struct uint3 { unsigned x, y, z; };
struct alignas(8) int2 { int x, y; };
struct int3 { int x, y, z; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct float3 { float x, y, z; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };
struct alignas(16) longlong2 { long long x, y; };
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int3 make_int3(int x, int y, int z) { return {x, y, z}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace emulator {

struct Thread {
  uint3 thread_index, block_index, block_size, grid_size;
  int lane;
};

const Thread& current();
void* dynamic_shared();
// Runs body() once as every thread of the grid.
void run(dim3 blocks, dim3 threads, size_t shared_bytes, const std::function<void()>& body);
void block_barrier();
// Waits for the lanes of the mask; all of them must come.
void warp_barrier(unsigned mask);
// Lends every lane of the warp 8 bytes that the others can read between two barriers.
uint64_t* warp_slots();

// Arguments are copied once, as a launch copies them.
template <typename Body, typename... Arguments>
void launch(dim3 blocks, dim3 threads, size_t shared_bytes, const Body& body,
            Arguments... arguments) {
  run(blocks, threads, shared_bytes, [&] { body(arguments...); });
}

template <typename T>
T exchange(unsigned mask, T value, int source) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  uint64_t* slots = warp_slots();
  std::memcpy(&slots[current().lane], &value, sizeof(T));
  warp_barrier(mask);
  T result;
  std::memcpy(&result, &slots[source & 31], sizeof(T));
  warp_barrier(mask);
  return result;
}

template <typename T, typename Combine>
T update(T* target, const Combine& combine) {
  const T before = *target;
  *target = combine(before);
  return before;
}

}  // namespace emulator

#define threadIdx (emulator::current().thread_index)
#define blockIdx (emulator::current().block_index)
#define blockDim (emulator::current().block_size)
#define gridDim (emulator::current().grid_size)
constexpr int warpSize = 32;

inline void __syncthreads() { emulator::block_barrier(); }
// Whether any thread of the block says so. Blocks run one at a time, so one flag serves all of them.
inline int __syncthreads_or(int predicate) {
  static int any = 0;
  if (predicate) any = 1;
  emulator::block_barrier();
  const int result = any;
  emulator::block_barrier();
  any = 0;
  emulator::block_barrier();  // before the flag is used again
  return result;
}
inline void __syncwarp(unsigned mask = 0xffffffffu) { emulator::warp_barrier(mask); }
inline void __threadfence() {}
inline void __threadfence_block() {}

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const int lane = emulator::current().lane;
  return emulator::exchange(mask, value, (lane & ~(width - 1)) | (source & (width - 1)));
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  const int lane = emulator::current().lane, source = lane ^ bits;
  return emulator::exchange(mask, value, (source / width) > (lane / width) ? lane : source);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const int lane = emulator::current().lane, source = lane - static_cast<int>(delta);
  return emulator::exchange(mask, value, source < (lane & ~(width - 1)) ? lane : source);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const int lane = emulator::current().lane, source = lane + static_cast<int>(delta);
  return emulator::exchange(mask, value, source > (lane | (width - 1)) ? lane : source);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  uint64_t* slots = emulator::warp_slots();
  slots[emulator::current().lane] = predicate != 0;
  emulator::warp_barrier(mask);
  unsigned result = 0;
  for (int lane = 0; lane < 32; ++lane)
    if ((mask >> lane & 1) && slots[lane]) result |= 1u << lane;
  emulator::warp_barrier(mask);
  return result;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) == mask;
}
template <typename Combine>
unsigned emulated_reduce(unsigned mask, unsigned value, const Combine& combine) {
  uint64_t* slots = emulator::warp_slots();
  slots[emulator::current().lane] = value;
  emulator::warp_barrier(mask);
  for (int lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1) value = combine(value, static_cast<unsigned>(slots[lane]));
  emulator::warp_barrier(mask);
  return value;
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value) {
  return emulated_reduce(mask, value, [](unsigned a, unsigned b) { return a < b ? b : a; });
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value) {
  return emulated_reduce(mask, value, [](unsigned a, unsigned b) { return b < a ? b : a; });
}

#define PCPT_EMULATED_ATOMIC(name, expression)                              \
  template <typename T>                                                     \
  T name(T* target, std::common_type_t<T> value) {                          \
    return emulator::update(target, [&](T before) -> T { return expression; }); \
  }
PCPT_EMULATED_ATOMIC(atomicAdd, before + value)
PCPT_EMULATED_ATOMIC(atomicSub, before - value)
PCPT_EMULATED_ATOMIC(atomicMin, before < value ? before : value)
PCPT_EMULATED_ATOMIC(atomicMax, before > value ? before : value)
PCPT_EMULATED_ATOMIC(atomicOr, before | value)
PCPT_EMULATED_ATOMIC(atomicAnd, before & value)
PCPT_EMULATED_ATOMIC(atomicXor, before ^ value)
PCPT_EMULATED_ATOMIC(atomicExch, value)
#undef PCPT_EMULATED_ATOMIC
template <typename T>
T atomicCAS(T* target, std::common_type_t<T> expected, std::common_type_t<T> value) {
  return emulator::update(target, [&](T before) { return before == expected ? value : before; });
}

template <typename T>
T __ldg(const T* address) { return *address; }
inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline int __popcll(unsigned long long value) { return __builtin_popcountll(value); }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __ffsll(long long value) { return __builtin_ffsll(value); }
inline int __clz(int value) { return value ? __builtin_clz(static_cast<unsigned>(value)) : 32; }
inline int __clzll(long long value) {
  return value ? __builtin_clzll(static_cast<unsigned long long>(value)) : 64;
}
template <typename To, typename From>
To emulated_bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}
inline float __int_as_float(int bits) { return emulated_bit_cast<float>(bits); }
inline float __uint_as_float(unsigned bits) { return emulated_bit_cast<float>(bits); }
inline int __float_as_int(float value) { return emulated_bit_cast<int>(value); }
inline unsigned __float_as_uint(float value) { return emulated_bit_cast<unsigned>(value); }
inline double __longlong_as_double(long long bits) { return emulated_bit_cast<double>(bits); }
inline long long __double_as_longlong(double value) { return emulated_bit_cast<long long>(value); }
inline float rsqrtf(float value) { return 1.f / std::sqrt(value); }
template <typename A, typename B>
std::common_type_t<A, B> min(A a, B b) { return b < a ? b : a; }
template <typename A, typename B>
std::common_type_t<A, B> max(A a, B b) { return a < b ? b : a; }

using cudaStream_t = void*;
enum cudaError_t { cudaSuccess = 0 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
inline const char* cudaGetErrorString(cudaError_t) { return "no error"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                                   cudaStream_t) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}
template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int) {
  return cudaSuccess;
}
