// Visible (point, view) pairs, in the order of view, then point. All views in one launch: tiles of
// points that a view cannot see are ruled out by their bounds; the others are tested, which leaves a
// bit a pair and a count a tile; a prefix sum places the tiles, and what the bits name is written.
// The host waits once, for the number of pairs.
#include <algorithm>
#include <optional>
#include <vector>

#include "device.h"
#include "frustum.h"
#include "match_arguments.h"

namespace {

using pcpt::Tensor;
using torch::headeronly::ScalarType;

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int ITEMS = 4;                // points a thread
constexpr int TILE = THREADS * ITEMS;   // points of a block
constexpr int WORDS = TILE / 32;        // of bits; one a lane
constexpr unsigned ALL = 0xffffffffu;

struct Views {
  const float* depth;             // (V, H, W)
  const float* depth_projection;  // (V, 3, 4)
  const float* color_projection;  // (V, 3, 4)
  int64_t count;
  int32_t height, width;
  float lower, upper_u, upper_v;  // colour pixels kept: lower <= u < upper_u
  float absolute_tolerance, relative_tolerance;
};

struct Cloud {
  const float* points;  // (N, 3)
  int64_t num_points, num_tiles;
};

struct Point {
  float x, y, z;
};

// A thread's points of a tile: the warp's are 32 in a row, so that a ballot is a word of bits.
__device__ int64_t point_of(int64_t tile, int item) {
  return tile * TILE + item * THREADS + threadIdx.x;
}

__device__ void load_points(const Cloud& cloud, int64_t tile, Point (&points)[ITEMS]) {
  for (int item = 0; item < ITEMS; ++item) {
    const int64_t i = point_of(tile, item);
    // Beyond the last: at 0, and left out by the caller.
    points[item] = {0.f, 0.f, 0.f};
    if (i < cloud.num_points)
      points[item] = {cloud.points[3 * i], cloud.points[3 * i + 1], cloud.points[3 * i + 2]};
  }
}

__device__ bool find_match(const Views& views, int64_t view, const pcpt::Projection& to_depth,
                           const pcpt::Projection& to_color, const Point& point, float& u, float& v,
                           float& error) {
  const pcpt::Pixel pixel = pcpt::project(to_depth, point.x, point.y, point.z);
  const float column = pixel.u + 0.5f, row = pixel.v + 0.5f;
  if (!(pixel.z > 0.f && column >= 0.f && column < static_cast<float>(views.width) && row >= 0.f &&
        row < static_cast<float>(views.height)))
    return false;
  const int64_t cell = view * views.height * views.width +
                       static_cast<int32_t>(row) * views.width + static_cast<int32_t>(column);
  const float measured = __ldg(views.depth + cell);
  error = pixel.z - measured;
  const float tolerance = views.absolute_tolerance + views.relative_tolerance * measured;
  if (!(measured > 0.f && measured < __uint_as_float(0x7f800000u) && fabsf(error) <= tolerance))
    return false;
  const pcpt::Pixel color = pcpt::project(to_color, point.x, point.y, point.z);
  u = color.u;
  v = color.v;
  return color.z > 0.f && u >= views.lower && u < views.upper_u && v >= views.lower &&
         v < views.upper_v;
}

// Bounds of every tile; nan bounds nothing.
__global__ void find_bounds(Cloud cloud, pcpt::Box* __restrict__ bounds) {
  __shared__ float shared[WARPS][6];
  const float infinity = __uint_as_float(0x7f800000u);
  float value[6] = {infinity, infinity, infinity, infinity, infinity, infinity};
  for (int item = 0; item < ITEMS; ++item) {  // the upper bounds as lower bounds of -x
    const int64_t i = point_of(blockIdx.x, item);
    if (i >= cloud.num_points) continue;
    for (int axis = 0; axis < 3; ++axis) {
      const float x = cloud.points[3 * i + axis];
      value[axis] = fminf(value[axis], x);
      value[3 + axis] = fminf(value[3 + axis], -x);
    }
  }
  for (int j = 0; j < 6; ++j)
    for (int step = 16; step > 0; step /= 2)
      value[j] = fminf(value[j], __shfl_xor_sync(ALL, value[j], step));
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (lane == 0)
    for (int j = 0; j < 6; ++j) shared[warp][j] = value[j];
  __syncthreads();
  if (threadIdx.x >= 6) return;
  float least = shared[0][threadIdx.x];
  for (int i = 1; i < WARPS; ++i) least = fminf(least, shared[i][threadIdx.x]);
  if (threadIdx.x < 3)
    bounds[blockIdx.x].low[threadIdx.x] = least;
  else
    bounds[blockIdx.x].high[threadIdx.x - 3] = -least;
}

__global__ void rule_out(Views views, int64_t num_tiles, const pcpt::Box* __restrict__ bounds,
                         uint8_t* __restrict__ outside) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= views.count * num_tiles) return;
  const int64_t view = i / num_tiles;
  const pcpt::Projection projection = pcpt::load_projection(views.depth_projection + 12 * view);
  const pcpt::Frustum frustum = pcpt::frustum_of(projection, views.height, views.width);
  outside[i] = pcpt::is_outside(frustum, bounds[i - view * num_tiles]);
}

// A block is a tile under some views in a row, and reads its points once.
__global__ void __launch_bounds__(THREADS)
    test_pairs(Views views, Cloud cloud, int views_per_block, const uint8_t* __restrict__ outside,
               uint32_t* __restrict__ bits, unsigned long long* __restrict__ counts) {
  const int64_t tile = blockIdx.x;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  Point points[ITEMS];
  load_points(cloud, tile, points);
  const int64_t first = int64_t(blockIdx.y) * views_per_block;
  for (int64_t view = first; view < first + views_per_block && view < views.count; ++view) {
    const int64_t part = view * cloud.num_tiles + tile;
    if (outside[part]) continue;  // the count is 0 and the bits are never read
    const pcpt::Projection to_depth = pcpt::load_projection(views.depth_projection + 12 * view);
    const pcpt::Projection to_color = pcpt::load_projection(views.color_projection + 12 * view);
    int found = 0;
    for (int item = 0; item < ITEMS; ++item) {
      float u, v, error;
      const bool visible =
          point_of(tile, item) < cloud.num_points &&
          find_match(views, view, to_depth, to_color, points[item], u, v, error);
      const unsigned word = __ballot_sync(ALL, visible);
      if (lane == 0) bits[part * WORDS + item * WARPS + warp] = word;
      found += __popc(word);
    }
    if (lane == 0 && found > 0) atomicAdd(counts + part, static_cast<unsigned long long>(found));
  }
}

struct Pairs {
  int64_t* point_index;
  int64_t* view_index;
  float2* pixel;
  float* depth_error;
};

__global__ void __launch_bounds__(THREADS)
    write_pairs(Views views, Cloud cloud, int views_per_block, const uint32_t* __restrict__ bits,
                const int64_t* __restrict__ ends, Pairs pairs) {
  const int64_t tile = blockIdx.x;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  Point points[ITEMS];
  load_points(cloud, tile, points);
  const int64_t first = int64_t(blockIdx.y) * views_per_block;
  for (int64_t view = first; view < first + views_per_block && view < views.count; ++view) {
    const int64_t part = view * cloud.num_tiles + tile;
    const int64_t start = part > 0 ? ends[part - 1] : 0;
    if (ends[part] == start) continue;
    const unsigned word = bits[part * WORDS + lane];
    int before = __popc(word);  // pairs up to and with this word, then before it
    for (int step = 1; step < 32; step *= 2) {
      const int other = __shfl_up_sync(ALL, before, step);
      if (lane >= step) before += other;
    }
    before -= __popc(word);
    const pcpt::Projection to_depth = pcpt::load_projection(views.depth_projection + 12 * view);
    const pcpt::Projection to_color = pcpt::load_projection(views.color_projection + 12 * view);
    for (int item = 0; item < ITEMS; ++item) {
      const unsigned own = __shfl_sync(ALL, word, item * WARPS + warp);
      const int rank = __shfl_sync(ALL, before, item * WARPS + warp);
      if (!(own >> lane & 1)) continue;
      float u, v, error;
      find_match(views, view, to_depth, to_color, points[item], u, v, error);
      const int64_t row = start + rank + __popc(own & ((1u << lane) - 1));
      pairs.point_index[row] = point_of(tile, item);
      pairs.view_index[row] = view;
      pairs.pixel[row] = make_float2(u, v);
      pairs.depth_error[row] = error;
    }
  }
}

// (2, V, 3, 4): the depth cameras, then the colour cameras.
Tensor upload_projections(const pcpt::MatchArguments& arguments) {
  const auto num_views = static_cast<int64_t>(arguments.depth_projection.size()) / 12;
  Tensor both = torch::stable::new_empty(
      arguments.points, {2, num_views, 3, 4}, ScalarType::Float, std::nullopt,
      torch::stable::Device(torch::headeronly::DeviceType::CPU));
  float* out = both.mutable_data_ptr<float>();
  for (const std::vector<float>* part : {&arguments.depth_projection, &arguments.color_projection})
    out = std::copy(part->begin(), part->end(), out);
  return torch::stable::to(both, arguments.points.device());
}

std::tuple<Tensor, Tensor, Tensor, Tensor> match_points_to_pixels_cuda(
    const Tensor& points_in, const Tensor& depth, const Tensor& depth_intrinsics,
    const Tensor& depth_camera_to_world, const std::optional<Tensor>& color_intrinsics,
    const std::optional<Tensor>& color_camera_to_world, int64_t color_height, int64_t color_width,
    double absolute_tolerance, double relative_tolerance, int64_t border) {
  const pcpt::Launch launch(points_in);
  const pcpt::MatchArguments arguments = pcpt::check_match_points_to_pixels(
      points_in, depth, depth_intrinsics, depth_camera_to_world, color_intrinsics,
      color_camera_to_world, color_height, color_width, absolute_tolerance, relative_tolerance,
      border);
  const Tensor& points = arguments.points;
  const cudaStream_t stream = launch.stream();
  const Tensor projections = upload_projections(arguments);
  const int64_t num_views = depth.size(0);
  const Views views{arguments.depth.const_data_ptr<float>(),
                    projections.const_data_ptr<float>(),
                    projections.const_data_ptr<float>() + 12 * num_views,
                    num_views,
                    arguments.height,
                    arguments.width,
                    arguments.lower,
                    arguments.upper_u,
                    arguments.upper_v,
                    arguments.absolute_tolerance,
                    arguments.relative_tolerance};
  const int64_t num_points = points.size(0);
  const Cloud cloud{points.const_data_ptr<float>(), num_points, (num_points + TILE - 1) / TILE};
  const int64_t parts = views.height > 0 && views.width > 0 ? views.count * cloud.num_tiles : 0;

  // A few views a block, but blocks enough to fill the GPU first.
  int views_per_block = parts < 8 * 2048 ? 1 : 8;
  while (views.count > int64_t(65535) * views_per_block) views_per_block *= 2;
  const dim3 grid(static_cast<unsigned>(parts > 0 ? cloud.num_tiles : 0),
                  static_cast<unsigned>((views.count + views_per_block - 1) / views_per_block));
  Tensor bounds = torch::stable::new_empty(points, {cloud.num_tiles, 6});
  Tensor outside = torch::stable::new_empty(points, {parts}, ScalarType::Byte);
  Tensor bits = torch::stable::new_empty(points, {parts * WORDS}, ScalarType::Int);
  Tensor counts = torch::stable::new_zeros(points, {parts}, ScalarType::Long);
  auto* boxes = reinterpret_cast<pcpt::Box*>(bounds.mutable_data_ptr<float>());
  auto* words = reinterpret_cast<uint32_t*>(bits.mutable_data_ptr<int32_t>());
  PCPT_LAUNCH(find_bounds, static_cast<unsigned>(cloud.num_tiles), THREADS, 0, stream, cloud,
              boxes);
  PCPT_LAUNCH(rule_out, pcpt::blocks_for(parts, THREADS), THREADS, 0, stream, views,
              cloud.num_tiles, boxes, outside.mutable_data_ptr<uint8_t>());
  PCPT_LAUNCH(test_pairs, grid, THREADS, 0, stream, views, cloud, views_per_block,
              outside.const_data_ptr<uint8_t>(), words,
              reinterpret_cast<unsigned long long*>(counts.mutable_data_ptr<int64_t>()));
  const Tensor ends = pcpt::cumsum(counts);
  const int64_t* end = ends.const_data_ptr<int64_t>();
  const int64_t total = parts > 0 ? launch.read(end + parts - 1) : 0;

  Tensor point_index = torch::stable::new_empty(points, {total}, ScalarType::Long);
  Tensor view_index = torch::stable::new_empty(points, {total}, ScalarType::Long);
  Tensor pixel = torch::stable::new_empty(points, {total, 2});
  Tensor depth_error = torch::stable::new_empty(points, {total});
  const Pairs pairs{point_index.mutable_data_ptr<int64_t>(), view_index.mutable_data_ptr<int64_t>(),
                    reinterpret_cast<float2*>(pixel.mutable_data_ptr<float>()),
                    depth_error.mutable_data_ptr<float>()};
  if (total > 0) {
    PCPT_LAUNCH(write_pairs, grid, THREADS, 0, stream, views, cloud, views_per_block, words, end,
                pairs);
  }
  return {point_index, view_index, pixel, depth_error};
}

}  // namespace

PCPT_CUDA_KERNELS(m) {
  m.impl("match_points_to_pixels", TORCH_BOX(&match_points_to_pixels_cuda));
}
