// The operator attend_step (attention.cc).
#pragma once
#include <ATen/core/Tensor.h>

// Decoding step, one new token per row: stores its key and value in the cache, then computes its attention. Callable only
// if cpu::hasKernels().
// q: (rows, heads, dim). k, v: (rows, kvHeads, dim). keys, values: the cache, (rows, kvHeads, capacity, dim). seen: int32
// (rows, 6), the three ranges of positions that each token attends to. places: int32 (rows), position of each token.
at::Tensor attendStep(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, at::Tensor& keys, at::Tensor& values,
                      const at::Tensor& seen, const at::Tensor& places, double scale);
