// Scalar geometry shared by the CPU and CUDA kernels. Expressions are written in the order of the
// PyTorch references (left to right, no contraction), so that results agree bit for bit.
#pragma once

#ifdef __CUDACC__
#define PCPT_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define PCPT_HOST_DEVICE inline
#endif
