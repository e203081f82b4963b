// The maximum over bags of gathered rows: a thread is one channel of one bag, so that the threads of
// a warp read along a row.
#include <torch/headeronly/core/Dispatch_v2.h>

#include <optional>
#include <tuple>

#include "checks.h"
#include "device.h"

namespace {

using pcpt::Tensor;
using torch::headeronly::ScalarType;

constexpr int THREADS = 256;

template <typename T>
struct Bags {
  const T* values;                // (N, C)
  const int64_t *index, *starts;  // (M,), (S + 1,)
  int64_t num_rows, num_places, num_bags, channels;
  T* out;        // (S, C)
  int32_t* row;  // (S, C)
};

template <typename T>
__global__ void pool(Bags<T> bags) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= bags.num_bags * bags.channels) return;
  const int64_t bag = i / bags.channels, channel = i % bags.channels;
  const int64_t end = pcpt::trusted_length(bags.starts[bag + 1], bags.num_places);
  T best = 0;
  int32_t held = -1;
  for (int64_t place = pcpt::trusted_length(bags.starts[bag], bags.num_places); place < end;
       ++place) {
    const int64_t number = bags.index[place];
    if (number < 0 || number >= bags.num_rows) continue;
    const T value = bags.values[number * bags.channels + channel];
    // The first nan stays: nothing is beyond it.
    if (held < 0 || value > best || (value != value && best == best)) {
      best = value;
      held = static_cast<int32_t>(number);
    }
  }
  bags.out[i] = best;
  bags.row[i] = held;
}

template <typename T>
void pool_bags(const Tensor& values, const Tensor& index, const Tensor& starts, Tensor& out,
               Tensor& row) {
  const pcpt::Launch launch(values);
  const Bags<T> bags{values.const_data_ptr<T>(),
                     index.const_data_ptr<int64_t>(),
                     starts.const_data_ptr<int64_t>(),
                     values.size(0),
                     index.size(0),
                     out.size(0),
                     out.size(1),
                     out.mutable_data_ptr<T>(),
                     row.mutable_data_ptr<int32_t>()};
  PCPT_LAUNCH(pool<T>, pcpt::blocks_for(out.size(0) * out.size(1), THREADS), THREADS, 0,
              launch.stream(), bags);
}

std::tuple<Tensor, Tensor> gather_max_cuda(const Tensor& values,  // (N, C) float32 or float64
                                           const Tensor& index,   // (M,) int64; -1 is left out
                                           const Tensor& starts) {  // (S + 1,) int64, ascending
  pcpt::check_gather_max(values, index, starts);
  const int64_t num_bags = starts.size(0) - 1;
  Tensor out = torch::stable::new_empty(values, {num_bags, values.size(1)});
  Tensor row = torch::stable::new_empty(values, {num_bags, values.size(1)},
                                        std::make_optional(ScalarType::Int));
  THO_DISPATCH_V2(values.scalar_type(), "gather_max",
                  AT_WRAP([&] { pool_bags<scalar_t>(values, index, starts, out, row); }),
                  AT_EXPAND(AT_FLOATING_TYPES));
  return {out, row};
}

}  // namespace

PCPT_CUDA_KERNELS(m) { m.impl("gather_max", TORCH_BOX(&gather_max_cuda)); }
