#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>

#include "engine/bench/limits.h"
#include "engine/runtime/engine.h"
#include "engine/system/gpu_monitor.h"

namespace krasis {

/// What a run's hardware did, as the JSON object that protocol::Finished carries and results_db/telemetry.h reads.
/// Times are seconds, rates GB/s (1e9 bytes); what is not known is left out.

/// Of the traced generation's prefill, for each device and stream: bytes, time in copies, in other operations, in both
/// at once with its share of the shorter one, in neither; the copies' rate and its share of the measured link.
nlohmann::json prefill_telemetry(const TracedGeneration& traced, const Ceilings& ceilings);

/// Of untraced generations' decode, for each token: copied bytes, time, the CPU experts' busy time. A device waits
/// for them at most that long, and exactly as long if it caches no experts, which it would compute meanwhile.
nlohmann::json decode_telemetry(std::span<const Generation> generations, bool cached_experts);

/// The parts of a token, and what they predict of these generations' mean token with the experts that each missed.
nlohmann::json parts_telemetry(const DecodeParts& parts, std::span<const Generation> generations);

/// Minimum, mean and maximum of each sampled quantity of each GPU; "throttled": which share of the samples had which
/// reason (is_throttling()).
nlohmann::json gpu_telemetry(std::span<const GpuUse> uses);

/// Writes the trace in Chrome's format, with prefill and decode as a track of their own. Makes the folder. Fails with Io.
Expected<void> write_trace(const TracedGeneration& traced, const std::filesystem::path& path);

}  // namespace krasis
