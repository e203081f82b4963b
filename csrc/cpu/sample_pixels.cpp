// Bilinear upsampling read at single pixels: four cells a pair, whatever the size of the image.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/Dispatch_v2.h>

#include <algorithm>
#include <vector>

#include "bilinear.h"
#include "check_values.h"
#include "checks.h"
#include "parallel.h"

namespace {

using pcpt::Corners;
using pcpt::Map;
using pcpt::Precise;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t PAIR_BLOCK = 64;     // forward: pairs that walk the channels together
constexpr int64_t CHANNEL_BLOCK = 64;  // backward: channels of a task

struct Pairs {
  const int64_t* view_index;
  const void* pixel;  // (M, 2) of the precise type
  int64_t count;

  template <typename P>
  Corners<P> corners(const Map<P>& map, int64_t pair) const {
    const P* at = static_cast<const P*>(pixel) + 2 * pair;
    return pcpt::corners_at(map, at[0], at[1]);
  }
};

// Each thread owns some pairs. A block of pairs reads one channel's plane at a time, which the cache
// holds, rather than each pair jumping through all planes.
template <typename T, typename P = Precise<T>>
void forward(const Map<P>& map, const T* features, int64_t channels, const Pairs& pairs, T* out) {
  const int64_t num_blocks = (pairs.count + PAIR_BLOCK - 1) / PAIR_BLOCK;
  torch::stable::parallel_for(0, num_blocks, 1, [&](int64_t begin, int64_t end) {
    Corners<P> corners[PAIR_BLOCK];
    const T* plane[PAIR_BLOCK];
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * PAIR_BLOCK;
      const int64_t count = std::min(PAIR_BLOCK, pairs.count - first);
      for (int64_t i = 0; i < count; ++i) {
        corners[i] = pairs.corners(map, first + i);
        plane[i] = features + pairs.view_index[first + i] * channels * map.cells();
      }
      for (int64_t channel = 0; channel < channels; ++channel) {
        for (int64_t i = 0; i < count; ++i) {
          const T* p = plane[i] + channel * map.cells();
          const auto& cell = corners[i].cell;
          out[(first + i) * channels + channel] = static_cast<T>(
              corners[i].mix(static_cast<P>(p[cell[0]]), static_cast<P>(p[cell[1]]),
                             static_cast<P>(p[cell[2]]), static_cast<P>(p[cell[3]])));
        }
      }
    }
  });
}

// The pairs of each view, in their order: those of view v are listed from start[v] to start[v + 1].
struct PairsByView {
  std::vector<int64_t> start, pair;

  PairsByView(const Pairs& pairs, int64_t num_views)
      : start(num_views + 1, 0), pair(pairs.count) {
    for (int64_t i = 0; i < pairs.count; ++i) {
      const int64_t view = pairs.view_index[i];
      STD_TORCH_CHECK(view >= 0 && view < num_views, "sample_pixels: view_index out of range");
      ++start[view + 1];
    }
    for (int64_t view = 0; view < num_views; ++view) start[view + 1] += start[view];
    std::vector<int64_t> next(start.begin(), start.end() - 1);
    for (int64_t i = 0; i < pairs.count; ++i) pair[next[pairs.view_index[i]]++] = i;
  }
};

// A task is one view and some channels. The cells that its pairs touch get a row each, side by side,
// so that adding a pair is four runs over channels; then the rows go to the planes. Cells are summed
// in the order of the pairs, so sums do not depend on the number of threads.
template <typename T, typename P = Precise<T>>
void backward(const Map<P>& map, const T* grad, int64_t channels, const Pairs& pairs,
              int64_t num_views, T* out) {
  const PairsByView by_view(pairs, num_views);
  const int64_t blocks = (channels + CHANNEL_BLOCK - 1) / CHANNEL_BLOCK;
  pcpt::for_each_task(num_views * blocks, [&](int64_t task) {
    const int64_t view = task / blocks, first = task % blocks * CHANNEL_BLOCK;
    const int64_t width = std::min(CHANNEL_BLOCK, channels - first);
    if (by_view.start[view] == by_view.start[view + 1]) return;
    std::vector<int32_t> row_of(map.cells(), -1), cells;
    std::vector<P> rows;
    P values[CHANNEL_BLOCK];
    for (int64_t i = by_view.start[view]; i < by_view.start[view + 1]; ++i) {
      const int64_t pair = by_view.pair[i];
      const Corners<P> corners = pairs.corners(map, pair);
      const T* from = grad + pair * channels + first;
      for (int64_t c = 0; c < width; ++c) values[c] = static_cast<P>(from[c]);
      for (int corner = 0; corner < 4; ++corner) {
        int32_t& row = row_of[corners.cell[corner]];
        if (row < 0) {
          row = static_cast<int32_t>(cells.size());
          cells.push_back(corners.cell[corner]);
          rows.resize(rows.size() + width, P(0));
        }
        const P weight = corners.weight(corner);
        P* to = rows.data() + row * width;
        for (int64_t c = 0; c < width; ++c) to[c] += weight * values[c];
      }
    }
    for (int64_t c = 0; c < width; ++c) {
      T* plane = out + (view * channels + first + c) * map.cells();
      for (size_t row = 0; row < cells.size(); ++row)
        plane[cells[row]] = static_cast<T>(rows[row * width + c]);
    }
  });
}

Tensor sample_pixels_cpu(const Tensor& features,    // (V, C, h, w) floating
                         const Tensor& view_index,  // (M,) int64
                         const Tensor& pixel,       // (M, 2)
                         int64_t image_height, int64_t image_width, bool align_corners) {
  STD_TORCH_CHECK(features.dim() == 4, "features must be (V, C, h, w)");
  pcpt::check_sample_pixels(features, view_index, pixel, features.size(2), features.size(3));
  pcpt::check_values(view_index, features.size(0) - 1, "view_index");
  const Pairs pairs{view_index.const_data_ptr<int64_t>(), pixel.const_data_ptr(), pixel.size(0)};
  Tensor out = torch::stable::new_empty(features, {pairs.count, features.size(1)});
  THO_DISPATCH_V2(features.scalar_type(), "sample_pixels", AT_WRAP([&] {
    const auto map = pcpt::make_map<Precise<scalar_t>>(features.size(2), features.size(3),
                                                       image_height, image_width, align_corners);
    forward<scalar_t>(map, features.const_data_ptr<scalar_t>(), features.size(1), pairs,
                      out.mutable_data_ptr<scalar_t>());
  }), AT_EXPAND(AT_FLOATING_TYPES), ScalarType::Half, ScalarType::BFloat16);
  return out;
}

Tensor sample_pixels_backward_cpu(const Tensor& grad,        // (M, C)
                                  const Tensor& view_index,  // (M,) int64
                                  const Tensor& pixel,       // (M, 2)
                                  int64_t num_views, int64_t height, int64_t width,
                                  int64_t image_height, int64_t image_width, bool align_corners) {
  STD_TORCH_CHECK(grad.dim() == 2 && grad.size(0) == pixel.size(0), "grad must be (M, C)");
  pcpt::check_sample_pixels(grad, view_index, pixel, height, width);
  const Pairs pairs{view_index.const_data_ptr<int64_t>(), pixel.const_data_ptr(), pixel.size(0)};
  Tensor out = torch::stable::new_zeros(grad, {num_views, grad.size(1), height, width});
  THO_DISPATCH_V2(grad.scalar_type(), "sample_pixels_backward", AT_WRAP([&] {
    const auto map = pcpt::make_map<Precise<scalar_t>>(height, width, image_height, image_width,
                                                       align_corners);
    backward<scalar_t>(map, grad.const_data_ptr<scalar_t>(), grad.size(1), pairs, num_views,
                       out.mutable_data_ptr<scalar_t>());
  }), AT_EXPAND(AT_FLOATING_TYPES), ScalarType::Half, ScalarType::BFloat16);
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) {
  m.impl("sample_pixels", TORCH_BOX(&sample_pixels_cpu));
  m.impl("sample_pixels_backward", TORCH_BOX(&sample_pixels_backward_cpu));
}
