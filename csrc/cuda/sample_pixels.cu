// Bilinear upsampling read at single pixels. Forward: a warp is a pair, its lanes the channels.
// Backward: the four cells of every pair are sorted, and the warp of a cell's first entry adds all of
// the cell's entries in the order of the pairs: no atomics, and the same sums as the CPU's.
#include "bilinear.h"
#include "checks.h"
#include "device.h"

#include <torch/headeronly/core/Dispatch_v2.h>

namespace {

using pcpt::Precise;
using pcpt::Tensor;
using torch::headeronly::ScalarType;

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int CHANNELS = 4;  // a lane adds at a time

// Pairs of views that do not exist, which only a direct call of torch.ops.pcpt has, are passed over.
__device__ inline bool is_view(int64_t view, int64_t num_views) {
  return view >= 0 && view < num_views;
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
    sample(pcpt::Map<Precise<T>> map, const T* __restrict__ features, int64_t num_views,
           int64_t channels, const int64_t* __restrict__ view_index,
           const Precise<T>* __restrict__ pixel, int64_t num_pairs, T* __restrict__ out) {
  using P = Precise<T>;
  const int64_t pair = int64_t(blockIdx.x) * WARPS + threadIdx.x / 32;
  if (pair >= num_pairs) return;
  const pcpt::Corners<P> corners = pcpt::corners_at(map, pixel[2 * pair], pixel[2 * pair + 1]);
  const int64_t view = view_index[pair];
  for (int64_t channel = threadIdx.x % 32; channel < channels; channel += 32) {
    T& to = out[pair * channels + channel];
    if (!is_view(view, num_views)) {
      to = static_cast<T>(0.f);
      continue;
    }
    const T* plane = features + (view * channels + channel) * map.cells();
    to = static_cast<T>(corners.mix(
        static_cast<P>(plane[corners.cell[0]]), static_cast<P>(plane[corners.cell[1]]),
        static_cast<P>(plane[corners.cell[2]]), static_cast<P>(plane[corners.cell[3]])));
  }
}

// Entry 4 * pair + corner: the cell, counted through all views; -1 for none.
template <typename P>
__global__ void list_cells(pcpt::Map<P> map, const int64_t* __restrict__ view_index,
                           int64_t num_views, const P* __restrict__ pixel, int64_t num_pairs,
                           int64_t* __restrict__ cells) {
  const int64_t pair = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (pair >= num_pairs) return;
  const pcpt::Corners<P> corners = pcpt::corners_at(map, pixel[2 * pair], pixel[2 * pair + 1]);
  const int64_t view = view_index[pair];
  for (int corner = 0; corner < 4; ++corner)
    cells[4 * pair + corner] =
        is_view(view, num_views) ? view * map.cells() + corners.cell[corner] : int64_t(-1);
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
    add_up(pcpt::Map<Precise<T>> map, const T* __restrict__ grad, int64_t channels,
           const Precise<T>* __restrict__ pixel, const int64_t* __restrict__ cells,
           const int64_t* __restrict__ entries, int64_t num_entries, T* __restrict__ out) {
  using P = Precise<T>;
  const int64_t first = int64_t(blockIdx.x) * WARPS + threadIdx.x / 32;
  if (first >= num_entries) return;
  const int64_t cell = cells[first];
  if (cell < 0 || (first > 0 && cells[first - 1] == cell)) return;
  const int64_t view = cell / map.cells();
  T* target = out + view * channels * map.cells() + (cell - view * map.cells());
  const int lane = threadIdx.x % 32;
  for (int64_t channel = lane; channel < channels; channel += 32 * CHANNELS) {
    P sum[CHANNELS] = {};
    for (int64_t i = first; i < num_entries && cells[i] == cell; ++i) {
      const int64_t pair = entries[i] / 4;
      const P weight = pcpt::corners_at(map, pixel[2 * pair], pixel[2 * pair + 1])
                           .weight(static_cast<int>(entries[i] % 4));
      const T* row = grad + pair * channels;
      for (int j = 0; j < CHANNELS; ++j) {
        const int64_t c = channel + 32 * j;
        if (c < channels) sum[j] += weight * static_cast<P>(row[c]);
      }
    }
    for (int j = 0; j < CHANNELS; ++j) {
      const int64_t c = channel + 32 * j;
      if (c < channels) target[c * map.cells()] = static_cast<T>(sum[j]);
    }
  }
}

template <typename T>
void forward(const pcpt::Launch& launch, const pcpt::Map<Precise<T>>& map, const Tensor& features,
             const Tensor& view_index, const Tensor& pixel, const Tensor& out) {
  PCPT_LAUNCH((sample<T>), pcpt::blocks_for(pixel.size(0), WARPS), THREADS, 0, launch.stream(), map,
              features.const_data_ptr<T>(), features.size(0), features.size(1),
              view_index.const_data_ptr<int64_t>(), pixel.const_data_ptr<Precise<T>>(),
              pixel.size(0), out.mutable_data_ptr<T>());
}

template <typename T>
void backward(const pcpt::Launch& launch, const pcpt::Map<Precise<T>>& map, const Tensor& grad,
              const Tensor& view_index, const Tensor& pixel, const Tensor& out) {
  const int64_t num_pairs = pixel.size(0), num_entries = 4 * num_pairs;
  const auto* position = pixel.const_data_ptr<Precise<T>>();
  Tensor cells = torch::stable::new_empty(view_index, {num_entries});
  PCPT_LAUNCH((list_cells<Precise<T>>), pcpt::blocks_for(num_pairs, THREADS), THREADS, 0,
              launch.stream(), map, view_index.const_data_ptr<int64_t>(), out.size(0), position,
              num_pairs, cells.mutable_data_ptr<int64_t>());
  const std::pair<Tensor, Tensor> sorted = pcpt::stable_sort(cells);
  PCPT_LAUNCH((add_up<T>), pcpt::blocks_for(num_entries, WARPS), THREADS, 0, launch.stream(), map,
              grad.const_data_ptr<T>(), grad.size(1), position,
              sorted.first.const_data_ptr<int64_t>(), sorted.second.const_data_ptr<int64_t>(),
              num_entries, out.mutable_data_ptr<T>());
}

Tensor sample_pixels_cuda(const Tensor& features,    // (V, C, h, w) floating
                          const Tensor& view_index,  // (M,) int64
                          const Tensor& pixel,       // (M, 2)
                          int64_t image_height, int64_t image_width, bool align_corners) {
  STD_TORCH_CHECK(features.dim() == 4, "features must be (V, C, h, w)");
  pcpt::check_sample_pixels(features, view_index, pixel, features.size(2), features.size(3));
  const pcpt::Launch launch(features);
  Tensor out = torch::stable::new_empty(features, {pixel.size(0), features.size(1)});
  THO_DISPATCH_V2(features.scalar_type(), "sample_pixels", AT_WRAP([&] {
    const auto map = pcpt::make_map<Precise<scalar_t>>(features.size(2), features.size(3),
                                                       image_height, image_width, align_corners);
    forward<scalar_t>(launch, map, features, view_index, pixel, out);
  }), AT_EXPAND(AT_FLOATING_TYPES), ScalarType::Half, ScalarType::BFloat16);
  return out;
}

Tensor sample_pixels_backward_cuda(const Tensor& grad,        // (M, C)
                                   const Tensor& view_index,  // (M,) int64
                                   const Tensor& pixel,       // (M, 2)
                                   int64_t num_views, int64_t height, int64_t width,
                                   int64_t image_height, int64_t image_width, bool align_corners) {
  STD_TORCH_CHECK(grad.dim() == 2 && grad.size(0) == pixel.size(0), "grad must be (M, C)");
  pcpt::check_sample_pixels(grad, view_index, pixel, height, width);
  const pcpt::Launch launch(grad);
  Tensor out = torch::stable::new_zeros(grad, {num_views, grad.size(1), height, width});
  if (pixel.size(0) == 0) return out;
  THO_DISPATCH_V2(grad.scalar_type(), "sample_pixels_backward", AT_WRAP([&] {
    const auto map = pcpt::make_map<Precise<scalar_t>>(height, width, image_height, image_width,
                                                       align_corners);
    backward<scalar_t>(launch, map, grad, view_index, pixel, out);
  }), AT_EXPAND(AT_FLOATING_TYPES), ScalarType::Half, ScalarType::BFloat16);
  return out;
}

}  // namespace

PCPT_CUDA_KERNELS(m) {
  m.impl("sample_pixels", TORCH_BOX(&sample_pixels_cuda));
  m.impl("sample_pixels_backward", TORCH_BOX(&sample_pixels_backward_cuda));
}
