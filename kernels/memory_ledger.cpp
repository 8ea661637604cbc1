#include "kernels/memory_ledger.h"

#include <algorithm>

namespace krasis {

std::string mebibytes(std::size_t bytes) {
  const std::size_t tenths = (bytes / 1024 * 10 + 1023) / 1024;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " MiB";
}

Error out_of_host_memory(std::string_view place, std::size_t bytes) {
  return {ErrorCode::OutOfMemory,
          "The machine's memory does not suffice for '" + std::string(place) + "': it needs " + mebibytes(bytes) + ".",
          "Close other programs, or choose a smaller model or fewer bits."};
}

std::size_t MemoryLedger::index_of(std::string_view place, MemorySpace space) {
  const auto found =
      std::ranges::find_if(places_, [&](const PlaceUsage& p) { return p.place == place && p.space == space; });
  if (found != places_.end()) return static_cast<std::size_t>(found - places_.begin());
  places_.push_back({std::string(place), space, 0, 0});
  return places_.size() - 1;
}

Expected<void> MemoryLedger::check(std::string_view place, std::size_t bytes, MemorySpace space) {
  index_of(place, space);
  // The first comparison keeps rounding up from wrapping.
  if (space != MemorySpace::Device || (bytes <= budget_bytes_ && round_up(bytes, 64) <= free_bytes())) return {};
  return fail(ErrorCode::OutOfMemory,
              "Device memory does not suffice for '" + std::string(place) + "': it needs " + mebibytes(bytes) +
                  ", but " + mebibytes(free_bytes()) + " of the budget of " + mebibytes(budget_bytes_) + " are free.",
              "Choose a smaller layer group, fewer cached experts, a shorter context or fewer GPU bits, or raise the "
              "device's memory budget.");
}

MemoryLedger::Share MemoryLedger::add(std::string_view place, std::size_t bytes, MemorySpace space) {
  const Share share{index_of(place, space), round_up(bytes, 64)};
  PlaceUsage& usage = places_[share.place];
  usage.bytes += share.bytes;
  usage.high_water_bytes = std::max(usage.high_water_bytes, usage.bytes);
  if (space == MemorySpace::Device) used_bytes_ += share.bytes;
  return share;
}

void MemoryLedger::remove(Share share) {
  PlaceUsage& usage = places_[share.place];
  usage.bytes -= share.bytes;
  if (usage.space == MemorySpace::Device) used_bytes_ -= share.bytes;
}

}  // namespace krasis
