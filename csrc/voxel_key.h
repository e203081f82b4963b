// Voxels as numbers whose order is the lexicographic order of [batch, x, y, z]: 15 + 3 * 16 bits.
#pragma once

#include <cstdint>

#include "geometry.h"

namespace pcpt {

// Coordinates reach from -COORDINATE_LIMIT to COORDINATE_LIMIT - 1, as in pcpt/ops/kernel_map.py.
constexpr int64_t COORDINATE_LIMIT = int64_t(1) << 15;

// Whether floor(value / voxel_size) is a coordinate; false for nan and inf.
PCPT_HOST_DEVICE bool in_voxel_range(float value, float voxel_size) {
  const float cell = value / voxel_size;
  return cell >= static_cast<float>(-COORDINATE_LIMIT) &&
         cell < static_cast<float>(COORDINATE_LIMIT);
}

// Of coordinates in range.
PCPT_HOST_DEVICE int64_t voxel_key(int64_t batch, const float* point, float voxel_size) {
  int64_t key = batch;
  for (int axis = 0; axis < 3; ++axis)
    key = key << 16 | (floor_to_int(point[axis] / voxel_size) + COORDINATE_LIMIT);
  return key;
}

// [batch, x, y, z] of a key.
PCPT_HOST_DEVICE void unpack(int64_t key, int32_t* coordinates) {
  coordinates[0] = static_cast<int32_t>(key >> 48);
  for (int axis = 0; axis < 3; ++axis)
    coordinates[1 + axis] =
        static_cast<int32_t>((key >> (32 - 16 * axis) & 0xFFFF) - COORDINATE_LIMIT);
}

}  // namespace pcpt
