// Attention over packed sequences in bfloat16, for processors with AVX-512 bf16: libtorch's CPU kernels compute in
// float32 only. On other processors this operator is not registered and libtorch's attention is called; the tests
// compare with it.
#include "bf16.h"
#include "cpu.h"

#ifdef PLUMBLINE_BF16
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <vector>

#include "tiles.h"

using at::Tensor;

namespace {

constexpr int64_t kKeys = 64;    // keys of a block
constexpr int64_t kTokens = 32;  // queries of a block

// Heads of tokens, at these strides.
struct Heads {
  uint16_t* data;
  int64_t token, head;
  uint16_t* at(int64_t t, int64_t h) const { return data + t * token + h * head; }
};

// Positions of the keys that a token attends to: [first, firstEnd) and [second, secondEnd).
struct Seen {
  int32_t first, firstEnd, second, secondEnd;
  bool any(int32_t from, int32_t to) const {
    return (first < to && from < firstEnd) || (second < to && from < secondEnd);
  }
};

struct Sizes {
  int64_t tokens, heads, kvHeads, dim, places;  // of keys: a multiple of kKeys
  float scale;
  int64_t group() const { return heads / kvHeads; }
  int64_t blocks() const { return places / kKeys; }
  int64_t queryBlocks() const { return (tokens + kTokens - 1) / kTokens; }
};

BF16_BEGIN

// Computes e^x with a relative error below 2e-7, 0 for very small x: 2^n · e^r with |r| <= ln 2 / 2, e^r by its Taylor
// series.
INLINE __m512 exponential(__m512 x) {
  const auto n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT);
  auto r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), r);
  auto series = _mm512_set1_ps(1.0f / 5040);
  for (const float c : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
    series = _mm512_fmadd_ps(series, r, _mm512_set1_ps(c));
  return _mm512_scalef_ps(series, n);
}

// Packs the keys (or values) of one head at a block of positions. `tokens`: token index at each position, −1 for
// padding.
struct Block {
  Heads heads;
  int64_t head;
  const int32_t* tokens;
  const uint16_t* operator()(int64_t r) const { return tokens[r] < 0 ? nullptr : heads.at(tokens[r], head); }
};

void packKeyRows(Block keys, int64_t width, Pair* out) { packRows(keys, kKeys, width, out); }

// Transposed: each key's pairs as a column, (width / 2, kKeys) pairs, for sums over the width.
void packKeyColumns(Block keys, int64_t width, Pair* out) {
  for (int64_t r = 0; r < kKeys; r++) {
    const auto* row = (const Pair*)keys(r);
    for (int64_t p = 0; p < width / 2; p++) out[p * kKeys + r] = row ? row[p] : 0;
  }
}

// Packs the queries (or their gradients) of a block of tokens, for all heads of a group: (until · group, width), zeros
// after `tokens`.
void gather(Heads x, int64_t first, int64_t group, int64_t from, int64_t tokens, int64_t until, int64_t width, uint16_t* out) {
  for (int64_t t = 0; t < until; t++)
    for (int64_t g = 0; g < group; g++, out += width)
      for (int64_t c = 0; c < width; c++) out[c] = t < tokens ? x.at(from + t, first + g)[c] : 0;
}

INLINE __mmask16 maskOf(const Seen& seen, int32_t key) {
  const auto keys = _mm512_add_epi32(_mm512_set1_epi32(key), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  const auto within = [&](int32_t from, int32_t to) __attribute__((always_inline)) {
    return _mm512_cmpge_epi32_mask(keys, _mm512_set1_epi32(from)) & _mm512_cmplt_epi32_mask(keys, _mm512_set1_epi32(to));
  };
  return within(seen.first, seen.firstEnd) | within(seen.second, seen.secondEnd);
}

// Softmax of one row of scores, whose blocks of keys begin at `keys`: writes the numerators in bfloat16.
// Returns their sum and the maximum score.
void softmaxRow(const float* scores, const Seen& seen, const std::vector<int32_t>& keys, float scale, uint16_t* out,
                float& sum, float& most) {
  auto highest = _mm512_set1_ps(-INFINITY);
  for (size_t b = 0; b < keys.size(); b++)
    for (int c = 0; c < kKeys; c += 16)
      highest = _mm512_mask_max_ps(highest, maskOf(seen, keys[b] + c), highest, _mm512_loadu_ps(scores + b * kKeys + c));
  most = _mm512_reduce_max_ps(highest) * scale;
  auto total = _mm512_setzero_ps();
  for (size_t b = 0; b < keys.size(); b++)
    for (int c = 0; c < kKeys; c += 16) {
      const auto x = _mm512_fmsub_ps(_mm512_loadu_ps(scores + b * kKeys + c), _mm512_set1_ps(scale), _mm512_set1_ps(most));
      const auto e = _mm512_maskz_mov_ps(maskOf(seen, keys[b] + c), exponential(x));
      total = _mm512_add_ps(total, e);
      storeBf16(out + b * kKeys + c, e);
    }
  sum = _mm512_reduce_add_ps(total);
}

void writeScaled(const float* from, float by, int64_t width, uint16_t* to) {
  for (int64_t c = 0; c < width; c += 16) storeBf16(to + c, _mm512_mul_ps(_mm512_loadu_ps(from + c), _mm512_set1_ps(by)));
}

// Computes the probabilities of two rows and the gradients of their scores, for one block of keys. `pairs`
// (probabilities) and `slopes` (gradients) interleave the two rows; `rows` has the gradients of each row.
void gradientRows(const float* scores, const float* slopesOfP, const Seen* seen[2], const float log[2], const float delta[2],
                  int32_t key, float scale, Pair* pairs, Pair* slopes, uint16_t* rows) {
  for (int c = 0; c < kKeys; c += 16) {
    __m512i p[2], s[2];
    for (int r = 0; r < 2; r++) {
      const auto x = _mm512_fmsub_ps(_mm512_loadu_ps(scores + r * kKeys + c), _mm512_set1_ps(scale), _mm512_set1_ps(log[r]));
      const auto e = _mm512_maskz_mov_ps(maskOf(*seen[r], key + c), exponential(x));
      const auto over = _mm512_sub_ps(_mm512_loadu_ps(slopesOfP + r * kKeys + c), _mm512_set1_ps(delta[r]));
      const auto slope = _mm512_mul_ps(_mm512_mul_ps(e, over), _mm512_set1_ps(scale));
      p[r] = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(e));
      const auto narrow = (__m256i)_mm512_cvtneps_pbh(slope);
      _mm256_storeu_si256((__m256i*)(rows + r * kKeys + c), narrow);
      s[r] = _mm512_cvtepu16_epi32(narrow);
    }
    _mm512_storeu_si512(pairs + c, _mm512_or_si512(p[0], _mm512_slli_epi32(p[1], 16)));
    _mm512_storeu_si512(slopes + c, _mm512_or_si512(s[0], _mm512_slli_epi32(s[1], 16)));
  }
}

float dot(const uint16_t* a, const uint16_t* b, int64_t count) {
  auto sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < count; i += 16) {
    const auto x = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(a + i))), 16));
    const auto y = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(b + i))), 16));
    sum = _mm512_fmadd_ps(x, y, sum);
  }
  return _mm512_reduce_add_ps(sum);
}

// ---- attention of one block of queries, for all heads that share keys ----

std::vector<int32_t> blocksSeen(const Sizes& size, const Seen* seen, int64_t tokens) {
  std::vector<int32_t> keys;
  for (int64_t b = 0; b < size.blocks(); b++)
    for (int64_t t = 0; t < tokens; t++)
      if (seen[t].any(b * kKeys, (b + 1) * kKeys)) {
        keys.push_back(b * kKeys);
        break;
      }
  return keys;
}

struct Room {
  std::unique_ptr<float[]> scores, sums;
  std::unique_ptr<uint16_t[]> queries, p;
};

void forwardBlock(const Sizes& size, Heads q, const Seen* seen, int64_t kvHead, int64_t from, const Pair* keyColumns,
                  const Pair* valueRows, Heads out, float* logs, Room& room) {
  const int64_t dim = size.dim, group = size.group(), rows = kTokens * group;
  const int64_t tokens = std::min(kTokens, size.tokens - from);
  const auto keys = blocksSeen(size, seen + from, tokens);
  const int64_t width = keys.size() * kKeys;
  gather(q, kvHead * group, group, from, tokens, tokens, dim, room.queries.get());
  const auto* queries = (const Pair*)room.queries.get();
  for (size_t b = 0; b < keys.size(); b++)
    product(tokens * group, kKeys, queries, dim / 2, 1, keyColumns + keys[b] * dim / 2, kKeys, room.scores.get() + b * kKeys,
            width, dim / 2, false);
  std::vector<float> sums(rows);
  for (int64_t r = 0; r < tokens * group; r++) {
    float most;
    softmaxRow(room.scores.get() + r * width, seen[from + r / group], keys, size.scale, room.p.get() + r * width, sums[r], most);
    logs[(from + r / group) * size.heads + kvHead * group + r % group] = most + std::log(sums[r]);
  }
  for (size_t b = 0; b < keys.size(); b++)
    product(tokens * group, dim, (const Pair*)(room.p.get() + b * kKeys), width / 2, 1, valueRows + keys[b] * dim / 2, dim,
            room.sums.get(), dim, kKeys / 2, b > 0);
  for (int64_t r = 0; r < tokens * group; r++)
    writeScaled(room.sums.get() + r * dim, 1 / sums[r], dim, out.at(from + r / group, kvHead * group + r % group));
}

struct Packed {
  const Pair *keyColumns, *valueColumns, *keyRows;
};

struct BackwardRoom {
  std::unique_ptr<float[]> scores, slopesOfP, ofQueries;
  std::unique_ptr<uint16_t[]> queries, gradients, slopeRows;
  std::unique_ptr<Pair[]> queryRows, gradientRows, pairs, slopes;
};

void backwardBlock(const Sizes& size, Heads q, Heads out, Heads gradient, const Seen* seen, const float* logs, int64_t kvHead,
                   int64_t from, const Packed& packed, Heads ofQ, float* ofKeys, float* ofValues, BackwardRoom& room) {
  const int64_t dim = size.dim, group = size.group(), rows = kTokens * group;
  const int64_t tokens = std::min(kTokens, size.tokens - from);
  const int64_t used = tokens * group;
  gather(q, kvHead * group, group, from, tokens, kTokens, dim, room.queries.get());
  gather(gradient, kvHead * group, group, from, tokens, kTokens, dim, room.gradients.get());
  packRows([&](int64_t r) { return room.queries.get() + r * dim; }, rows, dim, room.queryRows.get());
  packRows([&](int64_t r) { return room.gradients.get() + r * dim; }, rows, dim, room.gradientRows.get());
  std::vector<float> delta(rows), log(rows);
  for (int64_t r = 0; r < used; r++) {
    const int64_t t = from + r / group, h = kvHead * group + r % group;
    delta[r] = dot(out.at(t, h), gradient.at(t, h), dim);
    log[r] = logs[t * size.heads + h];
  }
  const Seen nothing{};
  bool first = true;
  for (const auto key : blocksSeen(size, seen + from, tokens)) {
    const int64_t block = key * dim / 2;
    product(rows, kKeys, (const Pair*)room.queries.get(), dim / 2, 1, packed.keyColumns + block, kKeys, room.scores.get(), kKeys,
            dim / 2, false);
    product(rows, kKeys, (const Pair*)room.gradients.get(), dim / 2, 1, packed.valueColumns + block, kKeys,
            room.slopesOfP.get(), kKeys, dim / 2, false);
    for (int64_t r = 0; r < rows; r += 2) {
      const Seen* of[2];
      for (int i = 0; i < 2; i++) of[i] = r + i < used ? seen + from + (r + i) / group : &nothing;
      gradientRows(room.scores.get() + r * kKeys, room.slopesOfP.get() + r * kKeys, of, &log[r], &delta[r], key, size.scale,
                   room.pairs.get() + r / 2 * kKeys, room.slopes.get() + r / 2 * kKeys, room.slopeRows.get() + r * kKeys);
    }
    product(kKeys, dim, room.pairs.get(), 1, kKeys, room.gradientRows.get(), dim, ofValues + key * dim, dim, rows / 2, true);
    product(kKeys, dim, room.slopes.get(), 1, kKeys, room.queryRows.get(), dim, ofKeys + key * dim, dim, rows / 2, true);
    product(rows, dim, (const Pair*)room.slopeRows.get(), kKeys / 2, 1, packed.keyRows + block, dim, room.ofQueries.get(), dim,
            kKeys / 2, !first);
    first = false;
  }
  for (int64_t r = 0; r < used; r++)
    writeScaled(room.ofQueries.get() + r * dim, 1, dim, ofQ.at(from + r / group, kvHead * group + r % group));
}

void addUp(const std::vector<const float*>& parts, int64_t count, uint16_t* to) {
  for (int64_t c = 0; c < count; c += 16) {
    auto sum = _mm512_setzero_ps();
    for (const auto* part : parts) sum = _mm512_add_ps(sum, _mm512_loadu_ps(part + c));
    storeBf16(to + c, sum);
  }
}

BF16_END

Heads headsOf(const Tensor& x) { return {static_cast<uint16_t*>(x.data_ptr()), x.stride(0), x.stride(1)}; }

// Keys (or values) of all heads, packed block by block.
std::vector<Pair> packAll(const Sizes& size, const Tensor& x, const int32_t* tokens, void (*pack)(Block, int64_t, Pair*)) {
  const int64_t per = kKeys * size.dim / 2;
  std::vector<Pair> packed(size.kvHeads * size.blocks() * per);
  const auto heads = headsOf(x);
  at::parallel_for(0, size.kvHeads * size.blocks(), 4, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++)
      pack({heads, i / size.blocks(), tokens + i % size.blocks() * kKeys}, size.dim, packed.data() + i * per);
  });
  return packed;
}

Tensor dense(const Tensor& x) { return x.stride(-1) == 1 && x.stride(0) % 2 == 0 && x.stride(1) % 2 == 0 ? x : x.contiguous(); }

Sizes sizesOf(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& seen, const Tensor& tokens, double scale) {
  for (const auto* x : {&q, &k, &v})
    TORCH_CHECK(x->dim() == 3 && x->scalar_type() == at::kBFloat16, "attention takes bfloat16 (tokens, heads, dim)");
  TORCH_CHECK(k.sizes() == v.sizes() && k.size(0) == q.size(0) && k.size(2) == q.size(2) && q.size(1) % k.size(1) == 0,
              "attention: queries ", q.sizes(), " do not go with keys ", k.sizes(), " and values ", v.sizes());
  TORCH_CHECK(q.size(2) % 16 == 0, "attention takes heads of a multiple of 16 channels");
  TORCH_CHECK(seen.scalar_type() == at::kInt && seen.is_contiguous() && seen.numel() == 4 * q.size(0),
              "attention takes two ranges, int32 (tokens, 4), of the places that each token sees");
  TORCH_CHECK(tokens.scalar_type() == at::kInt && tokens.is_contiguous() && tokens.numel() % kKeys == 0,
              "attention takes int32 tokens by place, as many as a multiple of ", kKeys);
  const auto* places = static_cast<const int32_t*>(tokens.const_data_ptr());
  for (int64_t i = 0; i < tokens.numel(); i++)
    TORCH_CHECK_INDEX(places[i] >= -1 && places[i] < q.size(0), "attention: there is no token ", places[i]);
  return {q.size(0), q.size(1), k.size(1), q.size(2), tokens.numel(), float(scale)};
}

// Returns the output (tokens, heads, dim) and, for the gradient, log Σ exp(scores): (tokens, heads).
std::tuple<Tensor, Tensor> attentionForward(const Tensor& queries, const Tensor& keys, const Tensor& values, const Tensor& seen,
                                            const Tensor& tokens, double scale) {
  const auto size = sizesOf(queries, keys, values, seen, tokens, scale);
  const auto q = dense(queries), k = dense(keys), v = dense(values);
  auto out = at::empty(q.sizes(), q.options());
  auto logs = at::empty({size.tokens, size.heads}, q.options().dtype(at::kFloat));
  const auto* at = static_cast<const int32_t*>(tokens.const_data_ptr());
  const auto keyColumns = packAll(size, k, at, packKeyColumns), valueRows = packAll(size, v, at, packKeyRows);
  const int64_t per = keyColumns.size() / size.kvHeads, rows = kTokens * size.group(), blocks = size.queryBlocks();
  const auto* ranges = static_cast<const Seen*>(seen.const_data_ptr());
  at::parallel_for(0, size.kvHeads * blocks, 1, [&](int64_t from, int64_t to) {
    const int64_t width = size.blocks() * kKeys;
    Room own{room<float>(rows * width), room<float>(rows * size.dim), room<uint16_t>(rows * size.dim), room<uint16_t>(rows * width)};
    for (int64_t i = from; i < to; i++)
      forwardBlock(size, headsOf(q), ranges, i / blocks, i % blocks * kTokens, keyColumns.data() + i / blocks * per,
                   valueRows.data() + i / blocks * per, headsOf(out), logs.mutable_data_ptr<float>(), own);
  });
  return {out, logs};
}

struct Attention : torch::autograd::Function<Attention> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, const Tensor& q, const Tensor& k,
                                                const Tensor& v, const Tensor& seen, const Tensor& tokens, double scale) {
    at::AutoDispatchBelowADInplaceOrView below;
    auto [out, logs] = attentionForward(q, k, v, seen, tokens, scale);
    context->save_for_backward({q, k, v, seen, tokens, out, logs});
    context->saved_data["scale"] = scale;
    context->mark_non_differentiable({logs});
    return {out, logs};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto q = dense(saved[0]), k = dense(saved[1]), v = dense(saved[2]), gradient = dense(gradients[0]);
    const auto &seen = saved[3], &out = saved[5], &logs = saved[6];
    const auto size = sizesOf(q, k, v, seen, saved[4], context->saved_data["scale"].toDouble());
    const auto* tokens = static_cast<const int32_t*>(saved[4].const_data_ptr());
    const auto keyColumns = packAll(size, k, tokens, packKeyColumns), valueColumns = packAll(size, v, tokens, packKeyColumns);
    const auto keyRows = packAll(size, k, tokens, packKeyRows);
    const int64_t dim = size.dim, rows = kTokens * size.group(), blocks = size.queryBlocks();
    const int64_t per = size.places * dim;  // numbers of one head's keys
    auto ofQ = at::empty(q.sizes(), q.options());
    const auto* ranges = static_cast<const Seen*>(seen.const_data_ptr());
    // Gradients of keys and values are sums over queries, which are divided among the threads: each thread has its
    // partial sums.
    std::vector<std::unique_ptr<float[]>> sums(at::get_num_threads());
    at::parallel_for(0, size.kvHeads * blocks, 1, [&](int64_t from, int64_t to) {
      auto& own = sums[at::get_thread_num()];
      own.reset(new float[2 * size.kvHeads * per]());
      BackwardRoom space{room<float>(rows * kKeys), room<float>(rows * kKeys), room<float>(rows * dim), room<uint16_t>(rows * dim),
                         room<uint16_t>(rows * dim), room<uint16_t>(rows * kKeys), room<Pair>(rows * dim / 2),
                         room<Pair>(rows * dim / 2), room<Pair>(rows * kKeys / 2), room<Pair>(rows * kKeys / 2)};
      for (int64_t i = from; i < to; i++) {
        const int64_t head = i / blocks, at = head * per / 2;
        const Packed packed{keyColumns.data() + at, valueColumns.data() + at, keyRows.data() + at};
        backwardBlock(size, headsOf(q), headsOf(out), headsOf(gradient), ranges, logs.const_data_ptr<float>(), head,
                      i % blocks * kTokens, packed, headsOf(ofQ), own.get() + head * per,
                      own.get() + (size.kvHeads + head) * per, space);
      }
    });
    auto both = at::empty({2, size.tokens, size.kvHeads, dim}, q.options());
    auto* to = static_cast<uint16_t*>(both.data_ptr());
    at::parallel_for(0, 2 * size.places, 64, [&](int64_t from, int64_t end) {
      std::vector<const float*> parts;
      for (int64_t i = from; i < end; i++) {
        const int64_t place = i % size.places, which = i / size.places;
        if (tokens[place] < 0) continue;
        for (int64_t head = 0; head < size.kvHeads; head++) {
          parts.clear();
          for (const auto& sum : sums)
            if (sum) parts.push_back(sum.get() + (which * size.kvHeads + head) * per + place * dim);
          addUp(parts, dim, to + ((which * size.tokens + tokens[place]) * size.kvHeads + head) * dim);
        }
      }
    });
    return {ofQ, both[0], both[1], Tensor(), Tensor(), Tensor()};
  }
};

std::tuple<Tensor, Tensor> attentionRecorded(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& seen,
                                             const Tensor& tokens, double scale) {
  const auto out = Attention::apply(q, k, v, seen, tokens, scale);
  return {out[0], out[1]};
}

// ---- key-value cache: src/rollout/cache.ts ----

// Holds `capacity` keys and values for each row and head, in the packed blocks of the attention above, so that the
// attention of a token has the same bits in sampling as in training.
struct Cache {
  Pair *keys, *values;
  int64_t kvHeads, capacity, dim;

  Cache(Tensor& k, Tensor& v)
      : keys(static_cast<Pair*>(k.mutable_data_ptr())), values(static_cast<Pair*>(v.mutable_data_ptr())), kvHeads(k.size(1)),
        capacity(k.size(2)), dim(k.size(3)) {}
  int64_t at(int64_t row, int64_t head) const { return (row * kvHeads + head) * capacity * dim / 2; }
  // Stores the key and value of a token at a position.
  void store(Heads k, Heads v, int64_t token, int64_t head, int64_t row, int64_t place) const {
    const int64_t block = at(row, head) + place / kKeys * kKeys * dim / 2, within = place % kKeys;
    const auto* key = (const Pair*)k.at(token, head);
    for (int64_t p = 0; p < dim / 2; p++) keys[block + p * kKeys + within] = key[p];
    auto* value = (uint16_t*)(values + block + within / 2 * dim) + within % 2;
    for (int64_t c = 0; c < dim; c++) value[2 * c] = v.at(token, head)[c];
  }
};

void checkCache(const Tensor& k, const Tensor& v, const Tensor& keys, const Tensor& values) {
  for (const auto* x : {&k, &v, &keys, &values}) TORCH_CHECK(x->scalar_type() == at::kBFloat16, "the cache takes bfloat16");
  TORCH_CHECK(keys.dim() == 4 && keys.is_contiguous() && values.is_contiguous() && keys.sizes() == values.sizes() &&
                  keys.size(2) % kKeys == 0 && keys.size(3) % 16 == 0,
              "a cache is (rows, heads, a multiple of ", kKeys, ", a multiple of 16), not ", keys.sizes());
  TORCH_CHECK(k.dim() == 3 && k.sizes() == v.sizes() && k.size(1) == keys.size(1) && k.size(2) == keys.size(3),
              "keys ", k.sizes(), " do not go with a cache ", keys.sizes());
}

// Checks that a tensor is int32 with values in [0, end).
void checkWithin(const char* what, const Tensor& x, int64_t end) {
  TORCH_CHECK(x.scalar_type() == at::kInt && x.is_contiguous(), what, " must be int32");
  const auto* all = x.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < x.numel(); i++) TORCH_CHECK_INDEX(all[i] >= 0 && all[i] < end, "there is no ", what, " ", all[i]);
}

// Stores token tokens[i] of k and v at position places[i] of row rows[i].
void storeTokens(const Tensor& k, const Tensor& v, Tensor& keys, Tensor& values, const Tensor& tokens, const Tensor& rows,
                 const Tensor& places) {
  checkCache(k, v, keys, values);
  checkWithin("token", tokens, k.size(0));
  checkWithin("row", rows, keys.size(0));
  checkWithin("place", places, keys.size(2));
  TORCH_CHECK(tokens.numel() == rows.numel() && places.numel() == rows.numel(), "one token, row and place each");
  const auto from = dense(k), other = dense(v);
  const Cache cache(keys, values);
  const auto *token = tokens.const_data_ptr<int32_t>(), *row = rows.const_data_ptr<int32_t>(), *place = places.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < tokens.numel(); i++)
    for (int64_t head = 0; head < cache.kvHeads; head++)
      cache.store(headsOf(from), headsOf(other), token[i], head, row[i], place[i]);
}

// Decoding step, one new token per row: stores its key and value, then computes its attention.
Tensor attendStep(const Tensor& queries, const Tensor& k, const Tensor& v, Tensor& keys, Tensor& values, const Tensor& seen,
                  const Tensor& places, double scale) {
  checkCache(k, v, keys, values);
  checkWithin("place", places, keys.size(2));
  TORCH_CHECK(k.size(0) <= keys.size(0), "a cache of ", keys.size(0), " rows has none for ", k.size(0));
  const int64_t group = queries.size(1) / k.size(1);
  TORCH_CHECK(queries.dim() == 3 && queries.size(0) == k.size(0) && queries.size(1) == group * k.size(1) &&
                  queries.size(2) == k.size(2) && queries.scalar_type() == at::kBFloat16 && places.numel() == k.size(0) &&
                  seen.scalar_type() == at::kInt && seen.is_contiguous() && seen.numel() == 4 * k.size(0),
              "queries ", queries.sizes(), " do not go with keys ", k.sizes());
  const auto q = dense(queries), from = dense(k), other = dense(v);
  const Cache cache(keys, values);
  const auto* ranges = static_cast<const Seen*>(seen.const_data_ptr());
  auto out = at::empty(q.sizes(), q.options());
  at::parallel_for(0, q.size(0) * cache.kvHeads, 2, [&](int64_t first, int64_t end) {
    Room own{room<float>(group * cache.capacity), room<float>(group * cache.dim), room<uint16_t>(group * cache.dim),
             room<uint16_t>(group * cache.capacity)};
    std::vector<float> logs(q.size(0) * q.size(1));
    for (int64_t i = first; i < end; i++) {
      const int64_t row = i / cache.kvHeads, head = i % cache.kvHeads;
      cache.store(headsOf(from), headsOf(other), row, head, row, places.const_data_ptr<int32_t>()[row]);
      const Sizes one{row + 1, q.size(1), cache.kvHeads, cache.dim, cache.capacity, float(scale)};
      forwardBlock(one, headsOf(q), ranges, head, row, cache.keys + cache.at(row, head), cache.values + cache.at(row, head),
                   headsOf(out), logs.data(), own);
    }
  });
  return out;
}

TORCH_LIBRARY_FRAGMENT(plumbline, library) {
  if (!cpu::hasBf16()) return;
  library.def("attention(Tensor q, Tensor k, Tensor v, Tensor seen, Tensor tokens, float scale) -> (Tensor, Tensor)");
  library.impl("attention", c10::DispatchKey::CPU, TORCH_FN(attentionForward));
  library.impl("attention", c10::DispatchKey::AutogradCPU, TORCH_FN(attentionRecorded));
  library.def(
      "store_tokens_(Tensor k, Tensor v, Tensor(a!) keys, Tensor(b!) values, Tensor tokens, Tensor rows, Tensor places) -> ()");
  library.impl("store_tokens_", c10::DispatchKey::CPU, TORCH_FN(storeTokens));
  library.def(
      "attend_step(Tensor q, Tensor k, Tensor v, Tensor(a!) keys, Tensor(b!) values, Tensor seen, Tensor places, float scale) "
      "-> Tensor");
  library.impl("attend_step", c10::DispatchKey::CPU, TORCH_FN(attendStep));
}

}  // namespace
#endif
