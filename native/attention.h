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

// Keys [first, end).
struct Range {
  int32_t first, end;
};

// Positions of the keys that a token attends to: of a prefix that sequences share, of its sequence, and of its branch.
struct Seen {
  Range ranges[3];
};
constexpr int64_t kSeenNumbers = sizeof(Seen) / sizeof(int32_t);

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

// A part of the blocks of queries, and the sums of its gradients: of the keys, then of the values that its queries attend
// to, [0, prefix) and [firstKey, endKey), whole blocks: (2, kvHeads, keys, dim).
struct Part {
  int64_t firstBlock, endBlock, prefix, firstKey, endKey;
  std::unique_ptr<float[]> sums;
  int64_t count() const { return prefix + endKey - firstKey; }
  bool has(int64_t key) const { return key < prefix || (key >= firstKey && key < endKey); }
  float* at(const Sizes& size, int64_t which, int64_t head, int64_t key) const {
    const int64_t row = key < prefix ? key : prefix + key - firstKey;
    return sums.get() + ((which * size.kvHeads + head) * count() + row) * size.dim;
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
    Part part{first, end, 0, size.places, 0, nullptr};
    for (int64_t t = first * kTokens; t < std::min(size.tokens, end * kTokens); t++)
      for (const auto& range : seen[t].ranges) {
        if (range.first >= range.end) continue;
        const int64_t from = range.first / kKeys * kKeys, to = (range.end + kKeys - 1) / kKeys * kKeys;
        if (&range == seen[t].ranges) part.prefix = std::max(part.prefix, to);
        else part.firstKey = std::min(part.firstKey, from), part.endKey = std::max(part.endKey, to);
      }
    part.firstKey = std::max(part.firstKey, part.prefix);
    part.endKey = std::max(part.endKey, part.firstKey);
    part.sums = std::make_unique<float[]>(2 * size.kvHeads * part.count() * size.dim);
    parts.push_back(std::move(part));
  }
  return parts;
}
