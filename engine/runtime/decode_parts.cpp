#include "engine/runtime/decode_parts.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <numeric>
#include <random>

#include "engine/runtime/hybrid_engine.h"

namespace krasis {
namespace {

using Clock = std::chrono::steady_clock;

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

tl::unexpected<Error> cancelled() { return fail(ErrorCode::Cancelled, "Measuring the parts of decode was cancelled."); }

}  // namespace

double predict_decode_s(const DecodeParts& parts, std::span<const std::int64_t> layers_by_misses, std::int64_t tokens) {
  if (tokens <= 0) return 0;
  double experts_s = 0;  // of all tokens
  for (std::size_t missed = 0; missed < layers_by_misses.size(); ++missed) {
    const double cpu_s = parts.cpu_layer_s[missed] - parts.cpu_layer_s[0];
    const double device_s = parts.device_layer_s[layers_by_misses.size() - 1 - missed];  // 0 or more
    experts_s += static_cast<double>(layers_by_misses[missed]) * std::max(cpu_s, device_s);
  }
  return std::max(parts.streamed_s, parts.device_s + experts_s / static_cast<double>(tokens));
}

Expected<std::vector<double>> measure_cpu_layer_s(const PackedModel& model, const HostCompute& cpu,
                                                  const DecodeStaging& staging, const std::stop_token& stop) {
  constexpr std::size_t kFewestTimes = 16;
  const auto top_k = static_cast<std::size_t>(model.spec.top_k());
  std::vector<std::int64_t> layers;
  for (std::size_t l = 0; l < model.layers.size(); ++l) {
    if (!model.layers[l].cpu_experts.empty()) layers.push_back(static_cast<std::int64_t>(l));
  }
  std::vector<double> seconds(top_k + 1, 0.0);
  if (layers.empty()) return seconds;

  std::mt19937 random(1);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(model.spec.experts()));
  std::iota(ids.begin(), ids.end(), 0);
  std::vector<std::int64_t> offsets(ids.size());
  const std::size_t block = model.cpu_expert_layout.bytes();
  for (std::size_t e = 0; e < offsets.size(); ++e) offsets[e] = static_cast<std::int64_t>(e * block);
  for (std::int64_t i = 0; i < model.spec.hidden; ++i) staging.x.data[i] = bf16(static_cast<float>(i % 17) / 8 - 1);
  std::fill_n(staging.weights.data, top_k, 1.0f / static_cast<float>(top_k));
  for (std::size_t picks = 0; picks <= top_k; ++picks) {
    std::vector<double> times;
    while (times.size() < kFewestTimes) {
      for (const std::int64_t layer : layers) {
        if (stop.stop_requested()) return cancelled();
        std::shuffle(ids.begin(), ids.end(), random);
        for (std::size_t j = 0; j < top_k; ++j) staging.ids.data[j] = j < picks ? ids[j] : -1;
        const auto begin = Clock::now();
        compute_cpu_experts(model, cpu, staging, layer, 1, {offsets.data(), offsets.size()});
        times.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
      }
    }
    seconds[picks] = median(times);
  }
  return seconds;
}

// The engine's --------------------------------------------------------------------------------------------------------

Expected<double> HybridEngine::time_steps(const Recording& step, const std::stop_token& stop) {
  constexpr int kWarmUps = 3, kSteps = 16;
  const std::int64_t most = configuration_.max_context - kWarmUps - kSteps - 1;
  if (last_prompt_ == 0) {
    return fail(ErrorCode::Unsupported, "The parts of decode are measured behind a prompt, and there was none.",
                "Generate first.");
  }
  if (most < 1) {
    return fail(ErrorCode::Unsupported, "The context has no room for the steps that measure the parts of decode.",
                "Raise max_context.");
  }
  send_position(static_cast<std::int32_t>(std::min<std::int64_t>(last_prompt_, most)));
  std::array<Event, 2> sent;
  const auto enqueue = [&](std::size_t index) {  // ahead of the token before, as generate() does
    home().device->replay(step);
    sent[index % 2] = send_token(index);
  };
  enqueue(0);
  std::vector<double> seconds;
  Clock::time_point before;
  for (std::size_t index = 0; index <= kWarmUps + kSteps; ++index) {
    if (stop.stop_requested()) return cancelled();
    if (index < kWarmUps + kSteps) enqueue(index + 1);
    KRASIS_CHECK(read_token(index, sent[index % 2]));
    const auto now = Clock::now();
    if (index > kWarmUps) seconds.push_back(std::chrono::duration<double>(now - before).count());
    before = now;
  }
  return median(seconds);
}

Expected<DecodeParts> HybridEngine::measure_parts(const std::stop_token& stop) {
  const bool streamed = step_without_copies_.has_value();
  const Recording& step = streamed ? *step_without_copies_ : *step_;
  DecodeParts parts;
  cache_->pretend(false);
  KRASIS_TRY(parts.device_s, time_steps(step, stop));
  if (streamed) {
    KRASIS_TRY(parts.streamed_s, time_steps(*step_, stop));
  }
  std::int64_t caching = 0;
  for (std::int64_t layer = 0; layer < model_->spec.expert_layers(); ++layer) {
    if (cache_->device_of(layer) >= 0) ++caching;
  }
  double on_device_s = 0;  // an expert
  if (caching > 0) {
    cache_->pretend(true);
    KRASIS_TRY(const double all_cached_s, time_steps(step, stop));
    on_device_s = std::max(0.0, all_cached_s - parts.device_s) / static_cast<double>(caching * model_->spec.top_k());
  }
  for (int n = 0; n <= model_->spec.top_k(); ++n) parts.device_layer_s.push_back(n * on_device_s);

  const DecodeStaging& d = staging_.decode;
  const std::array writes{Access::of(d.x), Access::of(d.ids), Access::of(d.weights), Access::of(d.sum),
                          Access::of(d.workspace)};
  home().device->host_access("CPU experts are measured", {}, writes);
  KRASIS_TRY(parts.cpu_layer_s, measure_cpu_layer_s(*model_, cpu_, d, stop));
  return parts;
}

Expected<DecodeParts> HybridEngine::decode_parts(std::stop_token stop) {
  if (parts_ && parts_prompt_ == last_prompt_) return *parts_;
  KRASIS_CHECK(wait_for_decode());  // copies of tables may be under way
  auto parts = measure_parts(stop);
  if (!parts) (void)wait_for_decode();  // steps may be under way; the first error is the one to tell
  cache_->restore();
  if (!parts) return parts;
  parts_ = std::move(*parts);
  parts_prompt_ = last_prompt_;
  return *parts_;
}

}  // namespace krasis
