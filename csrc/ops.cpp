// The table of contents: every operator's schema, once. Kernels register themselves in cpu/ and
// cuda/ under the same stem as the Python file in pcpt/ops/ that documents the operator.
#include <Python.h>
#include <torch/csrc/stable/library.h>

extern "C" PyObject* PyInit__C() {
  static PyModuleDef def = {PyModuleDef_HEAD_INIT, "_C", nullptr, -1, nullptr};
  return PyModule_Create(&def);
}

STABLE_TORCH_LIBRARY(pcpt, m) {
  m.def("kernel_map(Tensor coordinates, Tensor out_coordinates, Tensor offsets) -> (Tensor neighbors, Tensor duplicate)");
  m.def("sparse_conv(Tensor features, Tensor weight, Tensor neighbors, Tensor inverse) -> Tensor");
  m.def("sparse_conv_grad_weight(Tensor features, Tensor grad, Tensor neighbors, Tensor inverse) -> Tensor");
}
