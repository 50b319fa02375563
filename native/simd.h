// Vectors of one instruction set, for kernels that are written once. levels.h includes this file and the kernels once for
// each set, in a namespace of its own, with
//   LANES  float32 numbers in a vector
//   DOT    1 if the processor multiplies bfloat16 numbers in pairs, else 0
// Vectors are the compiler's generic ones, which every target has; only what they cannot express is an intrinsic.

typedef float F __attribute__((vector_size(4 * LANES)));
typedef int32_t I __attribute__((vector_size(4 * LANES)));
typedef uint32_t U __attribute__((vector_size(4 * LANES)));
typedef uint16_t H __attribute__((vector_size(2 * LANES)));  // bfloat16 numbers

template <class V>
INLINE V load(const void* from) { V to; __builtin_memcpy(&to, from, sizeof to); return to; }
template <class V>
INLINE void store(void* to, V x) { __builtin_memcpy(to, &x, sizeof x); }

// Loads (or stores) the first `count` lanes, or all if there are fewer; the others are 0.
template <class V, class T>
INLINE V loadFirst(const T* from, int64_t count) {
  if (count >= int64_t(sizeof(V) / sizeof(T))) return load<V>(from);
  V to{};
  __builtin_memcpy(&to, from, sizeof(T) * most(0, count));
  return to;
}
template <class V, class T>
INLINE void storeFirst(T* to, V x, int64_t count) {
  if (count >= int64_t(sizeof(V) / sizeof(T))) store(to, x);
  else __builtin_memcpy(to, &x, sizeof(T) * count);
}

INLINE F broadcast(float x) { return x - F{}; }

INLINE F widen(H x) { return (F)(__builtin_convertvector(x, U) << 16); }

// Rounds to nearest, ties to even.
INLINE H narrow(F x) {
#ifdef DOT_X86
  return (H)_mm512_cvtneps_pbh(x);
#else
  const U bits = (U)x;
  const U rounded = bits + 0x7fff + (bits >> 16 & 1);
#if DOT
  // As the processor does: subnormal numbers become 0.
  const U flushed = (bits << 1) < 0x1000000 ? bits & 0x80000000 : rounded;
#else
  const U flushed = rounded;
#endif
  return __builtin_convertvector((x == x ? flushed : bits | 0x400000) >> 16, H);
#endif
}

// Returns sum + a · b, rounded once where the processor does so. The instruction is named on x86, because it adds to the
// register of the sum: GCC's choice of registers moves and spills the sums of a tile, which then takes a third longer.
INLINE F multiplyAdd(F a, F b, F sum) {
#ifdef X86
  asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
#else
  return a * b + sum;
#endif
}

// A factor of a product along the summed dimension. An `Item` is what one step takes of a row or column: two adjacent
// bfloat16 numbers where the processor multiplies pairs, else one number in float32. A `Cell` is an item in memory that
// is shared with other instruction sets: there numbers have two bytes.
#if DOT
constexpr int kPerItem = 2;
typedef uint32_t __attribute__((may_alias)) Item;
typedef Item Cell;
typedef uint16_t Number;  // of a row of items
INLINE Number toNumber(uint16_t x) { return x; }
INLINE void storeNumbers(Number* to, F x) { store(to, narrow(x)); }
INLINE U loadItems(const Item* from) { return load<U>(from); }
INLINE U inAllLanes(Item x) { return x - U{}; }
INLINE F multiplyAdd(U a, U b, F sum) {
#if defined(DOT_X86)
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
#elif defined(DOT_ARM)
  asm("bfdot %0.4s, %1.8h, %2.8h" : "+w"(sum) : "w"(a), "w"(b));  // clang's header may lack the intrinsic
  return sum;
#else
  const U upper = U{} + 0xffff0000;
  return (sum + (F)(a & upper) * (F)(b & upper)) + (F)(a << 16) * (F)(b << 16);
#endif
}
#else
constexpr int kPerItem = 1;
typedef float Item;
typedef uint16_t Cell;
typedef float Number;
INLINE Number toNumber(uint16_t x) { return wide(x); }
INLINE void storeNumbers(Number* to, F x) { store(to, x); }
INLINE F loadItems(const float* from) { return load<F>(from); }
INLINE F loadItems(const uint16_t* from) { return widen(load<H>(from)); }
INLINE F inAllLanes(Item x) { return broadcast(x); }
#endif

// ---- products of tiles ----

// Vectors of a tile: the sums of six rows fit the registers.
constexpr int kWide = LANES == 8 ? 2 : 4;

// c (R, V vectors) = a (R, items) · b (items, V vectors), or c += a · b.
template <int R, int V, class B>
INLINE void tile(const Item* a, int64_t aRow, int64_t aItem, const B* b, int64_t bItem, float* c, int64_t cRow, int64_t items,
                 bool add) {
  F sums[R][V];
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int v = 0; v < V; v++) sums[r][v] = add ? load<F>(c + r * cRow + LANES * v) : F{};
  const auto step = [&](int64_t i) INLINE_LAMBDA {
    decltype(loadItems(b)) columns[V];
    UNROLL for (int v = 0; v < V; v++) columns[v] = loadItems(b + i * bItem + LANES * v);
    UNROLL for (int r = 0; r < R; r++) {
      const auto row = inAllLanes(a[r * aRow + i * aItem]);
      UNROLL for (int v = 0; v < V; v++) sums[r][v] = multiplyAdd(row, columns[v], sums[r][v]);
    }
  };
  // By hand: GCC's own unrolling spills the sums. Four steps at once are a fifth faster beside another hyper-thread.
  int64_t i = 0;
  for (; i + 4 <= items; i += 4) UNROLL for (int s = 0; s < 4; s++) step(i + s);
  for (; i < items; i++) step(i);
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int v = 0; v < V; v++) store(c + r * cRow + LANES * v, sums[r][v]);
}

template <int V, class B>
void rowsOfTiles(int64_t rows, const Item* a, int64_t aRow, int64_t aItem, const B* b, int64_t bItem, float* c, int64_t cRow,
                 int64_t items, bool add) {
  const auto next = [&](auto height) INLINE_LAMBDA {
    tile<height, V>(a, aRow, aItem, b, bItem, c, cRow, items, add);
    a += height * aRow;
    c += height * cRow;
    rows -= height;
  };
  while (rows >= 6) next(std::integral_constant<int, 6>());
  if (rows >= 4) next(std::integral_constant<int, 4>());
  if (rows >= 3) next(std::integral_constant<int, 3>());
  if (rows >= 2) next(std::integral_constant<int, 2>());
  if (rows) next(std::integral_constant<int, 1>());
}

// columns: must be a multiple of LANES.
template <class B>
void product(int64_t rows, int64_t columns, const Item* a, int64_t aRow, int64_t aItem, const B* b, int64_t bItem, float* c,
             int64_t cRow, int64_t items, bool add) {
  constexpr int wide = kWide * LANES;
  int64_t n = 0;
  for (; n + wide <= columns; n += wide) rowsOfTiles<kWide>(rows, a, aRow, aItem, b + n, bItem, c + n, cRow, items, add);
  for (; n < columns; n += LANES) rowsOfTiles<1>(rows, a, aRow, aItem, b + n, bItem, c + n, cRow, items, add);
}

// Items of rows for sums over rows: (rows / kPerItem, width). A null row stands for zeros.
template <class Row, class To>
INLINE void packRows(Row row, int64_t rows, int64_t width, To* out) {
  for (int64_t r = 0; r < rows; r += kPerItem, out += width) {
    const auto* one = row(r);
#if DOT
    const auto* two = row(r + 1);
    if (one && two)
      for (int64_t c = 0; c < width; c++) out[c] = Item(one[c]) | Item(two[c]) << 16;
    else
      for (int64_t c = 0; c < width; c++) out[c] = (one ? one[c] : 0) | Item(two ? two[c] : 0) << 16;
#else
    if (one)
      for (int64_t c = 0; c < width; c++) out[c] = one[c];
    else
      for (int64_t c = 0; c < width; c++) out[c] = 0;
#endif
  }
}

// ---- sums of vectors ----

#define IN_BLOCK(i, m) ((i) < 4 ? (i) + 4 * (m) : (i) - 4 + LANES + 4 * (m))
#define BLOCK(m, i, j, k, l) IN_BLOCK(i, m), IN_BLOCK(j, m), IN_BLOCK(k, m), IN_BLOCK(l, m)
#if LANES == 16
#define SHUFFLE(a, b, ...) \
  __builtin_shufflevector(a, b, BLOCK(0, __VA_ARGS__), BLOCK(1, __VA_ARGS__), BLOCK(2, __VA_ARGS__), BLOCK(3, __VA_ARGS__))
#elif LANES == 8
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, BLOCK(0, __VA_ARGS__), BLOCK(1, __VA_ARGS__))
#else
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, BLOCK(0, __VA_ARGS__))
#endif

// Sums each of LANES vectors.
INLINE F sumEach(const F* x) {
  F sums[LANES / 4];  // of four vectors each, by blocks of four lanes
  UNROLL for (int i = 0; i < LANES / 4; i++) {
    const F* of = x + 4 * i;
    const F a = SHUFFLE(of[0], of[1], 0, 4, 1, 5) + SHUFFLE(of[0], of[1], 2, 6, 3, 7);
    const F b = SHUFFLE(of[2], of[3], 0, 4, 1, 5) + SHUFFLE(of[2], of[3], 2, 6, 3, 7);
    sums[i] = SHUFFLE(a, b, 0, 1, 4, 5) + SHUFFLE(a, b, 2, 3, 6, 7);
  }
#define FOUR(n) 4 * (n), 4 * (n) + 1, 4 * (n) + 2, 4 * (n) + 3
#if LANES == 16
  const auto halves = [](F a, F b) INLINE_LAMBDA {
    return __builtin_shufflevector(a, b, FOUR(0), FOUR(2), FOUR(4), FOUR(6)) +
           __builtin_shufflevector(a, b, FOUR(1), FOUR(3), FOUR(5), FOUR(7));
  };
  return halves(halves(sums[0], sums[1]), halves(sums[2], sums[3]));
#elif LANES == 8
  return __builtin_shufflevector(sums[0], sums[1], FOUR(0), FOUR(2)) + __builtin_shufflevector(sums[0], sums[1], FOUR(1), FOUR(3));
#else
  return sums[0];
#endif
#undef FOUR
}
#undef SHUFFLE
#undef BLOCK
#undef IN_BLOCK

template <class Fold>
INLINE float reduce(F x, Fold fold) {
  float all[LANES];
  store(all, x);
  UNROLL for (int half = LANES / 2; half; half /= 2)
    for (int i = 0; i < half; i++) all[i] = fold(all[i], all[i + half]);
  return all[0];
}
