#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/error.h"

namespace krasis {

/// One operation that ran.
struct TraceEntry {
  std::string name;
  int stream = -1;
  std::string stream_name;
  int device = 0;
  std::int64_t start_ns = 0;  ///< std::chrono::steady_clock
  std::int64_t end_ns = 0;
  std::size_t copied_bytes = 0;  ///< of a copy, else 0
};

/// What a platform has done since it was made; always counted.
struct PlatformActivity {
  std::uint64_t copied_bytes = 0;  ///< by the copies that were enqueued or replayed
  std::int64_t host_task_ns = 0;   ///< in host tasks that have ended
};

/// Nanoseconds of the clock that traces use.
std::int64_t trace_clock_ns();

/// Writes Chrome's trace event format, which chrome://tracing and Perfetto show: a process for each device, a thread
/// for each stream, copied bytes and GB/s as arguments. Fails with Io.
Expected<void> write_chrome_trace(std::span<const TraceEntry> entries, const std::filesystem::path& path);

}  // namespace krasis
