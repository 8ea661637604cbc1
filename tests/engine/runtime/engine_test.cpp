// What a caller of the engine relies on: results that do not depend on placement, reproducible sampling, clear errors.
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <stop_token>
#include <tuple>

#include "engine/runtime/reference.h"
#include "kernels/host/trace_summary.h"
#ifdef KRASIS_TEST_CUDA
#include "kernels/cuda/probe.h"
#endif
#include "tests/engine/runtime/test_engine.h"

namespace krasis {
namespace {

using test::exact_configuration;
using test::make_engine;

std::vector<float> logits_of(const RunConfiguration& configuration, const std::string& model = "tiny-a", int prefill = 40) {
  auto t = make_engine({.model = model, .configuration = configuration});
  const auto tokens = test::random_tokens(50, t.engine->model().spec.vocabulary, 9);
  auto result = t.engine->evaluate(tokens, {.prefill_tokens = prefill, .positions = {0, 20, 39, 45, 49}});
  EXPECT_TRUE(result) << result.error().message();
  return result ? result->logits : std::vector<float>{};
}

// Groups, devices and threads decide where and when something is computed, never what.
TEST(Engine, PlacementDoesNotChangeABit) {
  RunConfiguration c = exact_configuration();
  c.gpu_format = c.cpu_format = "int4";
  c.lgs = 3;
  const auto expected = logits_of(c);
  for (const int lgs : {1, 2}) {
    for (const int devices : {1, 2, 3}) {
      c.lgs = lgs;
      c.device_count = devices;
      EXPECT_EQ(logits_of(c), expected) << "LGS " << lgs << ", " << devices << " devices";
    }
  }
  c.device_count = 1;
  c.threads = 1;
  EXPECT_EQ(logits_of(c), expected) << "one thread";
}

#ifdef KRASIS_TEST_CUDA
TEST(Engine, WhatTravelsBetweenGpusThroughHostMemoryHasTheSameBits) {
  const auto gpus = cuda_devices();
  if (gpus->size() < 2) GTEST_SKIP() << "This machine has one GPU.";
  RunConfiguration c = exact_configuration();
  c.device_count = 2;
  c.hcs = HotCache::Multi;
  const auto outcome = [&](bool peer_access) {
    const auto t = make_engine({.configuration = c, .peer_access = peer_access});
    const auto prompt = test::random_tokens(40, t.engine->model().spec.vocabulary, 5);
    const auto text = t.engine->generate(prompt, {.max_new_tokens = 12}, {});
    EXPECT_TRUE(text) << text.error().message();
    return text ? text->tokens : std::vector<std::int32_t>{};
  };
  EXPECT_EQ(outcome(false), outcome(true));
}
#endif

double worst_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
  return a.size() == b.size() ? worst : INFINITY;
}

// The reference knows nothing of streams, groups or caches, and uses the scalar operations alone.
TEST(Engine, AgreesWithTheScalarReference) {
  for (const char* name : {"tiny-a", "tiny-b"}) {
    for (const HotCache hcs : {HotCache::Off, HotCache::On}) {
      RunConfiguration c = exact_configuration();
      c.gpu_format = "int8";
      c.cpu_format = "int4";  // so that a pick on the wrong side shows
      c.hcs = hcs;
      c.lgs = 2;
      c.kv_cache = "fp8";
      auto t = make_engine({.model = name, .configuration = c});
      const auto tokens = test::random_tokens(50, t.engine->model().spec.vocabulary, 9);
      const std::vector<std::int32_t> positions{0, 20, 29, 30, 45, 49};
      auto result = t.engine->evaluate(tokens, {.prefill_tokens = 30, .positions = positions});
      ASSERT_TRUE(result) << result.error().message();
      const auto& cached = t.engine->cached_experts();
      const int experts = t.engine->model().spec.experts();
      auto reference = reference_logits(t.engine->model(), KvElement::Fp8, tokens, positions, [&](int layer, int expert, int position) {
        return position < 30 || cached[static_cast<std::size_t>(layer * experts + expert)] >= 0;
      });
      ASSERT_TRUE(reference);
      float largest = 0;
      for (const float x : *reference) largest = std::max(largest, std::abs(x));
      // BF16 activations may round to either neighbour (2^-8) wherever sums differ in their last bits.
      EXPECT_LT(worst_difference(result->logits, *reference), largest / 32) << name << ", hcs " << static_cast<int>(hcs);
    }
  }
}

TEST(Engine, TellsHowFarAPromptIs) {
  RunConfiguration c = exact_configuration();
  c.chunk_tokens = 16;
  for (const char* path : {"stream", "picked"}) {
    for (const int devices : {1, 2}) {
      c.prefill_path = path;
      c.device_count = devices;
      c.lgs = 1;
      auto t = make_engine({.model = "tiny-a", .configuration = c});
      const std::size_t tokens = c.prefill_path == "stream" ? 40 : 16;
      const auto prompt = test::random_tokens(tokens, t.engine->model().spec.vocabulary, 9);
      GenerationOptions options{.max_new_tokens = 4, .ignore_end_of_text = true};
      const auto silent = t.engine->generate(prompt, options, {});
      ASSERT_TRUE(silent) << silent.error().message();
      std::vector<double> shares;
      options.on_prompt = [&](double share) { shares.push_back(share); };
      const auto followed = t.engine->generate(prompt, options, {});
      ASSERT_TRUE(followed) << followed.error().message();
      EXPECT_EQ(followed->tokens, silent->tokens);
      ASSERT_GE(shares.size(), 3u) << path << ", a group each at least";
      EXPECT_TRUE(std::is_sorted(shares.begin(), shares.end()));
      EXPECT_GT(shares.front(), 0);
      EXPECT_LT(shares.front(), 0.5);
      EXPECT_EQ(shares.back(), 1);
      if (t.platform) {
        EXPECT_EQ(test::violations_text(*t.platform), "");
      }
    }
  }
}

TEST(Reference, TellsHowFarItIsAndStopsWhenAsked) {
  const auto model = test::packed("tiny-a", exact_configuration());
  const auto tokens = test::random_tokens(9, model->spec.vocabulary, 9);
  const std::vector<std::int32_t> positions{2, 6};
  const auto on_gpu = [](int, int, int) { return true; };
  std::vector<std::pair<std::size_t, std::size_t>> told;
  const auto whole = reference_logits(*model, KvElement::Bf16, tokens, positions, on_gpu,
                                      [&](std::size_t done, std::size_t all) { return told.emplace_back(done, all), true; });
  ASSERT_TRUE(whole);
  EXPECT_EQ(told.front(), (std::pair<std::size_t, std::size_t>{1, 7}));
  EXPECT_EQ(told.back(), (std::pair<std::size_t, std::size_t>{7, 7})) << "no token behind the last position is computed";
  EXPECT_EQ(told.size(), 7u);
  EXPECT_EQ(*whole, reference_logits(*model, KvElement::Bf16, tokens, positions, on_gpu).value());
  const auto stopped = reference_logits(*model, KvElement::Bf16, tokens, positions, on_gpu,
                                        [](std::size_t done, std::size_t) { return done < 3; });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::Cancelled);
}

// What an adaptive cache computes where, at each step, by what it says itself.
TEST(Engine, AnAdaptiveCacheAgreesWithTheScalarReference) {
  for (const char* path : {"stream", "cpu"}) {
    for (const HotCache hcs : {HotCache::On, HotCache::Multi}) {
      RunConfiguration c = exact_configuration();
      c.gpu_format = "int8";
      c.cpu_format = "int4";  // so that a pick on the wrong side shows
      c.hcs = hcs;
      c.hcs_share = 0.25;
      c.hcs_policy = "adaptive";
      c.lgs = 1;
      c.device_count = 2;
      c.prefill_path = path;
      auto t = make_engine({.model = "tiny-b", .configuration = c});
      const auto tokens = test::random_tokens(60, t.engine->model().spec.vocabulary, 9);
      const std::vector<std::int32_t> positions{19, 25, 30, 40, 50, 59};
      auto result = t.engine->evaluate(tokens, {.prefill_tokens = 20, .positions = positions});
      ASSERT_TRUE(result) << result.error().message();
      ASSERT_FALSE(t.engine->cache_changes().empty());
      const CacheHistory cached(t.engine->cached_experts(), t.engine->cache_changes());
      const int experts = t.engine->model().spec.experts();
      auto reference = reference_logits(t.engine->model(), KvElement::Bf16, tokens, positions, [&](int layer, int expert, int position) {
        return (position < 20 && c.prefill_path == "stream") || cached.at(position - 20, layer * experts + expert);
      });
      ASSERT_TRUE(reference);
      float largest = 0;
      for (const float x : *reference) largest = std::max(largest, std::abs(x));
      EXPECT_LT(worst_difference(result->logits, *reference), largest / 32) << path << ", hcs " << static_cast<int>(hcs);
      if (t.platform) {
        EXPECT_EQ(test::violations_text(*t.platform), "");
      }
    }
  }
}

// After another text, and after a prompt that took the group buffers, the same text finds the same experts.
TEST(Engine, AnAdaptiveCacheRepeatsItself) {
  RunConfiguration c = exact_configuration();
  c.gpu_format = "int8";
  c.cpu_format = "int4";
  c.hcs = HotCache::On;
  c.hcs_share = 0.25;
  c.hcs_policy = "adaptive";
  auto t = make_engine({.model = "tiny-b", .configuration = c});
  struct Outcome {
    std::vector<float> logits;
    std::vector<std::int64_t> changes;
    bool operator==(const Outcome&) const = default;
  };
  const auto evaluate = [&](std::uint32_t seed, PrefillPath path) {
    const auto tokens = test::random_tokens(60, t.engine->model().spec.vocabulary, seed);
    auto result = t.engine->evaluate(tokens, {.prefill_tokens = 20, .path = path, .positions = {19, 30, 45, 59}});
    EXPECT_TRUE(result) << result.error().message();
    Outcome outcome{result->logits, {}};
    for (const CacheChange& change : t.engine->cache_changes()) {
      outcome.changes.insert(outcome.changes.end(), {change.step, change.expert, change.cached});
      EXPECT_EQ(change.step % kTokensPerAdmission, 0);
    }
    return outcome;
  };
  for (const PrefillPath path : {PrefillPath::Stream, PrefillPath::Cpu}) {
    const Outcome first = evaluate(1, path);
    EXPECT_FALSE(first.changes.empty());
    EXPECT_EQ(evaluate(1, path), first);
    EXPECT_NE(evaluate(2, PrefillPath::Stream).changes, first.changes);
    EXPECT_EQ(evaluate(1, path), first) << "after another text";
    evaluate(3, PrefillPath::Cpu);
    EXPECT_EQ(evaluate(1, path), first) << "after a short prompt";
  }
}

// While no prompt needs the group buffers they hold experts, too; a streamed prompt takes them back.
TEST(Engine, AnAdaptiveCacheBorrowsTheGroupBuffers) {
  RunConfiguration c = exact_configuration();
  c.hcs = HotCache::On;
  c.hcs_share = 0.1;
  c.hcs_policy = "adaptive";
  c.lgs = 1;
  auto t = make_engine({.model = "tiny-b", .configuration = c});
  const auto prompt = test::random_tokens(40, t.engine->model().spec.vocabulary, 1);
  const auto text = [&] {
    auto result = t.engine->generate(prompt, {.max_new_tokens = 60, .path = PrefillPath::Stream, .ignore_end_of_text = true}, {});
    EXPECT_TRUE(result) << result.error().message();
    return result->tokens;
  };
  const auto first = text();
  const CacheHistory cached(t.engine->cached_experts(), t.engine->cache_changes());
  std::int64_t begun = 0, ended = 0;
  for (std::size_t i = 0; i < t.engine->cached_experts().size(); ++i) {
    begun += cached.at(-1, static_cast<std::int64_t>(i));
    ended += cached.at(59, static_cast<std::int64_t>(i));
  }
  const CacheSize own = cache_size(t.engine->model().spec, c, 0);
  EXPECT_EQ(begun, own.experts);
  EXPECT_GT(ended, own.experts + own.spare) << "more than the cache's own slots hold";
  EXPECT_EQ(text(), first) << "the group buffers hold the prompt's experts in between";
}

// A text that always picks the experts that the heatmap knows least.
TEST(Engine, AnAdaptiveCacheFollowsTheText) {
  const auto late_hits = [](const std::string& policy) {
    RunConfiguration c = exact_configuration();
    c.hcs = HotCache::On;
    c.hcs_share = 0.25;
    c.hcs_policy = policy;
    auto t = make_engine({.model = "tiny-b", .configuration = c});
    const ModelSpec& model = t.engine->model().spec;
    const auto tokens = test::random_tokens(200, model.vocabulary, 4);
    RouterPicks picks;
    for (std::int64_t layer = 0; layer < model.expert_layers(); ++layer) {
      std::vector<std::int32_t> coldest(static_cast<std::size_t>(model.experts()));
      std::iota(coldest.begin(), coldest.end(), 0);
      std::stable_sort(coldest.begin(), coldest.end(), [&](std::int32_t a, std::int32_t b) {
        const auto count = [&](std::int32_t e) {
          return t.engine->heatmap()[static_cast<std::size_t>(layer * model.experts() + e)];
        };
        return count(a) < count(b);
      });
      for (std::size_t token = 0; token < tokens.size(); ++token) {
        for (int j = 0; j < model.top_k(); ++j) {
          picks.ids.push_back(coldest[static_cast<std::size_t>(j)]);
          picks.weights.push_back(1.0f / static_cast<float>(model.top_k()));
        }
      }
    }
    EXPECT_TRUE(t.engine->evaluate(tokens, {.prefill_tokens = 8, .positions = {199}, .forced_picks = &picks}));
    const CacheHistory cached(t.engine->cached_experts(), t.engine->cache_changes());
    double hits = 0;
    for (std::int64_t layer = 0; layer < model.expert_layers(); ++layer) {
      for (int j = 0; j < model.top_k(); ++j) {
        const std::int32_t expert =
            picks.ids[static_cast<std::size_t>(layer) * tokens.size() * static_cast<std::size_t>(model.top_k()) +
                      static_cast<std::size_t>(j)];
        hits += cached.at(191, layer * model.experts() + expert);
      }
    }
    return hits / static_cast<double>(model.expert_layers() * model.top_k());
  };
  EXPECT_LT(late_hits("static"), 0.3);
  EXPECT_EQ(late_hits("adaptive"), 1.0);
}

// Short prompts through the CPU's experts: many tokens at once, any split between cache and CPU, any owner of layers.
TEST(Engine, AShortPromptOnTheCpuAgreesWithTheScalarReference) {
  for (const char* name : {"tiny-a", "tiny-b"}) {
    for (const HotCache hcs : {HotCache::Off, HotCache::On, HotCache::Multi}) {
      RunConfiguration c = exact_configuration();
      c.gpu_format = "int8";
      c.cpu_format = "int4";
      c.hcs = hcs;
      c.lgs = 1;
      c.device_count = 2;
      c.prefill_path = "cpu";
      auto t = make_engine({.model = name, .configuration = c});
      EXPECT_EQ(t.engine->prefill_path(64), PrefillPath::Cpu);
      EXPECT_EQ(t.engine->prefill_path(65), PrefillPath::Stream);
      const auto tokens = test::random_tokens(40, t.engine->model().spec.vocabulary, 9);
      const std::vector<std::int32_t> positions{0, 20, 33, 34, 39};
      auto result = t.engine->evaluate(tokens, {.prefill_tokens = 34, .positions = positions});
      ASSERT_TRUE(result) << result.error().message();
      const auto& cached = t.engine->cached_experts();
      const int experts = t.engine->model().spec.experts();
      auto reference = reference_logits(t.engine->model(), KvElement::Bf16, tokens, positions, [&](int layer, int expert, int) {
        return cached[static_cast<std::size_t>(layer * experts + expert)] >= 0;
      });
      ASSERT_TRUE(reference);
      float largest = 0;
      for (const float x : *reference) largest = std::max(largest, std::abs(x));
      EXPECT_LT(worst_difference(result->logits, *reference), largest / 32) << name << ", hcs " << static_cast<int>(hcs);
      if (t.platform) {
        EXPECT_EQ(test::violations_text(*t.platform), "");
      }
    }
  }
}

TEST(Engine, ThePathOfAPromptCanBeAskedForWhereItIsPossible) {
  RunConfiguration c = exact_configuration();
  c.prefill_path = "auto";
  auto t = make_engine({.configuration = c});
  // Measured thresholds: the CPU first, then picked experts, then streaming.
  const auto place = [&](std::size_t tokens) {
    const PrefillPath path = t.engine->prefill_path(tokens);
    return path == PrefillPath::Cpu ? 0 : path == PrefillPath::Picked ? 1 : 2;
  };
  for (std::size_t tokens = 1; tokens < 200; ++tokens) EXPECT_LE(place(tokens), place(tokens + 1)) << tokens;
  EXPECT_GT(place(65), 0);
  EXPECT_EQ(t.engine->prefill_path(129), PrefillPath::Stream);  // more than a chunk
  const auto text = [&](std::size_t prompt, std::optional<PrefillPath> path) {
    return t.engine->generate(test::random_tokens(prompt, 100, 1), {.max_new_tokens = 8, .path = path, .ignore_end_of_text = true}, {});
  };
  const auto streamed = text(20, PrefillPath::Stream), on_cpu = text(20, PrefillPath::Cpu), usual = text(20, {});
  const auto picked = text(20, PrefillPath::Picked);
  ASSERT_TRUE(streamed && on_cpu && usual && picked);
  EXPECT_EQ(picked->path, PrefillPath::Picked);
  EXPECT_EQ(picked->tokens, streamed->tokens);
  EXPECT_EQ(streamed->path, PrefillPath::Stream);
  EXPECT_EQ(on_cpu->path, PrefillPath::Cpu);
  EXPECT_EQ(usual->path, t.engine->prefill_path(20));
  EXPECT_EQ(streamed->tokens.size(), on_cpu->tokens.size());
  const auto refused = text(65, PrefillPath::Cpu);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(), "65 tokens are too many for the CPU's experts at once. Stream prompts of more than 64 tokens.");
}

// The same weights elsewhere: no bit differs, on any path, with any cache; and each crosses the link once for each pass.
TEST(Engine, StreamedAttentionGivesTheResidentBits) {
  struct Outcome {
    std::vector<std::vector<float>> logits;
    std::vector<std::vector<std::int32_t>> texts;
    std::vector<std::size_t> copied;
    bool operator==(const Outcome&) const = default;
  };
  const auto outcome = [](const RunConfiguration& c, const std::string& model) {
    Outcome all;
    auto t = make_engine({.model = model, .configuration = c});
    const auto tokens = test::random_tokens(70, t.engine->model().spec.vocabulary, 9);
    for (const auto& [path, prefill] : {std::pair{PrefillPath::Stream, 60}, std::pair{PrefillPath::Picked, 40}, std::pair{PrefillPath::Cpu, 40}}) {
      auto result = t.engine->evaluate(tokens, {.prefill_tokens = prefill, .path = path, .positions = {0, 39, 45, 69}});
      EXPECT_TRUE(result) << result.error().message();
      if (result) all.logits.push_back(result->logits);
      auto text = t.engine->generate(std::span(tokens).first(static_cast<std::size_t>(prefill)),
                                     {.max_new_tokens = 6, .path = path, .ignore_end_of_text = true}, {});
      EXPECT_TRUE(text) << text.error().message();
      if (!text) continue;
      all.texts.push_back(text->tokens);
      all.copied.push_back(text->prefill_copied_bytes);
    }
    if (t.platform) {
      EXPECT_EQ(test::violations_text(*t.platform), "");
    }
    return all;
  };
  for (const char* name : {"tiny-a", "tiny-b"}) {
    for (const auto& [lgs, devices, hcs] : {std::tuple{1, 1, HotCache::Off}, std::tuple{2, 1, HotCache::On}, std::tuple{3, 1, HotCache::Off},
                                            std::tuple{1, 3, HotCache::Multi}}) {
      RunConfiguration c = exact_configuration();
      c.gpu_format = c.cpu_format = "int4";
      c.attention_format = "int8";
      c.lgs = lgs;
      c.device_count = devices;
      c.hcs = hcs;
      c.chunk_tokens = 48;
      Outcome expected = outcome(c, name);
      std::size_t attention = 0;
      const auto packed = test::packed(name, c);
      for (std::int64_t l = 0; l < packed->spec.layer_count(); ++l) attention += streamed_weights(*packed, l).bytes();
      for (std::size_t& bytes : expected.copied) bytes += attention;
      c.attention = "streamed";
      const Outcome streamed = outcome(c, name);
      EXPECT_EQ(streamed.copied, expected.copied);
      EXPECT_TRUE(streamed == expected) << name << ", LGS " << lgs << ", " << devices << " devices";
    }
  }
}

// The same experts by the same products: bit for bit what streaming gives, on any placement and with any cache.
TEST(Engine, PickedExpertsGiveTheStreamedBits) {
  for (const char* name : {"tiny-a", "tiny-b"}) {
    for (const auto& [lgs, devices, hcs, share] :
         {std::tuple{1, 1, HotCache::Off, 0.5}, std::tuple{3, 1, HotCache::On, 0.5}, std::tuple{2, 2, HotCache::On, 0.25},
          std::tuple{1, 3, HotCache::Multi, 0.5}, std::tuple{2, 1, HotCache::On, 1.0}}) {
      RunConfiguration c = exact_configuration();
      c.gpu_format = c.cpu_format = "int4";
      c.lgs = lgs;
      c.device_count = devices;
      c.hcs = hcs;
      c.hcs_share = share;
      auto t = make_engine({.model = name, .configuration = c});
      const auto tokens = test::random_tokens(50, t.engine->model().spec.vocabulary, 9);
      const auto logits = [&](PrefillPath path) {
        auto result = t.engine->evaluate(tokens, {.prefill_tokens = 40, .path = path, .positions = {0, 20, 39, 45, 49}});
        EXPECT_TRUE(result) << result.error().message();
        return result ? result->logits : std::vector<float>{};
      };
      const auto streamed = logits(PrefillPath::Stream);
      EXPECT_EQ(logits(PrefillPath::Picked), streamed) << name << ", LGS " << lgs << ", " << devices << " devices, share " << share;
      EXPECT_EQ(logits(PrefillPath::Picked), streamed) << "again, over what the last prompts left behind";
      EXPECT_EQ(logits(PrefillPath::Stream), streamed) << "after it";
      if (t.platform) {
        EXPECT_EQ(test::violations_text(*t.platform), "");
      }
    }
  }
}

// Each expert that some token picked and that its layer's device does not cache, once.
TEST(Engine, PickedExpertsAloneAreCopied) {
  for (const int devices : {1, 2}) {
    RunConfiguration c = exact_configuration();
    c.hcs = HotCache::Multi;
    c.hcs_share = 0.25;
    c.lgs = 1;
    c.device_count = devices;
    auto t = make_engine({.model = "tiny-b", .configuration = c});
    const PackedModel& model = t.engine->model();
    for (const std::size_t length : {1, 2, 40}) {
      const auto prompt = test::random_tokens(length, model.spec.vocabulary, 1);
      const auto picks = t.engine->evaluate(prompt, {.prefill_tokens = static_cast<int>(length), .path = PrefillPath::Picked, .record_picks = true});
      ASSERT_TRUE(picks) << picks.error().message();
      std::set<std::size_t> copied;  // layer * experts + expert
      const std::size_t of_layer = length * static_cast<std::size_t>(model.spec.top_k());
      for (std::size_t i = 0; i < picks->picks.ids.size(); ++i) {
        const std::size_t expert = i / of_layer * static_cast<std::size_t>(model.spec.experts()) +
                                   static_cast<std::size_t>(picks->picks.ids[i]);
        if (t.engine->cached_experts()[expert] < 0) copied.insert(expert);
      }
      const auto bytes = [&](PrefillPath path) {
        auto result = t.engine->generate(prompt, {.max_new_tokens = 2, .path = path, .ignore_end_of_text = true}, {});
        EXPECT_TRUE(result) << result.error().message();
        return result ? result->prefill_copied_bytes : 0;
      };
      EXPECT_EQ(bytes(PrefillPath::Picked), copied.size() * model.gpu_expert_layout.bytes()) << length << " tokens";
      if (length < 3) {
        EXPECT_LT(bytes(PrefillPath::Picked), bytes(PrefillPath::Stream));
      }
    }
  }
}

TEST(Engine, APromptByPickedExpertsHasNoMoreThanAChunkOfTokens) {
  RunConfiguration c = exact_configuration();
  c.prefill_path = "picked";
  auto t = make_engine({.configuration = c});  // chunks of 128
  EXPECT_EQ(t.engine->prefill_path(1), PrefillPath::Picked);
  EXPECT_EQ(t.engine->prefill_path(128), PrefillPath::Picked);
  EXPECT_EQ(t.engine->prefill_path(129), PrefillPath::Stream);
  const auto text = test::random_tokens(129, 100, 1);
  const auto refused = t.engine->generate(text, {.max_new_tokens = 1, .path = PrefillPath::Picked}, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(), "129 tokens are too many to copy their picked experts alone. Stream prompts of more than 128 tokens.");
}

TEST(Engine, CacheHitsAndMissesAddUpToAllPicks) {
  RunConfiguration c = exact_configuration();
  c.hcs = HotCache::On;
  auto t = make_engine({.model = "tiny-b", .configuration = c});
  const ModelSpec& model = t.engine->model().spec;
  const auto prompt = test::random_tokens(20, model.vocabulary, 1);
  auto result = t.engine->generate(prompt, {.max_new_tokens = 17, .ignore_end_of_text = true}, {});
  ASSERT_TRUE(result);
  const auto sum = [](const std::vector<std::int64_t>& counts) { return std::accumulate(counts.begin(), counts.end(), std::int64_t{0}); };
  for (std::size_t layer = 0; layer < result->cache.hits.size(); ++layer) {
    EXPECT_EQ(result->cache.hits[layer] + result->cache.misses[layer], 16 * model.top_k()) << "layer " << layer;
  }
  EXPECT_EQ(static_cast<std::int64_t>(result->cache.hits.size()), model.expert_layers());
  EXPECT_GT(sum(result->cache.hits), 0);
  EXPECT_GT(sum(result->cache.misses), 0);
  const auto& by_misses = result->cache.layers_by_misses;
  ASSERT_EQ(by_misses.size(), static_cast<std::size_t>(model.top_k()) + 1);
  EXPECT_EQ(sum(by_misses), 16 * model.expert_layers()) << "each layer of each token once";
  std::int64_t missed = 0;
  for (std::size_t n = 0; n < by_misses.size(); ++n) missed += static_cast<std::int64_t>(n) * by_misses[n];
  EXPECT_EQ(missed, sum(result->cache.misses));

  // The heatmap counts each pick of each token once, and the cache keeps the most picked half.
  const auto& heatmap = t.engine->heatmap();
  EXPECT_EQ(std::accumulate(heatmap.begin(), heatmap.end(), std::int64_t{0}),
            64 * model.expert_layers() * model.top_k());
  std::int64_t coldest_cached = std::numeric_limits<std::int64_t>::max(), hottest_left = 0;
  std::int64_t cached = 0;
  for (std::size_t i = 0; i < heatmap.size(); ++i) {
    const bool kept = t.engine->cached_experts()[i] >= 0;
    cached += kept;
    if (kept) coldest_cached = std::min(coldest_cached, heatmap[i]);
    if (!kept) hottest_left = std::max(hottest_left, heatmap[i]);
  }
  EXPECT_EQ(cached, hot_experts(model, c, 0));
  EXPECT_GE(coldest_cached, hottest_left);
}

TEST(Engine, WithoutACacheEveryPickIsMissedAndWithAllCachedNone) {
  for (const bool cached : {false, true}) {
    RunConfiguration c = exact_configuration();
    c.hcs = cached ? HotCache::On : HotCache::Off;
    c.hcs_share = 1;
    auto t = make_engine({.configuration = c});
    const ModelSpec& model = t.engine->model().spec;
    auto result = t.engine->generate(test::random_tokens(20, model.vocabulary, 1), {.max_new_tokens = 5, .ignore_end_of_text = true}, {});
    ASSERT_TRUE(result);
    std::vector<std::int64_t> expected(static_cast<std::size_t>(model.top_k()) + 1, 0);
    (cached ? expected.front() : expected.back()) = 4 * model.expert_layers();
    EXPECT_EQ(result->cache.layers_by_misses, expected);
  }
}

TEST(Engine, SamplingRepeatsForEqualSeedsOnly) {
  RunConfiguration c = exact_configuration();
  c.temperature = 1.0;
  c.seed = 5;
  const auto text = [](const RunConfiguration& configuration, int lgs) {
    RunConfiguration placed = configuration;
    placed.lgs = lgs;
    auto t = make_engine({.configuration = placed});
    const auto prompt = test::random_tokens(10, t.engine->model().spec.vocabulary, 1);
    auto result = t.engine->generate(prompt, {.max_new_tokens = 24, .ignore_end_of_text = true}, {});
    EXPECT_TRUE(result);
    return result->tokens;
  };
  const auto first = text(c, 1);
  EXPECT_EQ(text(c, 3), first);
  c.seed = 6;
  EXPECT_NE(text(c, 1), first);
  c.temperature = 0;
  const auto greedy = text(c, 1);
  c.seed = 5;
  EXPECT_EQ(text(c, 1), greedy);
}

TEST(Engine, TimesAndStops) {
  auto t = make_engine({.configuration = exact_configuration()});
  const auto prompt = test::random_tokens(10, t.engine->model().spec.vocabulary, 1);
  std::vector<std::int32_t> streamed;
  std::stop_source stop;
  GenerationOptions options{.max_new_tokens = 20, .ignore_end_of_text = true, .stop = stop.get_token()};
  auto result = t.engine->generate(prompt, options, [&](std::int32_t token, int index) {
    EXPECT_EQ(index, static_cast<int>(streamed.size()));
    streamed.push_back(token);
    if (index == 4) stop.request_stop();
  });
  ASSERT_TRUE(result);
  EXPECT_EQ(result->stop, StopReason::Cancelled);
  EXPECT_EQ(result->tokens.size(), 5u);
  EXPECT_EQ(result->tokens, streamed);
  EXPECT_EQ(result->token_s.size(), 4u);
  EXPECT_GT(result->prefill_s, 0);
  for (const double seconds : result->token_s) EXPECT_GT(seconds, 0);
}

TEST(Engine, RefusesWhatDoesNotFitTheContext) {
  auto t = make_engine({.configuration = exact_configuration()});
  const auto message = [&](std::size_t prompt, int more) {
    auto result = t.engine->generate(test::random_tokens(prompt, 100, 1), {.max_new_tokens = more}, {});
    return result ? std::string("accepted") : result.error().message();
  };
  EXPECT_EQ(message(0, 1), "The prompt has no tokens. Write something first.");
  EXPECT_EQ(message(250, 10), "250 tokens and 10 new ones do not fit into the context of 256. Raise max_context or shorten the text.");
  EXPECT_EQ(message(10, 0), "0 new tokens were asked for. Ask for 1 or more.");
  EXPECT_EQ(message(250, 6), "accepted");
}

// Tracing is switched on between two generations: the second one's prefill is seen whole, on every device.
TEST(Engine, ATraceOfAPrefillHasEveryCopyAndAddsUp) {
  RunConfiguration c = exact_configuration();
  c.device_count = 2;
  c.lgs = 1;
  auto t = make_engine({.configuration = c});
  const auto prompt = test::random_tokens(100, t.engine->model().spec.vocabulary, 3);
  const GenerationOptions options{.max_new_tokens = 1, .path = PrefillPath::Stream, .ignore_end_of_text = true};
  const auto plain = t.engine->generate(prompt, options, {});
  ASSERT_TRUE(plain) << plain.error().message();
  EXPECT_TRUE(test::trace_of(t).empty());
  test::set_tracing(t, true);
  const auto traced = t.engine->generate(prompt, options, {});
  ASSERT_TRUE(traced) << traced.error().message();
  EXPECT_EQ(traced->tokens, plain->tokens);
  const auto entries = test::trace_of(t);
  test::set_tracing(t, false);

  std::size_t loaded = 0;
  std::map<int, std::int64_t> ends;
  for (const TraceEntry& entry : entries) {
    EXPECT_LE(entry.start_ns, entry.end_ns) << entry.name;
    EXPECT_LE(ends[entry.stream], entry.start_ns + 1000) << entry.name << ": a stream does one thing after another";
    ends[entry.stream] = entry.end_ns;
    if (entry.name == "load experts") loaded += entry.copied_bytes;
  }
  EXPECT_EQ(loaded, traced->prefill_copied_bytes);
  const TraceSummary summary = summarize(entries);
  ASSERT_EQ(summary.devices.size(), 2u);
  for (const DeviceSummary& device : summary.devices) {
    EXPECT_GT(device.copied_bytes, 0u);
    EXPECT_GT(device.compute_ns, 0);
    EXPECT_LE(device.overlap_ns, std::min(device.copy_ns, device.compute_ns));
    EXPECT_EQ(device.copy_ns + device.compute_ns - device.overlap_ns + device.idle_ns, summary.length_ns);
  }
}

}  // namespace
}  // namespace krasis
