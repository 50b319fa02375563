// Attention over packed sequences in bfloat16: libtorch's CPU kernels compute in float32 only. Without kernels for the
// processor these operators are not registered and libtorch's attention is called; the tests compare with it.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <vector>

#include "attend-step.h"
#include "attention.h"
#include "cpu.h"
#include "parallel.h"

#ifdef PLUMBLINE_KERNELS
using at::Tensor;

#define KERNELS "attention.inl"
#include "levels.h"

namespace {

const AttentionKernels& kernels() { return KERNELS_IN_USE(attention); }

Heads headsOf(const Tensor& x) { return {static_cast<uint16_t*>(x.data_ptr()), x.stride(0), x.stride(1)}; }

// Keys (or values) of all heads, packed block by block.
std::vector<uint16_t> packAll(const Sizes& size, const Tensor& x, const int32_t* tokens, bool columns) {
  const int64_t per = kKeys * size.dim;
  std::vector<uint16_t> packed(size.kvHeads * size.blocks() * per);
  const auto heads = headsOf(x);
  parallel::parallel_for(0, size.kvHeads * size.blocks(), 4, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++)
      kernels().packBlock(heads, i / size.blocks(), tokens + i % size.blocks() * kKeys, size.dim, columns, packed.data() + i * per);
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
  TORCH_CHECK(seen.scalar_type() == at::kInt && seen.is_contiguous() && seen.numel() == kSeenNumbers * q.size(0),
              "attention takes three ranges, int32 (tokens, 6), of the places that each token sees");
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
  const auto keyColumns = packAll(size, k, at, true), valueRows = packAll(size, v, at, false);
  const auto* ranges = static_cast<const Seen*>(seen.const_data_ptr());
  parallel::parallel_for(0, size.kvHeads * size.queryBlocks(), 1, [&](int64_t first, int64_t end) {
    kernels().forward(size, headsOf(q), ranges, keyColumns.data(), valueRows.data(), headsOf(out), logs.mutable_data_ptr<float>(),
                      first, end);
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
    const auto keyColumns = packAll(size, k, tokens, true), valueColumns = packAll(size, v, tokens, true);
    const auto keyRows = packAll(size, k, tokens, false);
    const int64_t dim = size.dim;
    auto ofQ = at::empty(q.sizes(), q.options());
    const Recorded recorded{headsOf(q), headsOf(out), headsOf(gradient), static_cast<const Seen*>(seen.const_data_ptr()),
                            logs.const_data_ptr<float>(), keyColumns.data(), valueColumns.data(), keyRows.data()};
    const auto parts = partsOf(size, recorded.seen);
    const int64_t count = parts.size();
    parallel::parallel_for(0, size.kvHeads * count, 1, [&](int64_t first, int64_t end) {
      for (int64_t i = first; i < end; i++) kernels().backward(size, recorded, i / count, parts[i % count], headsOf(ofQ));
    });
    auto both = at::empty({2, size.tokens, size.kvHeads, dim}, q.options());
    auto* to = static_cast<uint16_t*>(both.data_ptr());
    parallel::parallel_for(0, 2 * size.places, 64, [&](int64_t from, int64_t end) {
      std::vector<const float*> sums;
      for (int64_t i = from; i < end; i++) {
        const int64_t key = i % size.places, which = i / size.places;
        if (tokens[key] < 0) continue;
        for (int64_t head = 0; head < size.kvHeads; head++) {
          sums.clear();
          for (const auto& part : parts)
            if (part.has(key)) sums.push_back(part.at(size, which, head, key));
          kernels().addUp(sums, dim, to + ((which * size.tokens + tokens[key]) * size.kvHeads + head) * dim);
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

Cache cacheOf(Tensor& k, Tensor& v) {
  return {static_cast<uint16_t*>(k.mutable_data_ptr()), static_cast<uint16_t*>(v.mutable_data_ptr()), k.size(1), k.size(2), k.size(3)};
}

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
  const auto cache = cacheOf(keys, values);
  const auto *token = tokens.const_data_ptr<int32_t>(), *row = rows.const_data_ptr<int32_t>(), *place = places.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < tokens.numel(); i++)
    for (int64_t head = 0; head < cache.kvHeads; head++)
      kernels().storeToken(cache, headsOf(from), headsOf(other), token[i], head, row[i], place[i]);
}

}  // namespace

Tensor attendStep(const Tensor& queries, const Tensor& k, const Tensor& v, Tensor& keys, Tensor& values, const Tensor& seen,
                  const Tensor& places, double scale) {
  checkCache(k, v, keys, values);
  checkWithin("place", places, keys.size(2));
  TORCH_CHECK(k.size(0) <= keys.size(0), "a cache of ", keys.size(0), " rows has none for ", k.size(0));
  const int64_t group = queries.size(1) / k.size(1);
  TORCH_CHECK(queries.dim() == 3 && queries.size(0) == k.size(0) && queries.size(1) == group * k.size(1) &&
                  queries.size(2) == k.size(2) && queries.scalar_type() == at::kBFloat16 && places.numel() == k.size(0) &&
                  seen.scalar_type() == at::kInt && seen.is_contiguous() && seen.numel() == kSeenNumbers * k.size(0),
              "queries ", queries.sizes(), " do not go with keys ", k.sizes());
  const auto q = dense(queries), from = dense(k), other = dense(v);
  const auto cache = cacheOf(keys, values);
  const auto* ranges = static_cast<const Seen*>(seen.const_data_ptr());
  auto out = at::empty(q.sizes(), q.options());
  const Sizes size{q.size(0), q.size(1), cache.kvHeads, cache.dim, cache.capacity, float(scale)};
  parallel::parallel_for(0, q.size(0) * cache.kvHeads, 2, [&](int64_t first, int64_t end) {
    kernels().decode(cache, size, headsOf(q), headsOf(from), headsOf(other), ranges, places.const_data_ptr<int32_t>(), headsOf(out),
                     first, end);
  });
  return out;
}

namespace {

TORCH_LIBRARY_FRAGMENT(plumbline, library) {
  if (!cpu::hasKernels()) return;
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
