#pragma once

#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>

#include "engine/bench/limits.h"
#include "engine/bench/prompt.h"
#include "engine/bench/verdict.h"
#include "engine/text/tokenizer.h"
#include "engine/protocol/protocol.h"

namespace krasis {

/// What a benchmark tells its caller while it runs, on the calling thread.
struct BenchmarkEvents {
  std::function<void(const protocol::Stage&)> on_stage;
  std::function<void(const protocol::Sample&)> on_sample;
};

/// Warm-ups, a traced prefill, the parts of decode, repetitions and the verdict of one configuration on a loaded engine. TTFT is from the
/// prompt's tokens to the first sampled token; decode counts the tokens after it. Repetitions are not traced; a thread
/// samples the GPUs' states twice a second while they run. What cannot be traced, sampled or written costs telemetry
/// alone: it says why.
///
/// @param tokenizer  turns the output into text; null for a model that has none
/// @param id         repeated in every event
/// @param trace_file where the trace is written in Chrome's format; empty: nowhere
/// The result's `plan_json` is left to the caller. A stop request ends it after the current token, or the position
/// that the verdict is at, `cancelled`.
Expected<protocol::Finished> run_benchmark(Engine& engine, const Tokenizer* tokenizer, const BenchmarkPrompt& prompt,
                                           const RunConfiguration& configuration, const Ceilings& ceilings, Judge& judge,
                                           const std::string& id, const BenchmarkEvents& events, std::stop_token stop,
                                           const std::filesystem::path& trace_file = {});

}  // namespace krasis
