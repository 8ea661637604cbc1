#include <algorithm>
#include <atomic>
#include <numeric>
#include <span>
#include <vector>

#include "kernels/host/operations/experts/gate_units.h"
#include "kernels/host/operations/experts/workspace.h"
#include "kernels/host/operations/matmul/streamed_rows.h"
#include "kernels/host/operations/matmul/tiles.h"
#include "kernels/host/operations/threads/parallel.h"

namespace krasis::simd {
namespace {

/// Up to kTileTokens pairs of one expert.
struct TokenBlock {
  std::int64_t first = 0;  ///< place in the sorted order
  int count = 0;
  std::int32_t expert = 0;
};

/// The (token, pick) pairs whose expert is here, sorted by expert.
struct Groups {
  std::int64_t pairs = 0;
  std::int64_t experts = 0;
  std::int32_t* order = nullptr;  ///< [pairs] pair at each place of the sorted order
  std::int32_t* token = nullptr;  ///< [pairs] its token
  std::span<const TokenBlock> blocks;
};

/// The calling thread keeps the memory of `blocks` for its next call; the others read it.
Groups group_by_expert(const ExpertsArgs& args, const ExpertsWorkspace& work) {
  thread_local std::vector<std::int32_t> begins;  // of each expert's pairs, one place ahead
  thread_local std::vector<TokenBlock> blocks;
  const std::span<const std::int32_t> ids(args.ids.data, args.ids.size);
  Groups g;
  g.order = work.lists;
  g.token = g.order + ids.size();
  begins.assign(args.offsets.size + 2, 0);
  for (const std::int32_t id : ids) {
    if (expert_block(args, id)) ++begins[static_cast<std::size_t>(id) + 2];
  }
  std::partial_sum(begins.begin(), begins.end(), begins.begin());
  g.pairs = begins.back();
  for (std::size_t pair = 0; pair < ids.size(); ++pair) {
    if (!expert_block(args, ids[pair])) continue;
    const auto place = static_cast<std::size_t>(begins[static_cast<std::size_t>(ids[pair]) + 1]++);
    g.order[place] = static_cast<std::int32_t>(pair);
    g.token[place] = static_cast<std::int32_t>(pair) / args.top_k;
  }
  blocks.clear();
  for (std::size_t expert = 0; expert + 2 < begins.size(); ++expert) {
    if (begins[expert] < begins[expert + 1]) ++g.experts;
    for (std::int32_t first = begins[expert]; first < begins[expert + 1]; first += kTileTokens) {
      blocks.push_back(
          {first, std::min<std::int32_t>(kTileTokens, begins[expert + 1] - first), static_cast<std::int32_t>(expert)});
    }
  }
  g.blocks = blocks;
  return g;
}

/// Whether a block of tokens is multiplied row by row.
bool by_rows(const Kernels& k, const MatrixLayout& layout, const TokenBlock& block) {
  return block.count <= k.rows->most_tokens && rows_support(layout.format);
}
static_assert(kTileTokens <= kMaxRowTokens);
/// Rows of down at once where they are multiplied row by row.
constexpr int kDownRows = 128;
/// The fewest pairs for which a unit of down has twice the rows: the unit is then long enough, and two blocks of rows
/// are multiplied with the same tiles of tokens (rows_amx.cpp).
constexpr std::int64_t kManyPairs = 256;

/// Rows of a unit of work: few, so that whoever is done helps the others until the end (some 4 us of gate and up at 8
/// GB/s for each thread). A member of the team gets a range of them and so streams through neighbours. Weights that are
/// unpacked first want whole tiles.
std::int64_t unit_rows(const Kernels& k, const Groups& g, const MatrixLayout& layout) {
  const bool all = std::ranges::all_of(g.blocks, [&](const TokenBlock& b) { return by_rows(k, layout, b); });
  return all ? 16 : kTileRows;
}
std::int64_t down_unit_rows(const Kernels& k, const ExpertsArgs& args, const Groups& g) {
  const std::int64_t rows = unit_rows(k, g, args.layout.down);
  return rows == kTileRows || g.pairs < kManyPairs ? rows : 2 * rows;
}

/// The experts of some tokens, while they are computed: activated = glu(gate(x), up(x)), then out += the weighted sums
/// of down(activated).
class Run {
 public:
  Run(const Kernels& k, const ExpertsArgs& args, const ExpertsWorkspace& work, const Groups& g)
      : k_(k),
        args_(args),
        work_(work),
        g_(g),
        blocks_(static_cast<std::int64_t>(g.blocks.size())),
        width_(args.layout.width()),
        hidden_(args.layout.hidden()),
        gate_rows_(unit_rows(k, g, args.layout.gate)),
        down_rows_(down_unit_rows(k, args, g)),
        gate_units_{blocks_, tiles(width_, gate_rows_), ThreadTeam::current() ? ThreadTeam::current()->nodes() : 1},
        x_(of_this_thread().x),
        activated_(of_this_thread().activated),
        interleaved_(of_this_thread().interleaved),
        finished_(of_this_thread().finished) {}

  void run() {
    prepare_x();
    if (any_by_rows(args_.layout.down)) {
      activated_.resize(args_.layout.down, g_.pairs);
      if (k_.rows->interleave) interleaved_.resize(interleaved_place(args_.layout.down, blocks_, g_.pairs));
    }
    finished_.assign(static_cast<std::size_t>(blocks_), 0);
    const std::int64_t unit_bytes = g_.experts * down_rows_ * static_cast<std::int64_t>(args_.layout.down.row_bytes());
    parallel_two(
        gate_units_.count(), [&](std::int64_t begin, std::int64_t end) { gate_and_up(begin, end); },
        tiles(hidden_, down_rows_), [&](std::int64_t begin, std::int64_t end) { down(begin, end); },
        3 * g_.pairs * width_ * hidden_, [&](std::int64_t begin, std::int64_t end) { fetch_down(begin, end); },
        static_cast<std::int64_t>(ThreadTeam::ahead_bytes()) / unit_bytes);
  }

 private:
  /// What a thread keeps for its next run; the others read and fill it.
  struct Kept {
    PreparedTokens x, activated;
    AlignedBytes interleaved;  ///< of `activated`
    std::vector<std::int32_t> finished;
  };
  static Kept& of_this_thread() {
    thread_local Kept kept;
    return kept;
  }

  const TokenBlock& block(std::int64_t index) const { return g_.blocks[static_cast<std::size_t>(index)]; }
  ExpertMatrices expert(const TokenBlock& b) const {
    return expert_matrices(args_.layout, expert_block(args_, b.expert));
  }
  /// The activated tokens of a block, interleaved.
  std::byte* interleaved(std::int64_t index, const TokenBlock& b) const {
    return interleaved_.data() + interleaved_place(args_.layout.down, index, b.first);
  }
  bool any_by_rows(const MatrixLayout& layout) const {
    return std::ranges::any_of(g_.blocks, [&](const TokenBlock& b) { return by_rows(k_, layout, b); });
  }

  void prepare_x() {
    if (!any_by_rows(args_.layout.gate)) return;
    const std::int64_t tokens = static_cast<std::int64_t>(args_.ids.size) / args_.top_k;
    x_.resize(args_.layout.gate, tokens);
    parallel_units(tokens, tokens * hidden_ * 8,
                   [&](std::int64_t t) { x_.prepare(*k_.rows, args_.x.data + t * hidden_, t); });
  }

  void gate_and_up(std::int64_t begin, std::int64_t end) {
    while (begin < end) {
      const GateUnits::Place at = gate_units_.at(begin);
      const TokenBlock& b = block(at.block);
      const bool rows = by_rows(k_, args_.layout.gate, b);
      const std::int64_t most = rows ? std::max<std::int64_t>(1, kTileTokens * kTileRows / b.count / gate_rows_) : 1;
      const std::int64_t units = std::min({at.end - at.unit, end - begin, most});
      const std::int64_t row = at.unit * gate_rows_;
      const std::int64_t row_end = std::min((at.unit + units) * gate_rows_, width_);
      begin += units;
      gate_and_up_rows(b, rows, row, static_cast<int>(row_end - row), next_rows(begin));
      finish(at.block, b, units);
    }
  }
  /// Of the same expert, or the next one's first rows.
  NextRows next_rows(std::int64_t index) const {
    if (index >= gate_units_.count()) return {};
    const GateUnits::Place at = gate_units_.at(index);
    return rows_from(expert(block(at.block)).gate, at.unit * gate_rows_);
  }

  /// activated[place, row...] = glu(gate(x), up(x)) of a block of tokens.
  void gate_and_up_rows(const TokenBlock& b, bool rows, std::int64_t row, int count, NextRows next) {
    TileScratch& scratch = tile_scratch();
    const ExpertMatrices e = expert(b);
    const auto glu = args_.glu == Glu::SwiGlu ? k_.swiglu : k_.clamped_swiglu;
    const std::int32_t* places = g_.token + b.first;
    const std::int64_t stride = rows ? count : kTileRows;
    if (rows) {
      thread_local AlignedBytes memory;
      std::byte* interleaved = nullptr;
      if (interleaves(*k_.rows, b.count)) {
        interleaved = memory.resize(interleaved_bytes(args_.layout.gate, b.count));
        x_.interleave(*k_.rows, places, 0, b.count, interleaved);
      }
      multiply_rows(*k_.rows, e.gate, row, count, x_, places, b.count, scratch.first, stride, rows_from(e.up, row),
                    interleaved);
      multiply_rows(*k_.rows, e.up, row, count, x_, places, b.count, scratch.second, stride, next, interleaved);
    } else {
      const TokenRows tokens{args_.x.data, places, b.count};
      product_tile(k_, e.gate, row, count, tokens, scratch, scratch.first);
      product_tile(k_, e.up, row, count, tokens, scratch, scratch.second);
    }
    for (int n = 0; n < b.count; ++n) {
      glu(scratch.first + n * stride, scratch.second + n * stride, count,
          work_.activated + (b.first + n) * width_ + row);
    }
  }

  /// Whoever finishes the last of a block's units prepares its tokens for down.
  void finish(std::int64_t index, const TokenBlock& b, std::int64_t units) {
    std::atomic_ref<std::int32_t> finished(finished_[static_cast<std::size_t>(index)]);
    const auto n = static_cast<std::int32_t>(units);
    if (finished.fetch_add(n, std::memory_order_acq_rel) + n != gate_units_.units) return;
    if (!by_rows(k_, args_.layout.down, b)) return;
    for (std::int64_t place = b.first; place < b.first + b.count; ++place) {
      activated_.prepare(*k_.rows, work_.activated + place * width_, place);
    }
    if (!interleaves(*k_.rows, b.count)) return;
    activated_.interleave(*k_.rows, nullptr, b.first, b.count, interleaved(index, b));
  }

  /// Asks memory for the rows of some units of down.
  void fetch_down(std::int64_t begin, std::int64_t end) const {
    const std::int64_t row = begin * down_rows_;
    const std::int64_t count = std::min(end * down_rows_, hidden_) - row;
    for (std::int64_t index = 0; index < blocks_; ++index) {
      const TokenBlock& b = block(index);
      if (index > 0 && b.expert == block(index - 1).expert) continue;
      const Matrix down = expert(b).down;
      prefetch(down.row(row), down.row(row + count));
      prefetch(down.scale_row(row), down.scale_row(row + count));
    }
  }
  static void prefetch(const std::byte* begin, const std::byte* end) {
    for (; begin < end; begin += 64) __builtin_prefetch(begin, 0, 2);
  }

  /// A unit has its rows of all experts, so that nothing has to be gathered afterwards and all units take the same
  /// time.
  void down(std::int64_t begin, std::int64_t end) {
    const std::int64_t most = down_rows_ == kTileRows ? 1 : kDownRows / down_rows_;  // units at once
    for (std::int64_t last; begin < end; begin = last) {
      last = std::min(end, begin + most);
      const std::int64_t row = begin * down_rows_;
      const std::int64_t row_end = std::min(last * down_rows_, hidden_);
      const NextRows next = last < end ? rows_from(expert(block(0)).down, row_end) : NextRows{};
      down_rows(row, static_cast<int>(row_end - row), next);
    }
  }

  /// out[token, row...] += the weighted sums over the tokens' experts, in the experts' order.
  void down_rows(std::int64_t row, int count, NextRows next) {
    float sums[kTileTokens * kDownRows];
    for (std::int64_t index = 0; index < blocks_; ++index) {
      const TokenBlock& b = block(index);
      const Matrix weight = expert(b).down;
      const float* results = sums;
      std::int64_t stride = kDownRows;
      if (by_rows(k_, args_.layout.down, b)) {
        std::int32_t places[kTileTokens];
        std::iota(places, places + b.count, static_cast<std::int32_t>(b.first));
        multiply_rows(*k_.rows, weight, row, count, activated_, places, b.count, sums, stride,
                      index + 1 < blocks_ ? rows_from(expert(block(index + 1)).down, row) : next,
                      interleaves(*k_.rows, b.count) ? interleaved(index, b) : nullptr);
      } else {
        TileScratch& scratch = tile_scratch();
        product_tile(k_, weight, row, count, {work_.activated + b.first * width_, nullptr, b.count}, scratch,
                     scratch.first);
        results = scratch.first;
        stride = kTileRows;
      }
      for (int n = 0; n < b.count; ++n) {
        const std::int64_t place = b.first + n;
        k_.add_scaled(results + n * stride, args_.weights.data[g_.order[place]], count,
                      args_.out.data + g_.token[place] * hidden_ + row);
      }
    }
  }

  const Kernels& k_;
  const ExpertsArgs& args_;
  const ExpertsWorkspace& work_;
  const Groups& g_;
  const std::int64_t blocks_, width_, hidden_, gate_rows_, down_rows_;
  const GateUnits gate_units_;
  PreparedTokens& x_;
  PreparedTokens& activated_;
  AlignedBytes& interleaved_;
  std::vector<std::int32_t>& finished_;
};

}  // namespace

void experts(const Kernels& k, const ExpertsArgs& args) {
  const ExpertsWorkspace work = experts_workspace(args);
  const Groups groups = group_by_expert(args, work);
  if (groups.pairs > 0) Run(k, args, work, groups).run();
}

}  // namespace krasis::simd
