// Attention over packed sequences in bfloat16, for one instruction set: see simd.h.

// Computes e^x for x <= 0 with a relative error below 2e-7, 0 below −87: 2^n · e^r with |r| <= ln 2 / 2, e^r by its
// Taylor series.
INLINE F exponential(F x) {
  const F least = broadcast(-87.0f);
  const F shifted = (x < least ? least : x) * 1.44269504f + 12582912.0f;  // its low bits are the nearest integer
  const F n = shifted - 12582912.0f;
  const F r = ((x < least ? least : x) - n * 0.693359375f) + n * 2.12194440e-4f;
  F series = broadcast(1.0f / 5040);
  for (const float c : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) series = series * r + c;
  const F power = (F)(((I)shifted - 0x4b400000 + 127) << 23);
  return x < least ? F{} : series * power;
}

// Packs the keys (or values) of one head at a block of positions. `tokens`: token index at each position, −1 for
// padding.
struct Block {
  Heads heads;
  int64_t head;
  const int32_t* tokens;
  const uint16_t* operator()(int64_t r) const { return tokens[r] < 0 ? nullptr : heads.at(tokens[r], head); }
};

void packKeyRows(Block keys, int64_t width, Cell* out) { packRows(keys, kKeys, width, out); }

// Transposed: each key's cells as a column, (width / kPerItem, kKeys), for sums over the width.
void packKeyColumns(Block keys, int64_t width, Cell* out) {
  for (int64_t r = 0; r < kKeys; r++) {
    const auto* row = (const Cell*)keys(r);
    for (int64_t p = 0; p < width / kPerItem; p++) out[p * kKeys + r] = row ? row[p] : 0;
  }
}

void packBlock(Heads heads, int64_t head, const int32_t* tokens, int64_t width, bool columns, uint16_t* out) {
  (columns ? packKeyColumns : packKeyRows)({heads, head, tokens}, width, (Cell*)out);
}

// Packs the queries (or their gradients) of a block of tokens, for all heads of a group: (until · group, width), zeros
// after `tokens`.
void gather(Heads x, int64_t first, int64_t group, int64_t from, int64_t tokens, int64_t until, int64_t width, Number* out) {
  for (int64_t t = 0; t < until; t++)
    for (int64_t g = 0; g < group; g++, out += width)
      for (int64_t c = 0; c < width; c++) out[c] = t < tokens ? toNumber(x.at(from + t, first + g)[c]) : 0;
}

// Lanes whose keys, from `key` on, the token attends to.
INLINE I maskOf(const Seen& seen, int32_t key) {
  I keys;
  UNROLL for (int i = 0; i < LANES; i++) keys[i] = i;
  keys += key;
  I mask{};
  UNROLL for (const auto& range : seen.ranges) mask |= (keys >= range.first) & (keys < range.end);
  return mask;
}

// Keys [first, end) of the block at `block`.
struct Keys {
  int32_t block, first, end;
};

// Softmax of one row of scores, kKeys for each of the blocks: writes the numerators. Returns their sum and the maximum score.
void softmaxRow(const float* scores, const Seen& seen, const std::vector<Keys>& keys, float scale, Number* out, float& sum,
                float& most) {
  F highest = broadcast(-INFINITY);
  for (size_t b = 0; b < keys.size(); b++)
    for (int c = keys[b].first; c < keys[b].end; c += LANES) {
      const F x = load<F>(scores + b * kKeys + c);
      highest = maskOf(seen, keys[b].block + c) & (x > highest) ? x : highest;
    }
  most = reduce(highest, [](float a, float b) INLINE_LAMBDA { return a > b ? a : b; }) * scale;
  F total{};
  for (size_t b = 0; b < keys.size(); b++)
    for (int c = keys[b].first; c < keys[b].end; c += LANES) {
      const F e = maskOf(seen, keys[b].block + c) ? exponential(load<F>(scores + b * kKeys + c) * scale - most) : F{};
      total += e;
      storeNumbers(out + b * kKeys + c, e);
    }
  sum = reduce(total, [](float a, float b) INLINE_LAMBDA { return a + b; });
}

void writeScaled(const float* from, float by, int64_t width, uint16_t* to) {
  int64_t c = 0;
  for (; c + LANES <= width; c += LANES) store(to + c, narrow(load<F>(from + c) * by));
}

// Computes the probabilities of rows of one item and the gradients of their scores, for one block of keys. `items`
// (probabilities) and `slopes` (gradients) are packed for sums over rows; `rows` has the gradients of each row.
void gradientRows(const float* scores, const float* slopesOfP, const Seen* seen[kPerItem], const float* log, const float* delta,
                  Keys keys, float scale, Item* items, Item* slopes, Number* rows) {
  for (int c = keys.first; c < keys.end; c += LANES) {
    F p[kPerItem], s[kPerItem];
    for (int r = 0; r < kPerItem; r++) {
      const F x = load<F>(scores + r * kKeys + c) * scale - log[r];
      p[r] = maskOf(*seen[r], keys.block + c) ? exponential(x) : F{};
      s[r] = p[r] * (load<F>(slopesOfP + r * kKeys + c) - delta[r]) * scale;
      storeNumbers(rows + r * kKeys + c, s[r]);
    }
#if DOT
    const auto both = [](F a, F b) INLINE_LAMBDA {
      return __builtin_convertvector(narrow(a), U) | __builtin_convertvector(narrow(b), U) << 16;
    };
    store(items + c, both(p[0], p[1]));
    store(slopes + c, both(s[0], s[1]));
#else
    store(items + c, p[0]);
    store(slopes + c, s[0]);
#endif
  }
}

float dot(const uint16_t* a, const uint16_t* b, int64_t count) {
  F sum{};
  for (int64_t i = 0; i < count; i += LANES) sum = widen(load<H>(a + i)) * widen(load<H>(b + i)) + sum;
  return reduce(sum, [](float a, float b) INLINE_LAMBDA { return a + b; });
}

// ---- attention of one block of queries, for all heads that share keys ----

// The blocks that some of the tokens attend to, each with the range of its keys that they do, in whole panels.
std::vector<Keys> keysSeen(const Sizes& size, const Seen* seen, int64_t tokens) {
  constexpr int32_t panel = kWide * LANES;
  std::vector<Keys> keys;
  for (int32_t block = 0; block < size.places; block += kKeys) {
    int32_t first = kKeys, end = 0;
    for (int64_t t = 0; t < tokens; t++)
      for (const auto& range : seen[t].ranges) {
        const int32_t from = most(range.first - block, 0), to = least(range.end - block, kKeys);
        if (from < to) first = least(first, from), end = most(end, to);
      }
    if (first < end) keys.push_back({block, first / panel * panel, (end + panel - 1) / panel * panel});
  }
  return keys;
}

struct Room {
  Memory<float> scores, sums;
  Memory<Number> queries, p;
  Room(int64_t rows, int64_t width, int64_t dim)
      : scores(room<float>(rows * width)), sums(room<float>(rows * dim)), queries(room<Number>(rows * dim)),
        p(room<Number>(rows * width)) {}
};

void forwardBlock(const Sizes& size, Heads q, const Seen* seen, int64_t kvHead, int64_t from, const Cell* keyColumns,
                  const Cell* valueRows, Heads out, float* logs, Room& room) {
  const int64_t dim = size.dim, group = size.group(), rows = kTokens * group;
  const int64_t tokens = least(kTokens, size.tokens - from);
  const auto keys = keysSeen(size, seen + from, tokens);
  const int64_t width = keys.size() * kKeys;
  gather(q, kvHead * group, group, from, tokens, tokens, dim, room.queries.get());
  const auto* queries = (const Item*)room.queries.get();
  for (size_t b = 0; b < keys.size(); b++) {
    const auto [block, first, end] = keys[b];
    product(tokens * group, end - first, queries, dim / kPerItem, 1, keyColumns + block * dim / kPerItem + first, kKeys,
            room.scores.get() + b * kKeys + first, width, dim / kPerItem, false);
  }
  std::vector<float> sums(rows);
  for (int64_t r = 0; r < tokens * group; r++) {
    float most;
    softmaxRow(room.scores.get() + r * width, seen[from + r / group], keys, size.scale, room.p.get() + r * width, sums[r], most);
    logs[(from + r / group) * size.heads + kvHead * group + r % group] = most + std::log(sums[r]);
  }
  for (size_t b = 0; b < keys.size(); b++) {
    const auto [block, first, end] = keys[b];
    product(tokens * group, dim, (const Item*)(room.p.get() + b * kKeys + first), width / kPerItem, 1,
            valueRows + (block + first) * dim / kPerItem, dim, room.sums.get(), dim, (end - first) / kPerItem, b > 0);
  }
  for (int64_t r = 0; r < tokens * group; r++)
    writeScaled(room.sums.get() + r * dim, 1 / sums[r], dim, out.at(from + r / group, kvHead * group + r % group));
}

void forward(const Sizes& size, Heads q, const Seen* seen, const uint16_t* keyColumns, const uint16_t* valueRows, Heads out,
             float* logs, int64_t first, int64_t end) {
  const int64_t blocks = size.queryBlocks(), per = size.places * size.dim;
  Room own(kTokens * size.group(), size.places, size.dim);
  for (int64_t i = first; i < end; i++)
    forwardBlock(size, q, seen, i / blocks, i % blocks * kTokens, (const Cell*)(keyColumns + i / blocks * per),
                 (const Cell*)(valueRows + i / blocks * per), out, logs, own);
}

struct BackwardRoom {
  Memory<float> scores, slopesOfP, ofQueries;
  Memory<Number> queries, gradients, slopeRows;
  Memory<Item> queryRows, gradientRows, items, slopes;
  BackwardRoom(int64_t rows, int64_t dim)
      : scores(room<float>(rows * kKeys)), slopesOfP(room<float>(rows * kKeys)), ofQueries(room<float>(rows * dim)),
        queries(room<Number>(rows * dim)), gradients(room<Number>(rows * dim)), slopeRows(room<Number>(rows * kKeys)),
        queryRows(room<Item>(rows * dim / kPerItem)), gradientRows(room<Item>(rows * dim / kPerItem)),
        items(room<Item>(rows * kKeys / kPerItem)), slopes(room<Item>(rows * kKeys / kPerItem)) {}
};

void backwardBlock(const Sizes& size, const Recorded& saved, int64_t kvHead, int64_t from, const Part& part, Heads ofQ,
                   BackwardRoom& room) {
  const int64_t dim = size.dim, group = size.group(), rows = kTokens * group, packed = kvHead * size.places * dim / kPerItem;
  const int64_t tokens = least(kTokens, size.tokens - from);
  const int64_t used = tokens * group;
  const auto *keyColumns = (const Cell*)saved.keyColumns + packed, *keyRows = (const Cell*)saved.keyRows + packed;
  const auto* valueColumns = (const Cell*)saved.valueColumns + packed;
  gather(saved.q, kvHead * group, group, from, tokens, kTokens, dim, room.queries.get());
  gather(saved.gradient, kvHead * group, group, from, tokens, kTokens, dim, room.gradients.get());
  packRows([&](int64_t r) { return room.queries.get() + r * dim; }, rows, dim, room.queryRows.get());
  packRows([&](int64_t r) { return room.gradients.get() + r * dim; }, rows, dim, room.gradientRows.get());
  std::vector<float> delta(rows), log(rows);
  for (int64_t r = 0; r < used; r++) {
    const int64_t t = from + r / group, h = kvHead * group + r % group;
    delta[r] = dot(saved.out.at(t, h), saved.gradient.at(t, h), dim);
    log[r] = saved.logs[t * size.heads + h];
  }
  const Seen nothing{};
  bool first = true;
  for (const auto& keys : keysSeen(size, saved.seen + from, tokens)) {
    const int64_t columns = keys.block * dim / kPerItem + keys.first, count = keys.end - keys.first;
    const int64_t key = keys.block + keys.first;
    auto *scores = room.scores.get() + keys.first, *slopesOfP = room.slopesOfP.get() + keys.first;
    product(rows, count, (const Item*)room.queries.get(), dim / kPerItem, 1, keyColumns + columns, kKeys, scores, kKeys,
            dim / kPerItem, false);
    product(rows, count, (const Item*)room.gradients.get(), dim / kPerItem, 1, valueColumns + columns, kKeys, slopesOfP, kKeys,
            dim / kPerItem, false);
    for (int64_t r = 0; r < rows; r += kPerItem) {
      const Seen* of[kPerItem];
      for (int i = 0; i < kPerItem; i++) of[i] = r + i < used ? saved.seen + from + (r + i) / group : &nothing;
      gradientRows(room.scores.get() + r * kKeys, room.slopesOfP.get() + r * kKeys, of, &log[r], &delta[r], keys, size.scale,
                   room.items.get() + r / kPerItem * kKeys, room.slopes.get() + r / kPerItem * kKeys,
                   room.slopeRows.get() + r * kKeys);
    }
    product(count, dim, room.items.get() + keys.first, 1, kKeys, room.gradientRows.get(), dim, part.at(size, 1, kvHead, key),
            dim, rows / kPerItem, true);
    product(count, dim, room.slopes.get() + keys.first, 1, kKeys, room.queryRows.get(), dim, part.at(size, 0, kvHead, key),
            dim, rows / kPerItem, true);
    product(rows, dim, (const Item*)(room.slopeRows.get() + keys.first), kKeys / kPerItem, 1, keyRows + key * dim / kPerItem,
            dim, room.ofQueries.get(), dim, count / kPerItem, !first);
    first = false;
  }
  for (int64_t r = 0; r < used; r++)
    writeScaled(room.ofQueries.get() + r * dim, 1, dim, ofQ.at(from + r / group, kvHead * group + r % group));
}

void backward(const Sizes& size, const Recorded& saved, int64_t kvHead, const Part& part, Heads ofQ) {
  BackwardRoom own(kTokens * size.group(), size.dim);
  for (int64_t block = part.firstBlock; block < part.endBlock; block++)
    backwardBlock(size, saved, kvHead, block * kTokens, part, ofQ, own);
}

void addUp(const std::vector<const float*>& parts, int64_t count, uint16_t* to) {
  for (int64_t c = 0; c < count; c += LANES) {
    F sum{};
    for (const auto* part : parts) sum += load<F>(part + c);
    store(to + c, narrow(sum));
  }
}

// ---- key-value cache ----

// Stores the key and value of a token at a position of a row's cache.
void storeToken(const Cache& cache, Heads k, Heads v, int64_t token, int64_t head, int64_t row, int64_t place) {
  const int64_t dim = cache.dim, block = cache.at(row, head) + place / kKeys * kKeys * dim, within = place % kKeys;
  auto* keys = (Cell*)(cache.keys + block);
  const auto* key = (const Cell*)k.at(token, head);
  for (int64_t p = 0; p < dim / kPerItem; p++) keys[p * kKeys + within] = key[p];
  auto* value = cache.values + block + within / kPerItem * kPerItem * dim + within % kPerItem;
  for (int64_t c = 0; c < dim; c++) value[kPerItem * c] = v.at(token, head)[c];
}

// Rows [first, end) times heads: stores each row's new key and value, and computes its attention.
void decode(const Cache& cache, const Sizes& size, Heads q, Heads k, Heads v, const Seen* seen, const int32_t* places, Heads out,
            int64_t first, int64_t end) {
  Room own(size.group(), cache.capacity, cache.dim);
  std::vector<float> logs(size.tokens * size.heads);
  for (int64_t i = first; i < end; i++) {
    const int64_t row = i / cache.kvHeads, head = i % cache.kvHeads;
    storeToken(cache, k, v, row, head, row, places[row]);
    Sizes one = size;
    one.tokens = row + 1;  // the only token from `row` on
    forwardBlock(one, q, seen, head, row, (const Cell*)(cache.keys + cache.at(row, head)),
                 (const Cell*)(cache.values + cache.at(row, head)), out, logs.data(), own);
  }
}

constexpr AttentionKernels attention{packBlock, forward, backward, addUp, storeToken, decode};
