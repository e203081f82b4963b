// NumPy would need ten calls and their overhead for these matrices.
#include "projection_matrices.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cmath>

#include "checks.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr double LEAST_DETERMINANT = 1e-9;

struct Vector {
  double x, y, z;
};

Vector cross(const Vector& a, const Vector& b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

double dot(const Vector& a, const Vector& b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

// Column of a square matrix of `size` rows.
Vector column(const double* matrix, int size, int index) {
  return {matrix[index], matrix[size + index], matrix[2 * size + index]};
}

// Finite, with the last row 0 .. 0 1.
bool is_affine(const double* matrix, int size) {
  bool fits = true;
  for (int i = 0; i < size * size; ++i) fits &= std::isfinite(matrix[i]);
  const double* last = matrix + size * (size - 1);
  for (int i = 0; i < size; ++i) fits &= last[i] == (i == size - 1 ? 1.0 : 0.0);
  return fits;
}

// False, with nothing written, where the two are not a camera's.
bool project(const double* intrinsics,       // (3, 3)
             const double* camera_to_world,  // (4, 4)
             float* projection) {            // (3, 4)
  if (!is_affine(intrinsics, 3) || !is_affine(camera_to_world, 4)) return false;
  const Vector u = column(intrinsics, 3, 0), v = column(intrinsics, 3, 1);
  if (std::fabs(dot(u, cross(v, column(intrinsics, 3, 2)))) < LEAST_DETERMINANT) return false;
  const Vector a = column(camera_to_world, 4, 0), b = column(camera_to_world, 4, 1);
  const Vector c = column(camera_to_world, 4, 2), origin = column(camera_to_world, 4, 3);
  const Vector rows[3] = {cross(b, c), cross(c, a), cross(a, b)};  // of the inverse, times its
  const double determinant = dot(a, rows[0]);
  if (std::fabs(determinant) < LEAST_DETERMINANT) return false;
  double to_camera[3][4];
  for (int i = 0; i < 3; ++i) {
    to_camera[i][0] = rows[i].x / determinant;
    to_camera[i][1] = rows[i].y / determinant;
    to_camera[i][2] = rows[i].z / determinant;
    to_camera[i][3] = -(to_camera[i][0] * origin.x + to_camera[i][1] * origin.y +
                        to_camera[i][2] * origin.z);
  }
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 4; ++j)
      projection[4 * i + j] = static_cast<float>(intrinsics[3 * i] * to_camera[0][j] +
                                                 intrinsics[3 * i + 1] * to_camera[1][j] +
                                                 intrinsics[3 * i + 2] * to_camera[2][j]);
  return true;
}

template <typename T>
std::vector<double> copy(const Tensor& matrices) {
  const T* values = matrices.const_data_ptr<T>();
  return {values, values + matrices.numel()};
}

std::vector<double> as_double(const Tensor& matrices, int64_t size) {
  STD_TORCH_CHECK(matrices.dim() == 3 && matrices.size(1) == size && matrices.size(2) == size &&
                      pcpt::is_floating(matrices),
                  "expected floating (V, ", size, ", ", size, ") matrices");
  const ScalarType type = matrices.scalar_type();
  if (matrices.is_cpu() && matrices.is_contiguous()) {  // the usual case, without asking torch
    if (type == ScalarType::Double) return copy<double>(matrices);
    if (type == ScalarType::Float) return copy<float>(matrices);
  }
  const torch::stable::Device cpu(torch::headeronly::DeviceType::CPU);
  return copy<double>(pcpt::as_contiguous(
      torch::stable::to(matrices, ScalarType::Double, std::nullopt, cpu)));
}

Tensor projection_matrices_cpu(const Tensor& intrinsics, const Tensor& camera_to_world) {
  const std::vector<float> found = pcpt::projection_matrices(intrinsics, camera_to_world);
  Tensor projection =
      torch::stable::new_empty(intrinsics, {intrinsics.size(0), 3, 4}, ScalarType::Float);
  std::copy(found.begin(), found.end(), projection.mutable_data_ptr<float>());
  return projection;
}

}  // namespace

std::vector<float> pcpt::projection_matrices(const Tensor& intrinsics,
                                             const Tensor& camera_to_world) {
  const std::vector<double> first = as_double(intrinsics, 3);
  const std::vector<double> second = as_double(camera_to_world, 4);
  const int64_t num_views = intrinsics.size(0);
  STD_TORCH_CHECK(camera_to_world.size(0) == num_views, "expected as many poses as intrinsics");
  std::vector<float> projection(12 * num_views);
  for (int64_t view = 0; view < num_views; ++view)
    STD_TORCH_CHECK(project(first.data() + 9 * view, second.data() + 16 * view,
                            projection.data() + 12 * view),
                    "not a camera's matrices");
  return projection;
}

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) {
  m.impl("projection_matrices", TORCH_BOX(&projection_matrices_cpu));
}
