#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/host/trace.h"

namespace krasis {

/// What one stream did while a trace ran, which is from the first start to the last end of all entries.
struct StreamSummary {
  int device = 0;
  int stream = -1;
  std::string name;
  std::int64_t busy_ns = 0;  ///< in operations, each moment once
  std::int64_t idle_ns = 0;  ///< the rest
  std::int64_t copy_ns = 0;  ///< of the busy time: in copies
  std::size_t copied_bytes = 0;
  /// Bytes per nanosecond while copying; 0 without copies.
  double copy_gb_per_s() const {
    return copy_ns > 0 ? static_cast<double>(copied_bytes) / static_cast<double>(copy_ns) : 0.0;
  }
};

/// What the streams of one device did together.
struct DeviceSummary {
  int device = 0;
  std::int64_t copy_ns = 0;     ///< with at least one copy under way
  std::int64_t compute_ns = 0;  ///< with at least one other operation under way, host tasks included
  std::int64_t overlap_ns = 0;  ///< with both
  std::int64_t idle_ns = 0;     ///< with neither
  std::size_t copied_bytes = 0;
  /// The share of the shorter one's time in which both ran: 1 = copies cost no time. 0 if one never ran.
  double overlap() const {
    const std::int64_t shorter = copy_ns < compute_ns ? copy_ns : compute_ns;
    return shorter > 0 ? static_cast<double>(overlap_ns) / static_cast<double>(shorter) : 0.0;
  }
};

struct TraceSummary {
  std::int64_t length_ns = 0;          ///< first start to last end
  std::vector<StreamSummary> streams;  ///< by device, then stream
  std::vector<DeviceSummary> devices;  ///< by device
};

/// Sums up a trace, or the part of it that the caller cut out (a phase). Entries may be in any order.
TraceSummary summarize(std::span<const TraceEntry> entries);

}  // namespace krasis
