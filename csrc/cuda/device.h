// What every CUDA operator needs: the stream of its tensors, checked launches, and the few torch
// operators (prefix sum, sort) that kernels compose with.
//
// The .cu files also compile as plain C++ against tests/cuda_emulator, which runs the same kernels on
// CPU tensors where there is no GPU. So they keep to what both understand: PCPT_LAUNCH instead of
// <<< >>>, PCPT_DYNAMIC_SHARED for dynamic shared memory, PCPT_CUDA_KERNELS to register.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#ifdef PCPT_EMULATE_CUDA
#define PCPT_CUDA_KERNELS(m) STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m)
#else
#define PCPT_CUDA_KERNELS(m) STABLE_TORCH_LIBRARY_IMPL(pcpt, CUDA, m)
// A kernel of several template arguments goes in parentheses: PCPT_LAUNCH((fill<T, 4>), ...).
#define PCPT_LAUNCH(kernel, blocks, threads, shared_bytes, stream, ...)            \
  do {                                                                             \
    const dim3 pcpt_blocks(blocks);                                                \
    if (pcpt_blocks.x > 0 && pcpt_blocks.y > 0 && pcpt_blocks.z > 0) {             \
      (kernel)<<<pcpt_blocks, dim3(threads), shared_bytes, stream>>>(__VA_ARGS__); \
      pcpt::check_cuda(cudaGetLastError(), #kernel);                               \
    }                                                                              \
  } while (false)
#define PCPT_DYNAMIC_SHARED(T, name)                                   \
  extern __shared__ __align__(16) unsigned char pcpt_dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(pcpt_dynamic_shared)
#endif

namespace pcpt {

using torch::stable::Tensor;

inline void check_cuda(cudaError_t status, const char* what) {
  STD_TORCH_CHECK(status == cudaSuccess, what, ": ", cudaGetErrorString(status));
}

// Makes the device of a tensor current while it lives, and names the stream to launch on.
class Launch {
 public:
#ifdef PCPT_EMULATE_CUDA
  explicit Launch(const Tensor&) {}
#else
  explicit Launch(const Tensor& tensor) : guard_(tensor.get_device_index()) {
    STD_TORCH_CHECK(tensor.is_cuda(), "expected a CUDA tensor");
    void* stream = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
    stream_ = static_cast<cudaStream_t>(stream);
  }
#endif

  cudaStream_t stream() const { return stream_; }

  // One value from the device: the only way an output's size can depend on data. Waits.
  template <typename T>
  T read(const T* on_device) const {
    T value{};
    check_cuda(cudaMemcpyAsync(&value, on_device, sizeof(T), cudaMemcpyDeviceToHost, stream_),
               "reading a size");
    check_cuda(cudaStreamSynchronize(stream_), "reading a size");
    return value;
  }

 private:
#ifndef PCPT_EMULATE_CUDA
  torch::stable::accelerator::DeviceGuard guard_;
#endif
  cudaStream_t stream_ = nullptr;
};

// Blocks that give `count` items a thread each. Beyond 2^31 - 1 blocks kernels would have to loop.
inline unsigned blocks_for(int64_t count, int64_t threads) {
  const int64_t blocks = (count + threads - 1) / threads;
  STD_TORCH_CHECK(blocks <= INT32_MAX, "too much work for one launch: ", count, " items");
  return static_cast<unsigned>(blocks);
}

// A length as a kernel may trust it, whatever a direct call of torch.ops.pcpt gives: to look at it
// on the host would be to wait for the device.
__device__ inline int64_t trusted_length(int64_t length, int64_t most) {
  return length < 0 ? 0 : length < most ? length : most;
}

// Inclusive prefix sum along the only dimension, in the same type.
inline Tensor cumsum(const Tensor& counts) {
  std::array<StableIValue, 3> stack{
      torch::stable::detail::from(counts), torch::stable::detail::from(int64_t(0)),
      torch::stable::detail::from(std::optional(counts.scalar_type()))};
  TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher("aten::cumsum", "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

// Ascending values and their int64 places, along the only dimension; equal values keep their order.
inline std::pair<Tensor, Tensor> stable_sort(const Tensor& values) {
  std::array<StableIValue, 4> stack{
      torch::stable::detail::from(values), torch::stable::detail::from(std::optional<bool>(true)),
      torch::stable::detail::from(int64_t(0)), torch::stable::detail::from(false)};
  TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher("aten::sort", "stable", stack.data(), TORCH_ABI_VERSION));
  return {torch::stable::detail::to<Tensor>(stack[0]), torch::stable::detail::to<Tensor>(stack[1])};
}

}  // namespace pcpt
