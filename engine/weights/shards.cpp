#include "engine/weights/shards.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace krasis {
namespace {

/// Rows, or scales of rows, in a block.
struct Rows {
  std::size_t begin = 0;
  std::size_t row_bytes = 0;
  std::size_t count = 0;
};

/// Ascending; the scales of BF16 are nothing at the begin of the next matrix, which hides them.
std::array<Rows, 6> rows_of(const ExpertLayout& layout) {
  std::array<Rows, 6> all;
  std::size_t at = 0, i = 0;
  for (const MatrixLayout& matrix : {layout.gate, layout.up, layout.down}) {
    const auto rows = static_cast<std::size_t>(matrix.rows);
    all[i++] = {at, matrix.row_bytes(), rows};
    all[i++] = {at + matrix.scales_offset(), matrix.scale_row_bytes(), rows};
    at += matrix.bytes();
  }
  return all;
}

}  // namespace

Shards expert_shards(const ExpertLayout& layout, std::vector<int> nodes) {
  const std::size_t n = nodes.size();
  return {std::move(nodes), [=, all = rows_of(layout), block = layout.bytes()](std::size_t offset) -> Shards::Range {
            const std::size_t expert = offset / block * block, in_block = offset - expert;
            const auto next =
                std::find_if(all.begin() + 1, all.end(), [&](const Rows& rows) { return rows.begin > in_block; });
            const Rows& rows = *(next - 1);
            const std::size_t end = expert + (next == all.end() ? block : next->begin);
            const std::size_t row = std::min((in_block - rows.begin) / rows.row_bytes, rows.count - 1);
            const std::size_t node = ((row + 1) * n - 1) / rows.count;
            if (node + 1 == n) return {node, end};
            return {node, expert + rows.begin + (node + 1) * rows.count / n * rows.row_bytes};
          }};
}

Shards equal_shards(std::size_t bytes, std::vector<int> nodes) {
  const std::size_t n = nodes.size(), part = std::max<std::size_t>(1, bytes / std::max<std::size_t>(1, n));
  return {std::move(nodes), [=](std::size_t offset) -> Shards::Range {
            const std::size_t node = offset / part;
            if (node + 1 >= n) return {n - 1, SIZE_MAX};
            return {node, (node + 1) * part};
          }};
}

std::vector<PageRun> page_runs(const Shards& shards, std::size_t begin, std::size_t end, std::size_t page) {
  std::vector<PageRun> runs;
  for (std::size_t at = begin; at < end;) {
    const std::size_t middle = at + page / 2;
    const Shards::Range range = shards.at(middle);
    const std::size_t pages = std::min((range.end - middle - 1) / page + 1, (end - at) / page);
    if (runs.empty() || runs.back().node != range.node) runs.push_back({at, at, range.node});
    at = runs.back().end = at + pages * page;
  }
  return runs;
}

}  // namespace krasis
