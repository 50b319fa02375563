// Matrix products in bfloat16.
#pragma once
#include <cstdint>
#include <vector>

// A linear layer, weight (outputs, inputs) and bias (outputs) or null, and memory for its result, (rows, outputs).
struct LinearLayer {
  const uint16_t *weight, *bias;
  int64_t outputs;
  uint16_t* y;
};

struct Products {
  // y = x (rows, inputs) · weightᵀ + bias, for each of the layers. The result of a row has the same bits in any batch.
  void (*linear)(const uint16_t* x, int64_t rows, int64_t inputs, const std::vector<LinearLayer>& layers);

  // c (rows, columns) = a (rows, sums) · b (sums, columns).
  void (*multiply)(const uint16_t* a, const uint16_t* b, int64_t rows, int64_t sums, int64_t columns, uint16_t* c);

  // c (rows, columns) = aᵀ (rows, sums) · b (sums, columns).
  void (*multiplyTransposed)(const uint16_t* a, const uint16_t* b, int64_t rows, int64_t sums, int64_t columns, uint16_t* c);
};

// Products of the instruction set in use. Callable only if cpu::hasKernels().
const Products& products();
