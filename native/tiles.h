// Building blocks of the bfloat16 kernels, for processors with AVX-512 bf16. Functions that use its instructions are
// between BF16_BEGIN and BF16_END, and callable only if cpu::hasBf16().
#pragma once
#ifdef PLUMBLINE_EMULATE
#include "emulate.h"
#else
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstdint>
#include <memory>

#ifdef PLUMBLINE_EMULATE
#define BF16_BEGIN
#define BF16_END
#elif defined(__clang__)
#define BF16_BEGIN \
  _Pragma("clang attribute push(__attribute__((target(\"avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,bmi2\"))), apply_to = function)")
#define BF16_END _Pragma("clang attribute pop")
#else
#define BF16_BEGIN _Pragma("GCC push_options") _Pragma("GCC target(\"avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,bmi2\")")
#define BF16_END _Pragma("GCC pop_options")
#endif
#define INLINE __attribute__((always_inline)) inline
// Sums in arrays stay in registers only if every loop over them is unrolled, the last one too.
#define UNROLL _Pragma("GCC unroll 8")

namespace {

// A pair of bfloat16 numbers, adjacent along the summed dimension: the processor multiplies and adds 16 pairs in one
// instruction.
typedef uint32_t __attribute__((may_alias)) Pair;

template <class T>
std::unique_ptr<T[]> room(int64_t count) { return std::unique_ptr<T[]>(new T[count]); }

BF16_BEGIN

// c (R, 16 V) = a (R, pairs) · b (pairs, 16 V), or c += a · b.
template <int R, int V>
INLINE void tile(const Pair* a, int64_t aRow, int64_t aPair, const Pair* b, int64_t bPair, float* c, int64_t cRow,
                 int64_t pairs, bool add) {
  __m512 sums[R][V];
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int v = 0; v < V; v++) sums[r][v] = add ? _mm512_loadu_ps(c + r * cRow + 16 * v) : _mm512_setzero_ps();
  for (int64_t p = 0; p < pairs; p++) {
    __m512i columns[V];
    UNROLL for (int v = 0; v < V; v++) columns[v] = _mm512_loadu_si512(b + p * bPair + 16 * v);
    UNROLL for (int r = 0; r < R; r++) {
      const auto row = _mm512_set1_epi32(a[r * aRow + p * aPair]);
      UNROLL for (int v = 0; v < V; v++) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], (__m512bh)row, (__m512bh)columns[v]);
    }
  }
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int v = 0; v < V; v++) _mm512_storeu_ps(c + r * cRow + 16 * v, sums[r][v]);
}

template <int V>
void rowsOfTiles(int64_t rows, const Pair* a, int64_t aRow, int64_t aPair, const Pair* b, int64_t bPair, float* c,
                 int64_t cRow, int64_t pairs, bool add) {
  int64_t r = 0;
  for (; r + 6 <= rows; r += 6) tile<6, V>(a + r * aRow, aRow, aPair, b, bPair, c + r * cRow, cRow, pairs, add);
  for (; r + 2 <= rows; r += 2) tile<2, V>(a + r * aRow, aRow, aPair, b, bPair, c + r * cRow, cRow, pairs, add);
  for (; r < rows; r++) tile<1, V>(a + r * aRow, aRow, aPair, b, bPair, c + r * cRow, cRow, pairs, add);
}

// columns: must be a multiple of 16.
void product(int64_t rows, int64_t columns, const Pair* a, int64_t aRow, int64_t aPair, const Pair* b, int64_t bPair,
             float* c, int64_t cRow, int64_t pairs, bool add) {
  int64_t n = 0;
  for (; n + 64 <= columns; n += 64) rowsOfTiles<4>(rows, a, aRow, aPair, b + n, bPair, c + n, cRow, pairs, add);
  for (; n < columns; n += 16) rowsOfTiles<1>(rows, a, aRow, aPair, b + n, bPair, c + n, cRow, pairs, add);
}

INLINE void storeBf16(uint16_t* to, __m512 x) { _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh(x)); }

// Interleaves rows in pairs, (rows / 2, width) pairs, for sums over rows. A null row stands for zeros.
template <class Row>
INLINE void packRows(Row row, int64_t rows, int64_t width, Pair* out) {
  for (int64_t r = 0; r < rows; r += 2, out += width) {
    const uint16_t *one = row(r), *two = row(r + 1);
    if (one && two)
      for (int64_t c = 0; c < width; c++) out[c] = Pair(one[c]) | Pair(two[c]) << 16;
    else
      for (int64_t c = 0; c < width; c++) out[c] = (one ? one[c] : 0) | Pair(two ? two[c] : 0) << 16;
  }
}

INLINE float wide(uint16_t x) { return __builtin_bit_cast(float, uint32_t(x) << 16); }

// Sums each of 16 vectors.
INLINE __m512 sumEach(__m512 x[16]) {
  __m512 a[8], b[4], c[2];
  UNROLL for (int i = 0; i < 8; i++)
    a[i] = _mm512_add_ps(_mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]), _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1]));
  UNROLL for (int i = 0; i < 4; i++) {
    const auto one = _mm512_castps_pd(a[2 * i]), two = _mm512_castps_pd(a[2 * i + 1]);
    b[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(one, two)), _mm512_castpd_ps(_mm512_unpackhi_pd(one, two)));
  }
  UNROLL for (int i = 0; i < 2; i++)
    c[i] = _mm512_add_ps(_mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0x88), _mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0xdd));
  return _mm512_add_ps(_mm512_shuffle_f32x4(c[0], c[1], 0x88), _mm512_shuffle_f32x4(c[0], c[1], 0xdd));
}

BF16_END

}  // namespace
