#include <algorithm>
#include <numeric>

#include "kernels/host/operations/experts_workspace.h"
#include "kernels/host/operations/parallel.h"
#include "kernels/host/operations/rows.h"
#include "kernels/host/operations/simd_product.h"

namespace krasis::simd {
namespace {

/// The (token, pick) pairs whose expert is here, sorted by expert; pairs of one expert form a group.
struct Groups {
  std::int64_t pairs = 0;
  std::int64_t count = 0;
  std::int32_t* order = nullptr;   ///< [pairs] pair at each place of the sorted order
  std::int32_t* token = nullptr;   ///< [pairs] its token
  std::int32_t* begin = nullptr;   ///< [count + 1] first place of each group
  std::int32_t* blocks = nullptr;  ///< [count + 1] token blocks of all groups before
};

Groups group_by_expert(const ExpertsArgs& args, const ExpertsWorkspace& work) {
  const auto all = static_cast<std::int64_t>(args.ids.size);
  Groups g;
  g.order = work.lists;
  g.token = g.order + all;
  g.begin = g.token + all;
  g.blocks = g.begin + all + 1;
  const std::int32_t* ids = args.ids.data;
  for (std::int32_t pair = 0; pair < all; ++pair) {
    if (expert_block(args, ids[pair])) g.order[g.pairs++] = pair;
  }
  std::sort(g.order, g.order + g.pairs,
            [ids](std::int32_t a, std::int32_t b) { return ids[a] != ids[b] ? ids[a] < ids[b] : a < b; });
  g.blocks[0] = 0;
  for (std::int32_t place = 0; place < g.pairs; ++place) {
    g.token[place] = g.order[place] / args.top_k;
    if (place == 0 || ids[g.order[place]] != ids[g.order[place - 1]]) g.begin[g.count++] = place;
  }
  g.begin[g.count] = static_cast<std::int32_t>(g.pairs);
  for (std::int64_t i = 0; i < g.count; ++i) {
    g.blocks[i + 1] = g.blocks[i] + static_cast<std::int32_t>(tiles(g.begin[i + 1] - g.begin[i], kTileTokens));
  }
  return g;
}

/// Up to kTileTokens pairs of one group.
struct TokenBlock {
  std::int64_t first = 0;  ///< place in the sorted order
  int count = 0;
  std::int32_t expert = 0;
};

TokenBlock token_block(const ExpertsArgs& args, const Groups& g, std::int64_t block) {
  const auto group = std::upper_bound(g.blocks, g.blocks + g.count + 1, block) - g.blocks - 1;
  const std::int64_t first = g.begin[group] + (block - g.blocks[group]) * kTileTokens;
  return {first, static_cast<int>(std::min<std::int64_t>(kTileTokens, g.begin[group + 1] - first)),
          args.ids.data[g.order[first]]};
}

/// Whether a block of tokens is multiplied row by row.
bool by_rows(const Kernels& k, const MatrixLayout& layout, const TokenBlock& block) {
  return block.count <= k.rows->most_tokens && rows_support(layout.format);
}
static_assert(kTileTokens <= kMaxRowTokens);

/// Rows of a unit of work: few, so that whoever is done helps the others until the end (some 4 us of gate and up at 8
/// GB/s for each thread). A member of the team gets a range of them and so streams through neighbours. Weights that are
/// unpacked first want whole tiles.
std::int64_t unit_rows(const Kernels& k, const ExpertsArgs& args, const Groups& g, const MatrixLayout& layout) {
  for (std::int64_t b = 0; b < g.blocks[g.count]; ++b) {
    if (!by_rows(k, layout, token_block(args, g, b))) return kTileRows;
  }
  return 16;
}

/// activated[place, row...] = glu(gate(x), up(x)) of a block of tokens; at most kTileRows rows.
void gate_and_up_rows(const Kernels& k, const ExpertsArgs& args, const ExpertsWorkspace& work, const Groups& g,
                      const PreparedTokens& x, const TokenBlock& block, std::int64_t row, int count) {
  TileScratch& scratch = tile_scratch();
  const std::int64_t width = args.layout.width();
  const auto glu = args.glu == Glu::SwiGlu ? k.swiglu : k.clamped_swiglu;
  const ExpertMatrices expert = expert_matrices(args.layout, expert_block(args, block.expert));
  if (by_rows(k, args.layout.gate, block)) {
    const std::int32_t* places = g.token + block.first;
    multiply_rows(*k.rows, expert.gate, row, count, x, places, block.count, scratch.first, kTileRows);
    multiply_rows(*k.rows, expert.up, row, count, x, places, block.count, scratch.second, kTileRows);
  } else {
    const TokenRows tokens{args.x.data, g.token + block.first, block.count};
    product_tile(k, expert.gate, row, count, tokens, scratch, scratch.first);
    product_tile(k, expert.up, row, count, tokens, scratch, scratch.second);
  }
  for (int n = 0; n < block.count; ++n) {
    glu(scratch.first + n * kTileRows, scratch.second + n * kTileRows, count,
        work.activated + (block.first + n) * width + row);
  }
}

/// activated[place, :] = glu(gate(x), up(x))
void gate_and_up(const Kernels& k, const ExpertsArgs& args, const ExpertsWorkspace& work, const Groups& g,
                 const PreparedTokens& x) {
  const std::int64_t width = args.layout.width();
  const std::int64_t rows = unit_rows(k, args, g, args.layout.gate);
  const std::int64_t units = tiles(width, rows);  // of each block
  const std::int64_t multiply_adds = 2 * g.pairs * width * args.layout.hidden();
  parallel_ranges(units * g.blocks[g.count], multiply_adds, [&](std::int64_t begin, std::int64_t end) {
    while (begin < end) {
      const std::int64_t first = begin % units;
      const std::int64_t last = std::min({units, first + (end - begin), first + kTileRows / rows});
      const std::int64_t count = std::min(last * rows, width) - first * rows;
      gate_and_up_rows(k, args, work, g, x, token_block(args, g, begin / units), first * rows, static_cast<int>(count));
      begin += last - first;
    }
  });
}

/// out[token, row...] += the weighted sums over the tokens' experts, in the experts' order. At most kDownRows rows,
/// with tiles kTileRows.
constexpr int kDownRows = 64;
void down_rows(const Kernels& k, const ExpertsArgs& args, const ExpertsWorkspace& work, const Groups& g,
               const PreparedTokens& activated, std::int64_t row, int count) {
  float sums[kTileTokens * kDownRows];
  for (std::int64_t b = 0; b < g.blocks[g.count]; ++b) {
    const TokenBlock block = token_block(args, g, b);
    const Matrix weight = expert_matrices(args.layout, expert_block(args, block.expert)).down;
    const float* results = sums;
    std::int64_t stride = kDownRows;
    if (by_rows(k, args.layout.down, block)) {
      std::int32_t places[kTileTokens];
      std::iota(places, places + block.count, static_cast<std::int32_t>(block.first));
      multiply_rows(*k.rows, weight, row, count, activated, places, block.count, sums, kDownRows);
    } else {
      TileScratch& scratch = tile_scratch();
      product_tile(k, weight, row, count, {work.activated + block.first * args.layout.width(), nullptr, block.count},
                   scratch, scratch.first);
      results = scratch.first;
      stride = kTileRows;
    }
    for (int n = 0; n < block.count; ++n) {
      const std::int64_t place = block.first + n;
      k.add_scaled(results + n * stride, args.weights.data[g.order[place]], count,
                   args.out.data + g.token[place] * args.layout.hidden() + row);
    }
  }
}

/// out[token, :] += the weighted sum over its experts of down(activated). A unit has its rows of all experts, so that
/// nothing has to be gathered afterwards and all units take the same time.
void down(const Kernels& k, const ExpertsArgs& args, const ExpertsWorkspace& work, const Groups& g,
          const PreparedTokens& activated) {
  const std::int64_t hidden = args.layout.hidden();
  std::int64_t rows = unit_rows(k, args, g, args.layout.down);
  // One token: each range goes through all its experts, so fewer ranges are fewer starts on other pages.
  if (g.pairs <= args.top_k && rows < kTileRows) rows = kDownRows;
  const std::int64_t most = (rows == kTileRows ? kTileRows : kDownRows) / rows;  // units at once
  parallel_ranges(
      tiles(hidden, rows), g.pairs * args.layout.width() * hidden, [&](std::int64_t begin, std::int64_t end) {
        while (begin < end) {
          const std::int64_t last = std::min(end, begin + most);
          const std::int64_t row = begin * rows;
          down_rows(k, args, work, g, activated, row, static_cast<int>(std::min(last * rows, hidden) - row));
          begin = last;
        }
      });
}

/// Prepares `count` tokens where some block of them is multiplied by rows.
void prepare(const Kernels& k, const ExpertsArgs& args, const Groups& g, const MatrixLayout& layout, const bf16* x,
             std::int64_t count, PreparedTokens& prepared) {
  bool any = false;
  for (std::int64_t b = 0; b < g.blocks[g.count] && !any; ++b) any = by_rows(k, layout, token_block(args, g, b));
  if (!any) return;
  prepared.resize(layout, count);
  parallel_units(count, count * layout.columns * 8,
                 [&](std::int64_t t) { prepared.prepare(*k.rows, x + t * layout.columns, t); });
}

}  // namespace

void experts(const Kernels& k, const ExpertsArgs& args) {
  const ExpertsWorkspace work = experts_workspace(args);
  const Groups groups = group_by_expert(args, work);
  if (groups.pairs == 0) return;
  thread_local PreparedTokens prepared_x, prepared_activated;
  PreparedTokens& x = prepared_x;  // this thread's; the others read it
  PreparedTokens& activated = prepared_activated;
  prepare(k, args, groups, args.layout.gate, args.x.data, static_cast<std::int64_t>(args.ids.size) / args.top_k, x);
  gate_and_up(k, args, work, groups, x);
  prepare(k, args, groups, args.layout.down, work.activated, groups.pairs, activated);
  down(k, args, work, groups, activated);
}

}  // namespace krasis::simd
