#include "kernels/host/operations/matmul/streamed_rows.h"

#include <algorithm>
#include <new>
#include <numeric>

#include "kernels/host/operations/matmul/tiles.h"
#include "kernels/host/operations/threads/parallel.h"

namespace krasis::simd {
namespace {

constexpr std::align_val_t kAlignment{64};
/// Corrections that kernels read behind the last one.
constexpr std::int64_t kBehind = 16;
/// Weights of one unit of work: enough to be worth a start, little enough to share out evenly.
constexpr std::int64_t kUnitBytes = 32 << 10;
/// Tokens that interleaving rounds up to.
constexpr std::int64_t kInterleaved = 16;
/// Rows of one unit at most.
constexpr std::int64_t kMostRows = 64;
/// Units of several tokens' products: enough to be shared out among many threads.
constexpr std::int64_t kSharedUnits = 32;

/// The sizes of a token's parts, in bytes, each a multiple of 64.
struct PartSizes {
  std::size_t planes, scales, corrections;
  std::size_t total() const { return planes + scales + corrections; }
};
PartSizes part_sizes(const MatrixLayout& layout) {
  const std::size_t columns = round_up(static_cast<std::size_t>(layout.columns), kActivationBlock);
  if (layout.format.element == Element::Bf16) return {columns * sizeof(float), 0, 0};
  const auto groups = static_cast<std::size_t>(layout.groups_per_row() + kBehind);
  return {columns * 2, round_up(columns / kActivationBlock * sizeof(float), 64), round_up(groups * sizeof(float), 64)};
}

/// Whether the products are for rows and want the same prepared activations.
bool can_share(const RowKernels& k, std::span<const MatmulArgs> products) {
  const MatmulArgs& first = products.front();
  const MatrixLayout& layout = first.weight.layout;
  if ((first.tokens > k.most_tokens && k.most_tokens < kMaxRowTokens) || !rows_support(layout.format)) return false;
  return std::all_of(products.begin(), products.end(), [&](const MatmulArgs& args) {
    return args.x.data == first.x.data && args.tokens == first.tokens && args.weight.layout.columns == layout.columns &&
           args.weight.layout.format == layout.format;
  });
}

/// Equal shares of many tokens: a single one behind the others would be summed in another order.
struct Shares {
  explicit Shares(std::int64_t all) : tokens(all), count(tiles(all, kMaxRowTokens)) {}
  std::int64_t first(std::int64_t share) const { return share * tokens / count; }
  int size(std::int64_t share) const { return static_cast<int>(first(share + 1) - first(share)); }
  /// Where a share's interleaved tokens begin.
  std::size_t place(const MatrixLayout& layout, std::int64_t share) const {
    return interleaved_place(layout, share, first(share));
  }
  std::int64_t tokens, count;
};

/// Rows [row, row + count) of one product, all tokens. `next`: those that are likely to be this thread's next.
void some_rows(const RowKernels& k, const MatmulArgs& args, const PreparedTokens& prepared,
               const std::byte* interleaved, std::int64_t row, int count, NextRows next) {
  const MatrixLayout& layout = args.weight.layout;
  float sums[kMaxRowTokens * kMostRows];
  const Shares shares(args.tokens);
  for (std::int64_t share = 0; share < shares.count; ++share) {
    const std::int64_t first = shares.first(share);
    const int tokens = shares.size(share);
    std::int32_t places[kMaxRowTokens];
    std::iota(places, places + tokens, static_cast<std::int32_t>(first));
    multiply_rows(k, args.weight, row, count, prepared, places, tokens, sums, kMostRows, next,
                  interleaved ? interleaved + shares.place(layout, share) : nullptr);
    for (std::int64_t t = 0; t < tokens; ++t) {
      const float* from = sums + t * kMostRows;
      const std::int64_t at = (first + t) * layout.rows + row;
      if (!args.out_bf16.empty()) {
        std::transform(from, from + count, args.out_bf16.data + at, [](float v) { return bf16(v); });
      } else if (!args.out_f32.empty()) {
        std::copy_n(from, count, args.out_f32.data + at);
      } else {
        for (int r = 0; r < count; ++r) args.accumulate.data[at + r] += from[r];
      }
    }
  }
}

}  // namespace

void AlignedBytes::Free::operator()(std::byte* data) const {
  ::operator delete(data, kAlignment);
}

std::byte* AlignedBytes::resize(std::size_t bytes) {
  if (bytes > capacity_) {
    memory_.reset();
    capacity_ = 0;
    memory_.reset(static_cast<std::byte*>(::operator new(bytes, kAlignment)));
    capacity_ = bytes;
  }
  return memory_.get();
}

std::size_t interleaved_bytes(const MatrixLayout& layout, std::int64_t tokens) {
  const std::size_t steps = round_up(static_cast<std::size_t>(layout.columns), kActivationBlock) / kActivationBlock;
  const int group_size = layout.format.element == Element::Bf16 ? 128 : std::min(layout.format.group_size, 128);
  const auto beside = static_cast<std::size_t>(2 * 64 * (128 / group_size));  // rows_amx.cpp
  return static_cast<std::size_t>(tiles(tokens, kInterleaved)) * steps * (kInterleaved * 2 * kActivationBlock + beside);
}

std::size_t interleaved_place(const MatrixLayout& layout, std::int64_t index, std::int64_t first) {
  return interleaved_bytes(layout, first + index * kInterleaved);
}

void PreparedTokens::resize(const MatrixLayout& layout, std::int64_t count) {
  layout_ = layout;
  const PartSizes sizes = part_sizes(layout);
  std::byte* at = memory_.resize(sizes.total() * static_cast<std::size_t>(count));
  tokens_.resize(static_cast<std::size_t>(count));
  for (PreparedToken& token : tokens_) {
    token = {at, reinterpret_cast<const float*>(at + sizes.planes),
             reinterpret_cast<const float*>(at + sizes.planes + sizes.scales)};
    at += sizes.total();
  }
}

void PreparedTokens::interleave(const RowKernels& k, const std::int32_t* places, std::int64_t first, int count,
                                std::byte* out) const {
  PreparedToken chosen[kMaxRowTokens];
  for (int n = 0; n < count; ++n) chosen[n] = (*this)[places ? places[first + n] : first + n];
  k.interleave(chosen, count, layout_.padded_columns(), layout_.format.element, layout_.format.group_size, out);
}

void PreparedTokens::prepare(const RowKernels& k, const bf16* x, std::int64_t index) {
  const PreparedToken& token = (*this)[index];
  k.prepare(x, layout_.columns, layout_.format.element, layout_.format.group_size, const_cast<std::byte*>(token.planes),
            const_cast<float*>(token.scales), const_cast<float*>(token.corrections));
}

void multiply_rows(const RowKernels& k, const Matrix& weight, std::int64_t row_begin, int row_count,
                   const PreparedTokens& x, const std::int32_t* places, int tokens, float* out, std::int64_t stride,
                   NextRows next, const std::byte* interleaved) {
  const MatrixLayout& layout = weight.layout;
  const PackedRows rows{.element = layout.format.element,
                        .group_size = layout.format.group_size,
                        .groups = layout.groups_per_row(),
                        .padded_columns = layout.padded_columns(),
                        .data = weight.row(row_begin),
                        .row_bytes = layout.row_bytes(),
                        .scales = weight.scale_row(row_begin),
                        .scale_row_bytes = layout.scale_row_bytes(),
                        .count = row_count,
                        .ahead = static_cast<int>((kPrefetchBytes + layout.row_bytes() - 1) / layout.row_bytes()),
                        .next = next.data,
                        .next_scales = next.scales};
  PreparedToken chosen[kMaxRowTokens];
  for (int n = 0; n < tokens; ++n) chosen[n] = x[places ? places[n] : n];
  k.dot(rows, chosen, tokens, interleaved, out, stride);
}

bool matmul_rows(const RowKernels& k, std::span<const MatmulArgs> products) {
  if (products.empty() || !can_share(k, products)) return false;
  const MatmulArgs& any = products.front();
  const MatrixLayout& layout = any.weight.layout;
  thread_local PreparedTokens of_this_thread;
  PreparedTokens& prepared = of_this_thread;  // the others read it
  prepared.resize(layout, any.tokens);
  parallel_units(any.tokens, any.tokens * layout.columns * 8,
                 [&](std::int64_t t) { prepared.prepare(k, any.x.data + t * layout.columns, t); });
  const Shares shares(any.tokens);
  thread_local AlignedBytes interleaved_of_this_thread;
  std::byte* interleaved = nullptr;
  if (interleaves(k, shares.size(0))) {
    interleaved = interleaved_of_this_thread.resize(shares.place(layout, shares.count));
    // A last part of few tokens would be laid out as if it were alone: parts of 16 to 31.
    const std::int64_t parts = std::max<std::int64_t>(1, shares.size(0) / kInterleaved);
    parallel_units(shares.count * parts, any.tokens * layout.columns, [&](std::int64_t i) {
      const std::int64_t share = i / parts, part = i % parts;
      const std::int64_t first = part * kInterleaved;
      const std::int64_t end = part + 1 < parts ? first + kInterleaved : shares.size(share);
      prepared.interleave(k, nullptr, shares.first(share) + first, static_cast<int>(end - first),
                          interleaved + shares.place(layout, share) + interleaved_bytes(layout, first));
    });
  }
  std::int64_t rows = 0;
  for (const MatmulArgs& args : products) rows += args.weight.layout.rows;
  std::int64_t rows_each =
      std::clamp<std::int64_t>(kUnitBytes / static_cast<std::int64_t>(layout.row_bytes()), 4, kMostRows);
  // Whole tiles (rows_amx.cpp), and few starts where there are rows enough for all threads.
  if (any.tokens > 1) rows_each = std::clamp<std::int64_t>(rows / kSharedUnits / 16 * 16, 16, kMostRows);
  std::int64_t units = 0;
  for (const MatmulArgs& args : products) units += tiles(args.weight.layout.rows, rows_each);
  // Node after node, as the members of the team are: a node has an equal part of the rows of each matrix.
  const std::int64_t nodes = ThreadTeam::current() ? ThreadTeam::current()->nodes() : 1;
  parallel_units(units, rows * layout.columns * any.tokens, [&](std::int64_t unit) {
    for (std::int64_t node = 0; node < nodes; ++node) {
      for (const MatmulArgs& args : products) {
        const std::int64_t own = tiles(args.weight.layout.rows, rows_each);
        const std::int64_t begin = node * own / nodes, end = (node + 1) * own / nodes;
        if (unit < end - begin) {
          const std::int64_t row = (begin + unit) * rows_each;
          const std::int64_t count = std::min(rows_each, args.weight.layout.rows - row);
          const NextRows next = begin + unit + 1 < end ? rows_from(args.weight, row + count) : NextRows{};
          return some_rows(k, args, prepared, interleaved, row, static_cast<int>(count), next);
        }
        unit -= end - begin;
      }
    }
  });
  return true;
}

}  // namespace krasis::simd
