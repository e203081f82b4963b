// Which boxes of points a view cannot see: blocks of a fused cloud outside a camera's image are passed
// over without projecting their points. Leaves out only what project() would reject, rounding
// included, so results stay exactly those of testing every point.
#pragma once

#include <cmath>

#include "geometry.h"

namespace pcpt {

// Of the points of a block that are not nan, which no view sees. Of nothing: +inf and -inf.
struct Box {
  float low[3], high[3];
};

// Linear forms of a world point that are >= 0 inside the image's pyramid: in front, and not beyond
// the left, right, upper and lower edge.
struct Frustum {
  static constexpr int SIDES = 5;
  float form[SIDES][4];
  float size[SIDES][4];  // sums of the magnitudes that went into each coefficient
};

// `around` pixels beyond the image still count as inside.
PCPT_HOST_DEVICE Frustum frustum_of(const Projection& p, int32_t height, int32_t width,
                                    int32_t around = 0) {
  const float *u = p.m, *v = p.m + 4, *z = p.m + 8;
  const float first = static_cast<float>(around) + 0.5f;  // pixels left of and above the first
  const float right = static_cast<float>(width + around) - 0.5f;
  const float low = static_cast<float>(height + around) - 0.5f;
  Frustum f;
  for (int i = 0; i < 4; ++i) {
    const float au = std::fabs(u[i]), av = std::fabs(v[i]), az = std::fabs(z[i]);
    f.form[0][i] = z[i];
    f.form[1][i] = u[i] + first * z[i];
    f.form[2][i] = right * z[i] - u[i];
    f.form[3][i] = v[i] + first * z[i];
    f.form[4][i] = low * z[i] - v[i];
    f.size[0][i] = az;
    f.size[1][i] = au + first * az;
    f.size[2][i] = std::fabs(right) * az + au;
    f.size[3][i] = av + first * az;
    f.size[4][i] = std::fabs(low) * az + av;
  }
  return f;
}

// Whether no point of the box can project into the image. The margin is a hundred times what float32
// loses over these sums; where they might overflow or vanish, nothing is ruled out. nan rules out
// nothing either.
PCPT_HOST_DEVICE bool is_outside(const Frustum& f, const Box& box) {
  bool outside = false;
  for (int side = 0; side < Frustum::SIDES; ++side) {
    float most = f.form[side][3], size = f.size[side][3];
    for (int axis = 0; axis < 3; ++axis) {
      const float low = box.low[axis], high = box.high[axis];
      const float a = std::fabs(low), b = std::fabs(high);
      most += f.form[side][axis] * (f.form[side][axis] > 0.f ? high : low);
      size += f.size[side][axis] * (a > b ? a : b);
    }
    outside |= most < -1e-5f * size && size > 1e-30f && size < 1e30f;
  }
  return outside;
}

}  // namespace pcpt
