#include "kernels/host/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

namespace krasis {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr int kPoison = 0xFF;

}  // namespace

HostMemory::~HostMemory() {
  // Buffers die before their platform; what is left is freed without a look.
  for (const auto& [data, block] : blocks_) std::free(data);
  for (std::byte* data : kept_) std::free(data);
}

Expected<std::byte*> HostMemory::allocate(std::string_view place, std::size_t bytes, MemorySpace space) {
  KRASIS_CHECK(ledger_.check(place, bytes, space));
  if (bytes == 0) return nullptr;
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : 64;
  const bool possible = bytes < (std::size_t{1} << 62);  // so that rounding up does not wrap
  auto* data = possible ? static_cast<std::byte*>(std::aligned_alloc(alignment, round_up(bytes, alignment))) : nullptr;
  if (!data) return tl::unexpected(out_of_host_memory(place, bytes));
  if (alignment == kHugePage) {
    madvise(data, round_up(bytes, alignment), MADV_HUGEPAGE);  // only a wish
    if (spread_) spread_(data, round_up(bytes, alignment));
  }
  const MemoryLedger::Share share = ledger_.add(place, bytes, space);
  if (poison_) std::memset(data, kPoison, share.bytes);
  blocks_[data] = share;
  return data;
}

void HostMemory::release(std::byte* data, bool keep) {
  const auto found = blocks_.find(data);
  if (found == blocks_.end()) return;
  const MemoryLedger::Share share = found->second;
  blocks_.erase(found);
  ledger_.remove(share);
  if (keep) {
    kept_.push_back(data);
    return;
  }
  if (poison_) {
    std::memset(data, kPoison, share.bytes);
    // Keeps the compiler from dropping a store to memory that is freed next.
    asm volatile("" : : "r"(data) : "memory");
  }
  std::free(data);
}

}  // namespace krasis
