#include "kernels/host/trace.h"

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

namespace krasis {

std::int64_t trace_clock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Expected<void> write_chrome_trace(std::span<const TraceEntry> entries, const std::filesystem::path& path) {
  using nlohmann::json;
  json events = json::array();
  std::set<int> devices, streams;
  for (const TraceEntry& entry : entries) {
    if (devices.insert(entry.device).second) {
      events.push_back({{"ph", "M"},
                        {"name", "process_name"},
                        {"pid", entry.device},
                        {"tid", 0},
                        {"args", {{"name", "device " + std::to_string(entry.device)}}}});
    }
    if (streams.insert(entry.stream).second) {
      events.push_back({{"ph", "M"},
                        {"name", "thread_name"},
                        {"pid", entry.device},
                        {"tid", entry.stream},
                        {"args", {{"name", entry.stream_name}}}});
    }
    const double microseconds = static_cast<double>(entry.end_ns - entry.start_ns) / 1e3;
    json event = {{"ph", "X"},
                  {"name", entry.name},
                  {"pid", entry.device},
                  {"tid", entry.stream},
                  {"ts", static_cast<double>(entry.start_ns) / 1e3},
                  {"dur", microseconds}};
    if (entry.copied_bytes > 0) {
      event["args"]["bytes"] = entry.copied_bytes;
      if (microseconds > 0) event["args"]["GB/s"] = static_cast<double>(entry.copied_bytes) / microseconds / 1e3;
    }
    events.push_back(std::move(event));
  }
  std::ofstream file(path);
  file << json{{"traceEvents", std::move(events)}, {"displayTimeUnit", "ms"}}.dump();
  file.close();
  if (!file) {
    return fail(ErrorCode::Io, "The trace could not be written to " + path.string() + ".",
                "Choose a folder that exists, can be written to and has space left.");
  }
  return {};
}

}  // namespace krasis
