#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/host/operations/cache/fp8.h"
#include "kernels/host/operations/cache/kv_layout.h"
#include "kernels/host/operations/matmul/tiles.h"
#include "kernels/host/operations/threads/parallel.h"

namespace krasis::simd {
namespace {

/// Queries that share the keys and values of a block once these are FP32.
constexpr int kTileQueries = 8;
constexpr int kBlockKeys = 32;

/// Keys that have a running maximum and sums of their own: 256, the first ones in four splits, so that short contexts,
/// too, keep several threads busy. Eight splits are merged in order, then their groups, also where one thread does it
/// all, so a result does not depend on how the context is shared out.
constexpr int kSplitKeys = 256;
constexpr int kFirstSplits = 4;
constexpr int kGroupSplits = 8;
/// The most groups that the thread which completes the last one merges alone; more are merged by all threads
/// afterwards.
constexpr int kMergedByLast = 8;
std::int64_t split_begin(std::int64_t index) {
  return index < kFirstSplits ? index * (kSplitKeys / kFirstSplits) : (index - kFirstSplits + 1) * kSplitKeys;
}
std::int64_t split_count(std::int64_t keys) {
  return keys <= kSplitKeys ? tiles(keys, kSplitKeys / kFirstSplits) : kFirstSplits - 1 + tiles(keys, kSplitKeys);
}
/// The most tokens for which the context is shared out as well: with so few there are fewer tiles than threads.
constexpr int kSplitTokens = 16;

/// A thread's own memory; grows at the first use of a shape.
struct Scratch {
  std::vector<float> q, keys, values, scores, part, group, merged;
  std::vector<std::byte> row;
  std::vector<HeadKeys> together;
};

/// What a tile's rows know of some keys: of each row the largest score, the sum of exp(score - maximum), and the sum of
/// values weighted so, `padded` floats.
struct Rows {
  float* data = nullptr;
  int rows = 0;
  int padded = 0;

  static std::size_t size(int rows, int padded) {
    return static_cast<std::size_t>(rows) * static_cast<std::size_t>(padded + 2);
  }
  float& maximum(int r) const { return data[r]; }
  float& total(int r) const { return data[rows + r]; }
  float* sums(int r) const { return data + 2 * rows + r * padded; }

  void clear(int begin, int end) const {
    for (int r = begin; r < end; ++r) {
      maximum(r) = -std::numeric_limits<float>::infinity();
      total(r) = 0.0f;
      std::fill_n(sums(r), padded, 0.0f);
    }
  }
  /// Takes in what `other` knows of later keys: rows [begin, end).
  void merge(const Kernels& k, const Rows& other, int begin, int end) const {
    for (int r = begin; r < end; ++r) {
      // All of them are still to come. (NaN scores leave the maximum alone, but not the total.)
      if (other.maximum(r) == -std::numeric_limits<float>::infinity() && other.total(r) == 0) continue;
      const float both = std::max(maximum(r), other.maximum(r));
      const float mine = std::exp(maximum(r) - both);
      const float theirs = std::exp(other.maximum(r) - both);
      maximum(r) = both;
      total(r) = total(r) * mine + other.total(r) * theirs;
      k.weighted_rows(&theirs, 1, other.sums(r), padded, mine, sums(r));
    }
  }
};

void widen_fp8(const std::uint8_t* codes, std::int64_t count, float scale, float* out) {
#ifdef KRASIS_HAVE_AVX2
  widen_fp8_avx2(codes, count, scale, out);
#else
  for (std::int64_t i = 0; i < count; ++i) {
    fp8_e4m3 code;
    code.bits = codes[i];
    out[i] = scale * static_cast<float>(code);
  }
#endif
}

/// The numbers of (row, head) beside each other: where they lie, or copied to `copy`.
const std::byte* numbers_of(const KvCache& cache, KvPart part, std::int64_t row, int head,
                            std::vector<std::byte>& copy) {
  const std::byte* data = plane_of(cache, part).values.data;
  if (cache.layout == KvLayout::Rows) return data + kv_offset(cache, part, row, head, 0);
  const auto size = static_cast<std::size_t>(kv_bytes(cache.element));
  copy.resize(static_cast<std::size_t>(cache.head_dim) * size);
  for (int i = 0; i < cache.head_dim; ++i) {
    std::copy_n(data + kv_offset(cache, part, row, head, i), size, &copy[static_cast<std::size_t>(i) * size]);
  }
  return copy.data();
}

/// (row, head) of keys or values as FP32, zeros up to `padded`.
void widen_head(const Kernels& k, const KvCache& cache, KvPart part, std::int64_t row, int head, int padded,
                std::vector<std::byte>& copy, float* out) {
  const std::byte* numbers = numbers_of(cache, part, row, head, copy);
  if (cache.element == KvElement::Bf16) {
    k.widen(reinterpret_cast<const bf16*>(numbers), cache.head_dim, out);
  } else {
    widen_fp8(reinterpret_cast<const std::uint8_t*>(numbers), cache.head_dim,
              plane_of(cache, part).scales.data[kv_scale(cache, row, head)], out);
  }
  std::fill(out + cache.head_dim, out + padded, 0.0f);
}

/// Queries [first, first + count) of one sequence, for one head of the cache: `rows` = count * (heads / cache.heads)
/// rows of q, over blocks of keys that begin at multiples of kBlockKeys. A query's result does not depend on the tile
/// it is in.
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

  int rows() const { return rows_; }
  int padded() const { return padded_; }
  /// Keys that the last query sees.
  std::int64_t keys() const {
    std::int64_t end = 0;
    for (int r = 0; r < rows_; ++r) end = std::max(end, std::int64_t{position(r)} + 1);
    return end;
  }

  /// All of it, on this thread.
  void run() {
    load_queries();
    const auto rows = [&](std::vector<float>& memory) {
      memory.resize(Rows::size(rows_, padded_));
      return Rows{memory.data(), rows_, padded_};
    };
    const Rows part = rows(s_.part), group = rows(s_.group), merged = rows(s_.merged);
    const std::int64_t count = split_count(keys());
    for (std::int64_t split = 0; split < count; ++split) {
      const bool first_of_group = split % kGroupSplits == 0;
      const Rows& own = split == 0 ? merged : first_of_group ? group : part;
      s_.together.clear();
      visit_split(split, own, split > 0, split + 1 < count, s_.together);
      attend(k_, s_.together);
      if (!first_of_group) (split < kGroupSplits ? merged : group).merge(k_, part, 0, rows_);
      const bool last_of_group = split + 1 == count || (split + 1) % kGroupSplits == 0;
      if (split >= kGroupSplits && last_of_group) merged.merge(k_, group, 0, rows_);
    }
    store(merged, 0, rows_);
  }

  /// Split `index` alone, into `part`, or what is to be done for it together with others (attend()). `asked`: this
  /// thread asked for its keys before; `ask`: it takes the next one, too, whose keys it is to ask for.
  void run_split(std::int64_t index, const Rows& part, bool asked, bool ask, std::vector<HeadKeys>& together) {
    load_queries();
    visit_split(index, part, asked, ask, together);
  }
  static void attend(const Kernels& k, const std::vector<HeadKeys>& together) {
    if (!together.empty()) k.attend(together.data(), static_cast<int>(together.size()));
  }

  /// Into the first of `count` parts that lie `step` floats apart, in order: rows [begin, end).
  void merge(float* parts, std::int64_t count, std::size_t step, int begin, int end) const {
    const Rows merged{parts, rows_, padded_};
    for (std::int64_t i = 1; i < count; ++i) {
      merged.merge(k_, {parts + static_cast<std::size_t>(i) * step, rows_, padded_}, begin, end);
    }
  }
  /// Ends the work of rows [begin, end).
  void store(const Rows& all, int begin, int end) const {
    for (int r = begin; r < end; ++r) k_.divide(all.sums(r), all.total(r), dim_, args_.out.data + offset(r));
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

  /// Whether a kernel does all of a token's heads at once: it does so for any number of tokens, that bits stay the
  /// same.
  bool at_once() const {
    return k_.attend && args_.cache.layout == KvLayout::Tiles && first_slot_ % 64 == 0 &&
           HeadKeys::fits(group_, 1, dim_);
  }

  void load_queries() {
    if (at_once()) return;
    const auto rows = static_cast<std::size_t>(rows_);
    const auto padded = static_cast<std::size_t>(padded_);
    s_.q.assign(rows * padded, 0.0f);
    s_.keys.resize(kBlockKeys * padded);
    s_.values.resize(kBlockKeys * padded);
    for (int r = 0; r < rows_; ++r)
      k_.widen(args_.q.data + offset(r), dim_, &s_.q[static_cast<std::size_t>(r) * padded]);
  }

  void visit_split(std::int64_t index, const Rows& part, bool asked, bool ask, std::vector<HeadKeys>& together) {
    std::int64_t begin = split_begin(index);
    const std::int64_t end = std::min(split_begin(index + 1), keys());
    if (at_once()) {
      for (int r = 0; r < rows_; r += group_) {
        const auto count = static_cast<int>(std::min<std::int64_t>(end, position(r) + 1) - begin);
        if (count > 0) {
          together.push_back(
              head_keys(r, begin, count, part, (asked && index != kFirstSplits) || r > 0, ask && r == 0));
        } else {
          part.clear(r, r + group_);
        }
      }
      return;
    }
    part.clear(0, rows_);
    for (; begin < end; begin += kBlockKeys) {
      visit(begin, static_cast<int>(std::min<std::int64_t>(kBlockKeys, end - begin)), part);
    }
  }

  /// Rows [r, r + group_), one token's, over keys [begin, begin + count).
  HeadKeys head_keys(int r, std::int64_t begin, int count, const Rows& part, bool asked, bool ask) const {
    const KvCache& cache = args_.cache;
    const bool fp8 = cache.element == KvElement::Fp8;
    const std::int64_t row = first_slot_ + begin;
    const std::size_t scale = kv_scale(cache, row, kv_head_);
    const auto at = [&](KvPart of, std::int64_t first) {
      return plane_of(cache, of).values.data + kv_offset(cache, of, first, kv_head_, 0);
    };
    return {.q = args_.q.data + offset(r),
            .rows = group_,
            .dim = dim_,
            .fp8 = fp8,
            .keys = at(KvPart::Keys, row),
            .values = at(KvPart::Values, row),
            .key_scales = fp8 ? cache.keys.scales.data + scale : nullptr,
            .value_scales = fp8 ? cache.values.scales.data + scale : nullptr,
            .count = count,
            .asked = asked,
            .next_keys = ask ? at(KvPart::Keys, row + count) : nullptr,
            .next_values = ask ? at(KvPart::Values, row + count) : nullptr,
            .scale = args_.scale,
            .maximum = &part.maximum(r),
            .total = &part.total(r),
            .sums = part.sums(r)};
  }

  void visit(std::int64_t begin, int count, const Rows& part) {
    for (int i = 0; i < count; ++i) {
      const std::int64_t row = first_slot_ + begin + i;
      widen_head(k_, args_.cache, KvPart::Keys, row, kv_head_, padded_, s_.row, s_.keys.data() + i * padded_);
      widen_head(k_, args_.cache, KvPart::Values, row, kv_head_, padded_, s_.row, s_.values.data() + i * padded_);
    }
    s_.scores.assign(static_cast<std::size_t>(rows_) * kBlockKeys, 0.0f);
    k_.products(s_.q.data(), padded_, rows_, s_.keys.data(), padded_, count, padded_, s_.scores.data(), kBlockKeys);
    for (int r = 0; r < rows_; ++r) {
      const std::int64_t seen = std::min<std::int64_t>(count, position(r) + 1 - begin);
      if (seen <= 0) continue;
      float* scores = s_.scores.data() + r * kBlockKeys;
      const float shrink = k_.softmax_step(scores, seen, args_.scale, &part.maximum(r), &part.total(r));
      k_.weighted_rows(scores, seen, s_.values.data(), padded_, shrink, part.sums(r));
    }
  }

  const Kernels& k_;
  const AttentionArgs& args_;
  std::int64_t first_slot_;
  int first_, kv_head_, group_, rows_, dim_, padded_;
  Scratch& s_ = scratch();
};

/// The tiles of a call, by units: unit u is tile u / heads of the queries, for head u % heads of the cache.
class Units {
 public:
  Units(const Kernels& k, const AttentionArgs& args) : k_(k), args_(args) {
    for (std::size_t s = 0; s < args.batch.sequences.size; ++s) {
      const SequenceSpan& span = args.batch.sequences.data[s];
      count_ += heads() * tiles(span.query_count, kTileQueries);
      for (int t = span.query_begin; t < span.query_begin + span.query_count; ++t) {
        work_ += std::int64_t{2} * (args.batch.positions.data[t] + 1) * args.heads * args.cache.head_dim;
      }
    }
  }
  int heads() const { return args_.cache.heads; }
  std::int64_t count() const { return count_; }
  std::int64_t work() const { return work_; }  ///< multiply-adds
  const Kernels& kernels() const { return k_; }
  Tile tile(std::int64_t unit) const {
    std::int64_t tile = unit / heads();
    const SequenceSpan* span = args_.batch.sequences.data;
    for (; tile >= tiles(span->query_count, kTileQueries); ++span) tile -= tiles(span->query_count, kTileQueries);
    const int done = static_cast<int>(tile) * kTileQueries;
    return Tile(k_, args_, *span, span->query_begin + done, std::min(kTileQueries, span->query_count - done),
                static_cast<int>(unit % heads()));
  }

 private:
  const Kernels& k_;
  const AttentionArgs& args_;
  std::int64_t count_ = 0, work_ = 0;
};

/// Few tokens: the splits of all tiles side by side, then one merge for each unit. Neighbours are the splits of a head,
/// then the next head: a thread reads what lies together (KvLayout::Tiles). The calling thread keeps the memory for its
/// next call; the others read and fill it.
class Splits {
 public:
  /// Lists all splits of `units`.
  void list(const Units& units) {
    const ThreadTeam* team = ThreadTeam::current();
    threads_ = team ? team->size() : tbb::this_task_arena::max_concurrency();
    gives_ranges_ = team;
    pieces_.clear();
    parts_of_.clear();
    std::size_t size = 0;
    std::int64_t groups = 0;
    for (std::int64_t first = 0; first < units.count(); first += units.heads()) {
      const Tile tile = units.tile(first);
      const PartsOf all{size, Rows::size(tile.rows(), tile.padded()), split_count(tile.keys()), groups};
      const bool whole = units.heads() * tiles(tile.keys(), kSplitKeys) >= threads_;
      for (int head = 0; head < units.heads(); ++head) {
        for (std::int64_t i = 0; i < all.splits;) {
          const std::int64_t together = whole && i == 0 ? std::min<std::int64_t>(kFirstSplits, all.splits) : 1;
          pieces_.push_back({first + head, i, i + together});
          i += together;
        }
      }
      size = all.part(units.heads(), 0);
      groups += units.heads() * (all.groups() + 1);
      parts_of_.push_back(all);
    }
    size_ = static_cast<std::int64_t>(size);
    parts_.resize(std::max(parts_.size(), size));
    finished_.assign(static_cast<std::size_t>(groups), 0);
  }
  std::int64_t count() const { return static_cast<std::int64_t>(pieces_.size()); }

  /// Whoever computes the last split of a group merges it, and whoever merges the last of a few groups merges these.
  void compute(const Units& units) {
    parallel_ranges(count(), units.work(), [&](std::int64_t begin, std::int64_t end) {
      thread_local std::vector<HeadKeys> together;
      together.clear();
      for (std::int64_t i = begin; i < end; ++i) {
        const Piece& piece = pieces_[static_cast<std::size_t>(i)];
        Tile tile = units.tile(piece.unit);
        for (std::int64_t split = piece.begin; split < piece.end; ++split) {
          tile.run_split(split, {part(piece.unit, split, units), tile.rows(), tile.padded()},
                         split > piece.begin || is_followed(i - 1), split + 1 < piece.end || is_followed(i), together);
        }
      }
      Tile::attend(units.kernels(), together);
      for (std::int64_t i = begin; i < end; ++i) {
        const Piece& piece = pieces_[static_cast<std::size_t>(i)];
        for (std::int64_t split = piece.begin; split < piece.end; ++split) finish(piece.unit, split, units);
      }
    });
  }

  /// Of the units that have many groups.
  void merge(const Units& units) {
    if (std::none_of(parts_of_.begin(), parts_of_.end(), [](const PartsOf& all) { return all.many(); })) return;
    constexpr int kMerges = 8;                                                // of each unit: some of its rows
    parallel_units(units.count() * kMerges, 4 * size_, [&](std::int64_t i) {  // other cores' caches have them
      const std::int64_t unit = i / kMerges;
      const PartsOf& all = of(unit, units);
      if (!all.many()) return;
      const Tile tile = units.tile(unit);
      const auto row = [&](std::int64_t merge) { return static_cast<int>(tile.rows() * merge / kMerges); };
      const int begin = row(i % kMerges), end = row(i % kMerges + 1);
      float* const parts = part(unit, 0, units);
      tile.merge(parts, all.groups(), kGroupSplits * all.size, begin, end);
      tile.store({parts, tile.rows(), tile.padded()}, begin, end);
    });
  }

 private:
  /// Splits [begin, end) of a unit, for one thread: one, but all of the first ones where there are enough others.
  struct Piece {
    std::int64_t unit, begin, end;
  };
  /// Where the parts of a tile's heads are.
  struct PartsOf {
    std::size_t first = 0;         ///< in floats
    std::size_t size = 0;          ///< of a part
    std::int64_t splits = 0;       ///< of each head
    std::int64_t first_group = 0;  ///< in finished_

    std::size_t part(int head, std::int64_t split) const {
      return first + static_cast<std::size_t>(head * splits + split) * size;
    }
    std::int64_t groups() const { return tiles(splits, kGroupSplits); }  ///< of each head
    bool many() const { return groups() > kMergedByLast; }
  };

  const PartsOf& of(std::int64_t unit, const Units& units) const {
    return parts_of_[static_cast<std::size_t>(unit / units.heads())];
  }
  float* part(std::int64_t unit, std::int64_t split, const Units& units) {
    return parts_.data() + of(unit, units).part(static_cast<int>(unit % units.heads()), split);
  }

  void finish(std::int64_t unit, std::int64_t split, const Units& units) {
    const PartsOf& all = of(unit, units);
    const std::int64_t group = split / kGroupSplits, first = group * kGroupSplits;
    const std::int64_t count = std::min<std::int64_t>(kGroupSplits, all.splits - first);
    const std::int64_t of_unit = all.first_group + unit % units.heads() * (all.groups() + 1);
    if (!is_last(of_unit + 1 + group, count)) return;
    const Tile tile = units.tile(unit);
    float* const parts = part(unit, 0, units);
    tile.merge(part(unit, first, units), count, all.size, 0, tile.rows());
    if (all.many() || !is_last(of_unit, all.groups())) return;
    tile.merge(parts, all.groups(), kGroupSplits * all.size, 0, tile.rows());
    tile.store({parts, tile.rows(), tile.padded()}, 0, tile.rows());
  }
  /// Counts one more that is finished.
  bool is_last(std::int64_t place, std::int64_t count) {
    std::atomic_ref<std::int32_t> finished(finished_[static_cast<std::size_t>(place)]);
    return finished.fetch_add(1, std::memory_order_acq_rel) + 1 == count;
  }

  /// Whether piece i + 1 continues piece i and, most likely, has the same thread.
  bool is_followed(std::int64_t i) const {
    if (!gives_ranges_ || i < 0 || i + 1 >= count() || i * threads_ / count() != (i + 1) * threads_ / count())
      return false;
    return pieces_[static_cast<std::size_t>(i)].unit == pieces_[static_cast<std::size_t>(i + 1)].unit;
  }

  std::int64_t threads_ = 1;
  bool gives_ranges_ = false;  ///< to each thread; not piece by piece to whoever is free
  std::vector<Piece> pieces_;
  std::vector<PartsOf> parts_of_;  ///< [tiles]
  std::vector<float> parts_;
  std::int64_t size_ = 0;               ///< of this call's parts, in floats
  std::vector<std::int32_t> finished_;  ///< of each head the groups, then the splits of each group
};

}  // namespace

void attention(const Kernels& k, const AttentionArgs& args) {
  const Units units(k, args);
  const auto each_alone = [&] {
    parallel_units(units.count(), units.work(), [&](std::int64_t unit) { units.tile(unit).run(); });
  };
  if (args.batch.tokens > kSplitTokens) return each_alone();
  thread_local Splits of_this_thread;
  Splits& splits = of_this_thread;
  splits.list(units);
  if (splits.count() == units.count()) return each_alone();  // short contexts: nothing to merge
  splits.compute(units);
  splits.merge(units);
}

}  // namespace krasis::simd
