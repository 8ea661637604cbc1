#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "kernels/host/operations/parallel.h"
#include "kernels/host/operations/simd_product.h"

namespace krasis::simd {
namespace {

/// Queries that share the keys and values of a block once these are FP32.
constexpr int kTileQueries = 8;
constexpr int kBlockKeys = 32;

const std::array<float, 256>& fp8_values() {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> values{};
    for (unsigned i = 0; i < 256; ++i) {
      fp8_e4m3 code;
      code.bits = static_cast<std::uint8_t>(i);
      values[i] = static_cast<float>(code);
    }
    return values;
  }();
  return table;
}

/// A thread's own memory; grows at the first use of a shape.
struct Scratch {
  std::vector<float> q, keys, values, scores, sums, maximum, total;
};

/// Row (row, head) of a plane as FP32, zeros up to `padded`.
void widen_head(const Kernels& k, const KvCache& cache, const KvPlane& plane, std::int64_t row, int head, int padded,
                float* out) {
  const std::int64_t at = (row * cache.heads + head) * cache.head_dim;
  if (cache.element == KvElement::Bf16) {
    k.widen(reinterpret_cast<const bf16*>(plane.values.data) + at, cache.head_dim, out);
  } else {
    const auto* codes = reinterpret_cast<const std::uint8_t*>(plane.values.data) + at;
    const float scale = plane.scales.data[row * cache.heads + head];
    const std::array<float, 256>& table = fp8_values();
    for (int i = 0; i < cache.head_dim; ++i) out[i] = scale * table[codes[i]];
  }
  std::fill(out + cache.head_dim, out + padded, 0.0f);
}

/// Queries [first, first + count) of one sequence, for one head of the cache: `rows` = count * (heads / cache.heads)
/// rows of q, each with a running maximum and sums, over blocks of keys that begin at multiples of kBlockKeys. A
/// query's result does not depend on the tile it is in.
class Tile {
 public:
  Tile(const Kernels& k, const AttentionArgs& args, const SequenceSpan& span, int first, int count, int kv_head)
      : k_(k),
        args_(args),
        first_slot_(span.first_slot),
        first_(first),
        kv_head_(kv_head),
        group_(args.heads / args.cache.heads),
        rows_(count * group_),
        dim_(args.cache.head_dim),
        padded_(static_cast<int>(round_up(static_cast<std::size_t>(dim_), 8))) {}

  void run() {
    load_queries();
    std::int64_t end = 0;
    for (int r = 0; r < rows_; ++r) end = std::max(end, std::int64_t{position(r)} + 1);
    for (std::int64_t begin = 0; begin < end; begin += kBlockKeys) {
      visit(begin, static_cast<int>(std::min<std::int64_t>(kBlockKeys, end - begin)));
    }
    store();
  }

 private:
  static Scratch& scratch() {
    thread_local Scratch scratch;
    return scratch;
  }
  int token(int r) const { return first_ + r / group_; }
  std::int32_t position(int r) const { return args_.batch.positions.data[token(r)]; }
  /// Where row r begins in q and out.
  std::int64_t offset(int r) const {
    return (static_cast<std::int64_t>(token(r)) * args_.heads + kv_head_ * group_ + r % group_) * dim_;
  }

  void load_queries() {
    const auto rows = static_cast<std::size_t>(rows_);
    const auto padded = static_cast<std::size_t>(padded_);
    s_.q.assign(rows * padded, 0.0f);
    s_.sums.assign(rows * padded, 0.0f);
    s_.keys.resize(kBlockKeys * padded);
    s_.values.resize(kBlockKeys * padded);
    s_.maximum.assign(rows, -std::numeric_limits<float>::infinity());
    s_.total.assign(rows, 0.0f);
    for (int r = 0; r < rows_; ++r)
      k_.widen(args_.q.data + offset(r), dim_, &s_.q[static_cast<std::size_t>(r) * padded]);
  }

  void visit(std::int64_t begin, int count) {
    for (int i = 0; i < count; ++i) {
      const std::int64_t row = first_slot_ + begin + i;
      widen_head(k_, args_.cache, args_.cache.keys, row, kv_head_, padded_, s_.keys.data() + i * padded_);
      widen_head(k_, args_.cache, args_.cache.values, row, kv_head_, padded_, s_.values.data() + i * padded_);
    }
    s_.scores.assign(static_cast<std::size_t>(rows_) * kBlockKeys, 0.0f);
    k_.products(s_.q.data(), padded_, rows_, s_.keys.data(), padded_, count, padded_, s_.scores.data(), kBlockKeys);
    for (int r = 0; r < rows_; ++r) {
      const std::int64_t seen = std::min<std::int64_t>(count, position(r) + 1 - begin);
      if (seen <= 0) continue;
      float* scores = s_.scores.data() + r * kBlockKeys;
      const auto row = static_cast<std::size_t>(r);
      const float shrink = k_.softmax_step(scores, seen, args_.scale, &s_.maximum[row], &s_.total[row]);
      k_.weighted_rows(scores, seen, s_.values.data(), padded_, shrink, s_.sums.data() + r * padded_);
    }
  }

  void store() {
    for (int r = 0; r < rows_; ++r) {
      const float* sums = s_.sums.data() + r * padded_;
      const float total = s_.total[static_cast<std::size_t>(r)];
      bf16* out = args_.out.data + offset(r);
      for (int i = 0; i < dim_; ++i) out[i] = bf16(sums[i] / total);
    }
  }

  const Kernels& k_;
  const AttentionArgs& args_;
  std::int64_t first_slot_;
  int first_, kv_head_, group_, rows_, dim_, padded_;
  Scratch& s_ = scratch();
};

}  // namespace

void attention(const Kernels& k, const AttentionArgs& args) {
  const View<const SequenceSpan> spans = args.batch.sequences;
  std::int64_t query_tiles = 0;
  std::int64_t work = 0;
  for (std::size_t s = 0; s < spans.size; ++s) {
    const SequenceSpan& span = spans.data[s];
    query_tiles += tiles(span.query_count, kTileQueries);
    for (int t = span.query_begin; t < span.query_begin + span.query_count; ++t) {
      work += std::int64_t{2} * (args.batch.positions.data[t] + 1) * args.heads * args.cache.head_dim;
    }
  }
  parallel_units(query_tiles * args.cache.heads, work, [&](std::int64_t unit) {
    std::int64_t tile = unit / args.cache.heads;
    std::size_t s = 0;
    for (; tile >= tiles(spans.data[s].query_count, kTileQueries); ++s) {
      tile -= tiles(spans.data[s].query_count, kTileQueries);
    }
    const SequenceSpan& span = spans.data[s];
    const int done = static_cast<int>(tile) * kTileQueries;
    Tile(k, args, span, span.query_begin + done, std::min(kTileQueries, span.query_count - done),
         static_cast<int>(unit % args.cache.heads))
        .run();
  });
}

}  // namespace krasis::simd
