// Which points of bare clouds a viewpoint sees: the corners of the hull of the flipped points. Each
// point asks for itself whether a plane separates it (supporting_plane.h), so the answers do not
// depend on an order: first among its neighbours in direction, which tell most hidden points, then
// among all that are left, for the hidden ones hide nothing that others do not.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "check_values.h"
#include "checks.h"
#include "direction_tree.h"
#include "geometry.h"
#include "isa.h"
#include "parallel.h"

namespace {

using pcpt::Points;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Here products may be fused with sums, unlike elsewhere: the rounding that planes allow for covers it.
#ifdef PCPT_X86
#pragma GCC diagnostic ignored "-Wpsabi"  // no vector leaves this file
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq")
#pragma GCC optimize("fp-contract=fast")
#define PCPT_ISA avx512
#define PCPT_ANY(mask) (_mm512_movepi64_mask((__m512i)(mask)) != 0)
#include "hull_corners.h"
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#pragma GCC optimize("fp-contract=fast")
#define PCPT_ISA avx2
#include "hull_corners.h"
#pragma GCC pop_options
#endif

#define PCPT_ISA baseline
#include "hull_corners.h"

const auto find_corners = PCPT_BEST(find_corners);

// Place of a direction on the unfolded octahedron, in -1..1.
std::pair<double, double> unfold(double x, double y, double z) {
  const double inverse = 1.0 / (std::fabs(x) + std::fabs(y) + std::fabs(z));
  const double a = x * inverse, b = y * inverse;
  if (z >= 0.0) return {a, b};
  return {std::copysign(1.0 - std::fabs(b), a), std::copysign(1.0 - std::fabs(a), b)};
}

uint32_t spread_bits(uint32_t value) {  // 16 bits to every second bit
  value = (value | value << 8) & 0x00FF00FFu;
  value = (value | value << 4) & 0x0F0F0F0Fu;
  value = (value | value << 2) & 0x33333333u;
  return (value | value << 1) & 0x55555555u;
}

// Sorts by direction along a Z-shaped curve over as many cells as points.
void sort_by_direction(const Points& points, Points& sorted) {
  const int64_t count = points.count();
  std::vector<std::pair<double, double>> place(count);
  double low_a = 1, high_a = -1, low_b = 1, high_b = -1;
  for (int64_t i = 0; i < count; ++i) {
    const auto [a, b] = place[i] = unfold(points.x[i], points.y[i], points.z[i]);
    low_a = std::min(low_a, a), high_a = std::max(high_a, a);
    low_b = std::min(low_b, b), high_b = std::max(high_b, b);
  }
  int bits = 1;
  while (bits < 12 && (int64_t(1) << 2 * bits) < 2 * count) ++bits;
  const double cells = 1 << bits;
  const double scale_a = (cells - 0.5) / std::max(high_a - low_a, 1e-300);
  const double scale_b = (cells - 0.5) / std::max(high_b - low_b, 1e-300);
  std::vector<uint32_t> key(count);
  std::vector<int32_t> start((int64_t(1) << 2 * bits) + 1);
  for (int64_t i = 0; i < count; ++i) {
    const auto column = static_cast<uint32_t>((place[i].first - low_a) * scale_a);
    const auto row = static_cast<uint32_t>((place[i].second - low_b) * scale_b);
    key[i] = spread_bits(column) | spread_bits(row) << 1;
    ++start[key[i] + 1];
  }
  std::partial_sum(start.begin(), start.end(), start.begin());
  sorted.resize(count);
  for (int64_t i = 0; i < count; ++i) {
    const int32_t to = start[key[i]]++;
    sorted.set(to, points, i);
  }
}

// The first point of the same coordinates for each point of a cloud; -1 for points that are not
// finite.
void find_twins(const double* points, int64_t num_points, int32_t* twin) {
  std::vector<int32_t> order;
  for (int64_t i = 0; i < num_points; ++i) {
    const double* p = points + 3 * i;
    twin[i] = std::isfinite(p[0]) && std::isfinite(p[1]) && std::isfinite(p[2]) ? 0 : -1;
    if (twin[i] == 0) order.push_back(static_cast<int32_t>(i));
  }
  const auto place = [&](int32_t i) {
    return std::array<double, 3>{points[3 * i], points[3 * i + 1], points[3 * i + 2]};
  };
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const auto first = place(a), second = place(b);
    return first == second ? a < b : first < second;
  });
  for (size_t k = 0; k < order.size(); ++k) {
    const bool same = k > 0 && place(order[k]) == place(order[k - 1]);
    twin[order[k]] = same ? twin[order[k - 1]] : order[k];
  }
}

void remove_hidden(const double* points, const int32_t* twin, int64_t num_points,
                   const double* viewpoint, double radius_factor, bool* visible) {
  Points flipped, sorted;
  flipped.resize(num_points);
  std::vector<double> distance(num_points);
  double largest = 0.0;
  int64_t count = 0;
  for (int64_t i = 0; i < num_points; ++i) {
    visible[i] = false;
    if (twin[i] != i) continue;
    const double x = points[3 * i] - viewpoint[0], y = points[3 * i + 1] - viewpoint[1],
                 z = points[3 * i + 2] - viewpoint[2];
    const double d = std::sqrt(x * x + y * y + z * z);
    visible[i] = d == 0.0;  // at the viewpoint: nothing lies before it
    if (!(d > 0.0 && d < INFINITY)) continue;
    largest = std::max(largest, d);
    flipped.x[count] = x, flipped.y[count] = y, flipped.z[count] = z;
    flipped.source[count] = static_cast<int32_t>(i);
    distance[count++] = d;
  }
  flipped.resize(count);
  const double half = 0.5 / (radius_factor * largest);
  for (int64_t i = 0; i < count; ++i) {
    const double scale = 1.0 / distance[i] - half;
    flipped.x[i] *= scale, flipped.y[i] *= scale, flipped.z[i] *= scale;
  }
  sort_by_direction(flipped, sorted);
  std::vector<uint8_t> corner(count);
  find_corners(sorted, corner.data());
  for (int64_t i = 0; i < count; ++i) visible[sorted.source[i]] = corner[i] != 0;
  for (int64_t i = 0; i < num_points; ++i)
    if (twin[i] >= 0) visible[i] = visible[twin[i]];
}

Tensor hidden_point_removal_cpu(const Tensor& points,      // (B, N, 3) float64
                                const Tensor& viewpoints,  // (B, V, 3) float64
                                const Tensor& lengths,     // (B,) int64, 0..N
                                double radius_factor) {
  pcpt::check_hidden_point_removal(points, viewpoints, lengths, radius_factor);
  const int64_t num_clouds = points.size(0), num_points = points.size(1),
                num_views = viewpoints.size(1);
  STD_TORCH_CHECK(num_points <= INT32_MAX, "hidden_point_removal: more than 2^31 - 1 points");
  pcpt::check_values(lengths, num_points, "lengths");
  Tensor out =
      torch::stable::new_zeros(points, {num_clouds, num_views, num_points}, ScalarType::Bool);
  const double* position = points.const_data_ptr<double>();
  const double* viewpoint = viewpoints.const_data_ptr<double>();
  const int64_t* length = lengths.const_data_ptr<int64_t>();
  bool* visible = out.mutable_data_ptr<bool>();

  std::vector<int32_t> twin(num_clouds * num_points);
  pcpt::for_each_task(num_clouds, [&](int64_t cloud) {
    find_twins(position + 3 * cloud * num_points, length[cloud], twin.data() + cloud * num_points);
  });
  pcpt::for_each_task(num_clouds * num_views, [&](int64_t task) {
    const int64_t cloud = task / num_views;
    remove_hidden(position + 3 * cloud * num_points, twin.data() + cloud * num_points,
                  length[cloud], viewpoint + 3 * task, radius_factor, visible + task * num_points);
  });
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) {
  m.impl("hidden_point_removal", TORCH_BOX(&hidden_point_removal_cpu));
}
