// Matrix products in bfloat16. They are faster than libtorch's at all sizes of a small model, most of all with few rows,
// where the weights are read from memory (docs/log.md). The tests compare with libtorch's.
#include "products.h"

#include "parallel.h"

#define KERNELS "products.inl"
#include "levels.h"

#ifdef PLUMBLINE_KERNELS
const Products& products() { return KERNELS_IN_USE(products); }
#else
const Products& products() { __builtin_unreachable(); }
#endif
