// Scalar geometry shared by the CPU and CUDA kernels. Expressions are written in the order of the
// PyTorch references (left to right, no contraction), so that results agree bit for bit.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define PCPT_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define PCPT_HOST_DEVICE inline
#endif

namespace pcpt {

// Intrinsics times world-to-camera, row by row; its last row alone gives the depth.
struct Projection {
  float m[12];
};

struct Pixel {
  float u, v, z;  // only meaningful where z > 0
};

PCPT_HOST_DEVICE Projection load_projection(const float* matrix) {
  Projection projection;
  for (int i = 0; i < 12; ++i) projection.m[i] = matrix[i];
  return projection;
}

// u and v are still to be divided by z.
PCPT_HOST_DEVICE Pixel project_undivided(const Projection& p, float x, float y, float z) {
  return {p.m[0] * x + p.m[1] * y + p.m[2] * z + p.m[3],
          p.m[4] * x + p.m[5] * y + p.m[6] * z + p.m[7],
          p.m[8] * x + p.m[9] * y + p.m[10] * z + p.m[11]};
}

PCPT_HOST_DEVICE Pixel project(const Projection& p, float x, float y, float z) {
  const Pixel pixel = project_undivided(p, x, y, z);
  return {pixel.u / pixel.z, pixel.v / pixel.z, pixel.z};
}

// Largest integer <= t for |t| < 2^31. Unlike floor() it vectorises on any x86-64.
PCPT_HOST_DEVICE int32_t floor_to_int(float t) {
  const int32_t truncated = static_cast<int32_t>(t);
  return truncated - (t < static_cast<float>(truncated) ? 1 : 0);
}

// The two cells, and the weight of the second, that bilinear interpolation of `input` cells to
// `output` pixels reads at a pixel coordinate; continuous, held constant beyond the outer cells.
template <typename T>
struct Taps {
  int32_t first, second;
  T weight;
};

template <typename T>
PCPT_HOST_DEVICE Taps<T> interpolation_taps(T pixel, T scale, int32_t input, bool align_corners) {
  T source = align_corners ? pixel * scale : (pixel + T(0.5)) * scale - T(0.5);
  const T last = static_cast<T>(input - 1);
  source = source > T(0) ? source : T(0);
  source = source < last ? source : last;
  // The type may not hold the last cell, and then rounds it up.
  const int64_t whole = static_cast<int64_t>(source);
  const int32_t first = whole < input ? static_cast<int32_t>(whole) : input - 1;
  const int32_t second = first < input - 1 ? first + 1 : first;
  return {first, second, source - static_cast<T>(first)};
}

}  // namespace pcpt
