// What a run's hardware did, from timelines whose figures are known by construction, and from the embedded model.
#include "engine/bench/telemetry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/bench/prompt.h"
#include "engine/bench/session.h"
#include "results_db/telemetry.h"
#include "tests/support/temporary_directory.h"

namespace krasis {
namespace {

using nlohmann::json;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

constexpr std::int64_t kMs = 1'000'000;

/// Device 0: copies 0-100 and 100-200 ms of 2.5 GB each, computation 50-150 and 150-290. Device 1: one copy 0-100 of
/// 1 GB, no computation. Behind the prefill, which ends at 300 ms, a token's work.
TracedGeneration constructed() {
  TracedGeneration traced;
  traced.prefill_end_ns = 300 * kMs;
  traced.end_ns = 400 * kMs;
  traced.entries = {{"load experts", 1, "loader", 0, 0, 100 * kMs, 2'500'000'000},
                    {"load experts", 3, "loader", 1, 0, 100 * kMs, 1'000'000'000},
                    {"experts", 0, "compute", 0, 50 * kMs, 150 * kMs, 0},
                    {"load experts", 1, "loader", 0, 100 * kMs, 200 * kMs, 2'500'000'000},
                    {"attention", 0, "compute", 0, 150 * kMs, 290 * kMs, 0},
                    {"CPU experts", 4, "CPU experts", 0, 310 * kMs, 390 * kMs, 0}};
  traced.generation.tokens = {1, 2};
  return traced;
}

TEST(PrefillTelemetry, OfAConstructedTimeline) {
  const json telemetry = prefill_telemetry(constructed(), {.copy_gb_per_s = 50});
  EXPECT_DOUBLE_EQ(telemetry.at("seconds"), 0.29) << "decode is no part of it";
  EXPECT_EQ(telemetry.at("path"), "stream");
  ASSERT_EQ(telemetry.at("devices").size(), 2u);
  const json& first = telemetry["devices"][0];
  EXPECT_EQ(first.at("copied_bytes"), 5'000'000'000);
  EXPECT_DOUBLE_EQ(first.at("copy_s"), 0.2);
  EXPECT_DOUBLE_EQ(first.at("compute_s"), 0.24);
  EXPECT_DOUBLE_EQ(first.at("both_s"), 0.15);
  EXPECT_DOUBLE_EQ(first.at("overlap"), 0.75);
  EXPECT_DOUBLE_EQ(first.at("idle_s"), 0.0);
  EXPECT_DOUBLE_EQ(first.at("copy_gb_per_s"), 25);
  EXPECT_DOUBLE_EQ(first.at("share_of_link"), 0.5);
  const json& second = telemetry["devices"][1];
  EXPECT_DOUBLE_EQ(second.at("idle_s"), 0.19);
  EXPECT_DOUBLE_EQ(second.at("overlap"), 0.0);
  EXPECT_DOUBLE_EQ(second.at("share_of_link"), 0.2);
  ASSERT_EQ(telemetry.at("streams").size(), 3u);
  EXPECT_EQ(telemetry["streams"][0].at("name"), "compute");
  EXPECT_DOUBLE_EQ(telemetry["streams"][0].at("busy_s"), 0.24);
  EXPECT_DOUBLE_EQ(telemetry["streams"][0].at("idle_s"), 0.05);
  EXPECT_FALSE(telemetry["streams"][0].contains("copy_gb_per_s"));
  EXPECT_DOUBLE_EQ(telemetry["streams"][1].at("copy_gb_per_s"), 25);
  EXPECT_FALSE(prefill_telemetry(constructed(), {})["devices"][0].contains("share_of_link")) << "the link was not measured";
}

TEST(DecodeTelemetry, IsForEachToken) {
  Generation a, b;
  a.token_s = {0.01, 0.03};
  a.decode_host_s = 0.02;
  a.step_copied_bytes = 1500;
  b.token_s = {0.02, 0.02};
  b.decode_host_s = 0.04;
  b.step_copied_bytes = 500;
  const json telemetry = decode_telemetry(std::vector{a, b}, false);
  EXPECT_DOUBLE_EQ(telemetry.at("s_per_token"), 0.02);
  EXPECT_DOUBLE_EQ(telemetry.at("cpu_experts_s_per_token"), 0.015);
  EXPECT_DOUBLE_EQ(telemetry.at("copied_bytes_per_token"), 1000);
  EXPECT_EQ(telemetry.at("device_wait_is_exact"), true);
  EXPECT_EQ(decode_telemetry(std::vector{a}, true).at("device_wait_is_exact"), false);
  EXPECT_TRUE(decode_telemetry({}, false).empty());
}

TEST(GpuTelemetry, TellsRangesAndThrottling) {
  GpuUse use{.pci_bus_id = "0000:3b:00.0", .samples = 4};
  for (const double watts : {100.0, 400.0, 700.0, 400.0}) use.power_w.add(watts);
  use.pcie_width_max = 16;
  use.reasons = {{"gpu idle", 1}, {"power cap", 3}};
  const json gpu = gpu_telemetry(std::vector{use}).at(0);
  EXPECT_EQ(gpu.at("power_w"), json({{"min", 100.0}, {"mean", 400.0}, {"max", 700.0}}));
  EXPECT_FALSE(gpu.contains("temperature_c")) << "what was never known";
  EXPECT_EQ(gpu.at("throttled"), json({{"power cap", 0.75}})) << "an idle GPU is not throttled";
}

TEST(WrittenTrace, HasPhasesStreamsAndBytes) {
  const test::TemporaryDirectory folder;
  const auto path = folder.path() / "traces" / "run.trace.json";
  ASSERT_TRUE(write_trace(constructed(), path));
  const json trace = json::parse(std::ifstream(path));
  std::vector<std::string> names;
  for (const json& event : trace.at("traceEvents")) {
    if (event.at("ph") == "X") names.push_back(event.at("name"));
    if (event.at("name") == "prefill") {
      EXPECT_DOUBLE_EQ(event.at("dur"), 300'000) << "in microseconds";
    }
    if (event.at("name") == "load experts" && event.at("pid") == 1) {
      EXPECT_EQ(event.at("args").at("bytes"), 1'000'000'000);
    }
  }
  EXPECT_THAT(names, testing::UnorderedElementsAre("load experts", "load experts", "load experts", "experts", "attention",
                                                   "CPU experts", "prefill", "decode"));
  std::ofstream(folder.path() / "file") << "no folder";
  EXPECT_EQ(write_trace(constructed(), folder.path() / "file" / "x.json").error().code, ErrorCode::Io);
}

/// The embedded model on the host device: what is copied is known from the plan, and tracing ends with the repetition.
TEST(TracedEngine, SeesEveryByteOfThePrefill) {
  RunConfiguration c;
  c.max_context = 128;
  c.prompt_tokens = 64;
  c.decode_tokens = 8;
  c.chunk_tokens = 16;
  c.prefill_path = "stream";
  c.lgs = 1;
  const auto session = load_session(c, {std::filesystem::path(KRASIS_SOURCE_DIR) / "resources"}, {}, {}, {});
  ASSERT_TRUE(session) << session.error().message();
  Engine& engine = *session->engine;
  std::vector<std::int32_t> prompt(40);
  std::iota(prompt.begin(), prompt.end(), 1);
  const auto traced = engine.trace(prompt, {.max_new_tokens = 4, .ignore_end_of_text = true});
  ASSERT_TRUE(traced) << traced.error().message();
  EXPECT_EQ(traced->generation.tokens.size(), 4u);
  std::size_t loaded = 0, experts_on_cpu = 0;
  for (const TraceEntry& entry : traced->entries) {
    EXPECT_GE(entry.start_ns, traced->begin_ns) << entry.name;
    EXPECT_LE(entry.end_ns, traced->end_ns) << entry.name;
    if (entry.name == "load experts") loaded += entry.copied_bytes;
    if (entry.name == "CPU experts") experts_on_cpu += entry.start_ns >= traced->prefill_end_ns;
  }
  EXPECT_EQ(loaded, traced->generation.prefill_copied_bytes);
  EXPECT_GT(loaded, 0u);
  const auto layers = static_cast<std::size_t>(engine.model().spec.expert_layers());
  EXPECT_EQ(experts_on_cpu, 3 * layers) << "three tokens behind the first one";

  // Activations, picks and weights go to the CPU in each layer and a sum comes back; the token goes to the host.
  const ModelSpec& m = engine.model().spec;
  const std::size_t a_layer =
      static_cast<std::size_t>(m.hidden) * (2 + 4) + static_cast<std::size_t>(m.top_k()) * (4 + 4);
  EXPECT_EQ(traced->generation.step_copied_bytes, static_cast<double>(layers * a_layer + 4));
  EXPECT_GT(traced->generation.decode_host_s, 0);
  const double decode_s = std::accumulate(traced->generation.token_s.begin(), traced->generation.token_s.end(), 0.0);
  EXPECT_LT(traced->generation.decode_host_s, decode_s * 1.05) << "the first task may begin before the first token is seen";

  const json telemetry = prefill_telemetry(*traced, {});
  EXPECT_GE(telemetry.at("devices").at(0).at("copied_bytes").get<std::size_t>(), loaded);
  const auto again = engine.trace(prompt, {.max_new_tokens = 1});
  ASSERT_TRUE(again) << again.error().message();
  for (const TraceEntry& entry : again->entries) EXPECT_GE(entry.start_ns, again->begin_ns) << "a new trace begins with nothing";
}

// What people read of it ----------------------------------------------------------------------------------------------

TEST(TelemetryLines, SayWhatWasMeasured) {
  GpuUse use{.pci_bus_id = "0000:3b:00.0", .samples = 4};
  for (const double watts : {100.0, 400.0, 700.0, 400.0}) use.power_w.add(watts);
  for (int i = 0; i < 4; ++i) use.pcie_width.add(16);
  use.pcie_width_max = 16;
  use.reasons = {{"power cap", 3}};
  Generation generation;
  generation.token_s = {0.02, 0.02};
  generation.decode_host_s = 0.03;
  generation.step_copied_bytes = 1'200'000;
  json telemetry{{"prefill", prefill_telemetry(constructed(), {.copy_gb_per_s = 50})},
                       {"decode", decode_telemetry(std::vector{generation}, false)},
                       {"gpus", gpu_telemetry(std::vector{use})},
                       {"trace_file", "/tmp/a.trace.json"}};
  telemetry["decode"]["predicted_s_per_token"] = 0.016;
  generation.cache.layers_by_misses = {2, 2};  // two layers of two tokens
  const DecodeParts parts{.device_s = 0.008, .cpu_layer_s = {1e-6, 0.007}, .device_layer_s = {0, 0.004}};
  telemetry["decode"]["parts"] = parts_telemetry(parts, std::vector{generation});
  std::string text;
  for (const auto& line : results::describe_telemetry(telemetry.dump())) text += line.group + " | " + line.name + " | " + line.value + "\n";
  for (const char* line :
       {"Prefill | device 0: copies | 5 GB in 200 ms, 25 GB/s, 50 % of the measured link\n", "Prefill | device 0: computation | 240 ms\n",
        "Prefill | device 0: both at once | 150 ms, 75 % of the shorter one\n", "Prefill | device 1: idle | 190 ms\n",
        "Prefill | device 0, stream compute | busy 240 ms, idle 50 ms\n", "Decode | copies | 1.2 MB a token\n",
        "Decode | CPU experts busy | 15 ms, 75 % of a token\n", "Decode | device waits | 15 ms, 75 % of a token\n",
        "Decode | limit of bandwidths | 16 ms, 80 % of a token\n",
        "Decode | predicted by measured parts | 19 ms, 95 % of a token\n",
        "Decode | part without experts | 8 ms, 40 % of a token\n",
        "Decode | part of the CPU's experts | 1 us, 7 ms\n",
        "GPU 0000:3b:00.0 | power | 400 W (100 to 700)\n", "GPU 0000:3b:00.0 | PCIe lanes | 16, at most 16\n",
        "GPU 0000:3b:00.0 | throttled | power cap in 75 % of the samples\n", "Trace | file | /tmp/a.trace.json\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_EQ(results::throttling(telemetry.dump()), "power cap in 75 % of the samples");
}

TEST(TelemetryLines, OfNothingOrNonsenseAreNone) {
  for (const char* text : {"{}", "", "[]", "{\"prefill\":7,\"decode\":[1],\"gpus\":{\"a\":1}}", "{\"gpus\":[7,{}]}"}) {
    for (const auto& line : results::describe_telemetry(text)) EXPECT_TRUE(line.group.starts_with("GPU")) << text;
    EXPECT_EQ(results::throttling(text), "") << text;
  }
}

TEST(TelemetryLines, PartsOfDecodeThatAreNoneOrNonsenseHaveNoLine) {
  const std::string token = R"({"decode":{"s_per_token":0.02,)";
  const std::string predicted = token + R"("parts":{"predicted_s_per_token":0.01)";
  for (const std::string& text : {token + R"("parts":[1],"parts_unknown_because":7}})", predicted + "}}}",
                                  predicted + R"(,"cpu_layer_s":7}}})", predicted + R"(,"cpu_layer_s":[]}}})",
                                  predicted + R"(,"cpu_layer_s":["a"]}}})",
                                  predicted + R"(,"cpu_layer_s":{"a":1}}}})"}) {
    std::vector<std::string> names;
    for (const auto& line : results::describe_telemetry(text)) names.push_back(line.name);
    EXPECT_THAT(names, Contains("copies")) << text << ": the rest is described";
    EXPECT_THAT(names, Not(Contains("part of the CPU's experts"))) << text;
    EXPECT_THAT(names, Not(Contains("parts unknown"))) << text;
  }
}

}  // namespace
}  // namespace krasis
