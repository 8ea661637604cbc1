#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace krasis::results {

/// One line of what a run's hardware did.
struct TelemetryLine {
  std::string group;    ///< "Prefill", "Decode", "GPU 0000:3b:00.0", "Trace"
  std::string name;     ///< "copies"
  std::string value;    ///< "9.81 GB in 0.186 s, 52.8 GB/s, 95 % of the link"
  std::string meaning;  ///< what the name means, a sentence; may be empty
  bool operator==(const TelemetryLine&) const = default;
};

/// RunRecord::telemetry_json as lines for people; none for what is not known. Numbers do not depend on the locale.
std::vector<TelemetryLine> describe_telemetry(std::string_view telemetry_json);

/// "power cap in 40 % of the samples"; empty if no GPU was throttled while the run was timed, or none was watched.
std::string throttling(std::string_view telemetry_json);

}  // namespace krasis::results
