#include "kernels/host/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace krasis {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr int kPoison = 0xFF;

/// "1234.5", rounded up so that what is needed never reads as what is free.
std::string mebibytes(std::size_t bytes) {
  const std::size_t tenths = (bytes / 1024 * 10 + 1023) / 1024;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " MiB";
}

}  // namespace

HostMemory::~HostMemory() {
  // Buffers die before their platform; what is left is freed without a look.
  for (const auto& [data, block] : blocks_) std::free(data);
  for (std::byte* data : kept_) std::free(data);
}

PlaceUsage& HostMemory::place_of(std::string_view place, MemorySpace space) {
  const auto found =
      std::ranges::find_if(places_, [&](const PlaceUsage& p) { return p.place == place && p.space == space; });
  if (found != places_.end()) return *found;
  return places_.emplace_back(PlaceUsage{std::string(place), space, 0, 0});
}

Error HostMemory::over_budget(std::string_view place, std::size_t bytes) const {
  return {ErrorCode::OutOfMemory,
          "Device memory does not suffice for '" + std::string(place) + "': it needs " + mebibytes(bytes) + ", but " +
              mebibytes(budget_bytes_ - used_bytes_) + " of the budget of " + mebibytes(budget_bytes_) + " are free.",
          "Choose a smaller layer group, fewer cached experts, a shorter context or fewer GPU bits, or raise the "
          "device's memory budget."};
}

Expected<std::byte*> HostMemory::allocate(std::string_view place, std::size_t bytes, MemorySpace space) {
  PlaceUsage& usage = place_of(place, space);
  if (bytes == 0) return nullptr;
  const bool counts = space == MemorySpace::Device;
  if (counts && (bytes > budget_bytes_ || round_up(bytes, 64) > budget_bytes_ - used_bytes_)) {
    return tl::unexpected(over_budget(place, bytes));
  }
  const std::size_t counted = round_up(bytes, 64);
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : 64;
  const bool possible = bytes < (std::size_t{1} << 62);  // so that rounding up does not wrap
  auto* data = possible ? static_cast<std::byte*>(std::aligned_alloc(alignment, round_up(bytes, alignment))) : nullptr;
  if (!data) {
    return fail(
        ErrorCode::OutOfMemory,
        "The machine's memory does not suffice for '" + std::string(place) + "': it needs " + mebibytes(bytes) + ".",
        "Close other programs, or choose a smaller model or fewer bits.");
  }
  if (alignment == kHugePage) madvise(data, round_up(bytes, alignment), MADV_HUGEPAGE);  // only a wish
  if (poison_) std::memset(data, kPoison, counted);
  blocks_[data] = {static_cast<std::size_t>(&usage - places_.data()), counted};
  usage.bytes += counted;
  usage.high_water_bytes = std::max(usage.high_water_bytes, usage.bytes);
  if (counts) used_bytes_ += counted;
  return data;
}

void HostMemory::release(std::byte* data, bool keep) {
  const auto found = blocks_.find(data);
  if (found == blocks_.end()) return;
  const Block block = found->second;
  blocks_.erase(found);
  PlaceUsage& usage = places_[block.place];
  usage.bytes -= block.bytes;
  if (usage.space == MemorySpace::Device) used_bytes_ -= block.bytes;
  if (keep) {
    kept_.push_back(data);
    return;
  }
  if (poison_) {
    std::memset(data, kPoison, block.bytes);
    // Keeps the compiler from dropping a store to memory that is freed next.
    asm volatile("" : : "r"(data) : "memory");
  }
  std::free(data);
}

}  // namespace krasis
