#include "kernels/cuda/arena.h"

#include <algorithm>

#include "base/format.h"

namespace krasis::cuda {

Arena::~Arena() {
  for (const auto& [chunk, bytes] : chunks_) give_back_(chunk, bytes);
}

std::byte* Arena::allocate(std::size_t bytes) {
  if (bytes == 0 || bytes > (std::size_t{1} << 62)) return nullptr;
  bytes = round_up(bytes, kAlignment);
  const auto best_hole = [&] {
    auto best = holes_.end();
    for (auto hole = holes_.begin(); hole != holes_.end(); ++hole) {
      if (hole->second.bytes >= bytes && (best == holes_.end() || hole->second.bytes < best->second.bytes)) best = hole;
    }
    return best;
  };
  if (const auto hole = best_hole(); hole != holes_.end()) return take(hole, bytes);
  const std::size_t exact = round_up(bytes, kGranularity);
  if (grow(std::max(exact, chunk_bytes_)) || (exact < chunk_bytes_ && grow(exact))) return take(best_hole(), bytes);
  trim();
  return grow(exact) ? take(best_hole(), bytes) : nullptr;
}

bool Arena::grow(std::size_t bytes) {
  std::byte* const chunk = obtain_(bytes);
  if (!chunk) return false;
  chunks_[chunk] = bytes;
  holes_[chunk] = {bytes, chunk};
  return true;
}

std::byte* Arena::take(Parts::iterator hole, std::size_t bytes) {
  std::byte* const data = hole->first;
  const Part part = hole->second;
  holes_.erase(hole);
  if (part.bytes > bytes) holes_[data + bytes] = {part.bytes - bytes, part.chunk};
  blocks_[data] = {bytes, part.chunk};
  return data;
}

void Arena::release(std::byte* data) {
  const auto block = blocks_.find(data);
  if (block == blocks_.end()) return;
  Part part = block->second;
  blocks_.erase(block);
  // Chunks may lie side by side, so only holes of the same one grow together.
  auto next = holes_.upper_bound(data);
  if (next != holes_.end() && next->first == data + part.bytes && next->second.chunk == part.chunk) {
    part.bytes += next->second.bytes;
    next = holes_.erase(next);
  }
  if (next != holes_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second.bytes == data && before->second.chunk == part.chunk) {
      before->second.bytes += part.bytes;
      return;
    }
  }
  holes_[data] = part;
}

void Arena::trim() {
  for (auto hole = holes_.begin(); hole != holes_.end();) {
    const auto chunk = chunks_.find(hole->second.chunk);
    if (chunk->second != hole->second.bytes) {
      ++hole;
      continue;
    }
    give_back_(chunk->first, chunk->second);
    chunks_.erase(chunk);
    hole = holes_.erase(hole);
  }
}

std::size_t Arena::chunk_total_bytes() const {
  std::size_t total = 0;
  for (const auto& [chunk, bytes] : chunks_) total += bytes;
  return total;
}

}  // namespace krasis::cuda
