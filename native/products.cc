// Matrix products in bfloat16, for processors with AVX-512 bf16. They are faster than libtorch's at all sizes of a
// small model, most of all with few rows, where the weights are read from memory (docs/log.md). On other processors
// libtorch's products are called; the tests compare with them.
#include "bf16.h"
#include "cpu.h"

#ifdef PLUMBLINE_BF16
#include <ATen/Parallel.h>

#include <cstring>

#include "tiles.h"

namespace {

constexpr int64_t kPanel = 64;   // columns of a factor that lie together
constexpr int64_t kSums = 1536;  // products added up in one go: so much of a panel stays in the nearer cache
constexpr int64_t kGroup = 96;   // rows of a transposed factor that are packed together

BF16_BEGIN

// Dot products of four rows of x with four rows of w over `count` numbers: y[r][n]. If there are fewer rows, the last
// one is repeated. Prefetches P rows of memory from `next`, in the order of addresses.
template <int P>
INLINE void fourByFour(const uint16_t* x, int64_t rows, const uint16_t* w, int64_t outputs, int64_t count, const uint16_t* next,
                       const float* bias, uint16_t* y, int64_t yRow) {
  const uint16_t *from[4], *weights[4];
  UNROLL for (int i = 0; i < 4; i++) {
    from[i] = x + std::min<int64_t>(i, rows - 1) * count;
    weights[i] = w + std::min<int64_t>(i, outputs - 1) * count;
  }
  __m512 sums[16];
  _Pragma("GCC unroll 16") for (int i = 0; i < 16; i++) sums[i] = _mm512_setzero_ps();
  for (int64_t i = 0; i < count; i += 32) {
    const auto there = count - i >= 32 ? 0xffffffffu : (1u << (count - i)) - 1;
    __m512i columns[4];
    UNROLL for (int n = 0; n < 4; n++) columns[n] = _mm512_maskz_loadu_epi16(there, weights[n] + i);
    UNROLL for (int p = 0; p < P; p++) _mm_prefetch((const char*)(next + P * i + 32 * p), _MM_HINT_T0);
    UNROLL for (int r = 0; r < 4; r++) {
      const auto row = _mm512_maskz_loadu_epi16(there, from[r] + i);
      UNROLL for (int n = 0; n < 4; n++)
        sums[4 * r + n] = _mm512_dpbf16_ps(sums[4 * r + n], (__m512bh)row, (__m512bh)columns[n]);
    }
  }
  const auto all = _mm512_add_ps(sumEach(sums), _mm512_broadcast_f32x4(_mm_loadu_ps(bias)));
  alignas(32) uint16_t narrow[16];
  storeBf16(narrow, all);
  for (int64_t r = 0; r < std::min<int64_t>(4, rows); r++)
    if (outputs >= 4) std::memcpy(y + r * yRow, narrow + 4 * r, 8);
    else for (int64_t n = 0; n < outputs; n++) y[r * yRow + n] = narrow[4 * r + n];
}

// P: rows of w that each pass over a tile prefetches; together the passes prefetch the tile after the next.
template <int P>
void linearTiles(int64_t rows, int64_t from, int64_t to, int64_t count, const uint16_t* x, const uint16_t* w,
                 const uint16_t* bias, uint16_t* y, int64_t outputs) {
  for (int64_t n = from; n < to; n += 4) {
    float added[4] = {};
    if (bias)
      for (int64_t i = 0; i < 4 && n + i < to; i++) added[i] = wide(bias[n + i]);
    const auto *tile = w + n * count, *after = tile + 8 * count;
    for (int64_t r = 0; r < rows; r += 4)
      fourByFour<P>(x + r * count, rows - r, tile, to - n, count, after + r / 4 * P % 4 * count, added, y + r * outputs + n, outputs);
  }
}

void linearPart(int64_t rows, int64_t from, int64_t to, int64_t count, const uint16_t* x, const uint16_t* w,
                const uint16_t* bias, uint16_t* y, int64_t outputs) {
  const auto tiles = rows <= 4 ? linearTiles<4> : rows <= 8 ? linearTiles<2> : linearTiles<1>;
  tiles(rows, from, to, count, x, w, bias, y, outputs);
}

// Packs rows [first, end) in interleaved pairs, panel by panel of 64 columns: (columns / 64, pairs, 64), zero-padded.
void packPanels(const uint16_t* b, int64_t rows, int64_t columns, int64_t first, int64_t end, Pair* out) {
  const int64_t pairs = (rows + 1) / 2;
  for (int64_t p = first; p < end; p++)
    for (int64_t c = 0; c < columns; c += 16) {
      const auto there = _bzhi_u32(0xffff, std::min<int64_t>(columns - c, 16));
      const auto* from = b + 2 * p * columns + c;
      // Without prefetching, two short streams are read at a quarter of the memory's speed.
      _mm_prefetch((const char*)(from + 8 * columns + c), _MM_HINT_T0);
      const auto one = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, from));
      const auto two = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(2 * p + 1 < rows ? there : 0, from + columns));
      _mm512_storeu_si512(out + (c / kPanel * pairs + p) * kPanel + c % kPanel, _mm512_or_si512(one, _mm512_slli_epi32(two, 16)));
    }
}

void packGroup(const uint16_t* x, int64_t rows, int64_t stride, int64_t width, Pair* out) {
  packRows([&](int64_t r) { return r < rows ? x + r * stride : nullptr; }, rows, width, out);
}

// Multiplies up to six rows of a by a panel. `sums`: receives the products, or holds partial sums to add them to.
void multiplyTile(const Pair* a, int64_t aRow, int64_t aPair, int64_t rows, const Pair* panel, int64_t pairs, int64_t width,
                  float* sums, bool add) {
  product(rows, (width + 15) / 16 * 16, a, aRow, aPair, panel, kPanel, sums, kPanel, pairs, add);
}

void writeTile(const float* sums, int64_t rows, int64_t width, uint16_t* c, int64_t cRow) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < width; i += 16)
      _mm256_mask_storeu_epi16(c + r * cRow + i, _bzhi_u32(0xffff, std::min<int64_t>(width - i, 16)),
                               (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(sums + r * kPanel + i)));
}

// Stores past the caches, for results that are not read soon: memory that is overwritten whole is not read first.
void writeTileThrough(const float* sums, int64_t rows, int64_t width, uint16_t* c, int64_t cRow) {
  if (width % 32 || cRow % 32 || reinterpret_cast<uintptr_t>(c) % 64) return writeTile(sums, rows, width, c, cRow);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < width; i += 32) {
      const float* from = sums + r * kPanel + i;
      _mm512_stream_si512((__m512i*)(c + r * cRow + i), (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + 16), _mm512_loadu_ps(from)));
    }
}

BF16_END

}  // namespace

void bf16::linear(const uint16_t* x, const uint16_t* weight, const uint16_t* bias, int64_t rows, int64_t inputs,
                  int64_t outputs, uint16_t* y) {
  // As many rows as fit in the L2 cache while the weights are streamed.
  const int64_t block = std::max<int64_t>(16, (200 << 10) / inputs / 4 * 4);
  at::parallel_for(0, (outputs + 3) / 4, 8, [&](int64_t first, int64_t last) {
    for (int64_t r = 0; r < rows; r += block)
      linearPart(std::min(block, rows - r), 4 * first, std::min(4 * last, outputs), inputs, x + r * inputs, weight, bias,
                 y + r * outputs, outputs);
  });
}

void bf16::multiply(const uint16_t* a, const uint16_t* b, int64_t rows, int64_t sums, int64_t columns, uint16_t* c) {
  const int64_t panels = (columns + kPanel - 1) / kPanel, tiles = (rows + 5) / 6;
  const int64_t most = std::min(kSums, sums + sums % 2);
  const auto packed = room<Pair>(panels * kPanel * most / 2);
  // For long sums, partial sums are stored between the parts, and a part of a's rows is copied: strided pieces would
  // evict each other from the cache.
  const bool inParts = sums > kSums, copied = inParts || sums % 2;
  const auto kept = room<float>(inParts ? panels * kPanel * rows : 0);
  const auto part = room<uint16_t>(copied ? rows * most : 0);
  for (int64_t from = 0; from < sums; from += most) {
    const int64_t count = std::min(most, sums - from), pairs = (count + 1) / 2;
    at::parallel_for(0, pairs, 8, [&](int64_t first, int64_t end) {
      packPanels(b + from * columns, count, columns, first, end, packed.get());
    });
    if (copied)
      at::parallel_for(0, rows, 8, [&](int64_t first, int64_t end) {
        for (int64_t r = first; r < end; r++) {
          std::memcpy(part.get() + r * most, a + r * sums + from, 2 * count);
          if (count % 2) part[r * most + count] = 0;
        }
      });
    at::parallel_for(0, panels * tiles, 1, [&](int64_t first, int64_t end) {
      float own[6 * kPanel];
      for (int64_t i = first; i < end; i++) {
        const int64_t panel = i / tiles, row = i % tiles * 6, column = panel * kPanel;
        const int64_t height = std::min<int64_t>(6, rows - row), width = std::min(kPanel, columns - column);
        const auto* left = copied ? part.get() + row * most : a + row * sums;
        auto* added = inParts ? kept.get() + (panel * rows + row) * kPanel : own;
        multiplyTile((const Pair*)left, most / 2, 1, height, packed.get() + panel * pairs * kPanel, pairs, width, added, from > 0);
        if (from + count == sums) writeTile(added, height, width, c + row * columns + column, columns);
      }
    });
  }
}

void bf16::multiplyTransposed(const uint16_t* a, const uint16_t* b, int64_t rows, int64_t sums, int64_t columns, uint16_t* c) {
  const int64_t panels = (columns + kPanel - 1) / kPanel, pairs = (sums + 1) / 2;
  const auto packed = room<Pair>(panels * kPanel * pairs);
  at::parallel_for(0, pairs, 8, [&](int64_t first, int64_t end) { packPanels(b, sums, columns, first, end, packed.get()); });
  at::parallel_for(0, (rows + kGroup - 1) / kGroup, 1, [&](int64_t first, int64_t end) {
    const auto group = room<Pair>(kGroup * pairs);
    float own[6 * kPanel];
    for (int64_t start = first * kGroup; start < std::min(rows, end * kGroup); start += kGroup) {
      const int64_t count = std::min(kGroup, rows - start);
      packGroup(a + start, sums, rows, count, group.get());
      for (int64_t column = 0; column < columns; column += kPanel)
        for (int64_t r = 0; r < count; r += 6) {
          const int64_t height = std::min<int64_t>(6, count - r), width = std::min(kPanel, columns - column);
          multiplyTile(group.get() + r, 1, count, height, packed.get() + column * pairs, pairs, width, own, false);
          writeTileThrough(own, height, width, c + (start + r) * columns + column, columns);
        }
    }
    _mm_sfence();
  });
}
#else
void bf16::linear(const uint16_t*, const uint16_t*, const uint16_t*, int64_t, int64_t, int64_t, uint16_t*) {}
void bf16::multiply(const uint16_t*, const uint16_t*, int64_t, int64_t, int64_t, uint16_t*) {}
void bf16::multiplyTransposed(const uint16_t*, const uint16_t*, int64_t, int64_t, int64_t, uint16_t*) {}
#endif
