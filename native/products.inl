// Matrix products in bfloat16, for one instruction set: see simd.h.

constexpr int64_t kPanel = kWide * LANES;        // columns of a factor that lie together
constexpr int64_t kMost = DOT ? 1536 : 384;      // numbers summed in one go: so much of a panel stays in the cache
constexpr int64_t kGroup = 96;                   // rows of a transposed factor that are packed together
constexpr int64_t kRows = 4;                     // of a tile of dot products
constexpr int64_t kOutputs = LANES == 8 ? 3 : DOT ? 4 : 6;
constexpr int64_t kSums = (kRows * kOutputs + LANES - 1) / LANES * LANES;
constexpr int64_t kStep = 2 * LANES;             // numbers of a row that are multiplied in one go

// ---- linear layers: dot products of rows ----

// Rows are multiplied in steps of kStep numbers, a vector at a time: of pairs, or of the even numbers, then of the odd ones.
// Input rows are widened once for all weights, in this order; weights whenever they are loaded.
#if DOT
typedef uint16_t Input;
typedef U Vector;
constexpr int kVectors = 1;  // of a step
INLINE Vector widenStep(U bits, int) { return bits; }
#else
typedef float Input;
typedef F Vector;
constexpr int kVectors = 2;
INLINE Vector widenStep(U bits, int odd) { return (F)(odd ? bits & 0xffff0000 : bits << 16); }
#endif
constexpr int64_t kPerVector = kStep / kVectors;

// Copies rows, padded with zeros to a multiple of kStep, in the order in which they are multiplied.
void widenRows(const uint16_t* x, int64_t rows, int64_t count, int64_t padded, Input* out) {
  for (int64_t r = 0; r < rows; r++, x += count, out += padded)
    for (int64_t i = 0; i < count; i += kStep) {
      const auto bits = count - i >= kStep ? load<U>(x + i) : loadFirst<U>(x + i, count - i);
      UNROLL for (int v = 0; v < kVectors; v++) store(out + i + v * kPerVector, widenStep(bits, v));
    }
}

// Dot products of four input rows with kOutputs rows of weights: y[r][n]. If there are fewer rows, the last one is
// repeated. `bias`: of each sum. Prefetches P rows of memory from `next`, in the order of addresses.
template <int P>
INLINE void dotTile(const Input* x, int64_t padded, int64_t rows, const uint16_t* w, int64_t outputs, int64_t count,
                    const uint16_t* next, const float* bias, uint16_t* y, int64_t yRow) {
  const Input* from[kRows];
  const uint16_t* weights[kOutputs];
  UNROLL for (int r = 0; r < kRows; r++) from[r] = x + least(r, rows - 1) * padded;
  UNROLL for (int n = 0; n < kOutputs; n++) weights[n] = w + least(n, outputs - 1) * count;
  F sums[kSums] = {};
  const auto step = [&](int64_t i, auto read) INLINE_LAMBDA {
    UNROLL for (int v = 0; v < kVectors; v++) {
      Vector columns[kOutputs];
      UNROLL for (int n = 0; n < kOutputs; n++) columns[n] = widenStep(read(weights[n] + i), v);
      UNROLL for (int r = 0; r < kRows; r++) {
        const auto row = load<Vector>(from[r] + i + v * kPerVector);
        UNROLL for (int n = 0; n < kOutputs; n++)
          sums[kOutputs * r + n] = multiplyAdd(row, columns[n], sums[kOutputs * r + n]);
      }
    }
  };
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    UNROLL for (int p = 0; p < P * kStep; p += 32) __builtin_prefetch(next + P * i + p);
    step(i, [](const uint16_t* from) INLINE_LAMBDA { return load<U>(from); });
  }
  if (i < count) step(i, [&](const uint16_t* from) INLINE_LAMBDA { return loadFirst<U>(from, count - i); });
  alignas(64) uint16_t results[kSums];
  UNROLL for (int g = 0; g < kSums; g += LANES) store(results + g, narrow(sumEach(sums + g) + load<F>(bias + g)));
  for (int64_t r = 0; r < least(kRows, rows); r++)
    if (outputs >= kOutputs) __builtin_memcpy(y + r * yRow, results + kOutputs * r, 2 * kOutputs);
    else for (int64_t n = 0; n < outputs; n++) y[r * yRow + n] = results[kOutputs * r + n];
}

// Outputs [from, to) of some rows. `P`: rows of weights that a tile prefetches of the tile after the next.
template <int P>
void dotTiles(int64_t rows, int64_t from, int64_t to, int64_t count, const Input* x, int64_t padded, const uint16_t* w,
              const uint16_t* bias, uint16_t* y, int64_t outputs) {
  for (int64_t n = from; n < to; n += kOutputs) {
    alignas(64) float added[kSums] = {};
    const int64_t width = least(kOutputs, to - n);
    if (bias)
      for (int64_t i = 0; i < kRows * kOutputs; i++) added[i] = i % kOutputs < width ? wide(bias[n + i % kOutputs]) : 0;
    const auto *tile = w + n * count, *after = tile + 2 * kOutputs * count;
    for (int64_t r = 0; r < rows; r += kRows)
      dotTile<P>(x + r * padded, padded, rows - r, tile, width, count, after + r / kRows * P % kOutputs * count, added,
                 y + r * outputs + n, outputs);
  }
}

void linear(const uint16_t* x, const uint16_t* weight, const uint16_t* bias, int64_t rows, int64_t inputs, int64_t outputs,
            uint16_t* y) {
  const int64_t padded = (inputs + kStep - 1) / kStep * kStep;
  const bool copied = !DOT || padded != inputs;
  const auto copy = room<Input>(copied ? rows * padded : 0);
  if (copied)
    parallel::parallel_for(0, rows, 8, [&](int64_t first, int64_t last) {
      widenRows(x + first * inputs, last - first, inputs, padded, copy.get() + first * padded);
    });
  const auto* input = copied ? copy.get() : (const Input*)x;
  // As many rows as fit in the L2 cache while the weights are streamed.
  const int64_t block = most(16, (400 << 10) / (padded * (int64_t)sizeof(Input)) / kRows * kRows);
  parallel::parallel_for(0, (outputs + kOutputs - 1) / kOutputs, 8, [&](int64_t first, int64_t last) {
    for (int64_t r = 0; r < rows; r += block) {
      const auto count = least(block, rows - r);
      constexpr int half = (kOutputs + 1) / 2;
      const auto tiles = count <= kRows ? dotTiles<kOutputs> : count <= 2 * kRows ? dotTiles<half> : dotTiles<1>;
      tiles(count, kOutputs * first, least(kOutputs * last, outputs), inputs, input + r * padded, padded, weight, bias,
            y + r * outputs, outputs);
    }
  });
}

// ---- gradients: products of tiles ----

// Packs items [first, end) of b's rows, panel by panel: (columns / kPanel, items, kPanel), padded with zeros.
void packPanels(const uint16_t* b, int64_t rows, int64_t columns, int64_t first, int64_t end, Item* out) {
  const int64_t items = (rows + kPerItem - 1) / kPerItem;
  for (int64_t i = first; i < end; i++)
    for (int64_t c = 0; c < columns; c += LANES) {
      const auto* from = b + kPerItem * i * columns + c;
      const int64_t there = least(columns - c, LANES);
      const auto row = [&](int64_t r) INLINE_LAMBDA {
        const auto* numbers = from + r * columns;
        return there == LANES ? load<H>(numbers) : loadFirst<H>(numbers, there);
      };
      auto* to = out + (c / kPanel * items + i) * kPanel + c % kPanel;
#if DOT
      // Without prefetching, two short streams are read at a quarter of the memory's speed.
      __builtin_prefetch(from + 8 * columns + c);
      const auto one = __builtin_convertvector(row(0), U);
      const auto two = 2 * i + 1 < rows ? __builtin_convertvector(row(1), U) : U{};
      store(to, one | two << 16);
#else
      store(to, widen(row(0)));
#endif
    }
}

// Multiplies up to six rows of a by a panel. `sums`: receives the products, or holds partial sums to add them to.
void multiplyTile(const Item* a, int64_t aRow, int64_t aItem, int64_t rows, const Item* panel, int64_t items, int64_t width,
                  float* sums, bool add) {
  product(rows, (width + LANES - 1) / LANES * LANES, a, aRow, aItem, panel, kPanel, sums, kPanel, items, add);
}

void writeTile(const float* sums, int64_t rows, int64_t width, uint16_t* c, int64_t cRow) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < width; i += LANES) {
      const auto numbers = narrow(load<F>(sums + r * kPanel + i));
      if (width - i >= LANES) store(c + r * cRow + i, numbers);
      else storeFirst(c + r * cRow + i, numbers, width - i);
    }
}

// Stores past the caches, for results that are not read soon: memory that is overwritten whole is not read first.
void writeTileThrough(const float* sums, int64_t rows, int64_t width, uint16_t* c, int64_t cRow) {
#ifdef STREAM
  if (width % kStep || cRow % kStep || reinterpret_cast<uintptr_t>(c) % 64) return writeTile(sums, rows, width, c, cRow);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < width; i += kStep) {
      uint16_t numbers[kStep];
      store(numbers, narrow(load<F>(sums + r * kPanel + i)));
      store(numbers + LANES, narrow(load<F>(sums + r * kPanel + i + LANES)));
      STREAM(c + r * cRow + i, load<U>(numbers));
    }
#else
  writeTile(sums, rows, width, c, cRow);
#endif
}

// Copies rows to whole items: `count` numbers of rows `stride` apart, to rows of `padded` numbers.
void copyRows(const uint16_t* a, int64_t rows, int64_t stride, int64_t count, int64_t padded, Number* out) {
  for (int64_t r = 0; r < rows; r++, a += stride, out += padded) {
    for (int64_t i = 0; i < count; i++) out[i] = toNumber(a[i]);
    if (count % kPerItem) out[count] = 0;
  }
}

void multiply(const uint16_t* a, const uint16_t* b, int64_t rows, int64_t sums, int64_t columns, uint16_t* c) {
  const int64_t panels = (columns + kPanel - 1) / kPanel, tiles = (rows + 5) / 6;
  const int64_t part = least(kMost, (sums + kPerItem - 1) / kPerItem * kPerItem);
  const auto packed = room<Item>(panels * kPanel * part / kPerItem);
  // For long sums, partial sums are stored between the parts, and a part of a's rows is copied: strided pieces would
  // evict each other from the cache.
  const bool inParts = sums > kMost, copied = !DOT || inParts || sums % kPerItem;
  const auto partial = room<float>(inParts ? panels * kPanel * rows : 0);
  const auto copy = room<Number>(copied ? rows * part : 0);
  for (int64_t from = 0; from < sums; from += part) {
    const int64_t count = least(part, sums - from), items = (count + kPerItem - 1) / kPerItem;
    parallel::parallel_for(0, items, 8, [&](int64_t first, int64_t end) {
      packPanels(b + from * columns, count, columns, first, end, packed.get());
    });
    if (copied)
      parallel::parallel_for(0, rows, 8, [&](int64_t first, int64_t end) {
        copyRows(a + first * sums + from, end - first, sums, count, part, copy.get() + first * part);
      });
    parallel::parallel_for(0, panels * tiles, 1, [&](int64_t first, int64_t end) {
      alignas(64) float own[6 * kPanel];
      for (int64_t i = first; i < end; i++) {
        const int64_t panel = i / tiles, row = i % tiles * 6, column = panel * kPanel;
        const int64_t height = least(6, rows - row), width = least(kPanel, columns - column);
        const auto* left = copied ? (const void*)(copy.get() + row * part) : a + row * sums;
        auto* added = inParts ? partial.get() + (panel * rows + row) * kPanel : own;
        multiplyTile((const Item*)left, part / kPerItem, 1, height, packed.get() + panel * items * kPanel, items, width, added,
                     from > 0);
        if (from + count == sums) writeTile(added, height, width, c + row * columns + column, columns);
      }
    });
  }
}

void multiplyTransposed(const uint16_t* a, const uint16_t* b, int64_t rows, int64_t sums, int64_t columns, uint16_t* c) {
  const int64_t panels = (columns + kPanel - 1) / kPanel, items = (sums + kPerItem - 1) / kPerItem;
  const auto packed = room<Item>(panels * kPanel * items);
  parallel::parallel_for(0, items, 8, [&](int64_t first, int64_t end) { packPanels(b, sums, columns, first, end, packed.get()); });
  parallel::parallel_for(0, (rows + kGroup - 1) / kGroup, 1, [&](int64_t first, int64_t end) {
    const auto group = room<Item>(kGroup * items);
    alignas(64) float own[6 * kPanel];
    for (int64_t start = first * kGroup; start < least(rows, end * kGroup); start += kGroup) {
      const int64_t count = least(kGroup, rows - start);
      packRows([&](int64_t t) { return t < sums ? a + start + t * rows : nullptr; }, sums, count, group.get());
      for (int64_t column = 0; column < columns; column += kPanel)
        for (int64_t r = 0; r < count; r += 6) {
          const int64_t height = least(6, count - r), width = least(kPanel, columns - column);
          multiplyTile(group.get() + r, 1, count, height, packed.get() + column * items, items, width, own, false);
          writeTileThrough(own, height, width, c + (start + r) * columns + column, columns);
        }
    }
#ifdef STREAM
    _mm_sfence();
#endif
  });
}

constexpr Products products{linear, multiply, multiplyTransposed};
