#include "engine/bench/verdict.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "engine/bench/reference_key.h"
#include "engine/model/reference.h"

namespace krasis {
namespace {

constexpr double kScalarFlopPerSecond = 1e9;  // a cautious guess of the reference's speed on one thread

/// How long the reference takes for so many tokens.
double reference_seconds(const Engine& engine, std::size_t tokens) {
  return 2.0 * static_cast<double>(engine.model().config.active_parameters()) * static_cast<double>(tokens) /
         (kScalarFlopPerSecond * engine.team().size());
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

Expected<std::vector<double>> Judge::regrets(const Engine& engine, PrefillPath path, std::span<const std::int32_t> prompt,
                                             std::span<const std::int32_t> generated) {
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
  const int experts = engine.model().config.experts;
  const int streamed = path != PrefillPath::Cpu ? static_cast<int>(prompt.size()) : 0;  // tokens
  const int first_step = static_cast<int>(prompt.size());
  const bool fp8 = engine.configuration().kv_cache == "fp8";
  const ThreadTeam::Scope scope(&engine.team());
  KRASIS_TRY(const std::vector<float> logits,
             reference_logits(engine.model(), fp8 ? KvElement::Fp8 : KvElement::Bf16, tokens, positions,
                              [&](int layer, int expert, int position) {
                                return position < streamed || cached.at(position - first_step, layer * experts + expert);
                              }));
  const auto vocabulary = static_cast<std::size_t>(engine.model().config.vocabulary);
  std::vector<double> result;
  for (std::size_t i = 0; i < generated.size(); ++i) {
    result.push_back(regret(std::span(logits).subspan(i * vocabulary, vocabulary), generated[i]));
  }
  return known_[key] = result;
}

Expected<protocol::VerdictFacts> Judge::judge_tokens(const Engine& engine, PrefillPath path, std::span<const std::int32_t> prompt,
                                                     std::span<const std::int32_t> generated, std::string note) {
  const auto vocabulary = engine.model().config.vocabulary;
  for (const std::int32_t token : generated) {
    if (token < 0 || token >= vocabulary) {
      return verdict(false, "token id", token, static_cast<double>(vocabulary - 1), "A token outside the vocabulary was written.");
    }
  }
  KRASIS_TRY(const std::vector<double> all, regrets(engine, path, prompt, generated));
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
                                              std::span<const std::vector<std::int32_t>> repetitions) {
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
  if (reference_seconds(engine, prompt.size() + last.size()) <= kLongestReferenceSeconds) {
    return judge_tokens(engine, path, prompt, last, "");
  }
  // The same engine, pipelines and weights on a shorter text; shorter still for a large model.
  std::size_t tokens = 32;
  while (tokens > 8 && reference_seconds(engine, tokens + tokens / 4) > kLongestReferenceSeconds / 2) tokens /= 2;
  const auto short_prompt = prompt.first(std::min(prompt.size(), tokens));
  const GenerationOptions options{.max_new_tokens = static_cast<int>(tokens / 4), .path = path, .ignore_end_of_text = true};
  KRASIS_TRY(const Generation generation, engine.generate(short_prompt, options, {}));
  return judge_tokens(engine, path, short_prompt, generation.tokens,
                      fmt::format(" The whole run was too long for it: a prompt of {} tokens went through the same engine.", short_prompt.size()));
}

}  // namespace krasis
