// The overlap of two boxes turned about the vertical, and its derivative; shared by the CPU and CUDA
// kernels of rotated_iou.
#pragma once

#include <math.h>

#include "geometry.h"

namespace pcpt {

struct Box {
  double x, y, z, dx, dy, dz, cos, sin;
};

PCPT_HOST_DEVICE Box load_box(const double* box) {  // [cx, cy, cz, dx, dy, dz, yaw]
  return {box[0], box[1], box[2], box[3], box[4], box[5], ::cos(box[6]), ::sin(box[6])};
}

PCPT_HOST_DEVICE double clamp(double value, double low, double high) {
  return value < low ? low : value > high ? high : value;
}

// A box as seen from another: centre and axes in the other's frame, where the other is
// |x| <= half_x, |y| <= half_y. Only differences of centres enter, so far away is as exact.
struct Seen {
  double x, y, cos, sin, half_x, half_y;

  PCPT_HOST_DEVICE Seen(const Box& frame, const Box& box) {
    const double right = box.x - frame.x, forward = box.y - frame.y;
    x = frame.cos * right + frame.sin * forward;
    y = frame.cos * forward - frame.sin * right;
    cos = frame.cos * box.cos + frame.sin * box.sin;
    sin = frame.cos * box.sin - frame.sin * box.cos;
    half_x = 0.5 * frame.dx;
    half_y = 0.5 * frame.dy;
  }
};

// Area common to the footprints: the sum over the edges of the box, counter-clockwise, of the
// integral of -y dx where x lies in the frame and with y held in it.
PCPT_HOST_DEVICE double overlap_area(const Box& frame, const Box& box) {
  const Seen seen(frame, box);
  const double along_x = 0.5 * box.dx * seen.cos, along_y = 0.5 * box.dx * seen.sin;
  const double across_x = -0.5 * box.dy * seen.sin, across_y = 0.5 * box.dy * seen.cos;
  if (fabs(seen.x) >= seen.half_x + fabs(along_x) + fabs(across_x) ||
      fabs(seen.y) >= seen.half_y + fabs(along_y) + fabs(across_y))
    return 0.0;
  const double corner_x[4] = {-along_x - across_x, along_x - across_x, along_x + across_x,
                              across_x - along_x};
  const double corner_y[4] = {-along_y - across_y, along_y - across_y, along_y + across_y,
                              across_y - along_y};
  double area = 0.0;
  for (int edge = 0; edge < 4; ++edge) {
    const int next = (edge + 1) & 3;
    const double x = seen.x + corner_x[edge], y = seen.y + corner_y[edge];
    const double step_x = corner_x[next] - corner_x[edge];
    const double step_y = corner_y[next] - corner_y[edge];
    if (step_x == 0.0) continue;
    // The stretch t of the edge within the frame's width, and where y enters and leaves its depth.
    const double one = (-seen.half_x - x) / step_x, two = (seen.half_x - x) / step_x;
    const double first = clamp(one < two ? one : two, 0.0, 1.0);
    const double last = clamp(one < two ? two : one, 0.0, 1.0);
    double enter = first, leave = first;
    if (step_y != 0.0) {
      const double low = clamp((-seen.half_y - y) / step_y, first, last);
      const double high = clamp((seen.half_y - y) / step_y, first, last);
      enter = low < high ? low : high;
      leave = low < high ? high : low;
    }
    const double y0 = clamp(y + first * step_y, -seen.half_y, seen.half_y);
    const double y1 = clamp(y + enter * step_y, -seen.half_y, seen.half_y);
    const double y2 = clamp(y + leave * step_y, -seen.half_y, seen.half_y);
    const double y3 = clamp(y + last * step_y, -seen.half_y, seen.half_y);
    area -= 0.5 * step_x *
            ((enter - first) * (y0 + y1) + (leave - enter) * (y1 + y2) + (last - leave) * (y2 + y3));
  }
  return area > 0.0 ? area : 0.0;
}

// Derivative of that area by the centre, size and yaw of the box: each edge moves the area by its
// length within the frame, along its outward normal.
struct AreaGradient {
  double x = 0.0, y = 0.0, dx = 0.0, dy = 0.0, yaw = 0.0;
};

PCPT_HOST_DEVICE AreaGradient overlap_gradient(const Box& frame, const Box& box) {
  const Seen seen(frame, box);
  AreaGradient gradient;
  double sum_x = 0.0, sum_y = 0.0;  // in the frame
  for (int edge = 0; edge < 4; ++edge) {
    // Normal, and direction along the edge, a quarter turn on: sides +x, +y, -x, -y of the box.
    const double sign = edge < 2 ? 1.0 : -1.0;
    const bool side = (edge & 1) == 0;
    const double normal_x = sign * (side ? seen.cos : -seen.sin);
    const double normal_y = sign * (side ? seen.sin : seen.cos);
    const double distance = 0.5 * (side ? box.dx : box.dy);
    const double half = 0.5 * (side ? box.dy : box.dx);
    const double x = seen.x + distance * normal_x, y = seen.y + distance * normal_y;
    // Points (x, y) + t (-normal_y, normal_x) of the edge that lie in the frame
    double first = -half, last = half;
    const double start[2] = {x, y}, step[2] = {-normal_y, normal_x};
    const double bound[2] = {seen.half_x, seen.half_y};
    for (int axis = 0; axis < 2; ++axis) {
      if (step[axis] != 0.0) {
        const double one = (-bound[axis] - start[axis]) / step[axis];
        const double two = (bound[axis] - start[axis]) / step[axis];
        first = fmax(first, one < two ? one : two);
        last = fmin(last, one < two ? two : one);
      } else if (fabs(start[axis]) > bound[axis]) {
        last = first;
      }
    }
    if (!(last > first)) continue;
    const double length = last - first;
    sum_x += length * normal_x;
    sum_y += length * normal_y;
    (side ? gradient.dx : gradient.dy) += 0.5 * length;
    gradient.yaw -= length * 0.5 * (first + last);  // turning moves t along the edge by -t outward
  }
  gradient.x = frame.cos * sum_x - frame.sin * sum_y;
  gradient.y = frame.sin * sum_x + frame.cos * sum_y;
  return gradient;
}

PCPT_HOST_DEVICE double overlap_height(const Box& a, const Box& b) {
  const double apart = b.z - a.z;
  const double top = fmin(0.5 * a.dz, apart + 0.5 * b.dz);
  const double bottom = fmax(-0.5 * a.dz, apart - 0.5 * b.dz);
  return top > bottom ? top - bottom : 0.0;
}

PCPT_HOST_DEVICE double box_volume(const Box& box, bool bev) {
  return bev ? box.dx * box.dy : box.dx * box.dy * box.dz;
}

// 0 where nothing is common, also between boxes without volume.
PCPT_HOST_DEVICE double box_iou(const Box& a, const Box& b, bool bev) {
  const double height = bev ? 1.0 : overlap_height(a, b);
  const double common = height > 0.0 ? height * overlap_area(a, b) : 0.0;
  const double all = box_volume(a, bev) + box_volume(b, bev) - common;
  return common > 0.0 && all > 0.0 ? common / all : 0.0;
}

// Adds `weight` times the derivative of box_iou(a, b) by the seven numbers of a.
PCPT_HOST_DEVICE void add_box_iou_gradient(const Box& a, const Box& b, bool bev, double weight,
                                           double* gradient) {
  const double height = bev ? 1.0 : overlap_height(a, b);
  const double area = height > 0.0 ? overlap_area(a, b) : 0.0;
  const double common = height * area;
  const double all = box_volume(a, bev) + box_volume(b, bev) - common;
  if (!(common > 0.0 && all > 0.0)) return;
  // iou = common / all, and all = volumes - common
  const double by_common = weight * (all + common) / (all * all);
  const double by_volume = -weight * common / (all * all);
  const AreaGradient by = overlap_gradient(b, a);
  const double by_area = by_common * height, by_height = by_common * area;
  const double tall = bev ? 1.0 : a.dz;
  gradient[0] += by_area * by.x;
  gradient[1] += by_area * by.y;
  gradient[3] += by_area * by.dx + by_volume * a.dy * tall;
  gradient[4] += by_area * by.dy + by_volume * a.dx * tall;
  gradient[6] += by_area * by.yaw;
  if (bev) return;
  const double apart = b.z - a.z;
  const double top = 0.5 * a.dz <= apart + 0.5 * b.dz ? 1.0 : 0.0;
  const double bottom = -0.5 * a.dz >= apart - 0.5 * b.dz ? 1.0 : 0.0;
  gradient[2] += by_height * (top - bottom);
  gradient[5] += by_height * 0.5 * (top + bottom) + by_volume * a.dx * a.dy;
}

}  // namespace pcpt
