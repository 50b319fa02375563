// Tests of the kernels without libtorch, for every instruction set that the processor has, or all of them if they are
// emulated: products and attention against float64. Prints what fails, and then exits with 1. scripts/test-cpu.ts
// compiles and runs it, for ARM in an emulator.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "../../native/attention.h"
#include "../../native/products.h"

namespace parallel {
template <int = 4, class Work>
void parallel_for(int64_t begin, int64_t end, int64_t, const Work& work) { work(begin, end); }
}  // namespace parallel

#define KERNELS "../test/kernels/kernels.inl"
#include "../../native/levels.h"

namespace {

using Numbers = std::vector<uint16_t>;

int failures = 0, checks = 0;
void check(bool passed, const char* set, const char* what, int64_t a = 0, int64_t b = 0, int64_t c = 0) {
  checks++;
  if (passed) return;
  failures++;
  std::printf("%s: %s fails for %ld × %ld × %ld\n", set, what, long(a), long(b), long(c));
}

uint16_t rounded(float x) {
  const auto bits = __builtin_bit_cast(uint32_t, x);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// Normal random numbers. The first one is at an address that is no multiple of four.
struct Random {
  Numbers numbers;
  explicit Random(int64_t count) : numbers(count + 1) {
    static std::mt19937 engine(1);
    std::normal_distribution<float> normal;
    for (auto& x : numbers) x = rounded(normal(engine));
  }
  uint16_t* data() { return numbers.data() + 1; }
  double operator[](int64_t i) const { return wide(numbers[i + 1]); }
};

// A result must be within its rounding to bfloat16, and the rounding of float32 sums of terms of this total size.
bool isClose(uint16_t result, double expected, double total, int64_t terms) {
  return std::abs(wide(result) - expected) <= std::abs(expected) / 256 + (terms + 8) * total * 0x1p-23;
}

template <class Term>
bool isSum(uint16_t result, int64_t terms, Term term, double added = 0) {
  double sum = added, total = std::abs(added);
  for (int64_t i = 0; i < terms; i++) {
    sum += term(i);
    total += std::abs(term(i));
  }
  return isClose(result, sum, total, terms);
}

void testProducts(const char* set, const Products& products) {
  const int64_t sizes[][3] = {{1, 1, 1},   {0, 5, 3},    {1, 70, 1},  {2, 3, 4},    {3, 17, 5},   {4, 31, 33},
                              {7, 33, 49}, {5, 576, 7}, {9, 1701, 4}, {40, 64, 100}, {13, 900, 65}, {100, 2, 130}, {8, 34, 1601},
                              {300, 9, 50}, {6, 21, 2100}, {2070, 3, 5}};
  for (const auto& size : sizes) {
    const int64_t rows = size[0], inputs = size[1], outputs = size[2];
    Random x(rows * inputs), weight(outputs * inputs), bias(outputs), g(rows * outputs);
    const uint16_t nan = rounded(NAN);
    Numbers y(rows * outputs, nan), dx(rows * inputs, nan), dweight(outputs * inputs, nan);
    products.linear(x.data(), rows, inputs, {{weight.data(), bias.data(), outputs, y.data()}});
    products.multiply(g.data(), weight.data(), rows, outputs, inputs, dx.data());
    products.multiplyTransposed(g.data(), x.data(), outputs, rows, inputs, dweight.data());
    bool isLinear = true, isMultiply = true, isTransposed = true;
    for (int64_t r = 0; r < rows; r++)
      for (int64_t o = 0; o < outputs; o++)
        isLinear &= isSum(y[r * outputs + o], inputs, [&](int64_t i) { return x[r * inputs + i] * weight[o * inputs + i]; }, bias[o]);
    for (int64_t r = 0; r < rows; r++)
      for (int64_t i = 0; i < inputs; i++)
        isMultiply &= isSum(dx[r * inputs + i], outputs, [&](int64_t o) { return g[r * outputs + o] * weight[o * inputs + i]; });
    for (int64_t o = 0; o < outputs; o++)
      for (int64_t i = 0; i < inputs; i++)
        isTransposed &= isSum(dweight[o * inputs + i], rows, [&](int64_t r) { return g[r * outputs + o] * x[r * inputs + i]; });
    check(isLinear, set, "linear", rows, inputs, outputs);
    check(isMultiply, set, "multiply", rows, outputs, inputs);
    check(isTransposed, set, "multiplyTransposed", outputs, rows, inputs);

    bool isSame = true;
    for (int64_t count = 1; count <= rows; count += rows > 100 ? 97 : 1) {
      Numbers part(count * outputs);
      products.linear(x.data() + (rows - count) * inputs, count, inputs, {{weight.data(), bias.data(), outputs, part.data()}});
      isSame &= std::equal(part.begin(), part.end(), y.end() - count * outputs);
    }
    check(isSame, set, "the same bits of a row in any batch", rows, inputs, outputs);

    Numbers first(rows * outputs, nan), rest(rows * (outputs - 1), nan), last(rows * outputs, nan);
    products.linear(x.data(), rows, inputs,
                    {{weight.data(), bias.data(), outputs, first.data()},
                     {weight.data() + inputs, bias.data() + 1, outputs - 1, rest.data()},
                     {weight.data(), bias.data(), outputs, last.data()}});
    isSame = first == y && last == y;
    for (int64_t r = 0; r < rows; r++)
      isSame &= std::equal(rest.begin() + r * (outputs - 1), rest.begin() + (r + 1) * (outputs - 1), y.begin() + r * outputs + 1);
    check(isSame, set, "several layers at once", rows, inputs, outputs);
  }
}

void testNotFinite(const char* set, const Products& products) {
  const int64_t rows = 9, inputs = 70, outputs = 45;
  Random x(rows * inputs), weight(outputs * inputs);
  x.data()[2 * inputs + 69] = rounded(NAN);
  x.data()[4 * inputs + 3] = rounded(INFINITY);
  weight.data()[44 * inputs] = rounded(NAN);
  Numbers y(rows * outputs), dx(rows * inputs), dweight(outputs * inputs);
  products.linear(x.data(), rows, inputs, {{weight.data(), nullptr, outputs, y.data()}});
  bool isPassedOn = true;
  for (int64_t i = 0; i < rows * outputs; i++) {
    const int64_t row = i / outputs, output = i % outputs;
    const float result = wide(y[i]);
    isPassedOn &= row == 2 || output == 44 ? std::isnan(result) : std::isfinite(result) == (row != 4);
  }
  check(isPassedOn, set, "NaN and infinity in linear", rows, inputs, outputs);
  Random g(rows * outputs);
  g.data()[3 * outputs + 5] = rounded(NAN);
  products.multiply(g.data(), Random(outputs * inputs).data(), rows, outputs, inputs, dx.data());
  products.multiplyTransposed(g.data(), Random(rows * inputs).data(), outputs, rows, inputs, dweight.data());
  isPassedOn = true;
  for (int64_t i = 0; i < rows * inputs; i++) isPassedOn &= std::isnan(wide(dx[i])) == (i / inputs == 3);
  for (int64_t i = 0; i < outputs * inputs; i++) isPassedOn &= std::isnan(wide(dweight[i])) == (i / inputs == 5);
  check(isPassedOn, set, "NaN in gradients", rows, inputs, outputs);
}

// Tokens of a prompt, whose first half is a prefix, and of two branches that follow it, at positions with padding between
// them, as src/models/attention.ts makes them.
struct Packed {
  int64_t prompt, branch, tokens, places;
  std::vector<int32_t> tokenAt;
  std::vector<int32_t> placeOf;
  std::vector<Seen> seen;
  Packed(int64_t prompt, int64_t branch) : prompt(prompt), branch(branch), tokens(prompt + 2 * branch) {
    const auto padded = [](int64_t count) { return (count + 15) / 16 * 16; };
    const int64_t first = padded(prompt), second = first + padded(branch);
    places = (second + branch + kKeys - 1) / kKeys * kKeys;
    const int32_t prefix = prompt / 2 / 16 * 16;
    tokenAt.assign(places, -1);
    for (int64_t t = 0; t < tokens; t++) {
      const int64_t start = t < prompt ? 0 : t < prompt + branch ? first : second;
      const int64_t within = t < prompt ? t : (t - prompt) % branch;
      placeOf.push_back(start + within);
      tokenAt[placeOf[t]] = t;
      const auto end = int32_t(start + within + 1);
      if (t < prefix) seen.push_back({{{0, end}, {}, {}}});
      else if (t < prompt) seen.push_back({{{0, prefix}, {prefix, end}, {}}});
      else seen.push_back({{{0, prefix}, {prefix, int32_t(prompt)}, {int32_t(start), end}}});
    }
  }
  bool sees(int64_t t, int64_t key) const {
    const auto& ranges = seen[t].ranges;
    return std::any_of(ranges, ranges + 3, [&](Range range) { return range.first <= placeOf[key] && placeOf[key] < range.end; });
  }
};

std::vector<uint16_t> packAll(const AttentionKernels& kernels, const Sizes& size, const Packed& packed, Heads x, bool columns) {
  std::vector<uint16_t> all(size.kvHeads * size.places * size.dim);
  for (int64_t head = 0; head < size.kvHeads; head++)
    for (int64_t block = 0; block < size.blocks(); block++)
      kernels.packBlock(x, head, packed.tokenAt.data() + block * kKeys, size.dim, columns,
                        all.data() + (head * size.blocks() + block) * kKeys * size.dim);
  return all;
}

void testAttention(const char* set, const AttentionKernels& kernels, int64_t prompt, int64_t branch, int64_t heads, int64_t kvHeads,
                   int64_t dim) {
  const Packed packed(prompt, branch);
  const int64_t n = packed.tokens;
  const Sizes size{n, heads, kvHeads, dim, packed.places, 1 / std::sqrt(float(dim))};
  Random q(n * heads * dim + 1), k(n * kvHeads * dim + 1), v(n * kvHeads * dim + 1), g(n * heads * dim + 1);
  // At even numbers, as the operators make sure.
  const auto of = [&](Random& x, int64_t heads) { return Heads{x.data() + 1, heads * dim, dim}; };
  const Heads queries = of(q, heads), keys = of(k, kvHeads), values = of(v, kvHeads), gradient = of(g, heads);
  Numbers result(n * heads * dim);
  const Heads out{result.data(), heads * dim, dim};
  std::vector<float> logs(n * heads);
  const auto keyColumns = packAll(kernels, size, packed, keys, true), valueRows = packAll(kernels, size, packed, values, false);
  kernels.forward(size, queries, packed.seen.data(), keyColumns.data(), valueRows.data(), out, logs.data(), 0,
                  kvHeads * size.queryBlocks());

  const auto valueColumns = packAll(kernels, size, packed, values, true), keyRows = packAll(kernels, size, packed, keys, false);
  Numbers ofQ(n * heads * dim), ofK(n * kvHeads * dim), ofV(n * kvHeads * dim);
  const Recorded recorded{queries, out, gradient, packed.seen.data(), logs.data(), keyColumns.data(), valueColumns.data(), keyRows.data()};
  const auto parts = partsOf(size, packed.seen.data());
  for (int64_t head = 0; head < kvHeads; head++)
    for (const auto& part : parts) kernels.backward(size, recorded, head, part, Heads{ofQ.data(), heads * dim, dim});
  for (int64_t t = 0; t < n; t++)
    for (int64_t head = 0; head < kvHeads; head++)
      for (int64_t which = 0; which < 2; which++) {
        std::vector<const float*> sums;
        for (const auto& part : parts)
          if (part.has(packed.placeOf[t]))
            sums.push_back(part.at(size, which, head, packed.placeOf[t]));
        kernels.addUp(sums, dim, (which ? ofV : ofK).data() + (t * kvHeads + head) * dim);
      }

  // In float64: out = P v, dv = Pᵀ g, ds = P ⊙ (g vᵀ − g · out), dq = scale · ds k, dk = scale · dsᵀ q.
  std::vector<double> y(result.size()), dq(result.size()), dk(ofK.size()), dv(ofV.size());
  for (int64_t h = 0; h < heads; h++) {
    const int64_t kv = h / (heads / kvHeads);
    const auto dot = [&](Heads a, int64_t t, int64_t h, Heads b, int64_t u, int64_t j) {
      double sum = 0;
      for (int64_t c = 0; c < dim; c++) sum += double(wide(a.at(t, h)[c])) * wide(b.at(u, j)[c]);
      return sum;
    };
    for (int64_t t = 0; t < n; t++) {
      std::vector<double> p(n);
      double total = 0, delta = 0;
      for (int64_t u = 0; u < n; u++)
        if (packed.sees(t, u)) total += p[u] = std::exp(size.scale * dot(queries, t, h, keys, u, kv));
      for (int64_t u = 0; u < n; u++) {
        p[u] /= total;
        delta += p[u] * dot(gradient, t, h, values, u, kv);
      }
      for (int64_t u = 0; u < n; u++) {
        const double ds = size.scale * p[u] * (dot(gradient, t, h, values, u, kv) - delta);
        for (int64_t c = 0; c < dim; c++) {
          y[(t * heads + h) * dim + c] += p[u] * wide(values.at(u, kv)[c]);
          dq[(t * heads + h) * dim + c] += ds * wide(keys.at(u, kv)[c]);
          dk[(u * kvHeads + kv) * dim + c] += ds * wide(queries.at(t, h)[c]);
          dv[(u * kvHeads + kv) * dim + c] += p[u] * wide(gradient.at(t, h)[c]);
        }
      }
    }
  }
  // Probabilities and their gradients may be rounded to bfloat16, 2⁻⁹ each, before they are summed: 1 % of the largest.
  const auto isNear = [](const Numbers& result, const std::vector<double>& expected) {
    double largest = 0, error = 0;
    for (size_t i = 0; i < expected.size(); i++) {
      largest = std::max(largest, std::abs(expected[i]));
      error = std::max(error, std::abs(wide(result[i]) - expected[i]));
    }
    return error <= 0.01 * largest;
  };
  check(isNear(result, y), set, "attention", n, heads, dim);
  check(isNear(ofQ, dq), set, "gradient of queries", n, heads, dim);
  check(isNear(ofK, dk), set, "gradient of keys", n, heads, dim);
  check(isNear(ofV, dv), set, "gradient of values", n, heads, dim);

  // A sequence of its own, token by token through a cache, has the same bits as the prompt that was packed.
  const int64_t capacity = (prompt + kKeys - 1) / kKeys * kKeys;
  Numbers cachedKeys(kvHeads * capacity * dim), cachedValues(kvHeads * capacity * dim), step(heads * dim);
  const Cache cache{cachedKeys.data(), cachedValues.data(), kvHeads, capacity, dim};
  bool isSame = true;
  for (int32_t t = 0; t < prompt; t++) {
    const auto row = [&](Heads x) { return Heads{x.data + t * x.token, x.token, x.head}; };
    const Sizes one{1, heads, kvHeads, dim, capacity, size.scale};
    kernels.decode(cache, one, row(queries), row(keys), row(values), &packed.seen[t], &t, Heads{step.data(), heads * dim, dim}, 0, kvHeads);
    isSame &= std::equal(step.begin(), step.end(), result.begin() + t * heads * dim);
  }
  check(isSame, set, "the same bits in decoding", prompt, heads, dim);
}

void test(cpu::Level level, const Products& products, const AttentionKernels& attention) {
#ifndef PLUMBLINE_EMULATE
  if (!cpu::peakRate(level)) return std::printf("%s: skipped, this processor has none of it\n", cpu::name(level)), void();
#endif
  const auto* set = cpu::name(level);
  testProducts(set, products);
  testNotFinite(set, products);
  testAttention(set, attention, 5, 3, 2, 2, 16);
  testAttention(set, attention, 70, 41, 9, 3, 64);
  testAttention(set, attention, 33, 130, 4, 1, 48);
  std::printf("%s: tested\n", set);
}

}  // namespace

int main() {
#if defined(PLUMBLINE_EMULATE) || defined(__x86_64__)
  test(cpu::Level::avx512bf16, avx512bf16::products, avx512bf16::attention);
  test(cpu::Level::avx512, avx512::products, avx512::attention);
  test(cpu::Level::avx2, avx2::products, avx2::attention);
#endif
#if defined(PLUMBLINE_EMULATE) || defined(__aarch64__)
  test(cpu::Level::neonbf16, neonbf16::products, neonbf16::attention);
  test(cpu::Level::neon, neon::products, neon::attention);
#endif
  std::printf("%d of %d checks passed\n", checks - failures, checks);
  return failures > 0;
}
