// What bf16.cc lends to other kernels, where the processor has AVX-512 bf16.
#pragma once
#include <cstdint>

namespace bf16 {

// Whether the processor has it and `attend` takes heads of so many channels.
bool attends(int64_t dim);

// Queries (group, dim) of heads that share keys, over `count` keys and values, (count, dim). `scores`: room for
// group · (count + 15) numbers.
void attend(const uint16_t* queries, const uint16_t* keys, const uint16_t* values, int64_t count, int64_t group, int64_t dim,
            float scale, float* scores, uint16_t* out);

// Whether the processor has it and the rows are few enough for `linear`.
bool multiplies(int64_t rows);

// x (rows, inputs) · weightᵀ (inputs, outputs) + bias, which may be null.
void linear(const uint16_t* x, const uint16_t* weight, const uint16_t* bias, int64_t rows, int64_t inputs, int64_t outputs,
            uint16_t* y);

}  // namespace bf16
