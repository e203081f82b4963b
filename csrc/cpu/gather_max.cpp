// The maximum over bags of gathered rows. How a bag is pooled is in gather_max_isa.h.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/Dispatch_v2.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <tuple>

#include "checks.h"
#include "isa.h"
#include "point_tree.h"  // which every_isa.h asks for

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <typename T>
struct Bags {
  const T* values;                // (N, C)
  const int64_t *index, *starts;  // (M,), (S + 1,)
  int64_t num_rows, channels;
  T* out;        // (S, C)
  int32_t* row;  // (S, C)

  bool has(int64_t number) const {
    return static_cast<uint64_t>(number) < static_cast<uint64_t>(num_rows);
  }
};

#define PCPT_KERNELS "gather_max_isa.h"
#include "every_isa.h"

// Whether all rows of the bags are rows of the values, or -1.
template <typename T>
bool pool_bags(const Tensor& values, const Tensor& index, const Tensor& starts, Tensor& out,
               Tensor& row) {
  const Bags<T> bags{values.const_data_ptr<T>(),
                     index.const_data_ptr<int64_t>(),
                     starts.const_data_ptr<int64_t>(),
                     values.size(0),
                     values.size(1),
                     out.mutable_data_ptr<T>(),
                     row.mutable_data_ptr<int32_t>()};
  const auto run = PCPT_BEST(pool<T>);
  std::atomic<bool> good{true};
  torch::stable::parallel_for(0, out.size(0), 1, [&](int64_t begin, int64_t end) {
    if (!run(bags, begin, end)) good = false;
  });
  return good;
}

std::tuple<Tensor, Tensor> gather_max_cpu(const Tensor& values,  // (N, C) float32 or float64
                                          const Tensor& index,   // (M,) int64; -1 is left out
                                          const Tensor& starts) {  // (S + 1,) int64, ascending
  pcpt::check_gather_max(values, index, starts);
  const int64_t num_bags = starts.size(0) - 1;
  const int64_t* start = starts.const_data_ptr<int64_t>();
  STD_TORCH_CHECK(start[0] >= 0 && start[num_bags] <= index.size(0) &&
                      std::is_sorted(start, start + num_bags + 1),
                  "gather_max: starts must ascend from 0 up to the length of index");
  Tensor out = torch::stable::new_empty(values, {num_bags, values.size(1)});
  Tensor row = torch::stable::new_empty(values, {num_bags, values.size(1)},
                                        std::make_optional(ScalarType::Int));
  bool good = true;
  THO_DISPATCH_V2(values.scalar_type(), "gather_max",
                  AT_WRAP([&] { good = pool_bags<scalar_t>(values, index, starts, out, row); }),
                  AT_EXPAND(AT_FLOATING_TYPES));
  STD_TORCH_CHECK(good, "gather_max: index must be in -1..", values.size(0) - 1);
  return {out, row};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) { m.impl("gather_max", TORCH_BOX(&gather_max_cpu)); }
