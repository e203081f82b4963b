// Farthest point sampling. A task is a cloud; how samples are found is in farthest_points_isa.h.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/Dispatch_v2.h>

#include "check_values.h"
#include "isa.h"
#include "parallel.h"
#include "point_tree.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

#define PCPT_KERNELS "farthest_points_isa.h"
#include "every_isa.h"

Tensor farthest_points_cpu(const Tensor& points,       // (B, N, C) float32 or float64
                           const Tensor& lengths,      // (B,) int64, in 0..N
                           const Tensor& start_index,  // (B,) int64, in the cloud
                           int64_t num_samples) {
  STD_TORCH_CHECK(points.dim() == 3 && points.is_contiguous(),
                  "farthest_points: points must be contiguous (B, N, C)");
  const int64_t num_clouds = points.size(0), num_points = points.size(1);
  for (const Tensor& tensor : {lengths, start_index})
    STD_TORCH_CHECK(tensor.scalar_type() == ScalarType::Long && tensor.is_contiguous() &&
                        tensor.dim() == 1 && tensor.size(0) == num_clouds,
                    "farthest_points: lengths and start_index must be contiguous (B,) int64");
  STD_TORCH_CHECK(num_points <= INT32_MAX, "farthest_points: more than 2^31 - 1 points");
  pcpt::check_values(lengths, num_points, "lengths");
  const int channels = static_cast<int>(points.size(2));
  Tensor samples = torch::stable::new_empty(lengths, {num_clouds, num_samples});
  const int64_t* length = lengths.const_data_ptr<int64_t>();
  const int64_t* start = start_index.const_data_ptr<int64_t>();
  int64_t* out = samples.mutable_data_ptr<int64_t>();
  THO_DISPATCH_V2(points.scalar_type(), "farthest_points", AT_WRAP([&] {
                    const auto sample = PCPT_BEST(sample_cloud<scalar_t>);
                    const scalar_t* data = points.const_data_ptr<scalar_t>();
                    pcpt::for_each_task(num_clouds, [&](int64_t cloud) {
                      sample(data + cloud * num_points * channels, length[cloud], channels,
                             start[cloud], num_samples, out + cloud * num_samples);
                    });
                  }),
                  AT_EXPAND(AT_FLOATING_TYPES));
  return samples;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) {
  m.impl("farthest_points", TORCH_BOX(&farthest_points_cpu));
}
