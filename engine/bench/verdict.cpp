#include "engine/bench/verdict.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include <fmt/format.h>

#include "engine/bench/reference_key.h"
#include "engine/runtime/reference.h"

namespace krasis {
namespace {

constexpr double kScalarFlopPerSecond = 1e9;  // a cautious guess of the reference's speed on one thread

/// Seconds that the reference takes for `tokens` tokens.
double reference_seconds(const Engine& engine, std::size_t tokens) {
  return 2.0 * static_cast<double>(active_parameter_count(engine.model().spec)) * static_cast<double>(tokens) /
         (kScalarFlopPerSecond * engine.team().size());
}

/// Floating-point operations of a pass over `tokens` tokens. Attention grows with each token; the head is left out.
double reference_flop(const Engine& engine, std::size_t tokens) {
  const ModelSpec& spec = engine.model().spec;
  const auto n = static_cast<double>(tokens);
  const auto numbers_of = [](const GroupedAttention& part) { return static_cast<double>(part.heads) * part.head_dim; };
  double head_numbers = 0;
  for (const LayerSpec& layer : spec.layers) head_numbers += std::visit(numbers_of, layer.mixer);
  return 2.0 * static_cast<double>(active_parameter_count(spec)) * n + 2.0 * head_numbers * n * n;
}

/// Tokens of the prompt that is judged instead of a run whose reference pass would exceed kLongestReferenceSeconds; 0
/// if the whole run is judged.
std::size_t short_prompt_tokens(const Engine& engine, std::size_t tokens_of_run) {
  if (reference_seconds(engine, tokens_of_run) <= Judge::kLongestReferenceSeconds) return 0;
  std::size_t tokens = 32;
  constexpr double kLongest = Judge::kLongestReferenceSeconds / 2;
  while (tokens > 8 && reference_seconds(engine, tokens + tokens / 4) > kLongest) tokens /= 2;
  return tokens;
}

protocol::VerdictFacts verdict(bool pass, std::string figure, double value, double threshold, std::string explanation) {
  protocol::VerdictFacts facts;
  facts.verdict = pass ? "pass" : "fail";
  facts.figure = std::move(figure);
  facts.value = value;
  facts.threshold = threshold;
  facts.explanation = std::move(explanation);
  return facts;
}

double regret(std::span<const float> logits, std::int32_t token) {
  for (const float x : logits) {
    if (!std::isfinite(x)) return INFINITY;
  }
  // The softmax's denominator is the same for both.
  return *std::max_element(logits.begin(), logits.end()) - logits[static_cast<std::size_t>(token)];
}

}  // namespace

Expected<std::vector<float>> Judge::reference(const Engine& engine, std::span<const std::int32_t> tokens,
                                              std::span<const std::int32_t> positions,
                                              const std::function<bool(int, int, int)>& on_gpu,
                                              const VerdictWatcher& watcher) {
  using Clock = std::chrono::steady_clock;
  const bool fp8 = engine.configuration().kv_cache == "fp8";
  const ThreadTeam::Scope scope(&engine.team());
  const auto begin = Clock::now();
  const auto go_on = [&](std::size_t done, std::size_t all) {
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    seconds_per_flop_ = seconds / reference_flop(engine, done);
    const double share = reference_flop(engine, done) / reference_flop(engine, all);
    if (watcher.on_position) watcher.on_position(static_cast<std::int64_t>(done), static_cast<std::int64_t>(all), share);
    return !watcher.stop.stop_requested();
  };
  return reference_logits(engine.model(), fp8 ? KvElement::Fp8 : KvElement::Bf16, tokens, positions, on_gpu, go_on);
}

double Judge::expected_s(const Engine& engine, std::span<const std::int32_t> prompt, std::size_t generated) {
  const RunConfiguration& c = engine.configuration();
  if (c.temperature > 0 || c.repetition_penalty != 1.0 || prompt.empty()) return 0;
  constexpr double kMomentSeconds = 0.2;
  constexpr std::size_t kTokens = 8;
  const auto first = prompt.first(std::min(prompt.size(), kTokens));
  if (seconds_per_flop_ == 0 && reference_seconds(engine, first.size()) < kMomentSeconds) {
    const std::array last{static_cast<std::int32_t>(first.size() - 1)};
    (void)reference(engine, first, last, [](int, int, int) { return true; }, {});  // its speed is all that counts
  }
  const std::size_t short_prompt = short_prompt_tokens(engine, prompt.size() + generated);
  const std::size_t tokens = short_prompt == 0 ? prompt.size() + generated : short_prompt + short_prompt / 4;
  if (seconds_per_flop_ == 0) return reference_seconds(engine, tokens);
  return seconds_per_flop_ * reference_flop(engine, tokens);
}

Expected<std::vector<double>> Judge::regrets(const Engine& engine, PrefillPath path, std::span<const std::int32_t> prompt,
                                             std::span<const std::int32_t> generated, const VerdictWatcher& watcher) {
  const PackedModel& model = engine.model();
  const std::string key = reference_key({.fingerprint = model.fingerprint,
                                         .precision = model.precision,
                                         .kv_cache = engine.configuration().kv_cache,
                                         .prompt = prompt,
                                         .generated = generated,
                                         .path = path,
                                         .cached = engine.cached_experts(),
                                         .changes = engine.cache_changes()});
  if (const auto found = known_.find(key); found != known_.end()) return found->second;
  std::vector<std::int32_t> tokens(prompt.begin(), prompt.end());
  tokens.insert(tokens.end(), generated.begin(), generated.end());
  std::vector<std::int32_t> positions;
  for (std::size_t i = prompt.size() - 1; i + 1 < tokens.size(); ++i) positions.push_back(static_cast<std::int32_t>(i));
  const CacheHistory cached(engine.cached_experts(), engine.cache_changes());
  const int experts = engine.model().spec.experts();
  const int streamed = path != PrefillPath::Cpu ? static_cast<int>(prompt.size()) : 0;  // tokens
  const int first_step = static_cast<int>(prompt.size());
  const auto on_gpu = [&](int layer, int expert, int position) {
    return position < streamed || cached.at(position - first_step, layer * experts + expert);
  };
  KRASIS_TRY(const std::vector<float> logits, reference(engine, tokens, positions, on_gpu, watcher));
  const auto vocabulary = static_cast<std::size_t>(engine.model().spec.vocabulary);
  std::vector<double> result;
  for (std::size_t i = 0; i < generated.size(); ++i) {
    result.push_back(regret(std::span(logits).subspan(i * vocabulary, vocabulary), generated[i]));
  }
  return known_[key] = result;
}

Expected<protocol::VerdictFacts> Judge::judge_tokens(const Engine& engine, PrefillPath path, std::span<const std::int32_t> prompt,
                                                     std::span<const std::int32_t> generated, std::string note,
                                                     const VerdictWatcher& watcher) {
  const auto vocabulary = engine.model().spec.vocabulary;
  for (const std::int32_t token : generated) {
    if (token < 0 || token >= vocabulary) {
      return verdict(false, "token id", token, static_cast<double>(vocabulary - 1), "A token outside the vocabulary was written.");
    }
  }
  KRASIS_TRY(const std::vector<double> all, regrets(engine, path, prompt, generated, watcher));
  const auto worst = std::max_element(all.begin(), all.end());
  const bool pass = *worst <= kWorstRegretNats;
  std::string explanation = fmt::format("{} tokens were judged by the scalar reference.{}", all.size(), note);
  if (!pass) {
    const auto index = static_cast<std::size_t>(worst - all.begin());
    explanation += fmt::format(" Token {} (id {}) is {:.2f} nats below the reference's choice.", index, generated[index], *worst);
  }
  return verdict(pass, "worst regret (nats)", *worst, kWorstRegretNats, std::move(explanation));
}

Expected<protocol::VerdictFacts> Judge::judge(Engine& engine, std::span<const std::int32_t> prompt,
                                              std::span<const std::vector<std::int32_t>> repetitions,
                                              const VerdictWatcher& watcher) {
  protocol::VerdictFacts none;
  if (engine.configuration().temperature > 0) {
    none.explanation = "Sampled text has no single right answer: only greedy runs are judged.";
    return none;
  }
  if (engine.configuration().repetition_penalty != 1.0) {
    none.explanation = "With a repetition penalty the most probable token is not what should be written: such runs are not judged.";
    return none;
  }
  if (repetitions.empty() || repetitions.back().empty()) {
    none.explanation = "No repetition was completed.";
    return none;
  }
  const std::vector<std::int32_t>& last = repetitions.back();
  for (std::size_t r = 0; r + 1 < repetitions.size(); ++r) {
    const auto [a, b] = std::mismatch(repetitions[r].begin(), repetitions[r].end(), last.begin(), last.end());
    if (a == repetitions[r].end() && b == last.end()) continue;
    return verdict(false, "repetitions that differ", static_cast<double>(r + 1), 0,
                   fmt::format("Repetition {} and the last one wrote different texts from token {} on.", r + 1, a - repetitions[r].begin()));
  }
  const PrefillPath path = engine.prefill_path(prompt.size());
  const std::size_t tokens = short_prompt_tokens(engine, prompt.size() + last.size());
  if (tokens == 0) return judge_tokens(engine, path, prompt, last, "", watcher);
  // The same engine, pipelines and weights on a shorter text; shorter still for a large model.
  const auto short_prompt = prompt.first(std::min(prompt.size(), tokens));
  const GenerationOptions options{
      .max_new_tokens = static_cast<int>(tokens / 4), .path = path, .ignore_end_of_text = true, .stop = watcher.stop};
  KRASIS_TRY(const Generation generation, engine.generate(short_prompt, options, {}));
  return judge_tokens(engine, path, short_prompt, generation.tokens,
                      fmt::format(" The whole run was too long for it: a prompt of {} tokens went through the same "
                                  "engine.",
                                  short_prompt.size()),
                      watcher);
}

}  // namespace krasis
