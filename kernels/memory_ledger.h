#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/device.h"

namespace krasis {

/// How much memory of one device each place holds and ever held, and whether its budget allows more. Every device
/// counts with it, so that plans and reports compare: sizes as asked for, rounded up to 64 bytes. Not thread-safe.
class MemoryLedger {
 public:
  /// What one allocation counts.
  struct Share {
    std::size_t place = 0;  ///< index into usage()
    std::size_t bytes = 0;
  };

  explicit MemoryLedger(std::size_t budget_bytes) : budget_bytes_(budget_bytes) {}

  /// Whether `bytes` more may be allocated; from now on the place is in usage(). Fails with OutOfMemory if `space` is
  /// the device's memory and the budget does not suffice.
  Expected<void> check(std::string_view place, std::size_t bytes, MemorySpace space);
  Share add(std::string_view place, std::size_t bytes, MemorySpace space);
  void remove(Share share);

  const std::vector<PlaceUsage>& usage() const { return places_; }
  std::size_t budget_bytes() const { return budget_bytes_; }
  std::size_t free_bytes() const { return budget_bytes_ - used_bytes_; }

 private:
  std::size_t index_of(std::string_view place, MemorySpace space);

  std::size_t budget_bytes_ = 0;
  std::size_t used_bytes_ = 0;      ///< of MemorySpace::Device
  std::vector<PlaceUsage> places_;  ///< in order of first use
};

/// "1234.5 MiB", rounded up so that what is needed never reads as what is free.
std::string mebibytes(std::size_t bytes);
/// Host memory ran out while `place` asked for `bytes`.
Error out_of_host_memory(std::string_view place, std::size_t bytes);

}  // namespace krasis
