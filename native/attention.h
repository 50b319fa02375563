// Types of the attention kernels (attention.inl).
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

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

// What a backward pass takes: packed keys and values (see attention.inl), and what forward saved.
struct Recorded {
  Heads q, out, gradient;
  const Seen* seen;
  const float* logs;
  const uint16_t *keyColumns, *valueColumns, *keyRows;
};

// A part of the blocks of queries, and the sums of its gradients: of the keys, then of the values, [firstKey, endKey) that
// its queries attend to, (2, kvHeads, keys, dim).
struct Part {
  int64_t firstBlock, endBlock, firstKey, endKey;
  std::unique_ptr<float[]> sums;
  float* at(const Sizes& size, int64_t which, int64_t head, int64_t key) const {
    return sums.get() + ((which * size.kvHeads + head) * (endKey - firstKey) + key - firstKey) * size.dim;
  }
};

// A cache of `capacity` keys and values for each row and head, in the packed blocks of the attention, so that the
// attention of a token has the same bits in sampling as in training.
struct Cache {
  uint16_t *keys, *values;
  int64_t kvHeads, capacity, dim;
  int64_t at(int64_t row, int64_t head) const { return (row * kvHeads + head) * capacity * dim; }
};

// Kernels of an instruction set. Ranges [first, end) count heads of keys times blocks of queries (or rows).
struct AttentionKernels {
  void (*packBlock)(Heads heads, int64_t head, const int32_t* tokens, int64_t width, bool columns, uint16_t* out);
  void (*forward)(const Sizes& size, Heads q, const Seen* seen, const uint16_t* keyColumns, const uint16_t* valueRows, Heads out,
                  float* logs, int64_t first, int64_t end);
  void (*backward)(const Sizes& size, const Recorded& saved, int64_t kvHead, const Part& part, Heads ofQ);
  void (*addUp)(const std::vector<const float*>& parts, int64_t count, uint16_t* to);
  void (*storeToken)(const Cache& cache, Heads k, Heads v, int64_t token, int64_t head, int64_t row, int64_t place);
  void (*decode)(const Cache& cache, const Sizes& size, Heads q, Heads k, Heads v, const Seen* seen, const int32_t* places,
                 Heads out, int64_t first, int64_t end);
};

// Divides the queries into parts for the gradients of keys and values, which are sums over queries. The division does not
// depend on the number of threads, so neither do the results.
inline std::vector<Part> partsOf(const Sizes& size, const Seen* seen) {
  constexpr int64_t leastBlocks = 4, mostParts = 16;
  const int64_t blocks = size.queryBlocks(), step = std::max(leastBlocks, (blocks + mostParts - 1) / mostParts);
  std::vector<Part> parts;
  for (int64_t first = 0; first < blocks; first += step) {
    const int64_t end = std::min(blocks, first + step);
    int64_t firstKey = size.places, endKey = 0;
    for (int64_t t = first * kTokens; t < std::min(size.tokens, end * kTokens); t++)
      for (const auto& [from, to] : {std::pair{seen[t].first, seen[t].firstEnd}, {seen[t].second, seen[t].secondEnd}})
        if (from < to) {
          firstKey = std::min<int64_t>(firstKey, from / kKeys * kKeys);
          endKey = std::max<int64_t>(endKey, (to + kKeys - 1) / kKeys * kKeys);
        }
    const int64_t keys = std::max<int64_t>(0, endKey - firstKey);
    parts.push_back({first, end, firstKey, endKey, std::make_unique<float[]>(2 * size.kvHeads * keys * size.dim)});
  }
  return parts;
}
