// Points under cameras, a block at a time, in the widest vectors there are. The arithmetic is that of
// geometry.h whatever the instruction set (no multiply-add is fused), so results are the same bits.
#pragma once

#include <cstdint>

#include "frustum.h"
#include "geometry.h"

namespace pcpt {

constexpr int64_t POINT_BLOCK = 1024;  // the arrays of a block stay in the first-level cache

// The points of a block that a view keeps; room for all of them.
struct BlockPoints {
  int32_t offset[POINT_BLOCK];  // within the block
  float u[POINT_BLOCK], v[POINT_BLOCK];
  float depth[POINT_BLOCK];  // z, or z minus the measured depth
};

struct MatchView {
  const float* depth;  // (height, width)
  Projection to_depth, to_color;
  bool same_camera;  // to_color is to_depth
  int32_t height, width;
  float lower, upper_u, upper_v;  // colour pixels kept: lower <= u < upper_u
  float absolute_tolerance, relative_tolerance;
};

struct ProjectionKernels {
  // Of count <= POINT_BLOCK points, in their order, those in front and in the image or `around`
  // pixels beside it, with their z. Returns how many.
  int64_t (*inside)(const Projection& projection, int32_t height, int32_t width, int32_t around,
                    const float* points, int64_t count, BlockPoints& out);
  // Those that match, with their depth errors.
  int64_t (*match)(const MatchView& view, const float* points, int64_t count, BlockPoints& out);
  Box (*bounds)(const float* points, int64_t count);
};

const ProjectionKernels& projection_kernels();

}  // namespace pcpt
