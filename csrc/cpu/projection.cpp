// Compiles projection_loops.h for each instruction set and picks the widest the machine has.
#include "projection.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "isa.h"

namespace {

#ifdef PCPT_X86
#pragma GCC push_options
#pragma GCC target("avx512f,prefer-vector-width=512")
#define PCPT_ISA avx512
#define PCPT_COMPRESS 1
#include "projection_loops.h"
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2")
#define PCPT_ISA avx2
#include "projection_loops.h"
#pragma GCC pop_options
#endif

#define PCPT_ISA baseline
#include "projection_loops.h"

}  // namespace

const pcpt::ProjectionKernels& pcpt::projection_kernels() {
  static const ProjectionKernels& best = PCPT_BEST(KERNELS);
  return best;
}
