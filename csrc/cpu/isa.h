// Which instruction sets kernels are compiled for, and which of them this machine runs. A file of
// kernels is included once for each (every_isa.h does so where nothing else differs), in namespaces
// avx512, avx2 and baseline; PCPT_BEST picks among the copies.
#pragma once

#include <cstdlib>
#include <string>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PCPT_X86 1
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pcpt {

enum class Isa { baseline, avx2, avx512 };

// ATEN_CPU_CAPABILITY=default|avx2 lowers it, as it does torch's own kernels.
inline Isa best_isa() {
  static const Isa best = [] {
#ifdef PCPT_X86
    const char* variable = std::getenv("ATEN_CPU_CAPABILITY");
    const std::string most = variable ? variable : "";
    if (most != "default") {
      if (most != "avx2" && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
        return Isa::avx512;
      if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::avx2;
    }
#endif
    return Isa::baseline;
  }();
  return best;
}

}  // namespace pcpt

// The copy of a name that is made for this machine.
#ifdef PCPT_X86
#define PCPT_BEST(...)                                          \
  (pcpt::best_isa() == pcpt::Isa::avx512 ? avx512::__VA_ARGS__  \
   : pcpt::best_isa() == pcpt::Isa::avx2 ? avx2::__VA_ARGS__    \
                                         : baseline::__VA_ARGS__)
#else
#define PCPT_BEST(...) (baseline::__VA_ARGS__)
#endif
