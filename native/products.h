// Matrix products in bfloat16.
#pragma once
#include <cstdint>

struct Products {
  // x (rows, inputs) · weightᵀ (inputs, outputs) + bias, which may be null. The result of a row has the same bits in any
  // batch.
  void (*linear)(const uint16_t* x, const uint16_t* weight, const uint16_t* bias, int64_t rows, int64_t inputs,
                 int64_t outputs, uint16_t* y);

  // c (rows, columns) = a (rows, sums) · b (sums, columns).
  void (*multiply)(const uint16_t* a, const uint16_t* b, int64_t rows, int64_t sums, int64_t columns, uint16_t* c);

  // c (rows, columns) = aᵀ (rows, sums) · b (sums, columns).
  void (*multiplyTransposed)(const uint16_t* a, const uint16_t* b, int64_t rows, int64_t sums, int64_t columns, uint16_t* c);
};

// Products of the instruction set in use. Callable only if cpu::hasKernels().
const Products& products();
