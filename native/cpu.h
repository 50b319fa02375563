// Selects the instruction set of the kernels. No other file does.
#pragma once

// Whether the kernels that are written with vectors (simd.h) are compiled.
#if (defined(__x86_64__) && defined(__linux__)) || defined(__aarch64__) || defined(PLUMBLINE_EMULATE)
#if defined(__clang__) || __GNUC__ >= 12
#define PLUMBLINE_KERNELS
#endif
#endif

// Whether the compiler can target the x86-64 levels. Otherwise loops use its default vectors.
#if defined(__x86_64__) && defined(__linux__) && __GNUC__ >= 12 && !defined(__clang__)
#define PLUMBLINE_LEVELS
#endif

namespace cpu {

enum class Level { none, neon, neonbf16, avx2, avx512, avx512bf16 };
constexpr Level kLevels[] = {Level::none, Level::neon, Level::neonbf16, Level::avx2, Level::avx512, Level::avx512bf16};

// Returns the processor's fastest level, or the one that PLUMBLINE_CPU names, or the processor's next lower one.
Level level();

// Measures the rate of multiply-adds in registers, in GFLOP/s of one thread. 0 for a level that the processor lacks.
double peakRate(Level level);

// Returns the level of the kernels written with vectors: level(), or the one that PLUMBLINE_CPU names if sets are
// emulated.
Level kernels();

// Whether kernels() has such kernels.
bool hasKernels();

// Returns the name of a level, as in PLUMBLINE_CPU.
const char* name(Level level);

// Calls `loop`, an always_inline function, in the version compiled for level().
// (With "avx512f" in place of the x86-64 level GCC leaves loops over 16-bit numbers scalar.)
#ifdef PLUMBLINE_LEVELS
template <auto loop, class... Of>
__attribute__((target("arch=x86-64-v4"))) auto onAvx512(Of... of) { return loop(of...); }
template <auto loop, class... Of>
__attribute__((target("arch=x86-64-v3"))) auto onAvx2(Of... of) { return loop(of...); }

template <auto loop, class... Of>
auto vectorised(Of... of) {
  switch (level()) {
    case Level::none: return loop(of...);
    case Level::avx2: return onAvx2<loop>(of...);
    default: return onAvx512<loop>(of...);
  }
}
#else
template <auto loop, class... Of>
auto vectorised(Of... of) { return loop(of...); }
#endif

}  // namespace cpu
