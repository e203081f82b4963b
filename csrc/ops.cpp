// The table of contents: every operator's schema, once. Kernels register themselves in cpu/ and
// cuda/ under the same stem as the Python file in pcpt/ops/ that documents the operator.
#include <Python.h>
#include <torch/csrc/stable/library.h>

extern "C" PyObject* PyInit__C() {
  static PyModuleDef def = {PyModuleDef_HEAD_INIT, "_C", nullptr, -1, nullptr};
  return PyModule_Create(&def);
}

STABLE_TORCH_LIBRARY(pcpt, m) {
  m.def("projection_matrices(Tensor intrinsics, Tensor camera_to_world) -> Tensor");
  m.def("match_points_to_pixels(Tensor points, Tensor depth, Tensor depth_intrinsics, Tensor depth_camera_to_world, Tensor? color_intrinsics, Tensor? color_camera_to_world, int color_height, int color_width, float absolute_tolerance, float relative_tolerance, int border) -> (Tensor point_index, Tensor view_index, Tensor pixel, Tensor depth_error)");
  m.def("sample_pixels(Tensor features, Tensor view_index, Tensor pixel, int image_height, int image_width, bool align_corners) -> Tensor");
  m.def("sample_pixels_backward(Tensor grad, Tensor view_index, Tensor pixel, int num_views, int height, int width, int image_height, int image_width, bool align_corners) -> Tensor");
  m.def("render_depth(Tensor points, Tensor projection, int height, int width, int radius_pixels) -> Tensor");
  m.def("hidden_point_removal(Tensor points, Tensor viewpoints, Tensor lengths, float radius_factor) -> Tensor");
  m.def("rotated_iou(Tensor boxes, Tensor other_boxes, bool aligned, bool bev) -> Tensor");
  m.def("rotated_iou_backward(Tensor grad, Tensor boxes, Tensor other_boxes, bool aligned, bool bev) -> (Tensor grad_boxes, Tensor grad_other_boxes)");
  m.def("voxelize(Tensor points, float voxel_size, Tensor batch_index) -> (Tensor coordinates, Tensor point_to_voxel)");
  m.def("farthest_points(Tensor points, Tensor lengths, Tensor start_index, int num_samples) -> Tensor");
  m.def("nearest_neighbors(Tensor queries, Tensor query_lengths, Tensor points, Tensor lengths, int k) -> (Tensor index, Tensor squared_distance)");
  m.def("ball_query(Tensor queries, Tensor query_lengths, Tensor points, Tensor lengths, float radius, int k) -> (Tensor index, Tensor squared_distance)");
  m.def("segment_sum(Tensor values, Tensor segment_index, int num_segments) -> Tensor");
  m.def("segment_extreme(Tensor values, Tensor segment_index, int num_segments, bool largest) -> (Tensor out, Tensor row)");
  m.def("gather_max(Tensor values, Tensor index, Tensor starts) -> (Tensor out, Tensor row)");
  m.def("voxel_table(Tensor coordinates) -> (Tensor table, Tensor duplicate)");
  m.def("kernel_map(Tensor table, int num_in, Tensor out_coordinates, Tensor offsets, bool mirrored) -> Tensor");
  m.def("coarsen_voxels(Tensor coordinates, int stride) -> (Tensor coarse, Tensor parent)");
  m.def("stride_map(Tensor coordinates, Tensor parent, int stride, int ratio, int num_out) -> (Tensor neighbors, Tensor inverse)");
  m.def("sparse_conv(Tensor features, Tensor weight, Tensor neighbors, Tensor inverse, Tensor? plan=None, Tensor? inverse_plan=None) -> Tensor");
  m.def("sparse_conv_grad_weight(Tensor features, Tensor grad, Tensor neighbors, Tensor inverse, Tensor? plan=None, Tensor? inverse_plan=None) -> Tensor");
  m.def("multiplies_bf16() -> bool");  // whether sparse_conv has bfloat16 matrix units on the CPU
}
