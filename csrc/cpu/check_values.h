// Asks whether whole numbers in tensors lie in range, on the CPU alone: elsewhere looking would be to
// wait for the device.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>

namespace pcpt {

// values: (M,) int64, contiguous; all must lie in 0..most.
inline void check_values(const torch::stable::Tensor& values, int64_t most, const char* name) {
  const int64_t* value = values.const_data_ptr<int64_t>();
  const int64_t count = values.size(0);
  for (int64_t i = 0; i < count; ++i)
    STD_TORCH_CHECK(value[i] >= 0 && value[i] <= most, name, "[", i, "] is ", value[i],
                    ", expected 0..", most);
}

}  // namespace pcpt
