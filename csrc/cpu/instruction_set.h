// The widest vector instructions to use. A kernel that is compiled for several puts its loops into a
// header, includes that once for each (see projection_loops.h) and picks here, once a process.
#pragma once

#include <cstdlib>
#include <string>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PCPT_X86 1
#include <immintrin.h>
#endif

namespace pcpt {

enum class InstructionSet { baseline, avx2, avx512 };

// ATEN_CPU_CAPABILITY=default|avx2 lowers it, as it does torch's kernels.
inline InstructionSet instruction_set() {
#ifdef PCPT_X86
  const char* variable = std::getenv("ATEN_CPU_CAPABILITY");
  const std::string most = variable ? variable : "";
  if (most == "default") return InstructionSet::baseline;
  if (most != "avx2" && __builtin_cpu_supports("avx512f")) return InstructionSet::avx512;
  if (__builtin_cpu_supports("avx2")) return InstructionSet::avx2;
#endif
  return InstructionSet::baseline;
}

}  // namespace pcpt
