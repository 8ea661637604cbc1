#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "engine/runtime/decode.h"
#include "engine/runtime/engine.h"
#include "engine/runtime/prefill.h"

namespace krasis {

/// The copy of each token to the host; of all that a prompt needs, the last.
inline constexpr std::string_view kTokenCopy = "token to the host";

/// The engine on given devices: prefill pipeline, decode pipeline, expert cache, sequence state. Devices outlive it.
class HybridEngine final : public Engine {
 public:
  /// Uploads what is resident, allocates what `plan` foresees (memory_report() compares), measures the heatmap on
  /// `heatmap_tokens` (hcs on or multi) and fills the expert cache. `cpu` computes the CPU's experts.
  static Expected<std::unique_ptr<HybridEngine>> create(std::vector<Device*> devices, std::shared_ptr<const PackedModel> model,
                                                        const RunConfiguration& configuration, Plan plan,
                                                        std::span<const std::int32_t> heatmap_tokens,
                                                        HostCompute cpu);
  ~HybridEngine() override;

  Expected<Generation> generate(std::span<const std::int32_t> prompt, const GenerationOptions& options,
                                const std::function<void(std::int32_t, int)>& on_token) override;
  Expected<Evaluation> evaluate(std::span<const std::int32_t> tokens, const EvaluationOptions& options) override;
  Expected<DecodeParts> decode_parts(std::stop_token stop) override;
  const PackedModel& model() const override { return *model_; }
  std::shared_ptr<const PackedModel> shared_model() const override { return model_; }
  const RunConfiguration& configuration() const override { return configuration_; }
  const Plan& plan() const override { return plan_; }
  std::vector<PlaceReport> memory_report() const override;
  void set_sampling(const RunConfiguration& configuration) override;
  const std::vector<int>& cached_experts() const override { return cached_on_; }
  const std::vector<CacheChange>& cache_changes() const override { return cache_->changes(); }
  PrefillPath prefill_path(std::size_t tokens) const override;
  ThreadTeam& team() const override { return *cpu_.team; }
  /// How often each expert was picked by the tokens of the heatmap: [layers with experts, experts].
  const std::vector<std::int64_t>& heatmap() const { return heatmap_; }

 private:
  HybridEngine(std::vector<Device*> devices, std::shared_ptr<const PackedModel> model, const RunConfiguration& configuration,
               Plan plan, HostCompute cpu);
  Expected<void> measure_heatmap(std::span<const std::int32_t> tokens);
  void fill_cache();
  Recording record_step();
  /// Until no device computes, also behind an error; the first one of what was enqueued or recorded.
  Expected<void> wait_for_decode();
  /// With prefill_path auto: up to how many tokens a prompt is faster by the CPU's experts, and by picked ones.
  Expected<void> measure_paths();

  Expected<void> check_length(std::size_t tokens, std::size_t new_tokens) const;
  /// Waits for the marks of the prompt that was enqueued, and tells of them.
  Expected<void> follow_prompt(PrefillPath path, const std::function<void(double)>& on_prompt);
  /// Copies prompt, spans, positions and sampling to the devices and enqueues the prefill.
  void start(std::span<const std::int32_t> prompt, PrefillPath path, const PickHooks& hooks);
  /// The devices are behind `tokens` of a text: position, input and sampling.
  void send_position(std::int32_t tokens);
  Expected<DecodeParts> measure_parts(const std::stop_token& stop);
  /// Seconds from token to token of such steps behind the last prompt; the median of some.
  Expected<double> time_steps(const Recording& step, const std::stop_token& stop);
  /// Seconds from an idle engine to the logits behind a prompt of `tokens` tokens.
  Expected<double> time_prompt(std::int64_t tokens, PrefillPath path);
  /// Copies DeviceState::gathered of the devices that own layers to the host: row 0 before a prompt, in each device's own
  /// order; row 1 behind it, in the home's, to which the residual has come through all of them.
  void send_gathered(std::size_t row);
  /// Bytes that the last prompt copied to the devices; after its first token.
  std::size_t prompt_bytes(PrefillPath path);
  /// The path that was asked for, or the usual one. InvalidArgument if the prompt is too long for it.
  Expected<PrefillPath> choose_path(std::optional<PrefillPath> wanted, std::size_t tokens) const;
  /// Enqueues the head and the choice of the next token from residual row `row`.
  void enqueue_head(std::size_t row);
  Expected<void> read_logits(std::string_view why, std::vector<float>& out);
  /// Copies device 0's token into the place of token `index`; the event is behind the copy.
  Event send_token(std::size_t index);
  Expected<std::int32_t> read_token(std::size_t index, const Event& sent);
  DeviceState& home() { return states_.front(); }
  Event record_home() { return home().device->record(home().compute); }

  std::vector<Device*> devices_;
  std::shared_ptr<const PackedModel> model_;
  RunConfiguration configuration_;
  Plan plan_;
  HostCompute cpu_;
  std::vector<LayerGroup> groups_;
  HostConstants constants_;
  std::vector<std::byte*> registered_;
  std::vector<DeviceState> states_;
  std::vector<Buffer> staging_buffers_;
  StagingMemory staging_;
  std::vector<int> cached_on_;
  std::vector<std::vector<std::int64_t>> stream_offsets_;  ///< [devices][layers with experts * experts]
  std::vector<std::int64_t> heatmap_, heatmap_parts_;  ///< in all; [devices] of each
  std::unique_ptr<Prefill> prefill_;
  std::unique_ptr<ExpertCache> cache_;
  std::unique_ptr<Decode> decode_;
  std::optional<Recording> step_;
  std::int32_t last_prompt_ = 0;  ///< tokens of it; 0 = none since create()
  std::optional<Recording> step_without_copies_;  ///< of streamed attention, to measure parts with
  std::optional<DecodeParts> parts_;
  std::int32_t parts_prompt_ = 0;  ///< what last_prompt_ was for them
  std::int64_t cpu_prompt_ = 0;    ///< the most tokens of a prompt that the CPU's experts compute
  std::int64_t picked_prompt_ = 0;  ///< the most tokens of another prompt that copies its picked experts alone
};

}  // namespace krasis
