// What a benchmark measures, and that its verdict finds text that the model did not write.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include <nlohmann/json.hpp>

#include "engine/bench/limits.h"
#include "engine/bench/prompt.h"
#include "engine/bench/reference_key.h"
#include "engine/bench/runner.h"
#include "engine/bench/session.h"
#include "engine/bench/verdict.h"
#include "tests/support/temporary_directory.h"

namespace krasis {
namespace {

using Tokens = std::vector<std::int32_t>;
using testing::HasSubstr;

const Resources kResources{std::filesystem::path(KRASIS_SOURCE_DIR) / "resources"};

RunConfiguration small_configuration() {
  RunConfiguration c;
  c.max_context = 128;
  c.chunk_tokens = 16;
  c.prompt_tokens = 24;
  c.decode_tokens = 6;
  c.warmups = 1;
  c.repetitions = 2;
  return c;
}

Session load(const RunConfiguration& configuration) {
  auto session = load_session(configuration, kResources, {}, {}, {});
  if (!session) {
    ADD_FAILURE() << session.error().message();
    std::abort();
  }
  return std::move(*session);
}

BenchmarkPrompt prompt_of(const Session& session) {
  auto prompt = text_prompt(*session.tokenizer, session.text, session.configuration.prompt_tokens);
  EXPECT_TRUE(prompt) << prompt.error().message();
  return std::move(*prompt);
}

Tokens random_tokens(std::size_t count, std::int64_t vocabulary) {
  std::mt19937 random(7);
  Tokens tokens(count);
  for (auto& token : tokens) token = static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(vocabulary));
  return tokens;
}

/// An engine whose generate() can be tampered with; everything else is the real one's.
class WrappedEngine : public Engine {
 public:
  explicit WrappedEngine(Engine& engine) : engine_(engine) {}
  std::function<void(Generation&)> corrupt;
  std::function<void(int call, int index)> on_token;
  std::function<void()> before_parts;
  int measured_parts = 0;

  Expected<Generation> generate(std::span<const std::int32_t> prompt, const GenerationOptions& options,
                                const std::function<void(std::int32_t, int)>&) override {
    ++calls_;
    auto generation = engine_.generate(prompt, options, [&](std::int32_t, int index) {
      if (on_token) on_token(calls_, index);
    });
    if (generation && corrupt) corrupt(*generation);
    return generation;
  }
  Expected<Evaluation> evaluate(std::span<const std::int32_t> tokens, const EvaluationOptions& options) override {
    return engine_.evaluate(tokens, options);
  }
  const PackedModel& model() const override { return engine_.model(); }
  std::shared_ptr<const PackedModel> shared_model() const override { return engine_.shared_model(); }
  const RunConfiguration& configuration() const override { return engine_.configuration(); }
  const Plan& plan() const override { return engine_.plan(); }
  Expected<DecodeParts> decode_parts(std::stop_token stop) override {
    ++measured_parts;
    if (before_parts) before_parts();
    return engine_.decode_parts(std::move(stop));
  }
  ThreadTeam& team() const override { return engine_.team(); }
  std::vector<PlaceReport> memory_report() const override { return engine_.memory_report(); }
  void set_sampling(const RunConfiguration& configuration) override { engine_.set_sampling(configuration); }
  PrefillPath prefill_path(std::size_t tokens) const override { return engine_.prefill_path(tokens); }
  const std::vector<int>& cached_experts() const override { return engine_.cached_experts(); }
  const std::vector<CacheChange>& cache_changes() const override { return engine_.cache_changes(); }

 private:
  Engine& engine_;
  int calls_ = 0;
};

/// Everything that one benchmark said.
struct Record {
  std::vector<std::string> order;  ///< "warm-up 0/1", "sample warm-up 0", ...
  std::vector<protocol::Stage> told;
  std::vector<protocol::Sample> samples;
  protocol::Finished finished;
};

Record benchmark(Engine& engine, const Session& session, const BenchmarkPrompt& prompt,
                 const RunConfiguration& configuration, std::stop_token stop = {}) {
  Record record;
  const BenchmarkEvents events{
      .on_stage =
          [&](const protocol::Stage& s) {
            EXPECT_EQ(s.id, "the-id");
            record.told.push_back(s);
            if (!s.part.empty()) return;  // the stage goes on
            record.order.push_back(s.stage + " " + std::to_string(s.index) + "/" + std::to_string(s.count));
          },
      .on_sample =
          [&](const protocol::Sample& s) {
            record.order.push_back((s.warm_up ? "sample warm-up " : "sample repetition ") + std::to_string(s.index));
            record.samples.push_back(s);
          }};
  Judge judge;
  auto finished = run_benchmark(engine, session.tokenizer ? &*session.tokenizer : nullptr, prompt, configuration, {}, judge,
                                "the-id", events, stop);
  EXPECT_TRUE(finished) << finished.error().message();
  if (finished) record.finished = *finished;
  return record;
}

// One run of the embedded model ------------------------------------------------------------------------------------

TEST(Benchmark, MeasuresEveryRepetition) {
  const RunConfiguration configuration = small_configuration();
  Session session = load(configuration);
  const BenchmarkPrompt prompt = prompt_of(session);
  const Record record = benchmark(*session.engine, session, prompt, configuration);

  EXPECT_EQ(record.order, (std::vector<std::string>{"warm-up 0/1", "sample warm-up 0", "trace 0/1",
                                                    "parts of decode 0/1", "repetition 0/2",
                                                    "sample repetition 0", "repetition 1/2", "sample repetition 1", "verdict 0/1"}));
  EXPECT_EQ(record.told.front().share, 0) << "nothing is known yet";
  const auto known = std::ranges::find_if(record.told, [](const auto& s) { return s.share > 0; });
  ASSERT_NE(known, record.told.end());
  for (auto s = known; s != record.told.end(); ++s) {
    // Only behind the verdict's last position nothing is left; whether that is told depends on when it is reached.
    const bool over = s->stage == "verdict" && s->share == 1 && s->left_s == 0;
    EXPECT_TRUE(over || (s->share > 0 && s->share < 1 && s->left_s > 0)) << s->stage;
  }
  ASSERT_EQ(record.samples.size(), 3U);
  for (const protocol::Sample& sample : record.samples) {
    EXPECT_EQ(sample.id, "the-id");
    EXPECT_EQ(sample.prefill_tokens, 24);
    EXPECT_EQ(sample.decode_tokens, 6);
    ASSERT_EQ(sample.decode_token_s.size(), 6U);
    for (const double s : sample.decode_token_s) EXPECT_GT(s, 0);
    EXPECT_DOUBLE_EQ(sample.decode_s, std::accumulate(sample.decode_token_s.begin(), sample.decode_token_s.end(), 0.0));
    EXPECT_GT(sample.prefill_s, 0);
    EXPECT_GE(sample.ttft_s, sample.prefill_s);
    EXPECT_EQ(sample.output_text, record.samples[0].output_text);  // greedy
    EXPECT_FALSE(sample.output_text.empty());
    const auto metrics = nlohmann::json::parse(sample.metrics_json);
    EXPECT_GT(metrics.at("decode_gb_per_s").get<double>(), 0);
    EXPECT_FALSE(metrics.contains("decode_share_of_read_limit"));  // no limit was given
    EXPECT_EQ(metrics.contains("decode_parts_s_per_token"), !sample.warm_up) << "parts are measured between them";
    if (sample.warm_up) continue;
    EXPECT_GT(metrics.at("decode_parts_s_per_token").get<double>(), 0);
    EXPECT_DOUBLE_EQ(metrics.at("decode_share_of_parts").get<double>(),
                     metrics.at("decode_parts_s_per_token").get<double>() * 6 / sample.decode_s);
  }
  const protocol::Finished& finished = record.finished;
  EXPECT_EQ(finished.id, "the-id");
  EXPECT_FALSE(finished.cancelled);
  EXPECT_EQ(finished.stop_reason, "length");
  EXPECT_EQ(finished.prompt_tokens, 24);
  EXPECT_EQ(finished.tokens, 7);  // the first one is the prefill's
  EXPECT_EQ(finished.prefill_s, record.samples.back().prefill_s);
  EXPECT_EQ(finished.ttft_s, record.samples.back().ttft_s);
  EXPECT_EQ(finished.decode_s, record.samples.back().decode_s);
  EXPECT_EQ(finished.verdict.verdict, "pass") << finished.verdict.explanation;
  ASSERT_TRUE(finished.verdict.value && finished.verdict.threshold);
  EXPECT_LT(*finished.verdict.value, *finished.verdict.threshold);
  EXPECT_THAT(finished.verdict.explanation, HasSubstr("7 tokens"));
  const auto telemetry = nlohmann::json::parse(finished.telemetry_json);
  EXPECT_GT(telemetry.at("prefill").at("devices").at(0).at("copied_bytes").get<double>(), 0);
  EXPECT_GT(telemetry.at("decode").at("cpu_experts_s_per_token").get<double>(), 0);
  const auto& parts = telemetry.at("decode").at("parts");
  EXPECT_GT(parts.at("device_s").get<double>(), 0);
  EXPECT_EQ(parts.at("cpu_layer_s").size(), static_cast<std::size_t>(session.engine->model().spec.top_k()) + 1);
  const auto metrics = nlohmann::json::parse(record.samples.back().metrics_json);
  EXPECT_DOUBLE_EQ(parts.at("predicted_s_per_token").get<double>(),
                   metrics.at("decode_parts_s_per_token").get<double>())
      << "each repetition misses the same";
  EXPECT_FALSE(telemetry.contains("gpus")) << "the host device has none";
  EXPECT_FALSE(telemetry.contains("trace_file")) << "none was asked for";

  const protocol::ModelFacts facts = session.model_facts();
  EXPECT_FALSE(facts.synthetic);
  EXPECT_FALSE(facts.fingerprint.empty());
  const auto plan = nlohmann::json::parse(session.plan_json());
  EXPECT_FALSE(plan.at("places").empty());
}

TEST(Benchmark, SaysWhyThePartsOfDecodeAreNotKnown) {
  RunConfiguration configuration = small_configuration();
  configuration.max_context = 18;
  configuration.prompt_tokens = 8;
  Session session = load(configuration);
  const Record record = benchmark(*session.engine, session, prompt_of(session), configuration);
  const auto decode = nlohmann::json::parse(record.finished.telemetry_json).at("decode");
  EXPECT_FALSE(decode.contains("parts"));
  EXPECT_THAT(decode.at("parts_unknown_because").get<std::string>(), HasSubstr("max_context"));
  EXPECT_FALSE(nlohmann::json::parse(record.samples.back().metrics_json).contains("decode_parts_s_per_token"));
}

TEST(Benchmark, PassesWithHotExpertsOnTheDevice) {
  RunConfiguration configuration = small_configuration();
  configuration.hcs = HotCache::On;
  configuration.cpu_format = "int8";  // then it matters who computes an expert
  Session session = load(configuration);
  const Record record = benchmark(*session.engine, session, prompt_of(session), configuration);
  EXPECT_EQ(record.finished.verdict.verdict, "pass") << record.finished.verdict.explanation;
  const auto metrics = nlohmann::json::parse(record.samples.back().metrics_json);
  EXPECT_GT(metrics.at("cache_hits").get<std::int64_t>(), 0);
}

TEST(Benchmark, PassesWithAnAdaptiveCache) {
  RunConfiguration configuration = small_configuration();
  configuration.hcs = HotCache::On;
  configuration.hcs_share = 0.2;
  configuration.hcs_policy = "adaptive";
  configuration.cpu_format = "int8";  // then it matters who computes an expert
  configuration.decode_tokens = 16;
  Session session = load(configuration);
  const Record record = benchmark(*session.engine, session, prompt_of(session), configuration);
  EXPECT_EQ(record.finished.verdict.verdict, "pass") << record.finished.verdict.explanation;
  const auto metrics = nlohmann::json::parse(record.samples.back().metrics_json);
  EXPECT_GT(metrics.at("cache_admitted_experts").get<std::int64_t>(), 0);
  EXPECT_GT(metrics.at("cache_admitted_bytes").get<std::int64_t>(), 0);
  const auto sum = [&](const char* name) {
    const auto counts = metrics.at(name).get<std::vector<std::int64_t>>();
    return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  };
  EXPECT_EQ(sum("cache_layer_hits"), metrics.at("cache_hits").get<std::int64_t>());
  EXPECT_EQ(sum("cache_layer_misses"), metrics.at("cache_misses").get<std::int64_t>());
}

TEST(Benchmark, SampledTextGetsNoVerdict) {
  const RunConfiguration greedy = small_configuration();
  Session session = load(greedy);
  RunConfiguration sampled = greedy;
  sampled.temperature = 0.8;
  ASSERT_TRUE(same_engine(greedy, sampled));
  const BenchmarkPrompt prompt = prompt_of(session);
  const Record record = benchmark(*session.engine, session, prompt, sampled);
  EXPECT_EQ(record.samples.size(), 3U);
  EXPECT_EQ(record.finished.verdict.verdict, "none");
  EXPECT_FALSE(record.finished.verdict.value);
  EXPECT_FALSE(record.finished.verdict.explanation.empty());
  // The engine does not stay so.
  EXPECT_EQ(benchmark(*session.engine, session, prompt, greedy).finished.verdict.verdict, "pass");
}

TEST(Benchmark, RepetitionPenaltyIsNotTakenForCorruption) {
  RunConfiguration configuration = small_configuration();
  configuration.decode_tokens = 40;
  configuration.repetition_penalty = 2.0;
  Session session = load(configuration);
  const Record record = benchmark(*session.engine, session, prompt_of(session), configuration);
  EXPECT_EQ(record.finished.verdict.verdict, "none") << record.finished.verdict.explanation;
  EXPECT_THAT(record.finished.verdict.explanation, HasSubstr("penalty"));
}

// Cancelling ---------------------------------------------------------------------------------------------------------

TEST(Benchmark, CancelledInARepetitionLeavesNoHalfSample) {
  const RunConfiguration configuration = small_configuration();
  Session session = load(configuration);
  WrappedEngine engine(*session.engine);
  std::stop_source stop;
  engine.on_token = [&](int call, int index) {
    if (call == 3 && index == 2) stop.request_stop();  // within the second repetition
  };
  const Record record = benchmark(engine, session, prompt_of(session), configuration, stop.get_token());
  EXPECT_TRUE(record.finished.cancelled);
  EXPECT_EQ(record.finished.stop_reason, "cancelled");
  EXPECT_EQ(record.finished.verdict.verdict, "none");
  ASSERT_EQ(record.samples.size(), 2U);
  EXPECT_EQ(record.samples[1].decode_token_s.size(), 6U);
  EXPECT_EQ(record.order.back(), "repetition 1/2");
}

TEST(Benchmark, CancelledInAWarmUpMeasuresNoParts) {
  const RunConfiguration configuration = small_configuration();
  Session session = load(configuration);
  for (const int index_of_stop : {2, 6}) {  // with the last token the warm-up is whole
    WrappedEngine engine(*session.engine);
    std::stop_source stop;
    engine.on_token = [&](int, int index) {
      if (index == index_of_stop) stop.request_stop();
    };
    EXPECT_TRUE(benchmark(engine, session, prompt_of(session), configuration, stop.get_token()).finished.cancelled);
    EXPECT_EQ(engine.measured_parts, 0);
  }
}

TEST(Benchmark, CancelledWhilePartsAreMeasuredHasNoRepetition) {
  const RunConfiguration configuration = small_configuration();
  Session session = load(configuration);
  WrappedEngine engine(*session.engine);
  std::stop_source stop;
  engine.before_parts = [&] { stop.request_stop(); };
  const Record record = benchmark(engine, session, prompt_of(session), configuration, stop.get_token());
  EXPECT_TRUE(record.finished.cancelled);
  EXPECT_EQ(engine.measured_parts, 1);
  EXPECT_EQ(record.samples.size(), 1U) << "the warm-up";
  EXPECT_EQ(record.order.back(), "parts of decode 0/1");
}

TEST(Benchmark, CancelledInTheVerdictEndsAtOnce) {
  const RunConfiguration configuration = small_configuration();
  Session session = load(configuration);
  const BenchmarkPrompt prompt = prompt_of(session);
  std::stop_source stop;
  Judge judge;
  const BenchmarkEvents events{.on_stage = [&](const protocol::Stage& s) {
    if (s.stage == "verdict") stop.request_stop();
  }};
  const auto finished = run_benchmark(*session.engine, nullptr, prompt, configuration, {}, judge, "the-id", events,
                                      stop.get_token());
  ASSERT_TRUE(finished) << finished.error().message();
  EXPECT_TRUE(finished->cancelled);
  EXPECT_EQ(finished->stop_reason, "cancelled");
  EXPECT_EQ(finished->verdict.verdict, "none");
}

TEST(Benchmark, CancelledBeforeItBeginsMeasuresNothing) {
  const RunConfiguration configuration = small_configuration();
  Session session = load(configuration);
  std::stop_source stop;
  stop.request_stop();
  const Record record = benchmark(*session.engine, session, prompt_of(session), configuration, stop.get_token());
  EXPECT_TRUE(record.finished.cancelled);
  EXPECT_TRUE(record.samples.empty());
}

// The verdict finds what is wrong ------------------------------------------------------------------------------------

TEST(ReferenceKey, NamesFormatsNotBits) {
  const Tokens prompt{1, 2, 3}, written{4, 5};
  const auto key = [&](const Precision& precision) {
    return reference_key({.fingerprint = "w", .precision = precision, .kv_cache = "bf16", .prompt = prompt, .generated = written});
  };
  // Each part may be MXFP4 while the number of its bits stays 4.
  const auto parts = {&Precision::gpu_experts, &Precision::cpu_experts, &Precision::attention, &Precision::dense_mlp,
                      &Precision::lm_head};
  for (const auto part : parts) {
    Precision integers, mxfp4;
    integers.*part = Element::Int4;
    mxfp4.*part = Element::Mxfp4;
    EXPECT_NE(key(integers), key(mxfp4));
    EXPECT_EQ(key(integers), key(integers));
  }
  Precision groups;
  groups.group_size = 64;
  EXPECT_NE(key(groups), key({}));
}

TEST(Verdict, FailsWhenTheEngineWritesOtherTokens) {
  const RunConfiguration configuration = small_configuration();
  Session session = load(configuration);
  WrappedEngine engine(*session.engine);
  const auto vocabulary = static_cast<std::int32_t>(session.engine->model().spec.vocabulary);
  engine.corrupt = [&](Generation& generation) { generation.tokens[3] = (generation.tokens[3] + vocabulary / 2) % vocabulary; };
  const Record record = benchmark(engine, session, prompt_of(session), configuration);
  EXPECT_EQ(record.finished.verdict.verdict, "fail");
  EXPECT_GT(record.finished.verdict.value.value_or(0), record.finished.verdict.threshold.value_or(1e9));
  EXPECT_THAT(record.finished.verdict.explanation, HasSubstr("Token "));
}

class Judged : public testing::Test {
 protected:
  Expected<protocol::VerdictFacts> judge(const std::vector<Tokens>& repetitions) {
    return judge_.judge(*session_.engine, prompt_.tokens, repetitions);
  }
  Tokens generated() {
    auto generation = session_.engine->generate(prompt_.tokens, {.max_new_tokens = 7, .ignore_end_of_text = true}, {});
    EXPECT_TRUE(generation) << generation.error().message();
    return generation->tokens;
  }
  Session session_ = load(small_configuration());
  BenchmarkPrompt prompt_ = prompt_of(session_);
  std::int64_t vocabulary_ = session_.engine->model().spec.vocabulary;
  Judge judge_;
};

TEST_F(Judged, RandomTokensFail) {
  const Tokens good = generated();
  auto facts = judge({good, good});
  ASSERT_TRUE(facts) << facts.error().message();
  EXPECT_EQ(facts->verdict, "pass") << facts->explanation;
  const Tokens garbage = random_tokens(7, vocabulary_);
  facts = judge({garbage, garbage});  // the judge must not remember the good ones
  ASSERT_TRUE(facts) << facts.error().message();
  EXPECT_EQ(facts->verdict, "fail");
  EXPECT_GT(*facts->value, Judge::kWorstRegretNats);
  facts = judge({good, good});
  ASSERT_TRUE(facts) << facts.error().message();
  EXPECT_EQ(facts->verdict, "pass") << facts->explanation;
}

TEST_F(Judged, RepetitionsThatDifferFail) {
  const Tokens good = generated();
  Tokens other = good;
  other[4] = (other[4] + 1) % static_cast<std::int32_t>(vocabulary_);
  const Tokens shorter(good.begin(), good.end() - 1);
  for (const std::vector<Tokens>& repetitions : {std::vector<Tokens>{other, good}, {good, other, good}, {shorter, good}, {good, shorter}}) {
    const auto facts = judge(repetitions);
    ASSERT_TRUE(facts) << facts.error().message();
    EXPECT_EQ(facts->verdict, "fail");
    EXPECT_THAT(facts->explanation, HasSubstr("different texts"));
  }
  const auto facts = judge({other, good});
  EXPECT_THAT(facts->explanation, HasSubstr("from token 4"));
}

TEST_F(Judged, TokensOutsideTheVocabularyFail) {
  const Tokens good = generated();
  for (const std::int32_t bad : {static_cast<std::int32_t>(vocabulary_), std::numeric_limits<std::int32_t>::max(), -1}) {
    Tokens tokens = good;
    tokens[2] = bad;
    const auto facts = judge({tokens});
    ASSERT_TRUE(facts) << facts.error().message();
    EXPECT_EQ(facts->verdict, "fail") << bad;
    EXPECT_THAT(facts->explanation, HasSubstr("outside the vocabulary"));
  }
}

TEST_F(Judged, TellsHowFarItIsAndStopsWhenAsked) {
  const Tokens good = generated();
  const std::vector<Tokens> repetitions{good};
  EXPECT_GT(judge_.expected_s(*session_.engine, prompt_.tokens, good.size()), 0);
  std::stop_source stop;
  std::vector<std::int64_t> told;
  const auto all_positions = static_cast<std::int64_t>(prompt_.tokens.size() + good.size() - 1);
  const VerdictWatcher impatient{.on_position =
                                     [&](std::int64_t done, std::int64_t all, double share) {
                                       EXPECT_TRUE(share > 0 && share < 1);
                                       told.push_back(done);
                                       EXPECT_EQ(all, all_positions);
                                       if (done == 5) stop.request_stop();
                                     },
                                 .stop = stop.get_token()};
  const auto stopped = judge_.judge(*session_.engine, prompt_.tokens, repetitions, impatient);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::Cancelled);
  EXPECT_EQ(told, (std::vector<std::int64_t>{1, 2, 3, 4, 5}));
  const auto facts = judge({good});
  ASSERT_TRUE(facts) << "what was stopped is not remembered as judged";
  EXPECT_EQ(facts->verdict, "pass");
}

TEST_F(Judged, NothingToJudgeIsNoPass) {
  const auto facts = judge({});
  ASSERT_TRUE(facts) << facts.error().message();
  EXPECT_EQ(facts->verdict, "none");
}

// Synthetic models -----------------------------------------------------------------------------------------------------

TEST(Synthetic, ModelOfAConfigAloneRunsAndPasses) {
  const test::TemporaryDirectory directory;
  const auto config = directory.path() / "config.json";
  std::filesystem::copy_file(std::filesystem::path(KRASIS_SOURCE_DIR) / "tests/goldens/models/tiny-a/config.json", config);
  RunConfiguration configuration = small_configuration();
  configuration.model = "synthetic:" + config.string();
  Session session = load(configuration);
  EXPECT_FALSE(session.tokenizer);
  EXPECT_TRUE(session.model_facts().synthetic);
  const std::int64_t vocabulary = session.engine->model().spec.vocabulary;
  const BenchmarkPrompt prompt = random_prompt(vocabulary, 24, 1);
  const Record record = benchmark(*session.engine, session, prompt, configuration);
  EXPECT_EQ(record.samples.size(), 3U);
  EXPECT_EQ(record.samples.back().output_text, "");
  EXPECT_EQ(record.finished.verdict.verdict, "pass") << record.finished.verdict.explanation;
  const auto evaluation = session.engine->evaluate(prompt.tokens, {.prefill_tokens = 20, .positions = {0, 19, 23}});
  ASSERT_TRUE(evaluation) << evaluation.error().message();
  ASSERT_EQ(evaluation->logits.size(), static_cast<std::size_t>(3 * vocabulary));
  for (const float logit : evaluation->logits) ASSERT_TRUE(std::isfinite(logit));
}

// Prompts ----------------------------------------------------------------------------------------------------------------

class Prompts : public testing::Test {
 protected:
  Expected<BenchmarkPrompt> prompt(std::string_view text, int count) { return text_prompt(*tokenizer_, text, count); }
  Expected<Tokenizer> tokenizer_ =
      Tokenizer::load(kResources.embedded_model() / "tokenizer.json", kResources.embedded_model() / "tokenizer_config.json");
};

TEST_F(Prompts, HaveExactlyTheTokensAskedFor) {
  ASSERT_TRUE(tokenizer_) << tokenizer_.error().message();
  std::string text;
  for (int i = 0; i < 200; ++i) text += "The little robot walked to the river.\nIt was late, and the moon was out.\n";
  const auto whole = tokenizer_->encode(text, false);
  ASSERT_TRUE(whole);
  for (const int count : {1, 2, 24, 333}) {
    const auto found = prompt(text, count);
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(found->tokens, Tokens(whole->begin(), whole->begin() + count));
    EXPECT_TRUE(found->notes.empty());
  }
}

TEST_F(Prompts, ShortTextIsRepeatedAndSaysSo) {
  ASSERT_TRUE(tokenizer_);
  const auto once = tokenizer_->encode("The little robot.", false);
  const auto found = prompt("The little robot.", 40);
  ASSERT_TRUE(found) << found.error().message();
  ASSERT_EQ(found->tokens.size(), 40U);
  for (std::size_t i = 0; i < 40; ++i) EXPECT_EQ(found->tokens[i], (*once)[i % once->size()]);
  ASSERT_EQ(found->notes.size(), 1U);
  EXPECT_THAT(found->notes[0], HasSubstr("repeated"));
}

TEST_F(Prompts, EmptyTextIsAnError) {
  ASSERT_TRUE(tokenizer_);
  const auto found = prompt("", 8);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::InvalidArgument);
  EXPECT_FALSE(found.error().remedy.empty());
}

TEST_F(Prompts, FingerprintsTellPromptsApart) {
  ASSERT_TRUE(tokenizer_);
  const std::string text = "The little robot walked to the river, and it was late.";
  const auto a = prompt(text, 8), same = prompt(text, 8), longer = prompt(text, 9), other = prompt("A " + text, 8);
  ASSERT_TRUE(a && same && longer && other);
  EXPECT_EQ(a->fingerprint, same->fingerprint);
  EXPECT_NE(a->fingerprint, longer->fingerprint);
  EXPECT_NE(a->fingerprint, other->fingerprint);
}

TEST(RandomPrompt, IsReproducibleAndBelowTheVocabulary) {
  const BenchmarkPrompt a = random_prompt(10, 200, 5), same = random_prompt(10, 200, 5), other = random_prompt(10, 200, 6);
  EXPECT_EQ(a.tokens, same.tokens);
  EXPECT_EQ(a.fingerprint, same.fingerprint);
  EXPECT_NE(a.tokens, other.tokens);
  EXPECT_NE(a.fingerprint, other.fingerprint);
  EXPECT_EQ(a.tokens.size(), 200U);
  EXPECT_THAT(a.tokens, testing::Each(testing::AllOf(testing::Ge(0), testing::Lt(10))));
  EXPECT_THAT(a.tokens, testing::Contains(9));
  EXPECT_FALSE(a.notes.empty());
}

// The machine, the session -------------------------------------------------------------------------------------------------

TEST(Ceilings, ArePositiveAndFinite) {
  ThreadTeam team(2);
  const Ceilings ceilings = measure_ceilings(team);
  for (const double rate : {ceilings.read_gb_per_s, ceilings.copy_gb_per_s}) {
    EXPECT_GT(rate, 0);
    EXPECT_TRUE(std::isfinite(rate));
  }
  EXPECT_EQ(ceilings.threads, 2);
  EXPECT_TRUE(nlohmann::json::parse(to_json(ceilings)).is_object());
}

TEST(SameEngine, DiffersInWorkloadAndSamplingAlone) {
  const RunConfiguration base;
  RunConfiguration workload = base;
  workload.prompt_tokens += 1, workload.decode_tokens += 1, workload.warmups += 1, workload.repetitions += 1;
  workload.temperature = 0.5, workload.top_k = 4, workload.top_p = 0.5, workload.min_p = 0.1;
  workload.repetition_penalty = 1.5, workload.seed = 9;
  EXPECT_TRUE(same_engine(base, base));
  EXPECT_TRUE(same_engine(base, workload));
  const auto differs = [&](auto change) {
    RunConfiguration wanted = base;
    change(wanted);
    return !same_engine(base, wanted);
  };
  EXPECT_TRUE(differs([](RunConfiguration& c) { c.model = "other"; }));
  EXPECT_TRUE(differs([](RunConfiguration& c) { c.lgs = 3; }));
  EXPECT_TRUE(differs([](RunConfiguration& c) { c.hcs = HotCache::On; }));
  EXPECT_TRUE(differs([](RunConfiguration& c) { c.hcs_share = 0.25; }));
  EXPECT_TRUE(differs([](RunConfiguration& c) { c.gpu_format = "int8"; }));
  EXPECT_TRUE(differs([](RunConfiguration& c) { c.threads = 1; }));
  EXPECT_TRUE(differs([](RunConfiguration& c) { c.kv_cache = "fp8"; }));
  EXPECT_TRUE(differs([](RunConfiguration& c) { c.max_context = 100; }));
  EXPECT_TRUE(differs([](RunConfiguration& c) { c.synthetic_seed = 2; }));
}

TEST(LoadSession, MissingFilesNameTheirCause) {
  RunConfiguration configuration = small_configuration();
  configuration.model = "/nonexistent/model";
  auto session = load_session(configuration, kResources, {}, {}, {});
  ASSERT_FALSE(session);
  EXPECT_THAT(session.error().cause, HasSubstr("/nonexistent/model"));
  EXPECT_FALSE(session.error().remedy.empty());
  session = load_session(small_configuration(), {"/nonexistent"}, {}, {}, {});
  ASSERT_FALSE(session);
  EXPECT_THAT(session.error().cause, HasSubstr("/nonexistent"));
}

}  // namespace
}  // namespace krasis
