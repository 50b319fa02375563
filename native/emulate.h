// Emulates the AVX-512 intrinsics of the bfloat16 kernels in scalar code, so that their tests run on machines without
// AVX-512 bf16 (set-up with PLUMBLINE_EMULATE=1). Vectors are the compiler's generic ones, which every target has.
#pragma once
#if defined(__x86_64__)
#include <immintrin.h>  // the types and _mm_prefetch; none of the functions replaced below is used
#else
typedef float __m512 __attribute__((vector_size(64)));
typedef double __m512d __attribute__((vector_size(64)));
typedef long long __m512i __attribute__((vector_size(64)));
typedef long long __m256i __attribute__((vector_size(32)));
typedef float __m128 __attribute__((vector_size(16)));
typedef uint16_t __mmask16;
#define _MM_HINT_T0 0
#define _mm_prefetch(address, hint) __builtin_prefetch(address)
#define _mm_sfence()
#endif

#include <cmath>
#include <cstdint>
#include <cstring>

namespace emulated {

typedef uint16_t Narrow __attribute__((vector_size(32)));   // 16 bfloat16 numbers
typedef uint16_t Pairs __attribute__((vector_size(64)));    // 32 of them
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Bits __attribute__((vector_size(64)));

inline float wide(uint16_t x) { return __builtin_bit_cast(float, uint32_t(x) << 16); }
// Rounds to nearest, ties to even. Subnormal numbers become 0, as on the processor.
inline uint16_t narrow(float x) {
  const auto bits = __builtin_bit_cast(uint32_t, x);
  if (std::isnan(x)) return uint16_t(bits >> 16 | 0x40);
  if (std::abs(x) < 1.17549435e-38f) return uint16_t(bits >> 16 & 0x8000);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

template <class V, class Lane>
V each(int lanes, Lane lane) {
  V made{};
  for (int i = 0; i < lanes; i++) made[i] = lane(i);
  return made;
}
template <class V>
V load(const void* from) { V to; std::memcpy(&to, from, sizeof to); return to; }
template <class V>
void store(void* to, V from) { std::memcpy(to, &from, sizeof from); }

inline __m512 set1(float x) { return each<__m512>(16, [&](int) { return x; }); }
inline __m512i set1(int32_t x) { return (__m512i)each<Ints>(16, [&](int) { return x; }); }
template <class... Of>
__m512i setr(Of... of) { const int32_t all[] = {of...}; return load<__m512i>(all); }
inline __m512 mask_max(__m512 otherwise, __mmask16 mask, __m512 a, __m512 b) {
  return each<__m512>(16, [&](int i) { return mask >> i & 1 ? (a[i] > b[i] ? a[i] : b[i]) : otherwise[i]; });
}
inline __m512 maskz_mov(__mmask16 mask, __m512 x) { return each<__m512>(16, [&](int i) { return mask >> i & 1 ? x[i] : 0; }); }
inline __m512 fma(__m512 a, __m512 b, __m512 c) { return each<__m512>(16, [&](int i) { return std::fma(a[i], b[i], c[i]); }); }
inline __m512 nearest(__m512 x) { return each<__m512>(16, [&](int i) { return std::nearbyint(x[i]); }); }
inline __m512 scale(__m512 x, __m512 n) { return each<__m512>(16, [&](int i) { return x[i] * std::exp2(std::floor(n[i])); }); }
// In the order of GCC's reductions.
template <class Fold>
float reduce(__m512 x, Fold fold) {
  float all[16];
  std::memcpy(all, &x, sizeof all);
  for (int half = 8; half; half /= 2)
    for (int i = 0; i < half; i++) all[i] = fold(all[i], all[i + half]);
  return all[0];
}
template <class Test>
__mmask16 maskWhere(__m512i a, __m512i b, Test test) {
  __mmask16 mask = 0;
  for (int i = 0; i < 16; i++) mask |= __mmask16(test(((Ints)a)[i], ((Ints)b)[i])) << i;
  return mask;
}

inline Narrow toBf16(__m512 x) { return each<Narrow>(16, [&](int i) { return narrow(x[i]); }); }
// The product of two bfloat16 numbers is exact in float32, so multiplying and adding rounds as often as the processor
// does.
inline __m512 dot(__m512 sum, Pairs a, Pairs b) {
  return each<__m512>(16, [&](int i) {
    return (sum[i] + wide(a[2 * i + 1]) * wide(b[2 * i + 1])) + wide(a[2 * i]) * wide(b[2 * i]);
  });
}
inline __m512i widen(Narrow x) { return (__m512i)each<Bits>(16, [&](int i) { return uint32_t(x[i]); }); }
template <class V>
V maskedLoad(uint32_t mask, const uint16_t* from) {
  return each<V>(sizeof(V) / 2, [&](int i) { return mask >> i & 1 ? from[i] : uint16_t(0); });
}
inline void maskedStore(uint16_t* to, uint32_t mask, Narrow x) {
  for (int i = 0; i < 16; i++) if (mask >> i & 1) to[i] = x[i];
}
// Interleaves the lower (or upper) numbers of each 128 bits of a and b.
template <class V>
V unpack(V a, V b, int upper) {
  const int within = 16 / sizeof(a[0]);
  return each<V>(4 * within, [&](int i) {
    const int from = i / within * within + upper * within / 2 + i % within / 2;
    return i % 2 ? b[from] : a[from];
  });
}
inline __m512 shuffle(__m512 a, __m512 b, int how) {
  return each<__m512>(16, [&](int i) { return (i < 8 ? a : b)[(how >> i / 4 * 2 & 3) * 4 + i % 4]; });
}
inline Pairs join(__m512 lower, __m512 upper) {
  return each<Pairs>(32, [&](int i) { return narrow(i < 16 ? lower[i] : upper[i - 16]); });
}
inline __m512 broadcast(__m128 x) { return each<__m512>(16, [&](int i) { return x[i % 4]; }); }

}  // namespace emulated

#define __m512bh emulated::Pairs
#define _mm512_setzero_ps() emulated::set1(0.0f)
#define _mm512_set1_ps(x) emulated::set1(float(x))
#define _mm512_set1_epi32(x) emulated::set1(int32_t(x))
#define _mm512_setr_epi32 emulated::setr
#define _mm512_loadu_ps(from) emulated::load<__m512>(from)
#define _mm512_loadu_si512(from) emulated::load<__m512i>(from)
#define _mm256_loadu_si256(from) emulated::load<__m256i>(from)
#define _mm_loadu_ps(from) emulated::load<__m128>(from)
#define _mm512_storeu_ps(to, x) emulated::store(to, x)
#define _mm512_storeu_si512(to, x) emulated::store(to, x)
#define _mm512_stream_si512(to, x) emulated::store(to, x)
#define _mm256_storeu_si256(to, x) emulated::store(to, x)
#define _mm512_maskz_loadu_epi16(mask, from) ((__m512i)emulated::maskedLoad<emulated::Pairs>(mask, from))
#define _mm256_maskz_loadu_epi16(mask, from) ((__m256i)emulated::maskedLoad<emulated::Narrow>(mask, from))
#define _mm256_mask_storeu_epi16(to, mask, x) emulated::maskedStore(to, mask, (emulated::Narrow)(x))
#define _mm512_add_ps(a, b) ((a) + (b))
#define _mm512_sub_ps(a, b) ((a) - (b))
#define _mm512_mul_ps(a, b) ((a) * (b))
#define _mm512_fmadd_ps(a, b, c) emulated::fma(a, b, c)
#define _mm512_fmsub_ps(a, b, c) emulated::fma(a, b, -(c))
#define _mm512_fnmadd_ps(a, b, c) emulated::fma(-(a), b, c)
#define _mm512_mask_max_ps emulated::mask_max
#define _mm512_maskz_mov_ps emulated::maskz_mov
#define _mm512_roundscale_ps(x, how) emulated::nearest(x)
#define _mm512_scalef_ps emulated::scale
#define _mm512_reduce_add_ps(x) emulated::reduce(x, [](float a, float b) { return a + b; })
#define _mm512_reduce_max_ps(x) emulated::reduce(x, [](float a, float b) { return a > b ? a : b; })
#define _mm512_cmpge_epi32_mask(a, b) emulated::maskWhere(a, b, [](int32_t x, int32_t y) { return x >= y; })
#define _mm512_cmplt_epi32_mask(a, b) emulated::maskWhere(a, b, [](int32_t x, int32_t y) { return x < y; })
#define _mm512_add_epi32(a, b) ((__m512i)((emulated::Ints)(a) + (emulated::Ints)(b)))
#define _mm512_or_si512(a, b) ((a) | (b))
#define _mm512_slli_epi32(x, by) ((__m512i)((emulated::Bits)(x) << (by)))
#define _mm512_cvtepu16_epi32(x) emulated::widen((emulated::Narrow)(x))
#define _mm512_cvtneps_pbh emulated::toBf16
#define _mm512_cvtne2ps_pbh(upper, lower) emulated::join(lower, upper)
#define _mm512_dpbf16_ps emulated::dot
#define _mm512_castsi512_ps(x) ((__m512)(x))
#define _mm512_castps_pd(x) ((__m512d)(x))
#define _mm512_castpd_ps(x) ((__m512)(x))
#define _mm512_unpacklo_ps(a, b) emulated::unpack(a, b, 0)
#define _mm512_unpackhi_ps(a, b) emulated::unpack(a, b, 1)
#define _mm512_unpacklo_pd(a, b) emulated::unpack(a, b, 0)
#define _mm512_unpackhi_pd(a, b) emulated::unpack(a, b, 1)
#define _mm512_shuffle_f32x4 emulated::shuffle
#define _mm512_broadcast_f32x4(x) emulated::broadcast(x)
#define _bzhi_u32(x, bits) ((x) & ((1u << (bits)) - 1))
