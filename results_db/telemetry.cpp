#include "results_db/telemetry.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "results_db/number_text.h"

namespace krasis::results {

namespace {

using Json = nlohmann::json;

/// Files may come from anywhere: what has another type than it should have is not known.
double number(const Json& object, const char* key) {
  if (!object.is_object()) return 0;
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}
std::string text(const Json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}
const Json& member(const Json& object, const char* key) {
  static const Json kNothing;
  if (!object.is_object()) return kNothing;
  const auto found = object.find(key);
  return found == object.end() ? kNothing : *found;
}

std::string bytes_text(double bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  for (; bytes >= 1000 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1000;
  return (unit == 0 ? fixed(bytes, 0) : significant(bytes)) + " " + kUnits[unit];
}
std::string time_text(double seconds) {
  if (seconds >= 1) return fixed(seconds, 3) + " s";
  return seconds >= 1e-3 ? significant(1e3 * seconds) + " ms" : significant(1e6 * seconds) + " us";
}
std::string percent(double share) { return fixed(100 * share, 0) + " %"; }

std::string copies_text(const Json& row) {
  const double seconds = number(row, "copy_s");
  std::string value = bytes_text(number(row, "copied_bytes"));
  if (seconds <= 0) return value;
  value += " in " + time_text(seconds) + ", " + significant(number(row, "copy_gb_per_s")) + " GB/s";
  if (const double share = number(row, "share_of_link"); share > 0) value += ", " + percent(share) + " of the measured link";
  return value;
}

void describe_prefill(const Json& prefill, std::vector<TelemetryLine>& lines) {
  if (!prefill.is_object()) return;
  const Json& devices = member(prefill, "devices");
  const std::string prefix = devices.size() > 1 ? "device " : "";
  lines.push_back({"Prefill", "traced", time_text(number(prefill, "seconds")),
                   "From the first operation's start to the last one's end, in a repetition that was not timed."});
  for (const Json& row : devices) {
    const std::string device = prefix.empty() ? "" : prefix + fixed(number(row, "device"), 0) + ": ";
    lines.push_back({"Prefill", device + "copies", copies_text(row), "The time in which at least one copy ran."});
    lines.push_back({"Prefill", device + "computation", time_text(number(row, "compute_s")),
                     "The time in which at least one other operation ran, the CPU's experts included."});
    lines.push_back({"Prefill", device + "both at once",
                     time_text(number(row, "both_s")) + ", " + percent(number(row, "overlap")) + " of the shorter one",
                     "100 %: the shorter one of copies and computation costs no time."});
    lines.push_back({"Prefill", device + "idle", time_text(number(row, "idle_s")), "Neither copies nor computation."});
  }
  for (const Json& row : member(prefill, "streams")) {
    const std::string device = prefix.empty() ? "" : prefix + fixed(number(row, "device"), 0) + ", ";
    std::string value = "busy " + time_text(number(row, "busy_s")) + ", idle " + time_text(number(row, "idle_s"));
    if (number(row, "copied_bytes") > 0) value += "; " + copies_text(row);
    lines.push_back({"Prefill", device + "stream " + text(row, "name"), value, ""});
  }
}

void describe_decode(const Json& decode, std::vector<TelemetryLine>& lines) {
  const double token = number(decode, "s_per_token");
  if (token <= 0) return;
  const double cpu = number(decode, "cpu_experts_s_per_token");
  const auto share = [&](double seconds) { return time_text(seconds) + ", " + percent(seconds / token) + " of a token"; };
  const bool exact = member(decode, "device_wait_is_exact") == Json(true);
  lines.push_back({"Decode", "copies", bytes_text(number(decode, "copied_bytes_per_token")) + " a token",
                   "Between host and devices, and among devices."});
  lines.push_back({"Decode", "CPU experts busy", share(cpu), "For each token, of the timed repetitions."});
  lines.push_back({"Decode", exact ? "device waits" : "device waits at most", share(cpu),
                   exact ? "For the CPU's experts: the device has none of its own to compute meanwhile."
                         : "For the CPU's experts; meanwhile it computes those that it caches."});
  if (const double predicted = number(decode, "predicted_s_per_token"); predicted > 0) {
    lines.push_back({"Decode", "limit of bandwidths", share(predicted),
                     "By the bytes of a token, the measured hit rate and the measured bandwidths; nothing for starting and handing over."});
  }
  const Json& parts = member(decode, "parts");
  if (const double predicted = number(parts, "predicted_s_per_token"); predicted > 0) {
    lines.push_back({"Decode", "predicted by measured parts", share(predicted),
                     "A token without experts, and in each layer the slower of CPU and device with the experts that "
                     "each had to compute."});
    lines.push_back({"Decode", "part without experts", share(number(parts, "device_s")),
                     "The hand-over to the CPU included."});
    const Json& cpu_layers = member(parts, "cpu_layer_s");
    std::string layers;
    for (std::size_t i = 0; cpu_layers.is_array() && i < cpu_layers.size(); ++i) {
      if (cpu_layers[i].is_number()) layers += (layers.empty() ? "" : ", ") + time_text(cpu_layers[i].get<double>());
    }
    if (!layers.empty()) {
      lines.push_back({"Decode", "part of the CPU's experts", layers,
                       "In one layer, with 0, 1, 2, ... of its picked experts on the CPU."});
    }
  }
  if (std::string why = text(decode, "parts_unknown_because"); !why.empty()) {
    lines.push_back({"Decode", "parts unknown", std::move(why), ""});
  }
}

void describe_gpu(const Json& gpu, std::vector<TelemetryLine>& lines) {
  const std::string group = "GPU " + text(gpu, "pci_bus_id");
  lines.push_back({group, "samples", fixed(number(gpu, "samples"), 0), "While the repetitions ran."});
  const auto range = [&](const char* name, const char* key, const char* unit, int decimals) {
    const Json& row = member(gpu, key);
    if (!row.is_object()) return;
    const std::string low = fixed(number(row, "min"), decimals), high = fixed(number(row, "max"), decimals);
    std::string value = low == high ? high + unit
                                    : fixed(number(row, "mean"), decimals) + unit + " (" + low + " to " + high + ")";
    if (const double most = number(gpu, (std::string(key) + "_max").c_str()); most > 0) value += ", at most " + fixed(most, 0);
    lines.push_back({group, name, value, low == high ? "" : "Mean, and lowest to highest."});
  };
  range("power", "power_w", " W", 0);
  range("SM clock", "sm_clock_mhz", " MHz", 0);
  range("memory clock", "memory_clock_mhz", " MHz", 0);
  range("temperature", "temperature_c", " \u00b0C", 0);
  range("PCIe generation", "pcie_generation", "", 0);
  range("PCIe lanes", "pcie_width", "", 0);
  std::string throttled;
  for (const auto& [reason, share] : member(gpu, "throttled").items()) {
    if (share.is_number()) throttled += (throttled.empty() ? "" : ", ") + reason + " in " + percent(share.get<double>());
  }
  if (number(gpu, "samples") > 0) {
    lines.push_back({group, "throttled", throttled.empty() ? "no" : throttled + " of the samples", ""});
  }
}

}  // namespace

std::vector<TelemetryLine> describe_telemetry(std::string_view telemetry_json) {
  const Json telemetry = Json::parse(telemetry_json, nullptr, false);
  std::vector<TelemetryLine> lines;
  describe_prefill(member(telemetry, "prefill"), lines);
  describe_decode(member(telemetry, "decode"), lines);
  for (const Json& gpu : member(telemetry, "gpus")) describe_gpu(gpu, lines);
  const auto add = [&](const char* group, const char* name, const char* key, const char* meaning) {
    if (std::string value = text(telemetry, key); !value.empty()) lines.push_back({group, name, std::move(value), meaning});
  };
  add("GPU", "unknown", "gpus_unknown_because", "");
  add("Trace", "not traced", "not_traced_because", "");
  add("Trace", "file", "trace_file", "Chrome's trace format: open it in Perfetto (ui.perfetto.dev) or chrome://tracing.");
  add("Trace", "not written", "no_trace_file_because", "");
  return lines;
}

std::string throttling(std::string_view telemetry_json) {
  const Json telemetry = Json::parse(telemetry_json, nullptr, false);
  std::map<std::string, double> worst;  // of all GPUs
  for (const Json& gpu : member(telemetry, "gpus")) {
    for (const auto& [reason, share] : member(gpu, "throttled").items()) {
      if (share.is_number()) worst[reason] = std::max(worst[reason], share.get<double>());
    }
  }
  std::string reasons;
  for (const auto& [reason, share] : worst) reasons += (reasons.empty() ? "" : ", ") + reason + " in " + percent(share);
  return reasons.empty() ? "" : reasons + " of the samples";
}

}  // namespace krasis::results
