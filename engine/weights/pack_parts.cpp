#include "engine/weights/pack_parts.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <cstring>

#include "kernels/host/operations/pack.h"

namespace krasis {
namespace {

/// 1 MiB of floats: fits a core's L2 together with what is packed from it.
constexpr std::int64_t kBlockElements = 1 << 18;

struct Scratch {
  std::vector<float> rows;
  std::vector<std::byte> packed;
};

/// Packs rows from `row_begin` on, as many as `rows` holds, into their place in the whole matrix.
void pack_block(std::span<const float> rows, const PackedTarget& target, std::int64_t row_begin, std::byte* matrix,
                std::vector<std::byte>& scratch) {
  const MatrixLayout& whole = target.layout;
  MatrixLayout block = whole;
  block.rows = static_cast<std::int64_t>(rows.size()) / whole.columns;
  if (block.rows == whole.rows) {
    pack_rows(rows, whole, matrix);
    return;
  }
  scratch.resize(std::max(scratch.size(), block.bytes()));
  pack_rows(rows, block, scratch.data());
  const auto first = static_cast<std::size_t>(row_begin);
  const auto count = static_cast<std::size_t>(block.rows);
  const std::size_t scale_bytes = whole.scale_row_bytes();
  std::memcpy(matrix + first * whole.row_bytes(), scratch.data(), count * whole.row_bytes());
  std::memcpy(matrix + whole.scales_offset() + first * scale_bytes, scratch.data() + block.scales_offset(),
              count * scale_bytes);
}

}  // namespace

Expected<void> pack_parts(const std::vector<PackedPart>& parts, const WeightSource& source, const PackedModel& model,
                          LoadMonitor& monitor) {
  std::size_t total = 0;
  for (const PackedPart& part : parts) total += static_cast<std::size_t>(part.rows * part.columns);
  monitor.begin_stage("quantize", total);

  tbb::enumerable_thread_specific<Scratch> scratches;
  const auto pack_rows_of = [&](std::size_t index, std::int64_t row_begin, std::int64_t row_count) {
    if (monitor.halted()) return;
    const PackedPart& part = parts[index];
    Scratch& scratch = scratches.local();
    const auto count = static_cast<std::size_t>(row_count * part.columns);
    scratch.rows.resize(std::max(scratch.rows.size(), count));
    if (auto read = source.read_rows(index, row_begin, row_count, scratch.rows.data()); !read) {
      monitor.fail_with(read.error());
      return;
    }
    for (int t = 0; t < part.target_count; ++t) {
      const PackedTarget& target = part.targets[static_cast<std::size_t>(t)];
      std::byte* matrix = region_data(model, target.region) + target.offset;
      pack_block({scratch.rows.data(), count}, target, row_begin, matrix, scratch.packed);
    }
    monitor.add(count);
  };
  tbb::parallel_for(std::size_t{0}, parts.size(), [&](std::size_t index) {
    const PackedPart& part = parts[index];
    const std::int64_t block_rows = std::max<std::int64_t>(1, kBlockElements / part.columns);
    const std::int64_t blocks = (part.rows + block_rows - 1) / block_rows;
    tbb::parallel_for(std::int64_t{0}, blocks, [&](std::int64_t block) {
      const std::int64_t begin = block * block_rows;
      pack_rows_of(index, begin, std::min(block_rows, part.rows - begin));
    });
  });
  KRASIS_CHECK(monitor.outcome());
  monitor.end_stage();
  return {};
}

}  // namespace krasis
