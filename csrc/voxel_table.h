// The spatial hash of voxels, the same on both devices: a table of (key, row) slots, at most half
// full, probed linearly. A table is an (S, 2) int64 tensor, S a power of two, all -1 where empty.
#pragma once

#include <cstdint>

#include "voxel_key.h"

namespace pcpt {

constexpr int64_t EMPTY = -1;    // no key is negative
constexpr int64_t NOWHERE = -2;  // nor this

struct Voxel {
  int64_t batch, x, y, z;

  PCPT_HOST_DEVICE explicit Voxel(const int32_t* c) : batch(c[0]), x(c[1]), y(c[2]), z(c[3]) {}

  PCPT_HOST_DEVICE static bool on_axis(int64_t value) {
    return value >= -COORDINATE_LIMIT && value < COORDINATE_LIMIT;
  }
  PCPT_HOST_DEVICE bool inside() const {
    return batch >= 0 && batch < COORDINATE_LIMIT && on_axis(x) && on_axis(y) && on_axis(z);
  }
  PCPT_HOST_DEVICE int64_t key() const {
    return (batch << 48) | ((x + COORDINATE_LIMIT) << 32) | ((y + COORDINATE_LIMIT) << 16) |
           (z + COORDINATE_LIMIT);
  }
  PCPT_HOST_DEVICE void move(const int32_t* offset) {
    x += offset[0];
    y += offset[1];
    z += offset[2];
  }
};

struct Slot {
  int64_t key, row;
};

// Slots for `count` voxels.
inline int64_t table_size(int64_t count) {
  int64_t size = 16;
  while (size < 2 * count) size *= 2;
  return size;
}

// Where the search for a key begins. Four voxels along z share a cache line, since taps come in
// rows along z; the low bits are mixed so that coarse levels, with every second z, fill it too.
PCPT_HOST_DEVICE uint64_t first_slot(int64_t key, uint64_t mask) {
  const uint64_t k = static_cast<uint64_t>(key);
  uint64_t hash = (k >> 2) * 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio
  hash ^= hash >> 32;
  return ((hash << 2) | ((k ^ (k >> 2) ^ (k >> 4)) & 3)) & mask;
}

// The largest multiple of `step` that is not above the value.
PCPT_HOST_DEVICE int64_t floor_to(int64_t value, int64_t step) {
  return value - ((value % step) + step) % step;
}

// Which of the ratio^3 voxels of a cell a voxel is, x slowest; voxels lie `stride` apart.
PCPT_HOST_DEVICE int64_t tap_in_cell(const int32_t* voxel, int64_t stride, int64_t ratio) {
  int64_t tap = 0;
  for (int axis = 1; axis < 4; ++axis) {
    const int64_t within = voxel[axis] - floor_to(voxel[axis], stride * ratio);
    tap = tap * ratio + within / stride;
  }
  return tap;
}

}  // namespace pcpt
