// Bilinear upsampling read at single pixels: four cells a pair, whatever the size of the image.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/Dispatch_v2.h>

#include <algorithm>
#include <array>

#include "geometry.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t PAIR_BLOCK = 64;     // forward: pairs that walk the channels together
constexpr int64_t CHANNEL_BLOCK = 16;  // backward: channels that walk the pairs together

struct Shape {
  int64_t num_views, channels;
  int32_t height, width;
  int64_t image_height, image_width;
  bool align_corners;

  int64_t cells() const { return int64_t(height) * width; }
};

// The four cells of a pair within a channel's plane, and how they mix.
template <typename T>
struct Corners {
  std::array<int32_t, 4> cell;  // top left, top right, bottom left, bottom right
  T right, bottom;              // weights of the second column and row
};

template <typename T>
T interpolation_scale(int64_t input, int64_t output, bool align_corners) {
  if (!align_corners) return static_cast<T>(input) / static_cast<T>(output);
  return output > 1 ? static_cast<T>(input - 1) / static_cast<T>(output - 1) : T(0);
}

template <typename T>
Corners<T> corners_at(const Shape& shape, const T* pixel) {
  const T scale_u = interpolation_scale<T>(shape.width, shape.image_width, shape.align_corners);
  const T scale_v = interpolation_scale<T>(shape.height, shape.image_height, shape.align_corners);
  const auto u = pcpt::interpolation_taps(pixel[0], scale_u, shape.width, shape.align_corners);
  const auto v = pcpt::interpolation_taps(pixel[1], scale_v, shape.height, shape.align_corners);
  return {{v.first * shape.width + u.first, v.first * shape.width + u.second,
           v.second * shape.width + u.first, v.second * shape.width + u.second},
          u.weight, v.weight};
}

// Each thread owns some pairs. A block of pairs reads one channel's plane at a time, which the cache
// holds, rather than each pair jumping through all planes.
template <typename T>
void forward(const Shape& shape, const T* features, const int64_t* view_index, const T* pixel,
             int64_t num_pairs, T* out) {
  const int64_t num_blocks = (num_pairs + PAIR_BLOCK - 1) / PAIR_BLOCK;
  torch::stable::parallel_for(0, num_blocks, 1, [&](int64_t begin, int64_t end) {
    Corners<T> corners[PAIR_BLOCK];
    const T* plane[PAIR_BLOCK];
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * PAIR_BLOCK;
      const int64_t count = std::min(PAIR_BLOCK, num_pairs - first);
      for (int64_t i = 0; i < count; ++i) {
        corners[i] = corners_at(shape, pixel + 2 * (first + i));
        plane[i] = features + view_index[first + i] * shape.channels * shape.cells();
      }
      for (int64_t channel = 0; channel < shape.channels; ++channel) {
        for (int64_t i = 0; i < count; ++i) {
          const T* p = plane[i] + channel * shape.cells();
          const auto& [cell, right, bottom] = corners[i];
          const T left = T(1) - right, top = T(1) - bottom;
          out[(first + i) * shape.channels + channel] =
              top * (left * p[cell[0]] + right * p[cell[1]]) +
              bottom * (left * p[cell[2]] + right * p[cell[3]]);
        }
      }
    }
  });
}

// Each thread owns some channels of every view and adds the pairs in their order: no two threads
// write one cell, and sums do not depend on the number of threads.
template <typename T>
void backward(const Shape& shape, const T* grad, const int64_t* view_index, const T* pixel,
              int64_t num_pairs, T* grad_features) {
  const int64_t num_blocks = (shape.channels + CHANNEL_BLOCK - 1) / CHANNEL_BLOCK;
  torch::stable::parallel_for(0, num_blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * CHANNEL_BLOCK;
      const int64_t last = std::min(first + CHANNEL_BLOCK, shape.channels);
      for (int64_t pair = 0; pair < num_pairs; ++pair) {
        const auto [cell, right, bottom] = corners_at(shape, pixel + 2 * pair);
        const T left = T(1) - right, top = T(1) - bottom;
        T* view = grad_features + view_index[pair] * shape.channels * shape.cells();
        for (int64_t channel = first; channel < last; ++channel) {
          const T value = grad[pair * shape.channels + channel];
          T* p = view + channel * shape.cells();
          p[cell[0]] += top * left * value;
          p[cell[1]] += top * right * value;
          p[cell[2]] += bottom * left * value;
          p[cell[3]] += bottom * right * value;
        }
      }
    }
  });
}

void check_pairs(const Tensor& values, const Tensor& view_index, const Tensor& pixel) {
  STD_TORCH_CHECK(values.is_contiguous() && view_index.is_contiguous() && pixel.is_contiguous(),
                  "sample_pixels: expected contiguous tensors");
  STD_TORCH_CHECK(view_index.dim() == 1 && view_index.scalar_type() == ScalarType::Long,
                  "view_index must be (M,) int64");
  STD_TORCH_CHECK(pixel.dim() == 2 && pixel.size(0) == view_index.size(0) && pixel.size(1) == 2 &&
                      pixel.scalar_type() == values.scalar_type(),
                  "pixel must be (M, 2) of the dtype of the features");
}

Tensor sample_pixels_cpu(const Tensor& features,    // (V, C, h, w) float32 or float64
                         const Tensor& view_index,  // (M,) int64
                         const Tensor& pixel,       // (M, 2), dtype of features
                         int64_t image_height, int64_t image_width, bool align_corners) {
  STD_TORCH_CHECK(features.dim() == 4, "features must be (V, C, h, w)");
  check_pairs(features, view_index, pixel);
  const Shape shape{features.size(0),
                    features.size(1),
                    static_cast<int32_t>(features.size(2)),
                    static_cast<int32_t>(features.size(3)),
                    image_height,
                    image_width,
                    align_corners};
  Tensor out = torch::stable::new_empty(features, {pixel.size(0), shape.channels});
  THO_DISPATCH_V2(features.scalar_type(), "sample_pixels", AT_WRAP([&] {
    forward<scalar_t>(shape, features.const_data_ptr<scalar_t>(),
                      view_index.const_data_ptr<int64_t>(), pixel.const_data_ptr<scalar_t>(),
                      pixel.size(0), out.mutable_data_ptr<scalar_t>());
  }), AT_EXPAND(AT_FLOATING_TYPES));
  return out;
}

Tensor sample_pixels_backward_cpu(const Tensor& grad,        // (M, C)
                                  const Tensor& view_index,  // (M,) int64
                                  const Tensor& pixel,       // (M, 2)
                                  int64_t num_views, int64_t height, int64_t width,
                                  int64_t image_height, int64_t image_width, bool align_corners) {
  STD_TORCH_CHECK(grad.dim() == 2 && grad.size(0) == pixel.size(0), "grad must be (M, C)");
  check_pairs(grad, view_index, pixel);
  const Shape shape{num_views,
                    grad.size(1),
                    static_cast<int32_t>(height),
                    static_cast<int32_t>(width),
                    image_height,
                    image_width,
                    align_corners};
  Tensor out = torch::stable::new_zeros(grad, {num_views, shape.channels, height, width});
  THO_DISPATCH_V2(grad.scalar_type(), "sample_pixels_backward", AT_WRAP([&] {
    backward<scalar_t>(shape, grad.const_data_ptr<scalar_t>(), view_index.const_data_ptr<int64_t>(),
                       pixel.const_data_ptr<scalar_t>(), pixel.size(0),
                       out.mutable_data_ptr<scalar_t>());
  }), AT_EXPAND(AT_FLOATING_TYPES));
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) {
  m.impl("sample_pixels", TORCH_BOX(&sample_pixels_cpu));
  m.impl("sample_pixels_backward", TORCH_BOX(&sample_pixels_backward_cpu));
}
