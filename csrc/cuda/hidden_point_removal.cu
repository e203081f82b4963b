// Which points of bare clouds a viewpoint sees: the corners of the hull of the flipped points. A
// thread is one point in one view; it tilts its plane (supporting_plane.h) around the others, which
// a block reads tile by tile, until it has passed all of them since its last tilt.
#include <cmath>

#include "checks.h"
#include "device.h"
#include "geometry.h"
#include "supporting_plane.h"

namespace {


using pcpt::Tensor;
using torch::headeronly::ScalarType;
using Point = Vector3<double>;

constexpr int THREADS = 256;  // also the points of a tile

struct Views {
  const double* points;     // (B, N, 3)
  const double* viewpoints;  // (B, V, 3)
  const int64_t* lengths;   // (B,)
  int64_t num_points, num_views;
  double radius_factor;
};

// A point about the viewpoint, and its distance: -1 where it is not finite.
__device__ Point relative(const Views& views, int64_t view, int64_t i, double& distance) {
  const double* point = views.points + 3 * (view / views.num_views * views.num_points + i);
  const double* viewpoint = views.viewpoints + 3 * view;
  const Point p{point[0] - viewpoint[0], point[1] - viewpoint[1], point[2] - viewpoint[2]};
  distance = sqrt(dot(p, p));
  if (!(distance < INFINITY)) distance = -1.0;
  return p;
}

// A block is one view: its largest distance, and then its flipped points. What takes no part in the
// hull becomes an origin.
__global__ void flip(Views views, double* __restrict__ flipped, bool* __restrict__ visible) {
  __shared__ double largest[THREADS];
  const int64_t view = blockIdx.x;
  const int64_t length =
      pcpt::trusted_length(views.lengths[view / views.num_views], views.num_points);
  const int thread = static_cast<int>(threadIdx.x);
  double distance, most = 0.0;
  for (int64_t i = thread; i < length; i += THREADS) {
    relative(views, view, i, distance);
    most = distance > most ? distance : most;
  }
  largest[thread] = most;
  for (int half = THREADS / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half && largest[thread + half] > largest[thread])
      largest[thread] = largest[thread + half];
  }
  __syncthreads();
  const double shift = 0.5 / (views.radius_factor * largest[0]);  // so that 2 R is 1
  for (int64_t i = thread; i < views.num_points; i += THREADS) {
    Point p{0.0, 0.0, 0.0};
    distance = -1.0;
    if (i < length) p = relative(views, view, i, distance);
    const double scale = distance > 0.0 ? 1.0 / distance - shift : 0.0;
    double* to = flipped + 3 * (view * views.num_points + i);
    to[0] = distance > 0.0 ? p.x * scale : 0.0;
    to[1] = distance > 0.0 ? p.y * scale : 0.0;
    to[2] = distance > 0.0 ? p.z * scale : 0.0;
    visible[view * views.num_points + i] = distance == 0.0;  // nothing lies before the viewpoint
  }
}

// Tilts a plane through `point` until none of the tile's points lies beyond it. Points equal to it
// are visible with it. Whether the plane was tilted; `corner` turns false where it cannot be.
__device__ bool pass_tile(const Point& point, const double (&tile)[3][THREADS], int count,
                          SupportingPlane<double>& plane, int& tilts, bool& corner) {
  const int before = tilts;
  while (tilts < MAX_TILTS) {
    const Point normal = plane.normal();
    double farthest = 1.0 + plane.tolerance();
    int place = -1;
    for (int j = 0; j < count; ++j) {
      const double along = tile[0][j] * normal.x + tile[1][j] * normal.y + tile[2][j] * normal.z;
      if (along > farthest &&
          !(tile[0][j] == point.x && tile[1][j] == point.y && tile[2][j] == point.z)) {
        farthest = along;
        place = j;
      }
    }
    if (place < 0) break;
    ++tilts;
    corner = plane.tilt({tile[0][place], tile[1][place], tile[2][place]});
    if (!corner) break;
  }
  return tilts != before;
}

__global__ void find_corners(const double* __restrict__ flipped, int64_t num_points, int64_t tiles,
                             bool* __restrict__ visible) {
  __shared__ double tile[3][THREADS];
  const int64_t view = blockIdx.x / tiles, own = blockIdx.x % tiles;
  const int thread = static_cast<int>(threadIdx.x);
  flipped += 3 * view * num_points;
  const int64_t i = own * THREADS + thread;
  Point point{0.0, 0.0, 0.0};
  if (i < num_points) point = {flipped[3 * i], flipped[3 * i + 1], flipped[3 * i + 2]};
  const bool exists = point.x != 0.0 || point.y != 0.0 || point.z != 0.0;
  SupportingPlane<double> plane(exists ? point : Point{1.0, 0.0, 0.0});
  bool corner = true;
  int tilts = 0;
  // Tiles in a row without a tilt; when all are, nothing lies beyond. All start with their own.
  int64_t passed = exists ? 0 : tiles;
  for (int64_t step = own;; ++step) {
    const int64_t first = step % tiles * THREADS;
    __syncthreads();  // before the tile that others still read is overwritten
    if (first + thread < num_points)
      for (int axis = 0; axis < 3; ++axis)
        tile[axis][thread] = flipped[3 * (first + thread) + axis];
    if (!__syncthreads_or(corner && passed < tiles)) break;
    if (!corner || passed >= tiles) continue;
    const int64_t count = num_points - first < THREADS ? num_points - first : THREADS;
    const bool tilted = pass_tile(point, tile, static_cast<int>(count), plane, tilts, corner);
    passed = tilted ? 1 : passed + 1;
    if (tilts >= MAX_TILTS) passed = tiles;
  }
  if (exists) visible[view * num_points + i] = corner;
}

Tensor hidden_point_removal_cuda(const Tensor& points,      // (B, N, 3) float64
                                 const Tensor& viewpoints,  // (B, V, 3) float64
                                 const Tensor& lengths,     // (B,) int64, 0..N
                                 double radius_factor) {
  pcpt::check_hidden_point_removal(points, viewpoints, lengths, radius_factor);
  const int64_t num_clouds = points.size(0), num_points = points.size(1),
                num_views = viewpoints.size(1), total = num_clouds * num_views;
  const pcpt::Launch launch(points);
  Tensor out = torch::stable::new_empty(points, {num_clouds, num_views, num_points},
                                        ScalarType::Bool);
  Tensor flipped = torch::stable::new_empty(points, {total, num_points, 3});
  const Views views{points.const_data_ptr<double>(),
                    viewpoints.const_data_ptr<double>(),
                    lengths.const_data_ptr<int64_t>(),
                    num_points,
                    num_views,
                    radius_factor};
  const int64_t tiles = (num_points + THREADS - 1) / THREADS;
  PCPT_LAUNCH(flip, pcpt::blocks_for(num_points > 0 ? total : 0, 1), THREADS, 0, launch.stream(),
              views, flipped.mutable_data_ptr<double>(), out.mutable_data_ptr<bool>());
  PCPT_LAUNCH(find_corners, pcpt::blocks_for(total * tiles, 1), THREADS, 0, launch.stream(),
              flipped.const_data_ptr<double>(), num_points, tiles, out.mutable_data_ptr<bool>());
  return out;
}

}  // namespace

PCPT_CUDA_KERNELS(m) {
  m.impl("hidden_point_removal", TORCH_BOX(&hidden_point_removal_cuda));
}
