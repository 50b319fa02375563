// Matrix products in bfloat16, for one instruction set: see simd.h.

constexpr int64_t kRows = 4;                       // of a tile of dot products
constexpr int64_t kOutputs = LANES == 8 ? 3 : DOT ? 4 : 6;
constexpr int64_t kTiles = 8;                      // of a block of outputs
constexpr int64_t kBlock = kTiles * kOutputs;      // a multiple of LANES
constexpr int64_t kSums = (kRows * kOutputs + LANES - 1) / LANES * LANES;
constexpr int64_t kPart = 768;                     // numbers of a group of rows that stay in the L1 cache
constexpr int64_t kStep = 2 * LANES;               // numbers of a row that are multiplied in one go

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
INLINE Vector widenStep(U bits, int odd) {
  if (!odd) return (F)(bits << 16);
#if defined(X86) && LANES == 8
  // The sums, weights and inputs of a tile take all 16 registers: the mask has to stay in memory.
  alignas(32) static constexpr uint32_t mask[] = {0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000,
                                                  0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000};
  asm("vpand %1, %0, %0" : "+v"(bits) : "m"(mask));
  return (F)bits;
#else
  return (F)(bits & 0xffff0000);
#endif
}
#endif
constexpr int64_t kPerVector = kStep / kVectors;

// Copies rows, padded with zeros to a multiple of kStep, in the order in which they are multiplied.
void widenRows(const uint16_t* x, int64_t rows, int64_t count, int64_t padded, Input* out) {
  for (int64_t r = 0; r < rows; r++, x += count, out += padded)
    for (int64_t i = 0; i < count; i += kStep) {
      const auto bits = loadFirst<U>(x + i, count - i);
      UNROLL for (int v = 0; v < kVectors; v++) store(out + i + v * kPerVector, widenStep(bits, v));
    }
}

// Dot products of four input rows with kOutputs rows of weights, along `count` numbers: adds them to vectors of partial
// sums, or sets those: partial[r][n], `Row` vectors a row. If there are fewer rows, the last one is repeated. Prefetches P
// rows of memory from `next`, in the order of addresses.
template <int P, int64_t Row>
INLINE void dotTile(const Input* x, int64_t padded, int64_t rows, const uint16_t* w, int64_t stride, int64_t outputs,
                    int64_t count, const uint16_t* next, F* partial, bool add) {
  const Input* from[kRows];
  const uint16_t* weights[kOutputs];
  UNROLL for (int r = 0; r < kRows; r++) from[r] = x + least(r, rows - 1) * padded;
  UNROLL for (int n = 0; n < kOutputs; n++) weights[n] = w + least(n, outputs - 1) * stride;
  F sums[kRows * kOutputs];
  UNROLL for (int i = 0; i < kRows * kOutputs; i++) sums[i] = add ? partial[i / kOutputs * Row + i % kOutputs] : F{};
  const auto step = [&](int64_t i, const uint16_t* const* rowsOfWeights, int64_t at) INLINE_LAMBDA {
    UNROLL for (int v = 0; v < kVectors; v++) {
      Vector columns[kOutputs];
      UNROLL for (int n = 0; n < kOutputs; n++) columns[n] = widenStep(load<U>(rowsOfWeights[n] + at), v);
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
    step(i, weights, i);
  }
  if (i < count) {
    uint16_t ends[kOutputs][kStep] = {};  // padded with zeros
    const uint16_t* last[kOutputs];
    UNROLL for (int n = 0; n < kOutputs; n++) {
      for (int64_t c = i; c < count; c++) ends[n][c - i] = weights[n][c];
      last[n] = ends[n];
    }
    step(i, last, 0);
  }
  UNROLL for (int i = 0; i < kRows * kOutputs; i++) partial[i / kOutputs * Row + i % kOutputs] = sums[i];
}

// A block of outputs, `width` of them, for up to two groups of rows: a tile of weights after the other, as they come from
// memory. A tile prefetches P rows of the tile after the next.
template <int P>
void fewRows(const Input* x, int64_t padded, int64_t rows, const uint16_t* w, int64_t inputs, int64_t width,
             const uint16_t* bias, uint16_t* y, int64_t yRow) {
  F partial[kSums] = {};
  for (int64_t n = 0; n < width; n += kOutputs) {
    const int64_t some = least(kOutputs, width - n);
    alignas(64) float added[kSums] = {};
    alignas(64) uint16_t results[kSums];
    if (bias)
      for (int64_t i = 0; i < kRows * kOutputs; i++) added[i] = i % kOutputs < some ? wide(bias[n + i % kOutputs]) : 0;
    for (int64_t r = 0; r < rows; r += kRows) {
      dotTile<P, kOutputs>(x + r * padded, padded, rows - r, w + n * inputs, inputs, some, inputs,
                           w + (n + 2 * kOutputs + r / kRows * P % kOutputs) * inputs, partial, false);
      UNROLL for (int g = 0; g < kSums; g += LANES) store(results + g, narrow(sumEach(partial + g) + load<F>(added + g)));
      for (int64_t of = 0; of < least(kRows, rows - r); of++) {
        auto* to = y + (r + of) * yRow + n;
        if (some == kOutputs) __builtin_memcpy(to, results + kOutputs * of, 2 * kOutputs);
        else for (int64_t i = 0; i < some; i++) to[i] = results[kOutputs * of + i];
      }
    }
  }
}

// A block of outputs, a group of rows after the other: the group stays in the L1 cache, the weights in the L2 cache. The
// first groups prefetch the next block of weights.
void manyRows(const Input* x, int64_t padded, int64_t rows, const uint16_t* w, int64_t inputs, int64_t width,
              const uint16_t* bias, uint16_t* y, int64_t yRow) {
  F partial[kRows * kBlock] = {};
  alignas(64) float added[kBlock] = {};
  if (bias)
    for (int64_t n = 0; n < width; n++) added[n] = wide(bias[n]);
  for (int64_t r = 0; r < rows; r += kRows, x += kRows * padded) {
    const auto multiply = [&](auto prefetched) INLINE_LAMBDA {
      for (int64_t i = 0; i < inputs; i += kPart)
        for (int64_t n = 0; n < width; n += kOutputs)
          dotTile<prefetched, kBlock>(x + i, padded, rows - r, w + n * inputs + i, inputs, width - n, least(kPart, inputs - i),
                                      w + (kBlock + n + r / kRows) * inputs + i, partial + n, i > 0);
    };
    if (r / kRows < kOutputs) multiply(std::integral_constant<int, 1>());
    else multiply(std::integral_constant<int, 0>());
    for (int64_t of = 0; of < least(kRows, rows - r); of++)
      for (int64_t n = 0; n < width; n += LANES) {
        const auto results = narrow(sumEach(partial + of * kBlock + n) + load<F>(added + n));
        storeFirst(y + (r + of) * yRow + n, results, width - n);
      }
  }
}

int64_t blocksOf(const LinearLayer& layer) { return (layer.outputs + kBlock - 1) / kBlock; }

void linear(const uint16_t* x, int64_t rows, int64_t inputs, const std::vector<LinearLayer>& layers) {
  const int64_t padded = (inputs + kStep - 1) / kStep * kStep;
  const bool copied = !DOT || padded != inputs;
  const auto copy = room<Input>(copied ? rows * padded : 0);
  if (copied)
    parallel::parallel_for(0, rows, 8, [&](int64_t first, int64_t last) {
      widenRows(x + first * inputs, last - first, inputs, padded, copy.get() + first * padded);
    });
  const auto* input = copied ? copy.get() : (const Input*)x;
  // As many rows as fit in the L2 cache beside a block of weights.
  const int64_t atOnce = most(16, (256 << 10) / (padded * (int64_t)sizeof(Input)) / kRows * kRows);
  // Blocks [first, last) of outputs, counted through all layers.
  const auto outputsOf = [&](int64_t first, int64_t last) {
    for (int64_t r = 0; r < rows; r += atOnce) {
      const auto count = least(atOnce, rows - r);
      const auto block = count <= kRows ? fewRows<kOutputs> : count <= 2 * kRows ? fewRows<(kOutputs + 1) / 2> : manyRows;
      int64_t start = 0;  // the layer's first block
      for (const auto& layer : layers) {
        const auto& [weight, bias, outputs, y] = layer;
        for (int64_t n = most(0, first - start) * kBlock; n < least(outputs, (last - start) * kBlock); n += kBlock)
          block(input + r * padded, padded, count, weight + n * inputs, inputs, least(kBlock, outputs - n),
                bias ? bias + n : nullptr, y + r * outputs + n, outputs);
        start += blocksOf(layer);
      }
    }
  };
  int64_t blocks = 0;
  for (const auto& layer : layers) blocks += blocksOf(layer);
  // With few rows the weights' way from memory is what takes time, and each part begins by waiting for it.
  if (rows <= 2 * kRows) parallel::parallel_for<1>(0, blocks, 1, outputsOf);
  else parallel::parallel_for(0, blocks, 1, outputsOf);
}

// ---- gradients: products of tiles ----

constexpr int64_t kPanel = kWide * LANES;  // columns of a factor that lie together
constexpr int64_t kHeight = 6;             // rows of a tile
constexpr int64_t kGroup = 48;             // rows that a thread packs together
constexpr int64_t kPiece = 256;            // items of a tile: a panel's piece stays in the L1 cache
constexpr int64_t kTile = kHeight * kPiece + 16;  // items of a packed tile; packColumnTiles writes beyond the last
constexpr int64_t kLong = 2048;            // numbers summed before the sums are stored

// Packs items [first, end) of b's rows, panel by panel: (columns / kPanel, items, kPanel), padded with zeros.
void packPanels(const uint16_t* b, int64_t rows, int64_t columns, int64_t first, int64_t end, Item* out) {
  const int64_t items = (rows + kPerItem - 1) / kPerItem;
  for (int64_t i = first; i < end; i++)
    for (int64_t c = 0; c < columns; c += LANES) {
      const auto* from = b + kPerItem * i * columns + c;
      const auto row = [&](int64_t r) INLINE_LAMBDA { return loadFirst<H>(from + r * columns, columns - c); };
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

// Packs rows of a, `count` numbers of each from a row-major matrix, for tiles whose items of a row lie together.
void packRowTiles(const uint16_t* a, int64_t stride, int64_t rows, int64_t count, Item* out) {
  const int64_t tiles = (rows + kHeight - 1) / kHeight;
  for (int64_t r = 0; r < tiles * kHeight; r++)
    for (int64_t i = 0; i < count; i += kPiece * kPerItem) {
      auto* to = (Number*)(out + (i / kPerItem / kPiece * tiles + r / kHeight) * kTile + r % kHeight * kPiece);
      const int64_t there = least(kPiece * kPerItem, count - i);
      if (r < rows)
        for (int64_t c = 0; c < there; c++) to[c] = toNumber(a[r * stride + i + c]);
      else
        for (int64_t c = 0; c < there; c++) to[c] = 0;
      if (there % kPerItem) to[there] = 0;
    }
}

// Packs columns of a, whose `count` rows lie `stride` apart, for tiles whose items of six columns lie together. `end`: of
// the matrix, up to which more is read than is used.
void packColumnTiles(const uint16_t* a, const uint16_t* end, int64_t stride, int64_t columns, int64_t count, Item* out) {
  const int64_t tiles = (columns + kHeight - 1) / kHeight;
  for (int64_t i = 0; i < count; i += kPerItem)
    for (int64_t c = 0; c < columns; c += kHeight) {
      auto* to = out + (i / kPerItem / kPiece * tiles + c / kHeight) * kTile + i / kPerItem % kPiece * kHeight;
      UNROLL for (int64_t v = 0; v < kHeight; v += LANES) {
        const auto row = [&](int64_t r) INLINE_LAMBDA {
          const auto* from = a + r * stride + c + v;
          return loadFirst<H>(from, end - from);
        };
#if DOT
        const auto one = __builtin_convertvector(row(i), U);
        const auto two = i + 1 < count ? __builtin_convertvector(row(i + 1), U) : U{};
        store(to + v, one | two << 16);
#else
        store(to + v, widen(row(i)));
#endif
      }
    }
}

// Multiplies packed tiles by a piece of a panel. `sums`: receives the products, or holds sums to add them to.
template <int V, int64_t Row, int64_t Step>
void multiplyTiles(const Item* a, int64_t tiles, const Item* panel, int64_t items, float* sums, bool add) {
  for (int64_t t = 0; t < tiles; t++)
    tile<kHeight, V>(a + t * kTile, Row, Step, panel, kPanel, sums + t * kHeight * kPanel, kPanel, items, add);
}

// Stores rows of sums. `Through`: past the caches, for results that are not read soon: memory that is overwritten whole
// is not read first.
template <bool Through>
void writeSums(const float* sums, int64_t rows, int64_t width, uint16_t* c, int64_t cRow) {
#ifdef STREAM
  if (Through && width % kStep == 0 && cRow % kStep == 0 && reinterpret_cast<uintptr_t>(c) % 64 == 0) {
    for (int64_t r = 0; r < rows; r++)
      for (int64_t i = 0; i < width; i += kStep) {
        uint16_t numbers[kStep];
        store(numbers, narrow(load<F>(sums + r * kPanel + i)));
        store(numbers + LANES, narrow(load<F>(sums + r * kPanel + i + LANES)));
        STREAM(c + r * cRow + i, load<U>(numbers));
      }
    return;
  }
#endif
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < width; i += LANES)
      storeFirst(c + r * cRow + i, narrow(load<F>(sums + r * kPanel + i)), width - i);
}

// c (rows, columns) = a · b (sums, columns). a: (rows, sums), or with `Transposed` (sums, rows).
template <bool Transposed>
void multiplyPacked(const uint16_t* a, const uint16_t* b, int64_t rows, int64_t sums, int64_t columns, uint16_t* c) {
  if (!sums) return void(__builtin_memset(c, 0, 2 * rows * columns));
  constexpr int64_t row = Transposed ? 1 : kPiece, step = Transposed ? kHeight : 1;
  const int64_t panels = (columns + kPanel - 1) / kPanel;
  const bool inParts = sums > kLong;
  const auto packed = room<Item>(panels * kPanel * (least(kLong, sums) / kPerItem + 1));
  const auto partial = room<float>(inParts ? panels * kPanel * (rows + kGroup) : 0);
  for (int64_t from = 0; from < sums; from += kLong) {
    const int64_t count = least(kLong, sums - from), items = (count + kPerItem - 1) / kPerItem;
    parallel::parallel_for(0, items, 8, [&](int64_t first, int64_t end) {
      packPanels(b + from * columns, count, columns, first, end, packed.get());
    });
    parallel::parallel_for(0, (rows + kGroup - 1) / kGroup, 1, [&](int64_t first, int64_t end) {
      const int64_t pieces = (items + kPiece - 1) / kPiece;
      const auto group = room<Item>(kGroup / kHeight * kTile * pieces);
      alignas(64) float own[kGroup * kPanel];
      for (int64_t start = first * kGroup; start < least(rows, end * kGroup); start += kGroup) {
        const int64_t height = least(kGroup, rows - start), tiles = (height + kHeight - 1) / kHeight;
        if constexpr (Transposed) packColumnTiles(a + from * rows + start, a + sums * rows, rows, height, count, group.get());
        else packRowTiles(a + start * sums + from, sums, height, count, group.get());
        for (int64_t panel = 0; panel < panels; panel++) {
          const int64_t width = least(kPanel, columns - panel * kPanel);
          auto* added = inParts ? partial.get() + (panel * (rows + kGroup) + start) * kPanel : own;
          for (int64_t i = 0; i < items; i += kPiece) {
            const auto* left = group.get() + i / kPiece * tiles * kTile;
            const auto* right = packed.get() + (panel * items + i) * kPanel;
            const auto some = least(kPiece, items - i);
            if (width == kPanel) multiplyTiles<kWide, row, step>(left, tiles, right, some, added, from + i > 0);
            else
              for (int64_t n = 0; n < width; n += LANES)
                multiplyTiles<1, row, step>(left, tiles, right + n, some, added + n, from + i > 0);
          }
          if (from + count == sums) writeSums<Transposed>(added, height, width, c + start * columns + panel * kPanel, columns);
        }
      }
#ifdef STREAM
      if (Transposed) _mm_sfence();
#endif
    });
  }
}

void multiply(const uint16_t* a, const uint16_t* b, int64_t rows, int64_t sums, int64_t columns, uint16_t* c) {
  multiplyPacked<false>(a, b, rows, sums, columns, c);
}
void multiplyTransposed(const uint16_t* a, const uint16_t* b, int64_t rows, int64_t sums, int64_t columns, uint16_t* c) {
  multiplyPacked<true>(a, b, rows, sums, columns, c);
}

constexpr Products products{linear, multiply, multiplyTransposed};
