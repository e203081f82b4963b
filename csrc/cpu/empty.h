// New tensors on the CPU, past the dispatcher: asking it takes a microsecond each, and a hundred when
// other work has driven it from the caches.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <cstdint>

namespace pcpt {

template <typename T>
int32_t dtype_of();
template <>
inline int32_t dtype_of<float>() {
  return aoti_torch_dtype_float32();
}
template <>
inline int32_t dtype_of<int64_t>() {
  return aoti_torch_dtype_int64();
}

// Contiguous, not initialised.
template <typename T, size_t Dims>
torch::stable::Tensor empty(const std::array<int64_t, Dims>& sizes) {
  std::array<int64_t, Dims> strides;
  int64_t stride = 1;
  for (size_t i = Dims; i-- > 0; stride *= sizes[i]) strides[i] = stride;
  AtenTensorHandle handle;
  TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(Dims, sizes.data(), strides.data(),
                                                  dtype_of<T>(), aoti_torch_device_type_cpu(), 0,
                                                  &handle));
  return torch::stable::Tensor(handle);
}

}  // namespace pcpt
