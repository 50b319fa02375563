// Selects the instruction set of the kernels. No other file does.
#pragma once

// Whether the kernels for AVX-512 bf16 are compiled: natively, or with scalar emulation of the intrinsics, to test them
// on other processors.
#if defined(PLUMBLINE_EMULATE) || (defined(__x86_64__) && defined(__linux__))
#define PLUMBLINE_BF16
#endif

// Whether the compiler can target the x86-64 levels. Otherwise loops use its default vectors.
#if defined(__x86_64__) && defined(__linux__) && __GNUC__ >= 12 && !defined(__clang__)
#define PLUMBLINE_LEVELS
#endif

namespace cpu {

enum class Level { none, avx2, avx512, avx512bf16 };

// Returns the processor's highest level, capped by PLUMBLINE_CPU.
Level level();

// Returns the name of a level, as in PLUMBLINE_CPU.
const char* name(Level level);

// Whether the AVX-512 bf16 kernels can be called.
bool hasBf16();

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
