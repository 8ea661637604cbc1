// What decode takes by its parts: the prediction from them, what the expert cache pretends meanwhile, that nothing of
// it stays.
#include <atomic>
#include <cmath>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <stop_token>

#include "engine/runtime/decode_parts.h"
#include "tests/engine/runtime/test_engine.h"

namespace krasis {
namespace {

using test::exact_configuration;
using test::make_engine;
using testing::AllOf;
using testing::Each;
using testing::Ge;
using testing::Lt;

TEST(PredictedDecode, IsTheSlowerOfCpuAndDeviceInEachLayer) {
  DecodeParts parts{.device_s = 1, .streamed_s = 0, .cpu_layer_s = {0, 3, 5}, .device_layer_s = {0, 2, 4}};
  // Two tokens of two layers: nothing missed twice (the device's 4), one (the CPU's 3, beside 2), both (the CPU's 5).
  const std::vector<std::int64_t> by_misses{2, 1, 1};
  EXPECT_DOUBLE_EQ(predict_decode_s(parts, by_misses, 2), 1 + (2 * 4 + 3 + 5) / 2.0);
  parts.streamed_s = 8;
  EXPECT_DOUBLE_EQ(predict_decode_s(parts, by_misses, 2), 9) << "copies beside it";
  parts.streamed_s = 10;
  EXPECT_DOUBLE_EQ(predict_decode_s(parts, by_misses, 2), 10) << "copies take longer";
  EXPECT_EQ(predict_decode_s(parts, by_misses, 0), 0);
  parts = {.device_s = 1, .streamed_s = 0, .cpu_layer_s = {0.5, 3, 5}, .device_layer_s = {0, 2, 4}};
  EXPECT_DOUBLE_EQ(predict_decode_s(parts, by_misses, 2), 1 + (2 * 4 + 2.5 + 4.5) / 2) << "device_s has the 0.5";
  parts = {.device_s = 1, .streamed_s = 0, .cpu_layer_s = {0.5, 0.25, 0.25}, .device_layer_s = {0, 0, 0}};
  EXPECT_DOUBLE_EQ(predict_decode_s(parts, by_misses, 2), 1) << "no less than without experts";
  EXPECT_EQ(predict_decode_s({}, {}, 0), 0) << "nothing was counted";
}

// Layer by layer of tiny-b: the cache of one device, with and without spare slots.
TEST(ExpertCache, PretendsToHaveNoneOrAllAndIsItselfAgain) {
  for (const char* policy : {"static", "adaptive"}) {
    RunConfiguration c = exact_configuration();
    c.hcs = HotCache::On;
    c.hcs_share = 0.25;
    c.hcs_policy = policy;
    const auto model = test::packed("tiny-b", c);
    const auto entries = static_cast<std::size_t>(model->spec.expert_layers() * model->spec.experts());
    auto platform = HostPlatform::create({.check_order = true}, simd_operations());
    ASSERT_TRUE(platform) << platform.error().message();
    Device& device = (*platform)->device(0);
    DeviceState s;
    s.device = &device;
    s.compute = device.create_stream("compute", Lane::Compute);
    s.loader = device.create_stream("copy", Lane::Copy);
    const CacheSize size = cache_size(model->spec, c, 0);
    const std::size_t block = model->gpu_expert_layout.bytes();
    const auto slots = static_cast<std::size_t>(size.experts + size.spare);
    auto pool = device.allocate("expert cache", slots * block, MemorySpace::Device);
    auto table = device.allocate("expert tables", entries * sizeof(std::int64_t), MemorySpace::Device);
    auto staged = device.allocate("staging", entries * sizeof(std::int64_t), MemorySpace::Pinned);
    ASSERT_TRUE(pool && table && staged);
    s.cache_pool = pool->view();
    s.cache_offsets = table->view<std::int64_t>();
    s.cached_blocks.resize(static_cast<std::size_t>(model->spec.expert_layers()));
    std::vector<std::int64_t> heatmap(entries);
    std::iota(heatmap.begin(), heatmap.end(), 0);
    const auto first = choose_cached_experts(model->spec, c, heatmap);
    ExpertCache cache(*model, c, {&s, 1}, first, heatmap, staged->view<std::int64_t>());

    struct Tables {
      std::vector<std::int64_t> device, cpu;
      bool operator==(const Tables&) const = default;
    };
    const auto tables = [&] {
      EXPECT_TRUE(device.synchronize(device.record(s.compute), "table is there"));
      Tables now{{s.cache_offsets.data, s.cache_offsets.data + entries}, {}};
      for (std::int64_t layer = 0; layer < model->spec.expert_layers(); ++layer) {
        const auto offsets = cache.cpu_offsets(layer);
        now.cpu.insert(now.cpu.end(), offsets.data, offsets.data + offsets.size);
      }
      return now;
    };
    const Tables before = tables();
    cache.pretend(false);
    EXPECT_THAT(tables().cpu, Each(-1));
    EXPECT_THAT(tables().device, Each(-1));
    cache.pretend(true);
    const Tables all = tables();
    EXPECT_THAT(all.cpu, Each(-1));
    const auto held = size.experts * static_cast<std::int64_t>(block);  // not the spare slots, which hold nothing
    for (std::size_t i = 0; i < entries; ++i) {
      const bool here = cache.device_of(static_cast<std::int64_t>(i) / model->spec.experts()) == 0;
      EXPECT_THAT(all.device[i], here ? testing::Matcher<std::int64_t>(AllOf(Ge(0), Lt(held))) : testing::Eq(-1));
    }
    cache.restore();
    EXPECT_EQ(tables(), before) << policy;
    EXPECT_EQ(test::violations_text(**platform), "");
  }
}

struct Case {
  HotCache hcs = HotCache::Off;
  std::string policy = "static";
  int devices = 1;
  double share = 0.25;
  std::string attention = "resident";
};

/// Two texts in a row, with all that is known of them.
struct Outcome {
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> counts, changes;
  std::vector<float> logits;
  bool operator==(const Outcome&) const = default;
};

std::vector<std::int64_t> changes_of(const Engine& engine) {
  std::vector<std::int64_t> all;
  for (const CacheChange& change : engine.cache_changes()) {
    all.insert(all.end(), {change.step, change.expert, change.cached});
  }
  return all;
}

Outcome texts(Engine& engine) {
  Outcome outcome;
  const auto tokens = test::random_tokens(60, engine.model().spec.vocabulary, 9);
  auto evaluation = engine.evaluate(tokens, {.prefill_tokens = 30, .positions = {29, 45, 59}});
  EXPECT_TRUE(evaluation) << evaluation.error().message();
  auto text = engine.generate(std::span(tokens).first(40), {.max_new_tokens = 24, .ignore_end_of_text = true}, {});
  EXPECT_TRUE(text) << text.error().message();
  if (!evaluation || !text) return outcome;
  outcome.logits = evaluation->logits;
  outcome.tokens = text->tokens;
  for (const auto* counts : {&text->cache.hits, &text->cache.misses, &text->cache.layers_by_misses}) {
    outcome.counts.insert(outcome.counts.end(), counts->begin(), counts->end());
  }
  outcome.counts.push_back(text->cache.admitted_experts);
  outcome.changes = changes_of(engine);
  return outcome;
}

TEST(DecodePartsOfAnEngine, AreMeasuredAndLeaveNothingBehind) {
  for (const Case& which :
       {Case{}, Case{HotCache::On}, Case{HotCache::On, "adaptive"}, Case{HotCache::On, "static", 2},
        Case{HotCache::Multi, "static", 2}, Case{HotCache::Multi, "adaptive", 2}, Case{HotCache::On, "adaptive", 2},
        Case{HotCache::On, "static", 1, 1.0}, Case{HotCache::Off, "static", 1, 0.25, "streamed"},
        Case{HotCache::Multi, "adaptive", 2, 0.25, "streamed"}}) {
    RunConfiguration c = exact_configuration();
    c.gpu_format = "int8";
    c.cpu_format = "int4";  // so that an expert on the wrong side shows
    c.hcs = which.hcs;
    c.hcs_policy = which.policy;
    c.hcs_share = which.share;
    c.device_count = which.devices;
    c.attention = which.attention;
    c.lgs = 1;
    c.temperature = 1;
    auto t = make_engine({.model = "tiny-b", .configuration = c});
    const std::string name = which.policy + ", hcs " + std::to_string(static_cast<int>(which.hcs)) + ", " +
                             std::to_string(which.devices) + " devices, " + which.attention;
    const Outcome before = texts(*t.engine);
    const auto parts = t.engine->decode_parts({});
    ASSERT_TRUE(parts) << name << ": " << parts.error().message();
    EXPECT_EQ(changes_of(*t.engine), before.changes) << name << ": of the text, still";
    EXPECT_TRUE(texts(*t.engine) == before) << name;

    const auto top_k = static_cast<std::size_t>(t.engine->model().spec.top_k());
    EXPECT_GT(parts->device_s, 0) << name;
    EXPECT_EQ(parts->streamed_s > 0, which.attention == "streamed") << name;
    ASSERT_EQ(parts->cpu_layer_s.size(), top_k + 1);
    ASSERT_EQ(parts->device_layer_s.size(), top_k + 1);
    for (const double s : parts->cpu_layer_s) EXPECT_TRUE(s > 0 && std::isfinite(s)) << name << ": " << s;
    EXPECT_EQ(parts->device_layer_s.front(), 0) << name;
    for (const double s : parts->device_layer_s) EXPECT_TRUE(s >= 0 && std::isfinite(s)) << name << ": " << s;
    const auto again = t.engine->decode_parts({});
    ASSERT_TRUE(again);
    EXPECT_EQ(again->device_s, parts->device_s) << "measured once";
    if (t.platform) {
      EXPECT_EQ(test::violations_text(*t.platform), "") << name;
    }
  }
}

// What create() computes, the heatmap and the paths' prompts, is no prompt.
TEST(DecodePartsOfAnEngine, NeedAPromptAndRoomInTheContext) {
  RunConfiguration c = exact_configuration();
  c.hcs = HotCache::On;
  c.prefill_path = "auto";
  auto t = make_engine({.configuration = c});
  const auto none = t.engine->decode_parts({});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::Unsupported);
  EXPECT_EQ(none.error().message(),
            "The parts of decode are measured behind a prompt, and there was none. Generate first.");
  const auto prompt = test::random_tokens(255, t.engine->model().spec.vocabulary, 1);
  ASSERT_TRUE(t.engine->generate(prompt, {.max_new_tokens = 1}, {}));
  EXPECT_TRUE(t.engine->decode_parts({})) << "some tokens further ahead, then";
  t.engine.reset();  // a GPU has weights page-locked once
  c = exact_configuration();
  c.max_context = 16;
  c.prompt_tokens = 4;
  c.decode_tokens = 4;
  auto small = make_engine({.configuration = c, .heatmap_tokens = 8});
  ASSERT_TRUE(small.engine->generate(std::span(prompt).first(8), {.max_new_tokens = 2}, {}));
  const auto short_of_room = small.engine->decode_parts({});
  ASSERT_FALSE(short_of_room);
  EXPECT_EQ(short_of_room.error().message(),
            "The context has no room for the steps that measure the parts of decode. Raise max_context.");
}

#ifndef KRASIS_TEST_CUDA  // whose devices do not call the host's operations

/// Host operations that tell a test of each call of experts() first: on a device, or by the CPU, and how many of a
/// token's picks have a block there.
std::function<void(bool on_device, std::size_t picks)> tell_experts;

const HostOperations& telling_operations() {
  static const HostOperations operations = [] {
    HostOperations told = simd_operations();
    told.set<ExpertsArgs>([](const ExpertsArgs& args) {
      if (tell_experts) {
        const auto held = [&](std::int32_t id) { return id >= 0 && args.offsets.data[id] >= 0; };
        const auto picks = std::count_if(args.ids.data, args.ids.data + args.ids.size, held);
        tell_experts(args.blocks != nullptr, static_cast<std::size_t>(picks));
      }
      simd_operations().run(args);
    });
    return told;
  }();
  return operations;
}

class PartsStepByStep : public testing::Test {
 protected:
  void TearDown() override { tell_experts = {}; }
  /// tiny-b with a quarter of the experts cached, behind a prompt.
  void start(HotCache hcs, int devices, const std::string& attention = "resident") {
    RunConfiguration c = exact_configuration();
    c.hcs = hcs;
    c.hcs_share = 0.25;
    c.lgs = 1;
    c.device_count = devices;
    c.attention = attention;
    t_.engine.reset();  // before its platform
    t_ = make_engine({.model = "tiny-b", .configuration = c, .operations = &telling_operations()});
    before_ = texts(*t_.engine);
  }
  std::size_t top_k() const { return static_cast<std::size_t>(t_.engine->model().spec.top_k()); }

  test::TestEngine t_;
  Outcome before_;
};

TEST_F(PartsStepByStep, HaveAllPicksOfALayerOnItsDeviceOrNoneAndTheCpuEachNumberOfThem) {
  for (const HotCache hcs : {HotCache::On, HotCache::Multi}) {
    start(hcs, 2);
    std::vector<std::atomic<int>> device(top_k() + 1), cpu(top_k() + 1);  // calls by their picks
    tell_experts = [&](bool on_device, std::size_t picks) { ++(on_device ? device : cpu).at(picks); };
    const auto parts = t_.engine->decode_parts({});
    tell_experts = {};
    ASSERT_TRUE(parts) << parts.error().message();
    EXPECT_GT(device.front(), 0) << "steps without experts";
    EXPECT_EQ(device.back(), device.front()) << "as many with all of them";
    for (std::size_t n = 1; n < top_k(); ++n) EXPECT_EQ(device[n], 0) << n << " of a token's picks";
    for (std::size_t n = 1; n <= top_k(); ++n) EXPECT_GE(cpu[n], 16) << n << " experts of a layer";
    EXPECT_GT(cpu.front(), cpu.back()) << "and none, in all steps";
  }
}

TEST_F(PartsStepByStep, StopBetweenStepsAndBetweenLayers) {
  struct Stop {
    const char* when;
    bool on_device;
    std::size_t picks;
  };
  start(HotCache::On, 1, "streamed");
  const int layers = static_cast<int>(t_.engine->model().spec.expert_layers());
  for (const Stop& at :
       {Stop{"without experts", true, 0}, Stop{"with all", true, top_k()}, Stop{"by the CPU", false, 1}}) {
    std::stop_source stop;
    std::atomic<int> later = 0;
    tell_experts = [&](bool on_device, std::size_t picks) {
      if (stop.stop_requested() && on_device == at.on_device) ++later;
      if (on_device == at.on_device && picks == at.picks) stop.request_stop();
    };
    const auto parts = t_.engine->decode_parts(stop.get_token());
    tell_experts = {};
    ASSERT_FALSE(parts) << at.when;
    EXPECT_EQ(parts.error().code, ErrorCode::Cancelled) << at.when;
    // The step that it was in, the one ahead, and one that may have been enqueued meanwhile; of the CPU's layers none.
    EXPECT_LE(later, at.on_device ? 3 * layers : 0) << at.when;
    EXPECT_TRUE(texts(*t_.engine) == before_) << at.when;
  }
  EXPECT_TRUE(t_.engine->decode_parts({})) << "nothing half measured is kept";
  EXPECT_EQ(test::violations_text(*t_.platform), "");
}

TEST_F(PartsStepByStep, ThatFailLeaveTheCacheAloneUntilNoStepReadsIt) {
  start(HotCache::On, 1);
  std::atomic<int> calls = 0;
  tell_experts = [&](bool, std::size_t) {
    if (++calls == 7) throw std::runtime_error("an expert is lost");
  };
  const auto parts = t_.engine->decode_parts({});
  tell_experts = {};
  ASSERT_FALSE(parts);
  EXPECT_THAT(parts.error().message(), testing::HasSubstr("an expert is lost"));
  EXPECT_EQ(test::violations_text(*t_.platform), "");
}

#endif

}  // namespace
}  // namespace krasis
