#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/memory_ledger.h"

namespace krasis {

/// The memory of one pretended device: real allocations, a budget for MemorySpace::Device, and how much each place
/// holds and ever held. Sizes count as asked for, rounded up to 64 bytes. Not thread-safe.
class HostMemory {
 public:
  /// @param poison  fills new memory and memory that is about to be freed with 0xFF bytes: NaN in float and BF16.
  /// @param spread  HostPlatformOptions::spread
  HostMemory(std::size_t budget_bytes, bool poison,
             std::function<void(std::byte* data, std::size_t bytes)> spread = nullptr)
      : ledger_(budget_bytes), poison_(poison), spread_(std::move(spread)) {}
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;
  ~HostMemory();

  /// 64-byte aligned; from 2 MiB on, 2 MiB aligned with huge pages asked for. Null for zero bytes.
  Expected<std::byte*> allocate(std::string_view place, std::size_t bytes, MemorySpace space);
  /// @param keep  operations may still use it (a defect that the checker reports): uncounted, but untouched and freed
  ///              only with this object.
  void release(std::byte* data, bool keep);
  std::vector<PlaceUsage> usage() const { return ledger_.usage(); }

 private:
  MemoryLedger ledger_;
  bool poison_ = true;
  std::function<void(std::byte* data, std::size_t bytes)> spread_;
  std::map<std::byte*, MemoryLedger::Share> blocks_;
  std::vector<std::byte*> kept_;
};

}  // namespace krasis
