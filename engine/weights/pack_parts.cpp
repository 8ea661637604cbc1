#include "engine/weights/pack_parts.h"

#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/partitioner.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <mutex>
#include <optional>

#include "kernels/host/operations/packing/pack.h"

namespace krasis {
namespace {

/// 256 KiB of BF16 or 512 KiB of floats, which are read twice: once for numbers that are none, once to pack.
constexpr std::int64_t kBlockElements = 1 << 17;

/// Some rows of a part.
struct Block {
  std::size_t part = 0;
  std::int64_t row_begin = 0;
  std::int64_t row_count = 0;
};

/// Gives out the blocks in order, to any thread. When packing is interrupted, all but the last few of a prefix is done.
class BlockQueue {
 public:
  explicit BlockQueue(const std::vector<PackedPart>& parts) : parts_(&parts) {}

  std::optional<Block> next() {
    const std::lock_guard lock(mutex_);
    if (part_ == parts_->size()) return std::nullopt;
    const PackedPart& part = (*parts_)[part_];
    const std::int64_t rows = std::max<std::int64_t>(1, kBlockElements / part.slot.columns);
    const Block block{part_, row_, std::min(rows, part.slot.rows - row_)};
    row_ += block.row_count;
    if (row_ >= part.slot.rows) {
      ++part_;
      row_ = 0;
    }
    return block;
  }

 private:
  const std::vector<PackedPart>* parts_;
  std::mutex mutex_;
  std::size_t part_ = 0;
  std::int64_t row_ = 0;
};

/// Calls f with the range of a block's rows and that of its scales, in each of its places.
template <class F>
void for_each_range(const PackedPart& part, const Block& block, const F& f) {
  const auto first = static_cast<std::size_t>(block.row_begin);
  const auto count = static_cast<std::size_t>(block.row_count);
  for (int t = 0; t < part.target_count; ++t) {
    const PackedTarget& target = part.targets[static_cast<std::size_t>(t)];
    const MatrixLayout& layout = target.layout;
    f(PackedCacheWriter::Range{target.region, target.offset + first * layout.row_bytes(), count * layout.row_bytes()});
    if (layout.scale_row_bytes() == 0) continue;
    f(PackedCacheWriter::Range{target.region, target.offset + layout.scales_offset() + first * layout.scale_row_bytes(),
                               count * layout.scale_row_bytes()});
  }
}

bool taken_over(const PackedCacheWriter* cache, const PackedPart& part, const Block& block) {
  bool all = cache != nullptr;
  for_each_range(part, block, [&](const PackedCacheWriter::Range& range) { all = all && cache->has(range); });
  return all;
}

template <class T>
void pack_block(std::span<const T> rows, const PackedPart& part, const Block& block, const PackedModel& model) {
  for (int t = 0; t < part.target_count; ++t) {
    const PackedTarget& target = part.targets[static_cast<std::size_t>(t)];
    pack_rows_at(rows, target.layout, block.row_begin, region_data(model, target.region) + target.offset);
  }
}

Expected<void> read_and_pack(const std::vector<PackedPart>& parts, const Block& block, const WeightSource& source,
                             const PackedModel& model, std::vector<float>& scratch) {
  const PackedPart& part = parts[block.part];
  KRASIS_TRY(const auto in_place, source.bf16_rows(block.part, block.row_begin, block.row_count));
  if (in_place) {
    pack_block(*in_place, part, block, model);
    return {};
  }
  const auto count = static_cast<std::size_t>(block.row_count * part.slot.columns);
  scratch.resize(std::max(scratch.size(), count));
  KRASIS_CHECK(source.read_rows(block.part, block.row_begin, block.row_count, scratch.data()));
  pack_block(std::span<const float>(scratch).first(count), part, block, model);
  return {};
}

}  // namespace

Expected<void> pack_parts(const std::vector<PackedPart>& parts, const WeightSource& source, const PackedModel& model,
                          LoadMonitor& monitor, PackedCacheWriter* cache) {
  std::size_t total = 0;
  for (const PackedPart& part : parts) total += static_cast<std::size_t>(part.slot.rows * part.slot.columns);
  monitor.begin_stage("quantize", total);
  if (cache != nullptr) {
    BlockQueue expected(parts);
    while (const auto block = expected.next()) {
      const PackedPart& part = parts[block->part];
      if (taken_over(cache, part, *block)) continue;
      for_each_range(part, *block, [&](const PackedCacheWriter::Range& range) { cache->expect(range); });
    }
  }
  BlockQueue queue(parts);
  tbb::enumerable_thread_specific<std::vector<float>> scratches;
  tbb::parallel_for(
      0, tbb::this_task_arena::max_concurrency(), 1,
      [&](int) {
        while (const auto block = queue.next()) {
          if (monitor.halted()) return;
          const PackedPart& part = parts[block->part];
          if (!taken_over(cache, part, *block)) {
            if (auto packed = read_and_pack(parts, *block, source, model, scratches.local()); !packed) {
              monitor.fail_with(packed.error());
              return;
            }
            source.release_rows(block->part, block->row_begin, block->row_count);
            for_each_range(part, *block, [&](const PackedCacheWriter::Range& range) {
              if (cache != nullptr) cache->done(range);
            });
          }
          monitor.add(static_cast<std::size_t>(block->row_count * part.slot.columns));
        }
      },
      tbb::simple_partitioner());
  KRASIS_CHECK(monitor.outcome());
  monitor.end_stage();
  return {};
}

}  // namespace krasis
