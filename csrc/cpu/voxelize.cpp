// Occupied voxels of a batch of clouds, in lexicographic order. Where the box around the points holds
// few cells for their number (a room), each cell gets a bit, and counting the bits below one numbers
// its voxel: no search, no sort. Where the box is vast (outdoors, many clouds), keys are sorted.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <tuple>
#include <vector>

#include "projection.h"
#include "voxel_key.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t GRAIN = 1 << 15;         // points a thread takes at least
constexpr int64_t BITS_PER_POINT = 512;    // most cells a point: beyond, sorting takes less memory
constexpr int DIGIT = 11, VALUES = 1 << DIGIT;

// The box around all voxels, and voxels as numbers within it in lexicographic order.
struct Grid {
  int64_t low[4];            // [batch, x, y, z]
  uint64_t size[4];          // voxels along each; their product is at most 2^63
  float voxel_size;

  uint64_t cells() const { return size[0] * size[1] * size[2] * size[3]; }
  uint64_t number(int64_t batch, const int32_t* cell) const {
    uint64_t number = static_cast<uint64_t>(batch - low[0]);
    for (int axis = 0; axis < 3; ++axis)
      number = number * size[1 + axis] + static_cast<uint64_t>(cell[axis] - low[1 + axis]);
    return number;
  }
  template <typename Number>  // 32 bits where they do: division takes half the time
  void coordinates(uint64_t number, int32_t* out) const {
    Number rest = static_cast<Number>(number);
    for (int axis = 3; axis > 0; --axis) {
      const Number next = rest / static_cast<Number>(size[axis]);
      out[axis] = static_cast<int32_t>(rest - next * static_cast<Number>(size[axis]) + low[axis]);
      rest = next;
    }
    out[0] = static_cast<int32_t>(rest + low[0]);
  }
  void coordinates(uint64_t number, int32_t* out, bool small) const {
    if (small)
      coordinates<uint32_t>(number, out);
    else
      coordinates<uint64_t>(number, out);
  }
};

struct Cloud {
  const float* points;
  const int64_t* batch;
  int64_t count;
};

constexpr char OUT_OF_RANGE[] = "voxelize: points or batch_index out of range";

Grid grid_around(const Cloud& cloud, float voxel_size) {
  const int64_t blocks = (cloud.count + pcpt::POINT_BLOCK - 1) / pcpt::POINT_BLOCK;
  std::vector<pcpt::Box> boxes(blocks);
  torch::stable::parallel_for(0, blocks, 32, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * pcpt::POINT_BLOCK;
      boxes[block] = pcpt::projection_kernels().bounds(
          cloud.points + 3 * first, std::min(pcpt::POINT_BLOCK, cloud.count - first));
    }
  });
  const auto [low, high] = std::minmax_element(cloud.batch, cloud.batch + cloud.count);
  STD_TORCH_CHECK(*low >= 0 && *high < pcpt::COORDINATE_LIMIT, OUT_OF_RANGE);
  Grid grid{{*low}, {static_cast<uint64_t>(*high - *low + 1)}, voxel_size};
  for (int axis = 0; axis < 3; ++axis) {
    float least = boxes[0].low[axis], most = boxes[0].high[axis];
    for (const pcpt::Box& box : boxes) {
      least = std::min(least, box.low[axis]);
      most = std::max(most, box.high[axis]);
    }
    STD_TORCH_CHECK(pcpt::in_voxel_range(least, voxel_size) &&
                        pcpt::in_voxel_range(most, voxel_size),
                    OUT_OF_RANGE);
    grid.low[1 + axis] = pcpt::floor_to_int(least / voxel_size);
    grid.size[1 + axis] =
        static_cast<uint64_t>(pcpt::floor_to_int(most / voxel_size) - grid.low[1 + axis] + 1);
  }
  return grid;
}

// The number of each point's voxel. Fails on nan, which the bounds pass over.
void number_points(const Grid& grid, const Cloud& cloud, int64_t* numbers) {
  std::atomic<bool> all_finite{true};
  torch::stable::parallel_for(0, cloud.count, GRAIN, [&](int64_t begin, int64_t end) {
    constexpr int64_t BLOCK = 256;
    int32_t cells[3 * BLOCK];
    int32_t finite = 1;
    for (int64_t first = begin; first < end; first += BLOCK) {
      const int64_t count = std::min(BLOCK, end - first);
      for (int64_t i = 0; i < 3 * count; ++i) {  // flat, so that it vectorises
        const float cell = cloud.points[3 * first + i] / grid.voxel_size;
        const bool ordered = cell == cell;
        finite &= ordered;
        cells[i] = pcpt::floor_to_int(ordered ? cell : 0.f);
      }
      for (int64_t i = 0; i < count; ++i)
        numbers[first + i] =
            static_cast<int64_t>(grid.number(cloud.batch[first + i], cells + 3 * i));
    }
    if (!finite) all_finite = false;
  });
  STD_TORCH_CHECK(all_finite, OUT_OF_RANGE);
}

// Without the instruction, which not every x86-64 has, the compiler would call a function.
int32_t count_bits(uint64_t word) {
  word -= word >> 1 & 0x5555555555555555u;
  word = (word & 0x3333333333333333u) + (word >> 2 & 0x3333333333333333u);
  word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  return static_cast<int32_t>(word * 0x0101010101010101u >> 56);
}

void set_bits(const int64_t* numbers, int64_t count, std::vector<uint64_t>& bits) {
  const bool alone = torch::stable::get_num_threads() == 1;
  torch::stable::parallel_for(0, count, GRAIN, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      uint64_t& word = bits[numbers[i] >> 6];
      const uint64_t bit = uint64_t(1) << (numbers[i] & 63);
      if (alone)
        word |= bit;
      else if (!(__atomic_load_n(&word, __ATOMIC_RELAXED) & bit))
        __atomic_fetch_or(&word, bit, __ATOMIC_RELAXED);
    }
  });
}

// Turns the numbers of points into rows of the coordinates, which it returns.
Tensor rank_by_bits(const Grid& grid, const Tensor& like, int64_t* numbers, int64_t count) {
  const uint64_t cells = grid.cells();
  std::vector<uint64_t> bits(cells / 64 + 1, 0);
  set_bits(numbers, count, bits);
  std::vector<int32_t> before(bits.size());  // voxels before each word
  int32_t num_voxels = 0;
  for (size_t i = 0; i < bits.size(); ++i) {
    before[i] = num_voxels;
    if (bits[i] != 0) num_voxels += count_bits(bits[i]);
  }
  Tensor coordinates = torch::stable::new_empty(like, {num_voxels, 4}, ScalarType::Int);
  int32_t* out = coordinates.mutable_data_ptr<int32_t>();
  const bool small = cells <= UINT32_MAX;
  torch::stable::parallel_for(
      0, static_cast<int64_t>(bits.size()), GRAIN, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          int32_t* row = out + 4 * int64_t(before[i]);
          for (uint64_t word = bits[i]; word != 0; word &= word - 1, row += 4)
            grid.coordinates(64 * i + __builtin_ctzll(word), row, small);
        }
      });
  torch::stable::parallel_for(0, count, GRAIN, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t word = numbers[i] >> 6;
      const uint64_t below = (uint64_t(1) << (numbers[i] & 63)) - 1;
      numbers[i] = before[word] + count_bits(bits[word] & below);
    }
  });
  return coordinates;
}

struct Run {
  uint64_t number;
  int64_t index;  // in the order of the points
};

// By number, least digit first; stable.
void radix_sort(std::vector<Run>& runs, uint64_t cells) {
  std::vector<Run> other(runs.size());
  for (int shift = 0; shift < 64 && (cells - 1) >> shift != 0; shift += DIGIT) {
    std::array<int64_t, VALUES + 1> start{};
    for (const Run& run : runs) ++start[1 + (run.number >> shift & (VALUES - 1))];
    for (int value = 0; value < VALUES; ++value) start[value + 1] += start[value];
    for (const Run& run : runs) other[start[run.number >> shift & (VALUES - 1)]++] = run;
    runs.swap(other);
  }
}

Tensor rank_by_sorting(const Grid& grid, const Tensor& like, int64_t* numbers, int64_t count) {
  std::vector<Run> runs;  // of points in a row in one voxel, as neighbouring pixels often are
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t number = static_cast<uint64_t>(numbers[i]);
    if (runs.empty() || runs.back().number != number)
      runs.push_back({number, static_cast<int64_t>(runs.size())});
    numbers[i] = static_cast<int64_t>(runs.size()) - 1;
  }
  radix_sort(runs, grid.cells());
  std::vector<int32_t> row_of(runs.size());
  std::vector<uint64_t> voxels;
  for (const Run& run : runs) {
    if (voxels.empty() || voxels.back() != run.number) voxels.push_back(run.number);
    row_of[run.index] = static_cast<int32_t>(voxels.size()) - 1;
  }
  const int64_t num_voxels = static_cast<int64_t>(voxels.size());
  Tensor coordinates = torch::stable::new_empty(like, {num_voxels, 4}, ScalarType::Int);
  int32_t* out = coordinates.mutable_data_ptr<int32_t>();
  for (int64_t row = 0; row < num_voxels; ++row) grid.coordinates(voxels[row], out + 4 * row, false);
  for (int64_t i = 0; i < count; ++i) numbers[i] = row_of[numbers[i]];
  return coordinates;
}

std::tuple<Tensor, Tensor> voxelize_cpu(const Tensor& points,  // (N, 3) float32
                                        double voxel_size,
                                        const Tensor& batch_index) {  // (N,) int64
  STD_TORCH_CHECK(points.dim() == 2 && points.size(1) == 3 &&
                      points.scalar_type() == ScalarType::Float && points.is_contiguous(),
                  "points must be contiguous (N, 3) float32");
  STD_TORCH_CHECK(batch_index.dim() == 1 && batch_index.size(0) == points.size(0) &&
                      batch_index.scalar_type() == ScalarType::Long && batch_index.is_contiguous(),
                  "batch_index must be contiguous (N,) int64");
  const Cloud cloud{points.const_data_ptr<float>(), batch_index.const_data_ptr<int64_t>(),
                    points.size(0)};
  STD_TORCH_CHECK(cloud.count <= INT32_MAX, "voxelize: more than 2^31 - 1 points");
  Tensor point_to_voxel = torch::stable::new_empty(batch_index, {cloud.count});
  if (cloud.count == 0)
    return {torch::stable::new_empty(points, {0, 4}, ScalarType::Int), point_to_voxel};
  const Grid grid = grid_around(cloud, static_cast<float>(voxel_size));
  int64_t* numbers = point_to_voxel.mutable_data_ptr<int64_t>();
  number_points(grid, cloud, numbers);
  const bool dense = grid.cells() <= static_cast<uint64_t>(BITS_PER_POINT * cloud.count);
  return {dense ? rank_by_bits(grid, points, numbers, cloud.count)
                : rank_by_sorting(grid, points, numbers, cloud.count),
          point_to_voxel};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) { m.impl("voxelize", TORCH_BOX(&voxelize_cpu)); }
