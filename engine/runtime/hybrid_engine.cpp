#include "engine/runtime/hybrid_engine.h"

#include <array>
#include <chrono>
#include <numeric>

#include <fmt/format.h>

#include "engine/layers/layer_step.h"
#include "engine/runtime/device_carver.h"
#include "engine/runtime/expert_cache.h"

namespace krasis {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

/// Up to which length one path is no slower than the others: told rising lengths and the seconds that it is ahead. Between
/// two lengths, times rise about in a line.
struct Crossing {
  std::int64_t tokens = 0;
  double ahead_s = 0;
  bool open = true;

  void add(std::int64_t length, double seconds) {
    if (!open) return;
    open = seconds >= 0;
    const double share = open ? 1.0 : ahead_s / (ahead_s - seconds);
    tokens += static_cast<std::int64_t>(share * static_cast<double>(length - tokens));
    ahead_s = seconds;
  }
};

}  // namespace

HybridEngine::HybridEngine(std::vector<Device*> devices, std::shared_ptr<const PackedModel> model,
                           const RunConfiguration& configuration, Plan plan, HostCompute cpu)
    : devices_(std::move(devices)),
      model_(std::move(model)),
      configuration_(configuration),
      plan_(std::move(plan)),
      cpu_(std::move(cpu)),
      groups_(layer_groups(model_->spec, configuration_)),
      constants_(*model_, configuration_) {}

HybridEngine::~HybridEngine() {
  // Whatever was still running reads and writes the buffers that die now. Errors have no one left to hear them.
  for (DeviceState& state : states_) {
    (void)state.device->synchronize(state.device->record(state.loader), "engine ends");
    (void)state.device->synchronize(state.device->record(state.compute), "engine ends");
  }
  staging_buffers_.clear();
  states_.clear();
  for (std::byte* data : registered_) devices_.front()->unregister_host(data);
}

Expected<std::unique_ptr<HybridEngine>> HybridEngine::create(std::vector<Device*> devices,
                                                             std::shared_ptr<const PackedModel> model,
                                                             const RunConfiguration& configuration, Plan plan,
                                                             std::span<const std::int32_t> heatmap_tokens,
                                                             HostCompute cpu) {
  std::unique_ptr<HybridEngine> engine(
      new HybridEngine(std::move(devices), std::move(model), configuration, std::move(plan), std::move(cpu)));
  const PackedModel& packed = *engine->model_;
  for (const HostRegion* region : {&packed.dense, &packed.gpu_experts, &packed.cpu_experts}) {
    if (region->bytes() == 0) continue;
    KRASIS_CHECK(engine->devices_.front()->register_host(region->name(), region->data(), region->bytes()));
    engine->registered_.push_back(region->data());
  }
  for (std::size_t i = 0; i < engine->devices_.size(); ++i) {
    KRASIS_TRY(DeviceState state, DeviceState::create(*engine->devices_[i], static_cast<int>(i), packed, configuration,
                                                      engine->constants_));
    engine->states_.push_back(std::move(state));
  }
  DeviceCarver staging(*engine->devices_.front(), MemorySpace::Pinned, engine->staging_buffers_);
  engine->staging_.carve(staging, packed.spec, configuration);
  KRASIS_CHECK(staging.outcome());
  engine->prefill_ = std::make_unique<Prefill>(packed, engine->configuration_, engine->groups_, engine->states_);
  KRASIS_CHECK(engine->measure_heatmap(heatmap_tokens));
  engine->fill_cache();
  engine->decode_ =
      std::make_unique<Decode>(packed, engine->states_, engine->staging_.decode, engine->cpu_, *engine->cache_);
  engine->step_ = engine->record_step();
  if (engine->configuration_.attention == "streamed") {
    // Here, because for one that fails later, on a full device, every later generation would fail.
    engine->decode_->pause_attention(true);
    engine->step_without_copies_ = engine->record_step();
    engine->decode_->pause_attention(false);
    KRASIS_CHECK(engine->wait_for_decode());
  }
  KRASIS_CHECK(engine->measure_paths());
  engine->last_prompt_ = 0;  // the prompts of the measurement belong to no caller
  return engine;
}

Expected<void> HybridEngine::measure_heatmap(std::span<const std::int32_t> tokens) {
  if (configuration_.hcs == HotCache::Off) return {};
  const auto entries = static_cast<std::size_t>(model_->spec.expert_layers() * model_->spec.experts());
  heatmap_.assign(entries, 0);
  if (tokens.empty()) {
    return fail(ErrorCode::InvalidArgument, "HCS is on, but there is no text to measure the use of experts on.",
                "Give a text of some hundred tokens.");
  }
  tokens = tokens.first(std::min(tokens.size(), static_cast<std::size_t>(configuration_.max_context)));
  for (DeviceState& s : states_) {  // heatmap_ holds zeros until the first synchronize below
    copy(*s.device, s.compute, s.pick_counts, View<const std::int64_t>{heatmap_.data(), entries}, "clear heatmap");
  }
  start(tokens, PrefillPath::Stream, {.count = true});
  std::vector<std::int64_t>& counts = heatmap_parts_;
  counts.assign(entries * states_.size(), 0);
  for (DeviceState& s : states_) {
    const View<std::int64_t> part{counts.data() + static_cast<std::size_t>(s.index) * entries, entries};
    copy(*s.device, s.compute, part, s.pick_counts, "read heatmap");
  }
  for (DeviceState& s : states_) {
    KRASIS_CHECK(s.device->synchronize(s.device->record(s.compute), "heatmap is known"));
  }
  const std::array reads{Access::of(View{counts.data(), counts.size()})};
  const std::array writes{Access::of(View{heatmap_.data(), entries})};
  devices_.front()->host_access("heatmap", reads, writes);
  for (std::size_t i = 0; i < counts.size(); ++i) heatmap_[i % entries] += counts[i];
  return {};
}

void HybridEngine::fill_cache() {
  cached_on_ = choose_cached_experts(model_->spec, configuration_, heatmap_);
  cache_ = std::make_unique<ExpertCache>(*model_, configuration_, states_, cached_on_, heatmap_, staging_.cache_tables);
  stream_offsets_.assign(states_.size(), constants_.stream_offsets);
  for (DeviceState& s : states_) {
    std::vector<std::int64_t>& streamed = stream_offsets_[static_cast<std::size_t>(s.index)];
    for (std::size_t i = 0; i < cached_on_.size(); ++i) {
      if (cached_on_[i] == s.index) streamed[i] = -1;
    }
    copy(*s.device, s.compute, s.stream_offsets, View{streamed.data(), streamed.size()}, "stream table");
  }
  prefill_->use_cache(cached_on_);
}

Recording HybridEngine::record_step() {
  devices_.front()->begin_recording();
  decode_->enqueue({}, 0);
  return devices_.front()->end_recording();
}

Expected<void> HybridEngine::wait_for_decode() {
  Expected<void> done;
  for (DeviceState& s : states_) {
    auto idle = s.device->synchronize(s.device->record(s.compute), "decode is idle");
    if (done) done = std::move(idle);
  }
  return done;
}

Expected<void> HybridEngine::measure_paths() {
  const std::int64_t most_cpu = most_together(configuration_), most = most_picked(configuration_);
  if (configuration_.prefill_path == "cpu") cpu_prompt_ = most_cpu;
  if (configuration_.prefill_path == "picked") picked_prompt_ = most;
  if (configuration_.prefill_path != "auto") return {};
  KRASIS_CHECK(time_prompt(1, PrefillPath::Cpu));  // what is made at its first use is made now
  KRASIS_CHECK(time_prompt(most_cpu, PrefillPath::Stream));
  KRASIS_TRY(const double stream, time_prompt(most_cpu, PrefillPath::Stream));
  Crossing on_cpu, picked;
  const auto gathers = time_prompt(1, PrefillPath::Picked);
  if (!gathers && gathers.error().code != ErrorCode::Unsupported) return tl::unexpected(gathers.error());
  picked.open = gathers.has_value();
  for (std::int64_t tokens = 1, last = 0; last < most && (on_cpu.open || picked.open); last = tokens, tokens = std::min(2 * tokens, most)) {
    double cpu_s = INFINITY, picked_s = INFINITY;
    if (on_cpu.open && tokens <= most_cpu) {
      KRASIS_TRY(cpu_s, time_prompt(tokens, PrefillPath::Cpu));
    }
    if (picked.open) {
      KRASIS_TRY(picked_s, time_prompt(tokens, PrefillPath::Picked));
    }
    on_cpu.add(tokens, std::min(picked_s, stream) - cpu_s);
    picked.add(tokens, stream - picked_s);
  }
  cpu_prompt_ = on_cpu.tokens;
  picked_prompt_ = picked.tokens;
  return {};
}

Expected<double> HybridEngine::time_prompt(std::int64_t tokens, PrefillPath path) {
  std::vector<std::int32_t> prompt(static_cast<std::size_t>(tokens));
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    prompt[i] = static_cast<std::int32_t>((i + 1) * 7919 % static_cast<std::size_t>(model_->spec.vocabulary));
  }
  const auto begin = Clock::now();
  start(prompt, path, {});
  enqueue_head(prompt.size() - 1);
  KRASIS_CHECK(home().device->synchronize(record_home(), "a path is measured"));
  return seconds_between(begin, Clock::now());
}

PrefillPath HybridEngine::prefill_path(std::size_t tokens) const {
  const auto length = static_cast<std::int64_t>(tokens);
  return length <= cpu_prompt_ ? PrefillPath::Cpu : length <= picked_prompt_ ? PrefillPath::Picked : PrefillPath::Stream;
}

Expected<PrefillPath> HybridEngine::choose_path(std::optional<PrefillPath> wanted, std::size_t tokens) const {
  const auto most = static_cast<std::size_t>(most_together(configuration_));
  if (wanted == PrefillPath::Cpu && tokens > most) {
    return fail(ErrorCode::InvalidArgument, fmt::format("{} tokens are too many for the CPU's experts at once.", tokens),
                fmt::format("Stream prompts of more than {} tokens.", most));
  }
  const auto most_gathered = static_cast<std::size_t>(most_picked(configuration_));
  if (wanted == PrefillPath::Picked && tokens > most_gathered) {
    return fail(ErrorCode::InvalidArgument, fmt::format("{} tokens are too many to copy their picked experts alone.", tokens),
                fmt::format("Stream prompts of more than {} tokens.", most_gathered));
  }
  return wanted.value_or(prefill_path(tokens));
}

Expected<void> HybridEngine::check_length(std::size_t tokens, std::size_t new_tokens) const {
  if (tokens == 0) return fail(ErrorCode::InvalidArgument, "The prompt has no tokens.", "Write something first.");
  if (tokens + new_tokens > static_cast<std::size_t>(configuration_.max_context)) {
    return fail(ErrorCode::InvalidArgument,
                fmt::format("{} tokens and {} new ones do not fit into the context of {}.", tokens, new_tokens,
                            configuration_.max_context),
                "Raise max_context or shorten the text.");
  }
  return {};
}

void HybridEngine::send_position(std::int32_t tokens) {
  staging_.position.data[0] = tokens - 1;
  staging_.forced.data[0] = 0;
  staging_.sampling.data[0] = {.temperature = static_cast<float>(configuration_.temperature),
                               .top_k = configuration_.top_k,
                               .top_p = static_cast<float>(configuration_.top_p),
                               .min_p = static_cast<float>(configuration_.min_p),
                               .repetition_penalty = static_cast<float>(configuration_.repetition_penalty),
                               .seed = static_cast<std::uint64_t>(configuration_.seed),
                               .length = tokens};
  const std::array writes{Access::of(staging_.position), Access::of(staging_.forced), Access::of(staging_.sampling)};
  devices_.front()->host_access("position", {}, writes);
  for (DeviceState& s : states_) {
    copy(*s.device, s.compute, s.position, staging_.position, "position");
    copy(*s.device, s.compute, s.token, staging_.forced, "token");
  }
  copy(*home().device, home().compute, home().sampling, staging_.sampling, "sampling");
}

void HybridEngine::start(std::span<const std::int32_t> prompt, PrefillPath path, const PickHooks& hooks) {
  const auto tokens = static_cast<std::int32_t>(prompt.size());
  const std::int32_t chunk = std::min(configuration_.chunk_tokens, configuration_.max_context);
  std::copy(prompt.begin(), prompt.end(), staging_.prompt.data);
  staging_.chunk_span.data[0] = {0, chunk, 0};
  staging_.chunk_span.data[1] = {0, path == PrefillPath::Cpu ? tokens : tokens % chunk, 0};
  const std::array writes{Access::of(staging_.prompt), Access::of(staging_.chunk_span)};
  devices_.front()->host_access("prompt", {}, writes);
  last_prompt_ = tokens;
  if (cache_) cache_->begin(path != PrefillPath::Cpu);

  for (DeviceState& s : states_) {
    s.sequence.begin(*s.device, s.compute);
    copy(*s.device, s.compute, s.chunk_span, staging_.chunk_span, "chunk spans");
  }
  send_position(tokens);
  const View<std::int32_t> text = staging_.prompt.sub(0, prompt.size());
  copy(*home().device, home().compute, home().prompt.sub(0, prompt.size()), text, "prompt");
  copy(*home().device, home().compute, home().history.sub(0, prompt.size()), text, "history");
  if (path == PrefillPath::Cpu) {
    decode_->enqueue_prompt(tokens, hooks);
  } else if (path == PrefillPath::Stream) {
    prefill_->enqueue(tokens, hooks);
  } else {
    send_gathered(0);
    prefill_->enqueue_picked(tokens, hooks);
    send_gathered(1);  // the residual came through all devices
  }
}

void HybridEngine::send_gathered(std::size_t row) {
  for (DeviceState& s : states_) {
    if (s.layers.empty()) continue;
    const std::size_t place = row * states_.size() + static_cast<std::size_t>(s.index);
    DeviceState& by = row == 0 ? s : home();
    copy(*by.device, by.compute, staging_.gathered.sub(place, 1), s.gathered, "gathered experts");
  }
}

std::size_t HybridEngine::prompt_bytes(PrefillPath path) {
  if (path == PrefillPath::Stream) return prefill_->copied_bytes();
  if (path == PrefillPath::Cpu) return prefill_->attention_bytes();
  const std::array reads{Access::of(staging_.gathered)};
  home().device->host_access("gathered experts", reads, {});
  std::int64_t blocks = 0;
  for (const DeviceState& s : states_) {
    const std::int64_t* before = staging_.gathered.data + s.index;
    if (!s.layers.empty()) blocks += before[states_.size()] - before[0];
  }
  return static_cast<std::size_t>(blocks) * model_->gpu_expert_layout.bytes() + prefill_->attention_bytes();
}

void HybridEngine::enqueue_head(std::size_t row) {
  DeviceState& s = home();
  const auto hidden = static_cast<std::size_t>(model_->spec.hidden);
  head(*s.device, s.compute, model_->spec, s.head, s.residual.sub(row * hidden, hidden), s.scratch.normed, s.logits);
}

Event HybridEngine::send_token(std::size_t index) {
  copy(*home().device, home().compute, staging_.tokens.sub(index % 2, 1), home().token, kTokenCopy);
  return record_home();
}

Expected<std::int32_t> HybridEngine::read_token(std::size_t index, const Event& sent) {
  KRASIS_CHECK(home().device->synchronize(sent, "token is known"));
  const View<std::int32_t> token = staging_.tokens.sub(index % 2, 1);
  const std::array reads{Access::of(token)};
  home().device->host_access("token", reads, {});
  return token.data[0];
}

Expected<void> HybridEngine::read_logits(std::string_view why, std::vector<float>& out) {
  copy(*home().device, home().compute, staging_.logits, home().logits, "logits to the host");
  KRASIS_CHECK(home().device->synchronize(record_home(), why));
  const std::array reads{Access::of(staging_.logits)};
  home().device->host_access("logits", reads, {});
  out.insert(out.end(), staging_.logits.data, staging_.logits.data + staging_.logits.size);
  return {};
}

Expected<void> HybridEngine::follow_prompt(PrefillPath path, const std::function<void(double)>& on_prompt) {
  if (path == PrefillPath::Cpu) return {};  // too short to be watched
  for (const Prefill::Mark& mark : prefill_->marks()) {
    KRASIS_CHECK(mark.device->synchronize(mark.done, "a part of the prompt is done"));
    on_prompt(mark.share);
  }
  return {};
}

Expected<Generation> HybridEngine::generate(std::span<const std::int32_t> prompt, const GenerationOptions& options,
                                            const std::function<void(std::int32_t, int)>& on_token) {
  if (options.max_new_tokens < 1) {
    return fail(ErrorCode::InvalidArgument, fmt::format("{} new tokens were asked for.", options.max_new_tokens), "Ask for 1 or more.");
  }
  KRASIS_CHECK(check_length(prompt.size(), static_cast<std::size_t>(options.max_new_tokens)));
  const auto& eos = model_->spec.eos_tokens;
  Generation result;
  KRASIS_TRY(result.path, choose_path(options.path, prompt.size()));

  const auto begin = Clock::now();
  prefill_->set_marked(static_cast<bool>(options.on_prompt));
  start(prompt, result.path, {});
  prefill_->set_marked(false);
  enqueue_head(prompt.size() - 1);
  DeviceState& s = home();
  s.device->run(s.compute, SampleArgs{s.logits, s.sampling, s.history, s.token});
  std::array<Event, 2> sent{send_token(0)};
  auto before = begin;
  int enqueued = 0;
  const auto enqueue_step = [&] {
    cache_->before_step();
    s.device->replay(*step_);
    ++enqueued;
    sent[static_cast<std::size_t>(enqueued) % 2] = send_token(static_cast<std::size_t>(enqueued));
  };
  for (int index = 0;; ++index) {
    // The next step is enqueued before this token is read, so that the devices do not wait for the host; unless the
    // expert cache first has to know what the last one picked.
    if (index + 1 < options.max_new_tokens && !cache_->decides_now()) enqueue_step();
    const auto place = static_cast<std::size_t>(index);
    if (index == 0 && options.on_prompt) KRASIS_CHECK(follow_prompt(result.path, options.on_prompt));
    KRASIS_TRY(const std::int32_t token, read_token(place, sent[place % 2]));
    const auto now = Clock::now();
    if (index == 0) {
      result.prefill_s = seconds_between(before, now);
      result.prefill_copied_bytes = prompt_bytes(result.path);
    } else {
      result.token_s.push_back(seconds_between(before, now));
    }
    before = now;
    result.tokens.push_back(token);
    if (on_token) on_token(token, index);
    if (index + 1 == options.max_new_tokens) break;
    const bool ended = !options.ignore_end_of_text && std::find(eos.begin(), eos.end(), token) != eos.end();
    if (!ended && !options.stop.stop_requested()) {
      if (enqueued == index) enqueue_step();
      continue;
    }
    result.stop = ended ? StopReason::EndOfText : StopReason::Cancelled;
    // One step may be ahead; nobody wants its token.
    KRASIS_CHECK(s.device->synchronize(sent[static_cast<std::size_t>(enqueued) % 2], "the last step is done"));
    break;
  }
  result.cache = cache_->use();
  cache_->end();
  return result;
}

Expected<Evaluation> HybridEngine::evaluate(std::span<const std::int32_t> tokens, const EvaluationOptions& options) {
  KRASIS_CHECK(check_length(tokens.size(), 0));
  const auto prefilled = static_cast<std::size_t>(options.prefill_tokens);
  if (options.prefill_tokens < 1 || prefilled > tokens.size()) {
    return fail(ErrorCode::InvalidArgument,
                fmt::format("prefill_tokens is {} of {} tokens.", options.prefill_tokens, tokens.size()), "Choose 1 to all of them.");
  }
  Evaluation result;
  PickHooks hooks{.forced = options.forced_picks, .tokens = tokens.size()};
  const std::size_t picks =
      static_cast<std::size_t>(model_->spec.expert_layers() * model_->spec.top_k()) * tokens.size();
  if (options.record_picks) {
    result.picks.ids.assign(picks, -1);
    result.picks.weights.assign(picks, 0.0f);
    hooks.recorded = &result.picks;
  }
  if (hooks.forced != nullptr && (hooks.forced->ids.size() != picks || hooks.forced->weights.size() != picks)) {
    return fail(ErrorCode::InvalidShape, fmt::format("{} forced picks were given for {}.", hooks.forced->ids.size(), picks),
                "Give [layers with experts, tokens, top_k] of them.");
  }
  const auto wanted = [&, next = options.positions.begin()](std::size_t position) mutable {
    const bool hit = next != options.positions.end() && *next == static_cast<std::int32_t>(position);
    if (hit) ++next;
    return hit;
  };
  result.logits.reserve(options.positions.size() * static_cast<std::size_t>(model_->spec.vocabulary));

  KRASIS_TRY(const PrefillPath path, choose_path(options.path, prefilled));
  start(tokens.first(prefilled), path, hooks);
  auto is_wanted = wanted;
  for (std::size_t position = 0; position < prefilled; ++position) {
    if (!is_wanted(position)) continue;
    enqueue_head(position);
    KRASIS_CHECK(read_logits("logits are read", result.logits));
  }
  KRASIS_CHECK(home().device->synchronize(record_home(), "prefill is done"));
  for (std::size_t position = prefilled; position < tokens.size(); ++position) {
    staging_.forced.data[0] = tokens[position];
    const std::array writes{Access::of(staging_.forced)};
    home().device->host_access("forced token", {}, writes);
    copy(*home().device, home().compute, home().token, staging_.forced, "forced token");
    cache_->before_step();
    if (hooks.forced != nullptr || hooks.recorded != nullptr) {
      decode_->enqueue(hooks, position);
    } else {
      home().device->replay(*step_);
    }
    if (is_wanted(position)) {
      KRASIS_CHECK(read_logits("logits are read", result.logits));
    } else {
      KRASIS_CHECK(read_token(position, send_token(position)));
    }
  }
  cache_->end();
  return result;
}

void HybridEngine::set_sampling(const RunConfiguration& configuration) {
  configuration_.temperature = configuration.temperature;
  configuration_.top_k = configuration.top_k;
  configuration_.top_p = configuration.top_p;
  configuration_.min_p = configuration.min_p;
  configuration_.repetition_penalty = configuration.repetition_penalty;
  configuration_.seed = configuration.seed;
}

std::vector<PlaceReport> HybridEngine::memory_report() const {
  std::vector<PlaceReport> report;
  for (const PlanItem& item : plan_.items) {
    PlaceReport row{item.device, item.place, item.bytes, 0};
    for (const HostRegion* region : {&model_->dense, &model_->gpu_experts, &model_->cpu_experts}) {
      if (item.device < 0 && region->name() == item.place) row.high_water_bytes = region->bytes();
    }
    const auto& device = *devices_[static_cast<std::size_t>(std::max(item.device, 0))];
    const MemorySpace space = item.device < 0 ? MemorySpace::Pinned : MemorySpace::Device;
    for (const PlaceUsage& usage : device.memory_usage()) {
      if (usage.place == item.place && usage.space == space && row.high_water_bytes == 0) row.high_water_bytes = usage.high_water_bytes;
    }
    report.push_back(row);
  }
  return report;
}

}  // namespace krasis
