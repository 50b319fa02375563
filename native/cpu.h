// The instruction set that our kernels use is decided here and nowhere else.
#pragma once

// Whether the kernels for AVX-512 bf16 are compiled: natively, or with scalar code in place of the intrinsics, for the
// tests of machines that lack them.
#if defined(PLUMBLINE_EMULATE) || (defined(__x86_64__) && defined(__linux__))
#define PLUMBLINE_BF16
#endif

// Whether the compiler makes code for the levels of x86-64 (elsewhere loops have the vectors of its default).
#if defined(__x86_64__) && defined(__linux__) && __GNUC__ >= 12 && !defined(__clang__)
#define PLUMBLINE_LEVELS
#endif

namespace cpu {

enum class Level { none, avx2, avx512, avx512bf16 };

// The processor's highest level, or PLUMBLINE_CPU where that is lower.
Level level();

// The name of a level, as PLUMBLINE_CPU gives it.
const char* name(Level level);

// Whether the kernels of AVX-512 bf16 may be called.
bool hasBf16();

// Calls `loop`, an always_inline function, compiled for the best vectors that level() allows.
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
