// Fused kernels, where libtorch's operators would make many passes over memory. Their loops are written so that the
// compiler vectorises them. Each has an equivalent in tensor operators, in the TypeScript file named below, which its
// test compares with.
#include <ATen/ATen.h>
#include <ATen/TensorIterator.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "attend-step.h"
#include "cpu.h"
#include "parallel.h"
#include "products.h"

using at::Tensor;
using cpu::vectorised;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

// One AdamW step on bfloat16 weights whose float32 master is split in two halves: the weight, which is the master
// rounded to bfloat16, and `low`, the difference of their bits. Uses 2 bytes per weight less than a separate master,
// and a third of the time of casting, stepping and casting back. In tensor operators: src/nn/adamw.ts.
struct AdamW {
  float rate, beta1, beta2, eps, decay, scale, overCorrection2;  // rate: lr over the first moment's correction
};

__attribute__((always_inline)) inline void adamwRow(uint16_t* __restrict weight, int16_t* __restrict low,
                                                    float* __restrict m, float* __restrict v,
                                                    const uint16_t* __restrict gradient, int64_t count, const AdamW by) {
  for (int64_t i = 0; i < count; i++) {
    const auto master = __builtin_bit_cast(float, (uint32_t(weight[i]) << 16) + uint32_t(int32_t(low[i])));
    const float g = __builtin_bit_cast(float, uint32_t(gradient[i]) << 16) * by.scale;
    m[i] += (1 - by.beta1) * (g - m[i]);
    v[i] = by.beta2 * v[i] + (1 - by.beta2) * g * g;
    // Divisions and square roots take most of the time: only one of each.
    const float stepped = master - by.decay * master - by.rate * m[i] / (__builtin_sqrtf(v[i]) * by.overCorrection2 + by.eps);
    const auto bits = __builtin_bit_cast(uint32_t, stepped);
    weight[i] = uint16_t((bits + 0x8000) >> 16);
    low[i] = int16_t(bits - (uint32_t(weight[i]) << 16));
  }
}

void adamwSplitStep(Tensor& weight, Tensor& low, Tensor& m, Tensor& v, const Tensor& gradient, int64_t step, double lr,
                    double beta1, double beta2, double eps, double decay, double scale) {
  TORCH_CHECK(weight.scalar_type() == at::kBFloat16 && low.scalar_type() == at::kShort && m.scalar_type() == at::kFloat &&
                  v.scalar_type() == at::kFloat && gradient.scalar_type() == at::kBFloat16,
              "adamw_split_ takes bfloat16 weights and gradients, int16 low halves, and float32 moments");
  for (const auto* one : std::initializer_list<const Tensor*>{&weight, &low, &m, &v})
    TORCH_CHECK(one->is_contiguous() && one->sizes() == gradient.sizes(), "adamw_split_ takes contiguous tensors of one shape");
  const AdamW by{float(lr / (1 - std::pow(beta1, double(step)))), float(beta1), float(beta2), float(eps), float(lr * decay),
                 float(scale), float(1 / std::sqrt(1 - std::pow(beta2, double(step))))};
  // The iterator divides the work among libtorch's threads.
  auto iterator = at::TensorIteratorConfig()
                      .check_all_same_dtype(false)
                      .resize_outputs(false)
                      .add_output(weight)
                      .add_output(low)
                      .add_output(m)
                      .add_output(v)
                      .add_owned_const_input(gradient.contiguous())
                      .build();
  iterator.for_each([&](char** data, const int64_t*, int64_t count) {
    vectorised<adamwRow>((uint16_t*)data[0], (int16_t*)data[1], (float*)data[2], (float*)data[3], (const uint16_t*)data[4],
                         count, by);
  });
}

// Log-probabilities of targets under softmax(logits / temperature), and the entropies of that softmax, without a
// float32 copy of the logits: reads them once, and for the gradient reads and writes them once more. libtorch's
// operators take six passes over float32 copies. In tensor operators: src/math/logprobs.ts.

inline float wide(float x) { return x; }
inline float wide(uint16_t x) { return __builtin_bit_cast(float, uint32_t(x) << 16); }
inline void narrow(float x, float& to) { to = x; }
inline void narrow(float x, uint16_t& to) {
  const auto bits = __builtin_bit_cast(uint32_t, x);
  to = uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

constexpr float kLeast = -87;  // e^−87 is nearly float's least normal number

// Computes e^x for kLeast <= x <= 0 with a relative error below 2e-7: 2^n · e^r with |r| <= ln 2 / 2, e^r by its
// Taylor series.
__attribute__((always_inline)) inline float expNegative(float x) {
  const float shifted = x * 1.44269504f + 12582912.0f;  // its low bits are the nearest integer
  const float n = shifted - 12582912.0f;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  const float series =
      1 + r * (1 + r * (0.5f + r * (1.0f / 6 + r * (1.0f / 24 + r * (1.0f / 120 + r * (1.0f / 720 + r * (1.0f / 5040)))))));
  return series * __builtin_bit_cast(float, (__builtin_bit_cast(int32_t, shifted) - 0x4b400000 + 127) << 23);
}

__attribute__((always_inline)) inline float sigmoid(float x) {
  const float below = x < 0 ? x : -x;
  const float e = expNegative(below < kLeast ? kLeast : below);
  return (x < 0 ? e : 1) / (1 + e);
}

constexpr int64_t kChunk = 256;  // of a row's weights are added up in float32

struct RowSums {
  float most, sum, weighted;  // Σ e^(x − most), Σ e^(x − most) · (x − most)
};

// `omp simd` allows the compiler to reorder additions, without which it does not vectorise sums.
template <typename T>
__attribute__((always_inline)) inline float mostOf(const T* __restrict x, int64_t count) {
  float most = -INFINITY;
#pragma omp simd reduction(max : most)
  for (int64_t i = 0; i < count; i++) most = wide(x[i]) > most ? wide(x[i]) : most;
  return most;
}

// (x − most) · rate, at least kLeast; and its exponential, 0 at kLeast.
template <typename T>
__attribute__((always_inline)) inline float exponentOf(T x, float most, float rate) {
  const float under = (wide(x) - most) * rate;
  return under < kLeast ? kLeast : under;  // this way round NaN stays NaN
}
template <typename T>
__attribute__((always_inline)) inline float weightOf(T x, float most, float rate) {
  return (wide(x) - most) * rate < kLeast ? 0 : expNegative(exponentOf(x, most, rate));
}

// Sums up to kChunk logits. Both loss and sampling sum rows by these chunks, so that their results have the same bits.
template <typename T>
__attribute__((always_inline)) inline RowSums sumChunk(const T* __restrict x, int64_t count, float most, float rate) {
  float sum = 0, weighted = 0;
#pragma omp simd reduction(+ : sum, weighted)
  for (int64_t i = 0; i < count; i++) {
    const float e = weightOf(x[i], most, rate);
    sum += e;
    weighted += e * exponentOf(x[i], most, rate);
  }
  return {most, sum, weighted};
}

template <typename T>
__attribute__((always_inline)) inline RowSums sumRow(const T* __restrict x, int64_t count, float rate) {
  const float most = mostOf(x, count);
  double total = 0, weighted = 0;
  for (int64_t start = 0; start < count; start += kChunk) {
    const auto chunk = sumChunk(x + start, std::min(kChunk, count - start), most, rate);
    total += chunk.sum;
    weighted += chunk.weighted;
  }
  return {most, float(total), float(weighted)};
}

// Gradient of a target's log-probability with respect to the logits, times `scale`: (one-hot target − softmax) · scale.
template <typename T>
__attribute__((always_inline)) inline void slopeRow(const T* __restrict x, T* __restrict slope, int64_t count,
                                                    int64_t target, float rate, float most, float log, float scale) {
  const auto p = [&](int64_t i) __attribute__((always_inline)) {
    const float logprob = (wide(x[i]) - most) * rate - log;  // exact where logits are large
    return expNegative(logprob > 0 ? 0 : logprob < kLeast ? kLeast : logprob);
  };
  for (int64_t i = 0; i < count; i++) narrow(-scale * p(i), slope[i]);
  narrow(scale * (1 - p(target)), slope[target]);
}

// Returns log-probs, entropies, 1 where no token is more likely than the target, and for the gradient (2, tokens): the
// maximum logit m and log Σ exp((logits − m) / temperature).
using FourTensors = std::tuple<Tensor, Tensor, Tensor, Tensor>;
FourTensors logprobsForward(const Tensor& logits, const Tensor& targets, double temperature) {
  const bool narrowed = logits.scalar_type() == at::kBFloat16;
  TORCH_CHECK(logits.dim() == 2 && (narrowed || logits.scalar_type() == at::kFloat),
              "logprobs takes bfloat16 or float32 logits (tokens, vocab)");
  TORCH_CHECK(targets.scalar_type() == at::kLong && targets.dim() == 1 && targets.size(0) == logits.size(0),
              "logprobs takes one int64 target for each row of logits");
  const auto x = logits.contiguous();
  const auto which = targets.contiguous();
  const int64_t rows = x.size(0), vocab = x.size(1);
  auto all = at::empty({5, rows}, at::kFloat);
  const float rate = 1 / float(temperature);
  const auto* target = which.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < rows; i++)
    TORCH_CHECK_INDEX(target[i] >= 0 && target[i] < vocab, "target ", target[i], " is not in a vocabulary of ", vocab);
  const auto* bits = static_cast<const uint16_t*>(narrowed ? x.const_data_ptr() : nullptr);
  const auto* floats = static_cast<const float*>(narrowed ? nullptr : x.const_data_ptr());
  auto* logprob = all.mutable_data_ptr<float>();
  auto *entropy = logprob + rows, *correct = entropy + rows, *most = correct + rows, *logs = most + rows;
  parallel::parallel_for(0, rows, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
      const auto sums = narrowed ? vectorised<sumRow<uint16_t>>(bits + i * vocab, vocab, rate)
                                 : vectorised<sumRow<float>>(floats + i * vocab, vocab, rate);
      const float at = narrowed ? wide(bits[i * vocab + target[i]]) : floats[i * vocab + target[i]];
      const float log = std::log(sums.sum);
      logprob[i] = (at - sums.most) * rate - log;
      entropy[i] = log - sums.weighted / sums.sum;
      correct[i] = at == sums.most;
      most[i] = sums.most;
      logs[i] = log;
    }
  });
  return {all[0], all[1], all[2], all.slice(0, 3)};
}

struct Logprobs : torch::autograd::Function<Logprobs> {
  static variable_list forward(AutogradContext* context, const Tensor& logits,
                                                const Tensor& targets, double temperature) {
    at::AutoDispatchBelowADInplaceOrView below;
    auto [logprobs, entropies, correct, sums] = logprobsForward(logits, targets, temperature);
    context->save_for_backward({logits, targets, sums});
    context->saved_data["temperature"] = temperature;
    context->mark_non_differentiable({entropies, correct, sums});
    return {logprobs, entropies, correct, sums};
  }

  static variable_list backward(AutogradContext* context,
                                                 variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto x = saved[0].contiguous(), which = saved[1].contiguous(), gradient = gradients[0].contiguous();
    const bool narrowed = x.scalar_type() == at::kBFloat16;
    const float rate = 1 / float(context->saved_data["temperature"].toDouble());
    auto slope = at::empty_like(x);
    const int64_t vocab = x.size(1);
    const auto* target = which.const_data_ptr<int64_t>();
    const auto *most = saved[2].const_data_ptr<float>(), *logs = most + x.size(0), *by = gradient.const_data_ptr<float>();
    const auto* in = x.const_data_ptr();
    auto* out = slope.mutable_data_ptr();
    parallel::parallel_for(0, x.size(0), 1, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; i++) {
        const int64_t at = i * vocab;
        const float scale = by[i] * rate;
        if (narrowed)
          vectorised<slopeRow<uint16_t>>((const uint16_t*)in + at, (uint16_t*)out + at, vocab, target[i], rate, most[i],
                                         logs[i], scale);
        else
          vectorised<slopeRow<float>>((const float*)in + at, (float*)out + at, vocab, target[i], rate, most[i], logs[i],
                                      scale);
      }
    });
    return {slope, Tensor(), Tensor()};
  }
};

FourTensors logprobsRecorded(const Tensor& logits, const Tensor& targets, double temperature) {
  const auto out = Logprobs::apply(logits, targets, temperature);
  return {out[0], out[1], out[2], out[3]};
}

// ---- operators of a transformer block besides matrix products: src/nn/block.ts ----

void checkDense(const char* what, std::initializer_list<const Tensor*> all) {
  for (const auto* x : all)
    TORCH_CHECK((x->scalar_type() == at::kBFloat16 || x->scalar_type() == at::kFloat) &&
                    x->scalar_type() == (*all.begin())->scalar_type(),
                what, " takes bfloat16 or float32 tensors, all of one type");
}

// Calls `work` with the element type of the tensor: uint16_t for the bits of bfloat16.
template <class Work>
void typed(const Tensor& x, Work work) {
  if (x.scalar_type() == at::kBFloat16) work(uint16_t{});
  else work(float{});
}

template <class T>
const T* in(const Tensor& x) { return static_cast<const T*>(x.const_data_ptr()); }
template <class T>
T* out(Tensor& x) { return static_cast<T*>(x.mutable_data_ptr()); }

constexpr int64_t kGrain = 8;  // rows for which a second thread is worth its start

template <class T>
__attribute__((always_inline)) inline void normRow(const T* __restrict x, const T* __restrict weight, T* __restrict y,
                                                   int64_t width, float eps, float* rate) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < width; i++) squares += wide(x[i]) * wide(x[i]);
  const float by = 1 / __builtin_sqrtf(squares / width + eps);
  for (int64_t i = 0; i < width; i++) narrow(wide(x[i]) * by * wide(weight[i]), y[i]);
  *rate = by;
}

// With n = x · rate and h = g · weight: dx = rate · (h − n · mean(h · n)); dweight += g · n.
template <class T>
__attribute__((always_inline)) inline void normSlopeRow(const T* __restrict x, const T* __restrict weight,
                                                        const T* __restrict g, T* __restrict dx, float* __restrict dweight,
                                                        int64_t width, float rate) {
  float along = 0;
#pragma omp simd reduction(+ : along)
  for (int64_t i = 0; i < width; i++) along += wide(g[i]) * wide(weight[i]) * wide(x[i]);
  along *= rate * rate / width;
  for (int64_t i = 0; i < width; i++) {
    dweight[i] += wide(g[i]) * wide(x[i]) * rate;
    narrow(rate * (wide(g[i]) * wide(weight[i]) - wide(x[i]) * along), dx[i]);
  }
}

std::tuple<Tensor, Tensor> rmsNormForward(const Tensor& x, const Tensor& weight, double eps) {
  checkDense("rms_norm", {&x, &weight});
  const int64_t width = weight.numel(), rows = x.numel() / width;
  TORCH_CHECK(x.dim() == 2 && x.size(1) == width, "rms_norm: ", x.sizes(), " does not go with ", weight.sizes());
  const auto from = x.contiguous(), by = weight.contiguous();
  auto y = at::empty_like(from);
  auto rates = at::empty({rows}, x.options().dtype(at::kFloat));
  typed(x, [&](auto type) {
    using T = decltype(type);
    parallel::parallel_for(0, rows, kGrain, [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; r++)
        vectorised<normRow<T>>(in<T>(from) + r * width, in<T>(by), out<T>(y) + r * width, width, float(eps),
                               out<float>(rates) + r);
    });
  });
  return {y, rates};
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight, double eps) {
    at::AutoDispatchBelowADInplaceOrView below;
    auto [y, rates] = rmsNormForward(x, weight, eps);
    context->save_for_backward({x, weight, rates});
    return y;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto x = saved[0].contiguous(), weight = saved[1].contiguous(), g = gradients[0].contiguous();
    const int64_t width = weight.numel(), rows = x.size(0);
    auto dx = at::empty_like(x);
    // Sums of blocks of rows, added in order: the same bits with any number of threads.
    constexpr int64_t block = 64;
    std::vector<std::vector<float>> sums((rows + block - 1) / block);
    typed(x, [&](auto type) {
      using T = decltype(type);
      parallel::parallel_for(0, sums.size(), 1, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; i++) {
          sums[i].assign(width, 0);
          for (int64_t r = i * block; r < std::min(rows, (i + 1) * block); r++)
            vectorised<normSlopeRow<T>>(in<T>(x) + r * width, in<T>(weight), in<T>(g) + r * width, out<T>(dx) + r * width,
                                        sums[i].data(), width, in<float>(saved[2])[r]);
        }
      });
    });
    if (!context->needs_input_grad(1)) return {dx, Tensor(), Tensor()};
    auto dweight = at::zeros({width}, x.options().dtype(at::kFloat));
    for (const auto& sum : sums)
      for (int64_t i = 0; i < width; i++) out<float>(dweight)[i] += sum[i];
    return {dx, dweight.to(weight.scalar_type()), Tensor()};
  }
};

template <class T>
__attribute__((always_inline)) inline void gateRow(const T* __restrict gate, const T* __restrict up, T* __restrict y,
                                                   int64_t count) {
  for (int64_t i = 0; i < count; i++) narrow(wide(gate[i]) * sigmoid(wide(gate[i])) * wide(up[i]), y[i]);
}

template <class T>
__attribute__((always_inline)) inline void gateSlopeRow(const T* __restrict gate, const T* __restrict up,
                                                        const T* __restrict g, T* __restrict dgate, T* __restrict dup,
                                                        int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    const float x = wide(gate[i]), s = sigmoid(x), by = wide(g[i]);
    narrow(by * x * s, dup[i]);
    narrow(by * wide(up[i]) * s * (1 + x * (1 - s)), dgate[i]);
  }
}

// Fewest numbers of an elementwise operation that are worth a thread.
constexpr int64_t kNumbersGrain = 4096;

Tensor swigluForward(const Tensor& gates, const Tensor& ups) {
  checkDense("swiglu", {&gates, &ups});
  TORCH_CHECK(gates.sizes() == ups.sizes(), "swiglu: ", gates.sizes(), " does not go with ", ups.sizes());
  const auto x = gates.contiguous(), up = ups.contiguous();
  auto y = at::empty_like(x);
  typed(x, [&](auto type) {
    using T = decltype(type);
    parallel::parallel_for(0, x.numel(), kNumbersGrain, [&](int64_t first, int64_t last) {
      vectorised<gateRow<T>>(in<T>(x) + first, in<T>(up) + first, out<T>(y) + first, last - first);
    });
  });
  return y;
}

variable_list swigluSlopes(const Tensor& gates, const Tensor& ups, const Tensor& gradient) {
  const auto x = gates.contiguous(), up = ups.contiguous(), g = gradient.contiguous();
  auto dx = at::empty_like(x), dup = at::empty_like(x);
  typed(x, [&](auto type) {
    using T = decltype(type);
    parallel::parallel_for(0, x.numel(), kNumbersGrain, [&](int64_t first, int64_t last) {
      vectorised<gateSlopeRow<T>>(in<T>(x) + first, in<T>(up) + first, in<T>(g) + first, out<T>(dx) + first,
                                  out<T>(dup) + first, last - first);
    });
  });
  return {dx, dup};
}

struct Swiglu : torch::autograd::Function<Swiglu> {
  static Tensor forward(AutogradContext* context, const Tensor& gate, const Tensor& up) {
    at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({gate, up});
    return swigluForward(gate, up);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    return swigluSlopes(saved[0], saved[1], gradients[0]);
  }
};

bool areBfloat16(const Tensor& a, const Tensor& b) {
  return cpu::hasKernels() && a.scalar_type() == at::kBFloat16 && b.scalar_type() == at::kBFloat16;
}
bool ours(const Tensor& a, const Tensor& b) { return areBfloat16(a, b) && b.is_contiguous(); }

// Whether b is a view of a transposed matrix, as GPT-2's weights are.
bool isTransposed(const Tensor& a, const Tensor& b) {
  return areBfloat16(a, b) && b.dim() == 2 && !b.is_contiguous() && b.t().is_contiguous();
}

Tensor product(const Tensor& a, const Tensor& b);

// Allocates the result of a linear layer: (rows, out). bias may be undefined. All are in bfloat16 and contiguous.
std::pair<Tensor, LinearLayer> layerOf(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  TORCH_CHECK(x.dim() == 2 && weight.dim() == 2 && x.size(1) == weight.size(1) && (!bias.defined() || bias.numel() == weight.size(0)),
              "linear: ", x.sizes(), " does not go with ", weight.sizes());
  auto y = at::empty({x.size(0), weight.size(0)}, x.options());
  return {y, {in<uint16_t>(weight), bias.defined() ? in<uint16_t>(bias) : nullptr, weight.size(0), out<uint16_t>(y)}};
}

// x (rows, in) · weightᵀ (in, out) + bias.
Tensor linearForward(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias) {
  if (isTransposed(x, weight)) {
    auto y = product(x, weight.t());
    return bias ? y.add_(*bias) : y;
  }
  if (!ours(x, weight)) return at::linear(x, weight, bias);
  const auto from = x.contiguous();
  const auto added = bias ? bias->contiguous() : Tensor();
  auto [y, layer] = layerOf(from, weight, added);
  products().linear(in<uint16_t>(from), x.size(0), x.size(1), {layer});
  return y;
}

// a (rows, sums) · b (sums, columns): the input gradient of a linear layer, from its output gradient.
Tensor product(const Tensor& a, const Tensor& b) {
  if (isTransposed(a, b)) return linearForward(a, b.t(), std::nullopt);
  if (!ours(a, b)) return at::mm(a, b);
  const auto from = a.contiguous();
  auto c = at::empty({a.size(0), b.size(1)}, a.options());
  products().multiply(in<uint16_t>(from), in<uint16_t>(b), a.size(0), a.size(1), b.size(1), out<uint16_t>(c));
  return c;
}

// aᵀ (rows, sums) · b (sums, columns): the weight gradient of a linear layer.
Tensor productTransposed(const Tensor& a, const Tensor& b) {
  if (!ours(a, b)) return at::mm(a.t(), b);
  const auto from = a.contiguous();
  auto c = at::empty({a.size(1), b.size(1)}, a.options());
  products().multiplyTransposed(in<uint16_t>(from), in<uint16_t>(b), a.size(1), a.size(0), b.size(1), out<uint16_t>(c));
  return c;
}

// With and without gradients the results have the same bits: both call linearForward.
struct Linear : torch::autograd::Function<Linear> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias) {
    at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({x, weight});
    context->saved_data["bias"] = bias.has_value();
    return linearForward(x, weight, bias);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto& g = gradients[0];
    const auto needed = [&](size_t i, auto make) { return context->needs_input_grad(i) ? make() : Tensor(); };
    return {needed(0, [&] { return product(g, saved[1]); }), needed(1, [&] { return productTransposed(g, saved[0]); }),
            context->saved_data["bias"].toBool() ? needed(2, [&] { return g.sum(0); }) : Tensor()};
  }
};

// swiglu(gate, up) · weightᵀ, whose backward recomputes the gated activations instead of saving them: a fifth of the
// activations that a block saves.
struct SwigluLinear : torch::autograd::Function<SwigluLinear> {
  static Tensor forward(AutogradContext* context, const Tensor& gate, const Tensor& up, const Tensor& weight) {
    at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({gate, up, weight});
    return linearForward(swigluForward(gate, up), weight, std::nullopt);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &gate = saved[0], &up = saved[1], &weight = saved[2], &g = gradients[0];
    const auto dweight = context->needs_input_grad(2) ? productTransposed(g, swigluForward(gate, up)) : Tensor();
    auto slopes = swigluSlopes(gate, up, product(g, weight));
    return {slopes[0], slopes[1], dweight};
  }
};

// ---- weights quantised to 8 or 4 bits: src/nn/quantise.ts ----

constexpr int64_t kBlock = 64;  // weights that share a scale

// Dequantises a row of `blocks` times 64 weights. 8 bits: int8 · scale. 4 bits: `codes`[index] · scale, two indices
// per byte, the first in the low half.
template <class T>
void dequantiseRows(const uint8_t* values, const float* scales, const float* codes, int64_t blocks, int64_t bits, T* to) {
  for (int64_t b = 0; b < blocks; b++, to += kBlock)
    if (bits == 8)
      for (int64_t i = 0; i < kBlock; i++) narrow(float(int8_t(values[b * kBlock + i])) * scales[b], to[i]);
    else {
      T table[16];
      for (int i = 0; i < 16; i++) narrow(codes[i] * scales[b], table[i]);
      for (int64_t i = 0; i < kBlock / 2; i++) {
        const uint8_t pair = values[b * kBlock / 2 + i];
        to[2 * i] = table[pair & 15];
        to[2 * i + 1] = table[pair >> 4];
      }
    }
}

// Dequantises to (out, in) in bfloat16 or float32. values: uint8 (out, in · bits / 8), scales: float32 (out, in / 64),
// codes: float32 (16), for 4 bits.
Tensor dequantise(const Tensor& values, const Tensor& scales, const Tensor& codes, at::ScalarType dtype) {
  TORCH_CHECK(values.scalar_type() == at::kByte && values.is_contiguous() && scales.scalar_type() == at::kFloat &&
                  scales.is_contiguous() && values.dim() == 2 && scales.dim() == 2 && values.size(0) == scales.size(0) &&
                  codes.scalar_type() == at::kFloat && codes.numel() == 16 && (dtype == at::kBFloat16 || dtype == at::kFloat),
              "dequantise takes uint8 values, float32 scales and 16 float32 codes, and gives bfloat16 or float32");
  const int64_t rows = values.size(0), blocks = scales.size(1), bytes = values.size(1);
  const int64_t bits = bytes == blocks * kBlock ? 8 : 4;
  TORCH_CHECK(bits == 8 || bytes * 2 == blocks * kBlock, "dequantise: ", values.sizes(), " does not go with ", scales.sizes());
  auto weight = at::empty({rows, blocks * kBlock}, values.options().dtype(dtype));
  typed(weight, [&](auto type) {
    using T = decltype(type);
    parallel::parallel_for(0, rows, 8, [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; r++)
        dequantiseRows(in<uint8_t>(values) + r * bytes, in<float>(scales) + r * blocks, in<float>(codes), blocks, bits,
                       out<T>(weight) + r * blocks * kBlock);
    });
  });
  return weight;
}

Tensor quantisedForward(const Tensor& x, const Tensor& values, const Tensor& scales, const Tensor& codes) {
  return linearForward(x, dequantise(values, scales, codes, x.scalar_type()), std::nullopt);
}

// Weights are dequantised for one layer at a time, and again in backward.
struct QuantisedLinear : torch::autograd::Function<QuantisedLinear> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& values, const Tensor& scales, const Tensor& codes) {
    at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({values, scales, codes});
    return quantisedForward(x, values, scales, codes);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    return {product(gradients[0], dequantise(saved[0], saved[1], saved[2], gradients[0].scalar_type())), Tensor(), Tensor(), Tensor()};
  }
};

// Rotates the heads of one token by its angles; `sign` −1 rotates back. cos and sin: for half of a head's channels.
template <class T>
__attribute__((always_inline)) inline void turnRow(const T* __restrict x, int64_t stride, const float* __restrict cos,
                                                   const float* __restrict sin, T* __restrict y, int64_t heads, int64_t half,
                                                   float sign) {
  for (int64_t h = 0; h < heads; h++, x += stride, y += 2 * half)
    for (int64_t i = 0; i < half; i++) {
      const float a = wide(x[i]), b = wide(x[half + i]), s = sign * sin[i];
      narrow(a * cos[i] - b * s, y[i]);
      narrow(b * cos[i] + a * s, y[half + i]);
    }
}

Tensor rotated(const Tensor& given, const Tensor& angles, float sign) {
  checkDense("rotate", {&given});
  TORCH_CHECK(given.dim() == 3 && given.size(2) % 2 == 0 && angles.scalar_type() == at::kFloat && angles.is_contiguous() &&
                  angles.numel() == given.size(0) * given.size(2),
              "rotate: heads ", given.sizes(), " do not go with angles ", angles.sizes());
  const auto x = given.stride(2) == 1 ? given : given.contiguous();
  const int64_t heads = x.size(1), width = x.size(2);
  auto y = at::empty(x.sizes(), x.options());
  typed(x, [&](auto type) {
    using T = decltype(type);
    parallel::parallel_for(0, x.size(0), kGrain, [&](int64_t first, int64_t last) {
      for (int64_t t = first; t < last; t++) {
        const auto* cos = in<float>(angles) + t * width;
        vectorised<turnRow<T>>(in<T>(x) + t * x.stride(0), x.stride(1), cos, cos + width / 2, out<T>(y) + t * heads * width, heads,
                               width / 2, sign);
      }
    });
  });
  return y;
}

Tensor rotateForward(const Tensor& x, const Tensor& angles) { return rotated(x, angles, 1); }

struct Rotate : torch::autograd::Function<Rotate> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& angles) {
    at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({angles});
    return rotated(x, angles, 1);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {rotated(gradients[0], context->get_saved_variables()[0], -1), Tensor()};
  }
};

// ---- decoding step: attention of one new token per row to its row's cache: src/rollout/cache.ts ----

// Attention of the heads that share keys, (group, dim), to `count` keys, (count, dim). With the width known at compile
// time (kDim) the loops over it are a few vector instructions; otherwise they are five times slower.
template <int64_t kDim, typename T>
__attribute__((always_inline)) inline void attendTo(const T* q, const T* keys, const T* values, int64_t count,
                                                    int64_t group, int64_t given, float scale, float* scores, float* room, T* y) {
  const int64_t dim = kDim ? kDim : given;
  float* __restrict one = room;
  float* __restrict asked = room + dim;
  float* __restrict sums = asked + group * dim;
  for (int64_t i = 0; i < group * dim; i++) asked[i] = wide(q[i]) * scale, sums[i] = 0;
  for (int64_t j = 0; j < count; j++) {
    for (int64_t i = 0; i < dim; i++) one[i] = wide(keys[j * dim + i]);
    for (int64_t g = 0; g < group; g++) {
      float score = 0;
#pragma omp simd reduction(+ : score)
      for (int64_t i = 0; i < dim; i++) score += asked[g * dim + i] * one[i];
      scores[g * count + j] = score;
    }
  }
  for (int64_t g = 0; g < group; g++) {
    float* __restrict row = scores + g * count;
    float most = -INFINITY, sum = 0;
#pragma omp simd reduction(max : most)
    for (int64_t j = 0; j < count; j++) most = row[j] > most ? row[j] : most;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; j++) {
      const float under = row[j] - most;
      row[j] = expNegative(under < kLeast ? kLeast : under);
      sum += row[j];
    }
    for (int64_t j = 0; j < count; j++) row[j] /= sum;
  }
  for (int64_t j = 0; j < count; j++) {
    for (int64_t i = 0; i < dim; i++) one[i] = wide(values[j * dim + i]);
    for (int64_t g = 0; g < group; g++) {
      const float p = scores[g * count + j];
#pragma omp simd
      for (int64_t i = 0; i < dim; i++) sums[g * dim + i] += p * one[i];
    }
  }
  for (int64_t i = 0; i < group * dim; i++) narrow(sums[i], y[i]);
}

template <typename T>
__attribute__((always_inline)) inline void attendRow(const T* q, const T* keys, const T* values, int64_t count,
                                                     int64_t group, int64_t dim, float scale, float* scores, float* room, T* y) {
  if (dim == 64) attendTo<64>(q, keys, values, count, group, dim, scale, scores, room, y);
  else if (dim == 128) attendTo<128>(q, keys, values, count, group, dim, scale, scores, room, y);
  else attendTo<0>(q, keys, values, count, group, dim, scale, scores, room, y);
}

// Appends the new key and value of each row to the cache, (rows, kvHeads, capacity, dim), and attends to the last
// `window` of them. `lengths`: number of keys in each row before. q, k and v: (rows, heads, dim).
Tensor attendCached(const Tensor& q, const Tensor& k, const Tensor& v, Tensor& keys, Tensor& values, const Tensor& lengths,
                    int64_t window, double scale) {
  checkDense("attend_cached", {&q, &k, &v, &keys, &values});
  const int64_t rows = q.size(0), heads = q.size(1), kvHeads = k.size(1), dim = q.size(2);
  const int64_t capacity = keys.size(2), group = heads / kvHeads;
  TORCH_CHECK(keys.is_contiguous() && values.is_contiguous() && keys.size(0) >= rows && keys.size(1) == kvHeads &&
                  keys.size(3) == dim && values.sizes() == keys.sizes() && lengths.scalar_type() == at::kLong && lengths.numel() == rows && heads == group * kvHeads,
              "attend_cached: queries ", q.sizes(), " do not go with a cache ", keys.sizes());
  const auto asked = q.contiguous(), newKeys = k.contiguous(), newValues = v.contiguous(), before = lengths.contiguous();
  for (int64_t r = 0; r < rows; r++)
    TORCH_CHECK(in<int64_t>(before)[r] >= 0 && in<int64_t>(before)[r] < capacity, "attend_cached: row ", r, " is full");
  auto y = at::empty({rows, heads * dim}, q.options());
  typed(q, [&](auto type) {
    using T = decltype(type);
    parallel::parallel_for(0, rows * kvHeads, 2, [&](int64_t first, int64_t last) {
      std::vector<float> scores(group * capacity), room((2 * group + 1) * dim);
      for (int64_t i = first; i < last; i++) {
        const int64_t at = in<int64_t>(before)[i / kvHeads];
        T *rowKeys = out<T>(keys) + i * capacity * dim, *rowValues = out<T>(values) + i * capacity * dim;
        std::memcpy(rowKeys + at * dim, in<T>(newKeys) + i * dim, dim * sizeof(T));
        std::memcpy(rowValues + at * dim, in<T>(newValues) + i * dim, dim * sizeof(T));
        const int64_t from = std::max<int64_t>(0, at + 1 - window);
        vectorised<attendRow<T>>(in<T>(asked) + i * group * dim, rowKeys + from * dim, rowValues + from * dim,
                                 at + 1 - from, group, dim, float(scale), scores.data(), room.data(),
                                 out<T>(y) + i * group * dim);
      }
    });
  });
  return y;
}

// ---- the global norm of gradients ----

template <class T>
__attribute__((always_inline)) inline void squaresRow(const T* __restrict x, int64_t count, double* sum) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < count; i++) squares += wide(x[i]) * wide(x[i]);
  *sum += squares;
}

// Global L2 norm: √ Σ x² over all elements of all tensors. Sums of blocks are added in float64.
double globalNorm(at::TensorList all) {
  constexpr int64_t block = 4096;
  double total = 0;
  for (const Tensor& one : all) {
    checkDense("global_norm", {&one});
    const auto x = one.contiguous();
    std::vector<double> sums((x.numel() + block - 1) / block);
    typed(x, [&](auto type) {
      using T = decltype(type);
      parallel::parallel_for(0, sums.size(), 16, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; i++)
          vectorised<squaresRow<T>>(in<T>(x) + i * block, std::min(block, x.numel() - i * block), &sums[i]);
      });
    });
    for (const double sum : sums) total += sum;
  }
  return std::sqrt(total);
}

// Records for backward only where a gradient is required: recording takes several microseconds.
template <class... Of>
bool recording(const Of&... inputs) {
  return at::GradMode::is_enabled() && (inputs.requires_grad() || ...);
}

Tensor rmsNormRecorded(const Tensor& x, const Tensor& weight, double eps) {
  if (recording(x, weight)) return RmsNorm::apply(x, weight, eps);
  at::AutoDispatchBelowADInplaceOrView below;
  return std::get<0>(rmsNormForward(x, weight, eps));
}
Tensor rmsNormPlain(const Tensor& x, const Tensor& weight, double eps) { return std::get<0>(rmsNormForward(x, weight, eps)); }

// Adds rows of g to rows `ids` of the table's gradient. Rows with the same id are summed in float32 first, so that
// each sum is rounded once.
void addRows(Tensor& gradient, const Tensor& ids, const Tensor& g) {
  const int64_t width = g.size(1);
  std::vector<std::pair<int64_t, int64_t>> order(ids.numel());  // (id, row of g)
  for (int64_t i = 0; i < ids.numel(); i++) order[i] = {in<int64_t>(ids)[i], i};
  std::sort(order.begin(), order.end());
  std::vector<size_t> starts;
  for (size_t i = 0; i < order.size(); i++)
    if (!i || order[i].first != order[i - 1].first) starts.push_back(i);
  typed(g, [&](auto type) {
    using T = decltype(type);
    parallel::parallel_for(0, starts.size(), kGrain, [&](int64_t from, int64_t to) {
      std::vector<float> sums(width);
      for (int64_t n = from; n < to; n++) {
        const size_t end = n + 1 < int64_t(starts.size()) ? starts[n + 1] : order.size();
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (size_t i = starts[n]; i < end; i++)
          for (int64_t c = 0; c < width; c++) sums[c] += wide(in<T>(g)[order[i].second * width + c]);
        T* row = out<T>(gradient) + order[starts[n]].first * width;
        for (int64_t c = 0; c < width; c++) narrow(wide(row[c]) + sums[c], row[c]);
      }
    });
  });
}

// Embedding look-up. If the table is a parameter, the gradients of its rows are added to its .grad when backward ends.
// Otherwise autograd would allocate a gradient of the whole table, mostly zeros, and add it to that of the vocabulary
// head, if the table is tied to it.
struct Embedding : torch::autograd::Function<Embedding> {
  static Tensor forward(AutogradContext* context, const Tensor& table, const Tensor& ids) {
    at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({table, ids});
    return at::embedding(table, ids);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto table = saved[0], ids = saved[1].contiguous(), g = gradients[0].contiguous();
    if (!table.is_leaf()) return {at::embedding_dense_backward(g, ids, table.size(0), -1, false), Tensor()};
    torch::autograd::Engine::get_default_engine().queue_callback([table, ids, g] {
      const at::NoGradGuard guard;
      auto& gradient = table.mutable_grad();
      if (!gradient.defined()) gradient = at::zeros_like(table);
      addRows(gradient, ids, g);
    });
    return {Tensor(), Tensor()};
  }
};

// ---- sampling: src/rollout/sampling.ts ----

// Sums the weights e^((x − most) · rate) of a row by chunks.
template <class T>
__attribute__((always_inline)) inline void weighRow(const T* __restrict x, int64_t count, float rate, float* __restrict most,
                                                    float* __restrict chunks) {
  *most = mostOf(x, count);
  for (int64_t start = 0; start < count; start += kChunk)
    chunks[start / kChunk] = sumChunk(x + start, std::min(kChunk, count - start), *most, rate).sum;
}

// Finds the first token whose cumulative weight exceeds place · (sum of all weights): first the chunk, then the token
// in it.
template <class T>
int64_t findPlace(const T* x, int64_t count, float rate, float most, const std::vector<float>& chunks, double wanted) {
  double before = 0;
  size_t chunk = 0;
  while (chunk + 1 < chunks.size() && before + chunks[chunk] <= wanted) before += chunks[chunk++];
  int64_t found = -1;
  const int64_t start = chunk * kChunk, end = std::min(count, start + kChunk);
  for (int64_t i = start; i < end; i++) {
    const float weight = weightOf(x[i], most, rate);
    if (weight > 0) found = i;  // and the last one where rounding leads past the end
    before += weight;
    if (before > wanted) break;
  }
  if (found >= 0) return found;
  return std::max_element(x, x + count, [](T a, T b) { return wide(a) < wide(b); }) - x;
}

// Samples one token per row from softmax(logits / temperature) by inverting the cumulative distribution at `places`;
// returns tokens and log-probs.
std::tuple<Tensor, Tensor> drawTokens(const Tensor& logits, const Tensor& places, const Tensor& temperatures) {
  checkDense("draw", {&logits});
  const int64_t rows = logits.size(0), vocab = logits.size(1);
  TORCH_CHECK(logits.dim() == 2 && places.scalar_type() == at::kDouble && places.numel() == rows &&
                  temperatures.scalar_type() == at::kFloat && (temperatures.numel() == rows || temperatures.numel() == 1),
              "draw takes logits (rows, vocab), float64 places (rows) and float32 temperatures, one or (rows)");
  const auto x = logits.contiguous(), at = places.contiguous(), by = temperatures.contiguous();
  auto tokens = at::empty({rows}, logits.options().dtype(at::kLong));
  auto logprobs = at::empty({rows}, logits.options().dtype(at::kFloat));
  typed(x, [&](auto type) {
    using T = decltype(type);
    parallel::parallel_for(0, rows, 1, [&](int64_t from, int64_t to) {
      std::vector<float> chunks((vocab + kChunk - 1) / kChunk);
      for (int64_t r = from; r < to; r++) {
        const auto* row = in<T>(x) + r * vocab;
        const float rate = 1 / in<float>(by)[by.numel() == 1 ? 0 : r];
        float most;
        vectorised<weighRow<T>>(row, vocab, rate, &most, chunks.data());
        double total = 0;
        for (const float sum : chunks) total += sum;
        const auto token = findPlace(row, vocab, rate, most, chunks, in<double>(at)[r] * total);
        out<int64_t>(tokens)[r] = token;
        out<float>(logprobs)[r] = (wide(row[token]) - most) * rate - std::log(float(total));
      }
    });
  });
  return {tokens, logprobs};
}

Tensor swigluRecorded(const Tensor& gate, const Tensor& up) {
  if (recording(gate, up)) return Swiglu::apply(gate, up);
  at::AutoDispatchBelowADInplaceOrView below;
  return swigluForward(gate, up);
}

Tensor linearRecorded(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias) {
  if (recording(x, weight) || (bias && recording(*bias))) return Linear::apply(x, weight, bias);
  at::AutoDispatchBelowADInplaceOrView below;
  return linearForward(x, weight, bias);
}

Tensor quantisedRecorded(const Tensor& x, const Tensor& values, const Tensor& scales, const Tensor& codes) {
  if (recording(x)) return QuantisedLinear::apply(x, values, scales, codes);
  at::AutoDispatchBelowADInplaceOrView below;
  return quantisedForward(x, values, scales, codes);
}

Tensor swigluLinearPlain(const Tensor& gate, const Tensor& up, const Tensor& weight) {
  return linearForward(swigluForward(gate, up), weight, std::nullopt);
}
Tensor swigluLinearRecorded(const Tensor& gate, const Tensor& up, const Tensor& weight) {
  if (recording(gate, up, weight)) return SwigluLinear::apply(gate, up, weight);
  at::AutoDispatchBelowADInplaceOrView below;
  return swigluLinearPlain(gate, up, weight);
}

// ---- a decoding step: src/models/llama.ts ----

#ifdef PLUMBLINE_KERNELS

// x · weightᵀ of layers that take the same input.
std::vector<Tensor> linears(const Tensor& x, at::TensorList weights) {
  std::vector<Tensor> results;
  std::vector<LinearLayer> layers;
  for (const auto& weight : weights) {
    TORCH_CHECK(ours(x, weight) && x.is_contiguous(), "decode_block takes contiguous bfloat16");
    auto [y, layer] = layerOf(x, weight, Tensor());
    results.push_back(y);
    layers.push_back(layer);
  }
  products().linear(in<uint16_t>(x), x.size(0), x.size(1), layers);
  return results;
}

template <class T>
__attribute__((always_inline)) inline void addRow(const T* __restrict a, const T* __restrict b, T* __restrict y, int64_t count) {
  for (int64_t i = 0; i < count; i++) narrow(wide(a[i]) + wide(b[i]), y[i]);
}

// a + b, which at::add computes in one thread where there are few rows.
Tensor sum(const Tensor& a, const Tensor& b) {
  auto y = at::empty_like(a);
  parallel::parallel_for(0, a.numel(), kNumbersGrain, [&](int64_t first, int64_t last) {
    vectorised<addRow<uint16_t>>(in<uint16_t>(a) + first, in<uint16_t>(b) + first, out<uint16_t>(y) + first, last - first);
  });
  return y;
}

// A block of the llama family for one new token of each row, x (rows, width), by the functions of the operators that
// src/models/llama.ts calls in training: so the bits are the same. Those calls from JavaScript would take a quarter of a
// step. weights: of the attention's norm, q, k, v and o, and of the MLP's norm, gate, up and down. The other parameters are
// those of rms_norm, rotate and attend_step.
Tensor decodeBlock(const Tensor& x, at::TensorList weights, const Tensor& angles, Tensor& keys, Tensor& values,
                   const Tensor& seen, const Tensor& places, double eps, double scale) {
  TORCH_CHECK(weights.size() == 9 && keys.dim() == 4, "decode_block takes nine weights and a cache of four dimensions");
  TORCH_CHECK(x.dim() == 2 && x.is_contiguous() && weights[4].size(0) == x.size(1) && weights[8].size(0) == x.size(1),
              "decode_block: ", x.sizes(), " does not go with the weights");
  at::AutoDispatchBelowADInplaceOrView below;
  const auto heads = [&](const Tensor& h) { return h.view({h.size(0), -1, keys.size(3)}); };
  const auto qkv = linears(rmsNormPlain(x, weights[0], eps), weights.slice(1, 3));
  const auto attended = attendStep(rotateForward(heads(qkv[0]), angles), rotateForward(heads(qkv[1]), angles), heads(qkv[2]),
                                   keys, values, seen, places, scale);
  const auto y = sum(x, linearForward(attended.view({x.size(0), -1}), weights[4], std::nullopt));
  const auto gates = linears(rmsNormPlain(y, weights[5], eps), weights.slice(6, 2));
  return sum(y, swigluLinearPlain(gates[0], gates[1], weights[8]));
}
#endif

Tensor embeddingPlain(const Tensor& table, const Tensor& ids) { return at::embedding(table, ids); }
Tensor embeddingRecorded(const Tensor& table, const Tensor& ids) {
  TORCH_CHECK(ids.dim() == 1 && table.dim() == 2 && table.is_contiguous(), "embedding takes a table (vocab, width) and ids (tokens)");
  checkDense("embedding", {&table});
  if (recording(table)) return Embedding::apply(table, ids);
  at::AutoDispatchBelowADInplaceOrView below;
  return at::embedding(table, ids);
}

Tensor rotateRecorded(const Tensor& x, const Tensor& angles) {
  if (recording(x)) return Rotate::apply(x, angles);
  at::AutoDispatchBelowADInplaceOrView below;
  return rotateForward(x, angles);
}

TORCH_LIBRARY(plumbline, library) {
  const auto both = [&](const char* name, auto plain, auto recorded) {
    library.impl(name, c10::DispatchKey::CPU, plain);
    library.impl(name, c10::DispatchKey::AutogradCPU, recorded);
  };
  library.def("rms_norm(Tensor x, Tensor weight, float eps) -> Tensor");
  both("rms_norm", TORCH_FN(rmsNormPlain), TORCH_FN(rmsNormRecorded));
  library.def("swiglu(Tensor gate, Tensor up) -> Tensor");
  both("swiglu", TORCH_FN(swigluForward), TORCH_FN(swigluRecorded));
  library.def("linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor");
  both("linear", TORCH_FN(linearForward), TORCH_FN(linearRecorded));
  library.def("dequantise(Tensor values, Tensor scales, Tensor codes, ScalarType dtype) -> Tensor");
  library.impl("dequantise", c10::DispatchKey::CPU, TORCH_FN(dequantise));
  library.def("quantised_linear(Tensor x, Tensor values, Tensor scales, Tensor codes) -> Tensor");
  both("quantised_linear", TORCH_FN(quantisedForward), TORCH_FN(quantisedRecorded));
  library.def("swiglu_linear(Tensor gate, Tensor up, Tensor weight) -> Tensor");
  both("swiglu_linear", TORCH_FN(swigluLinearPlain), TORCH_FN(swigluLinearRecorded));
#ifdef PLUMBLINE_KERNELS
  if (cpu::hasKernels()) {
    library.def(
        "decode_block(Tensor x, Tensor[] weights, Tensor angles, Tensor(a!) keys, Tensor(b!) values, Tensor seen, "
        "Tensor places, float eps, float scale) -> Tensor");
    library.impl("decode_block", c10::DispatchKey::CPU, TORCH_FN(decodeBlock));
  }
#endif
  library.def("embedding(Tensor table, Tensor ids) -> Tensor");
  both("embedding", TORCH_FN(embeddingPlain), TORCH_FN(embeddingRecorded));
  library.def("rotate(Tensor x, Tensor angles) -> Tensor");
  both("rotate", TORCH_FN(rotateForward), TORCH_FN(rotateRecorded));
  library.def(
      "attend_cached(Tensor q, Tensor k, Tensor v, Tensor(a!) keys, Tensor(b!) values, Tensor lengths, int window, "
      "float scale) -> Tensor");
  library.impl("attend_cached", c10::DispatchKey::CPU, TORCH_FN(attendCached));
  library.def("draw(Tensor logits, Tensor places, Tensor temperatures) -> (Tensor, Tensor)");
  library.impl("draw", c10::DispatchKey::CPU, TORCH_FN(drawTokens));
  library.def("global_norm(Tensor[] tensors) -> float");
  library.impl("global_norm", c10::DispatchKey::CPU, TORCH_FN(globalNorm));
  library.def("logprobs(Tensor logits, Tensor targets, float temperature) -> (Tensor, Tensor, Tensor, Tensor)");
  both("logprobs", TORCH_FN(logprobsForward), TORCH_FN(logprobsRecorded));
  library.def(
      "adamw_split_(Tensor(a!) weight, Tensor(b!) low, Tensor(c!) m, Tensor(d!) v, Tensor gradient, int step, float lr, "
      "float beta1, float beta2, float eps, float decay, float scale) -> ()");
  library.impl("adamw_split_", c10::DispatchKey::CPU, TORCH_FN(adamwSplitStep));
}

}  // namespace
