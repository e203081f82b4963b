// Includes the file named PCPT_KERNELS, after pack.h, once for each instruction set, each in a
// namespace of its own. The includer, in an unnamed namespace, has included isa.h before.
//   PCPT_ISA    namespace         PCPT_BYTES    bytes of a vector register
//   PCPT_LESS_FLOAT, PCPT_LESS_DOUBLE(a, b)     bit i: a[i] < b[i], where the set has it
//   PCPT_AVX512                   its intrinsics may be used
#ifdef PCPT_X86
#pragma GCC push_options
#pragma GCC target("avx512f")
#define PCPT_ISA avx512
#define PCPT_BYTES 64
#define PCPT_AVX512 1
#define PCPT_LESS_FLOAT(a, b) _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ)
#define PCPT_LESS_DOUBLE(a, b) _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ)
#include "pack.h"
#include PCPT_KERNELS
#undef PCPT_ISA
#undef PCPT_BYTES
#undef PCPT_AVX512
#undef PCPT_LESS_FLOAT
#undef PCPT_LESS_DOUBLE
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2")
#define PCPT_ISA avx2
#define PCPT_BYTES 32
#define PCPT_LESS_FLOAT(a, b) _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ))
#define PCPT_LESS_DOUBLE(a, b) _mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_LT_OQ))
#include "pack.h"
#include PCPT_KERNELS
#undef PCPT_ISA
#undef PCPT_BYTES
#undef PCPT_LESS_FLOAT
#undef PCPT_LESS_DOUBLE
#pragma GCC pop_options
#endif

#define PCPT_ISA baseline
#define PCPT_BYTES 16
#ifdef __x86_64__
#define PCPT_LESS_FLOAT(a, b) _mm_movemask_ps(_mm_cmplt_ps(a, b))
#define PCPT_LESS_DOUBLE(a, b) _mm_movemask_pd(_mm_cmplt_pd(a, b))
#endif
#include "pack.h"
#include PCPT_KERNELS
#undef PCPT_ISA
#undef PCPT_BYTES
#undef PCPT_LESS_FLOAT
#undef PCPT_LESS_DOUBLE
