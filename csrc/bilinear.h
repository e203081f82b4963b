// Where bilinear interpolation of a map of cells reads for a pixel of the image: shared by the CPU
// and CUDA kernels of sample_pixels, forward and backward.
#pragma once

#include <cstdint>
#include <type_traits>

#include "geometry.h"

namespace pcpt {

// Weights and sums are float for half precision, and otherwise of the features' own type.
template <typename T>
using Precise = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <typename T>
struct Map {
  int32_t height, width;
  T scale_v, scale_u;  // cells per pixel
  bool align_corners;

  PCPT_HOST_DEVICE int64_t cells() const { return int64_t(height) * width; }
};

template <typename T>
T cells_per_pixel(int64_t cells, int64_t pixels, bool align_corners) {
  if (!align_corners) return static_cast<T>(cells) / static_cast<T>(pixels);
  return pixels > 1 ? static_cast<T>(cells - 1) / static_cast<T>(pixels - 1) : T(0);
}

template <typename T>
Map<T> make_map(int64_t height, int64_t width, int64_t image_height, int64_t image_width,
                bool align_corners) {
  return {static_cast<int32_t>(height), static_cast<int32_t>(width),
          cells_per_pixel<T>(height, image_height, align_corners),
          cells_per_pixel<T>(width, image_width, align_corners), align_corners};
}

// Four cells of a channel's plane: top left, top right, bottom left, bottom right.
template <typename T>
struct Corners {
  int32_t cell[4];
  T right, bottom;  // weights of the second column and row

  PCPT_HOST_DEVICE T mix(T a, T b, T c, T d) const {
    const T left = T(1) - right, top = T(1) - bottom;
    return top * (left * a + right * b) + bottom * (left * c + right * d);
  }
  PCPT_HOST_DEVICE T weight(int corner) const {
    return (corner < 2 ? T(1) - bottom : bottom) * (corner % 2 ? right : T(1) - right);
  }
};

template <typename T>
PCPT_HOST_DEVICE Corners<T> corners_at(const Map<T>& map, T pixel_u, T pixel_v) {
  const Taps<T> u = interpolation_taps(pixel_u, map.scale_u, map.width, map.align_corners);
  const Taps<T> v = interpolation_taps(pixel_v, map.scale_v, map.height, map.align_corners);
  return {{v.first * map.width + u.first, v.first * map.width + u.second,
           v.second * map.width + u.first, v.second * map.width + u.second},
          u.weight,
          v.weight};
}

}  // namespace pcpt
