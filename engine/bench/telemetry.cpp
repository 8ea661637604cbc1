#include "engine/bench/telemetry.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "kernels/host/trace_summary.h"

namespace krasis {
namespace {

using nlohmann::json;

double seconds(std::int64_t ns) { return static_cast<double>(ns) * 1e-9; }

json range_json(const SampledRange& range) {
  return {{"min", range.minimum}, {"mean", range.mean}, {"max", range.maximum}};
}

}  // namespace

json prefill_telemetry(const TracedGeneration& traced, const Ceilings& ceilings) {
  std::vector<TraceEntry> entries;
  std::ranges::copy_if(traced.entries, std::back_inserter(entries),
                       [&](const TraceEntry& entry) { return entry.start_ns < traced.prefill_end_ns; });
  const TraceSummary summary = summarize(entries);
  json devices = json::array(), streams = json::array();
  for (const DeviceSummary& device : summary.devices) {
    json row{{"device", device.device},
             {"copied_bytes", device.copied_bytes},
             {"copy_s", seconds(device.copy_ns)},
             {"compute_s", seconds(device.compute_ns)},
             {"both_s", seconds(device.overlap_ns)},
             {"overlap", device.overlap()},
             {"idle_s", seconds(device.idle_ns)}};
    if (device.copy_ns > 0) {
      const double rate = static_cast<double>(device.copied_bytes) / static_cast<double>(device.copy_ns);
      row["copy_gb_per_s"] = rate;
      if (ceilings.copy_gb_per_s > 0) row["share_of_link"] = rate / ceilings.copy_gb_per_s;
    }
    devices.push_back(std::move(row));
  }
  for (const StreamSummary& stream : summary.streams) {
    json row{{"device", stream.device},
             {"name", stream.name},
             {"busy_s", seconds(stream.busy_ns)},
             {"idle_s", seconds(stream.idle_ns)},
             {"copy_s", seconds(stream.copy_ns)},
             {"copied_bytes", stream.copied_bytes}};
    if (stream.copy_ns > 0) {
      row["copy_gb_per_s"] = stream.copy_gb_per_s();
      if (ceilings.copy_gb_per_s > 0) row["share_of_link"] = stream.copy_gb_per_s() / ceilings.copy_gb_per_s;
    }
    streams.push_back(std::move(row));
  }
  return {{"path", name_of(traced.generation.path)},
          {"seconds", seconds(summary.length_ns)},
          {"devices", std::move(devices)},
          {"streams", std::move(streams)}};
}

json decode_telemetry(std::span<const Generation> generations, bool cached_experts) {
  double tokens = 0, token_s = 0, host_s = 0, copied = 0;  // sums
  for (const Generation& generation : generations) {
    tokens += static_cast<double>(generation.token_s.size());
    for (const double s : generation.token_s) token_s += s;
    host_s += generation.decode_host_s;
    copied += generation.step_copied_bytes;
  }
  if (tokens == 0) return json::object();
  return {{"copied_bytes_per_token", copied / static_cast<double>(generations.size())},
          {"s_per_token", token_s / tokens},
          {"cpu_experts_s_per_token", host_s / tokens},
          {"device_wait_is_exact", !cached_experts}};
}

json parts_telemetry(const DecodeParts& parts, std::span<const Generation> generations) {
  double predicted_s = 0, tokens = 0;  // of all generations
  for (const Generation& generation : generations) {
    const auto count = static_cast<std::int64_t>(generation.token_s.size());
    predicted_s += predict_decode_s(parts, generation.cache.layers_by_misses, count) * static_cast<double>(count);
    tokens += static_cast<double>(count);
  }
  json row{{"device_s", parts.device_s}, {"cpu_layer_s", parts.cpu_layer_s}, {"device_layer_s", parts.device_layer_s}};
  if (parts.streamed_s > 0) row["streamed_s"] = parts.streamed_s;
  if (tokens > 0) row["predicted_s_per_token"] = predicted_s / tokens;
  return row;
}

json gpu_telemetry(std::span<const GpuUse> uses) {
  json gpus = json::array();
  for (const GpuUse& use : uses) {
    json gpu{{"pci_bus_id", use.pci_bus_id}, {"samples", use.samples}};
    const auto add = [&](const char* name, const SampledRange& range) {
      if (range.count > 0) gpu[name] = range_json(range);
    };
    add("power_w", use.power_w);
    add("sm_clock_mhz", use.sm_clock_mhz);
    add("memory_clock_mhz", use.memory_clock_mhz);
    add("temperature_c", use.temperature_c);
    add("pcie_generation", use.pcie_generation);
    add("pcie_width", use.pcie_width);
    if (use.pcie_generation_max) gpu["pcie_generation_max"] = *use.pcie_generation_max;
    if (use.pcie_width_max) gpu["pcie_width_max"] = *use.pcie_width_max;
    json throttled = json::object();
    for (const auto& [reason, samples] : use.reasons) {
      if (is_throttling(reason)) throttled[reason] = static_cast<double>(samples) / use.samples;
    }
    gpu["throttled"] = std::move(throttled);
    gpus.push_back(std::move(gpu));
  }
  return gpus;
}

Expected<void> write_trace(const TracedGeneration& traced, const std::filesystem::path& path) {
  std::vector<TraceEntry> entries = traced.entries;
  entries.push_back({"prefill", -1, "phases", 0, traced.begin_ns, traced.prefill_end_ns, 0});
  if (traced.generation.tokens.size() > 1) {
    entries.push_back({"decode", -1, "phases", 0, traced.prefill_end_ns, traced.end_ns, 0});
  }
  std::error_code ignored;  // a folder that cannot be made cannot be written to
  std::filesystem::create_directories(path.parent_path(), ignored);
  return write_chrome_trace(entries, path);
}

}  // namespace krasis
