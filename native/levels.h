// Includes a file of kernels, KERNELS, once for each instruction set, in a namespace of its own. With PLUMBLINE_EMULATE
// all sets are compiled without their instructions, so that every kernel is tested on every machine.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "cpu.h"
#if defined(__x86_64__) && !defined(PLUMBLINE_EMULATE)
#include <immintrin.h>
#define X86
#endif

#define INLINE __attribute__((always_inline)) inline
#define INLINE_LAMBDA __attribute__((always_inline))
// Sums in arrays stay in registers only if every loop over them is unrolled, the last one too.
#define UNROLL _Pragma("GCC unroll 16")

#ifdef PLUMBLINE_KERNELS
namespace {

INLINE constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE constexpr int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE float wide(uint16_t x) { return __builtin_bit_cast(float, uint32_t(x) << 16); }
// Memory for kernels. It begins at a cache line: a vector that crosses two takes twice as long to load.
struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
template <class T>
using Memory = std::unique_ptr<T[], Free>;
template <class T>
Memory<T> room(int64_t count) {
  auto* memory = std::aligned_alloc(64, (count * sizeof(T) / 64 + 1) * 64);
  if (!memory) throw std::bad_alloc();
  return Memory<T>(static_cast<T*>(memory));
}

#ifdef __clang__
#define ARM_BF16 "bf16"
#else
#define ARM_BF16 "arch=armv8.2-a+bf16"
#endif
#if defined(PLUMBLINE_EMULATE)
#define BEGIN(set)
#define END
#elif defined(__clang__)
#define PRAGMA(text) _Pragma(#text)
#define BEGIN(set) PRAGMA(clang attribute push(__attribute__((target(set))), apply_to = function))
#define END _Pragma("clang attribute pop")
#else
#define PRAGMA(text) _Pragma(#text)
#define BEGIN(set) _Pragma("GCC push_options") PRAGMA(GCC target(set))
#define END _Pragma("GCC pop_options")
#endif

#if defined(PLUMBLINE_EMULATE) || defined(__x86_64__)
BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,bmi2,fma")
namespace avx512bf16 {
#define LANES 16
#define DOT 1
#ifndef PLUMBLINE_EMULATE
#define DOT_X86
#define STREAM(to, x) _mm512_stream_si512((__m512i*)(to), (__m512i)(x))
#endif
#include "simd.h"
#include KERNELS
#undef LANES
#undef DOT
#undef DOT_X86
}  // namespace avx512bf16
END

BEGIN("avx512f,avx512bw,avx512vl,avx512dq,bmi2,fma")
namespace avx512 {
#define LANES 16
#define DOT 0  // and STREAM as above
#include "simd.h"
#include KERNELS
#undef LANES
#undef DOT
#undef STREAM
}  // namespace avx512
END

BEGIN("avx2,bmi2,fma")
namespace avx2 {
#define LANES 8
#define DOT 0
#ifndef PLUMBLINE_EMULATE
#define STREAM(to, x) _mm256_stream_si256((__m256i*)(to), (__m256i)(x))
#endif
#include "simd.h"
#include KERNELS
#undef LANES
#undef DOT
#undef STREAM
}  // namespace avx2
END
#endif

#if defined(PLUMBLINE_EMULATE) || defined(__aarch64__)
BEGIN(ARM_BF16)
namespace neonbf16 {
#define LANES 4
#define DOT 1
#ifndef PLUMBLINE_EMULATE
#define DOT_ARM
#endif
#include "simd.h"
#include KERNELS
#undef LANES
#undef DOT
#undef DOT_ARM
}  // namespace neonbf16
END

namespace neon {
#define LANES 4
#define DOT 0
#include "simd.h"
#include KERNELS
#undef LANES
#undef DOT
}  // namespace neon
#endif

}  // namespace

// The kernels called `name` of the instruction set in use. Callable only if cpu::hasKernels().
#if defined(PLUMBLINE_EMULATE)
#define KERNELS_IN_USE(name)                                       \
  (cpu::kernels() == cpu::Level::avx512bf16 ? avx512bf16::name     \
   : cpu::kernels() == cpu::Level::avx512   ? avx512::name         \
   : cpu::kernels() == cpu::Level::avx2     ? avx2::name           \
   : cpu::kernels() == cpu::Level::neonbf16 ? neonbf16::name : neon::name)
#elif defined(__x86_64__)
#define KERNELS_IN_USE(name)                                       \
  (cpu::kernels() == cpu::Level::avx512bf16 ? avx512bf16::name     \
   : cpu::kernels() == cpu::Level::avx512 ? avx512::name : avx2::name)
#else
#define KERNELS_IN_USE(name) (cpu::kernels() == cpu::Level::neonbf16 ? neonbf16::name : neon::name)
#endif
#endif
