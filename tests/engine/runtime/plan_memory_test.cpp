// The plan against the allocators: every place to the byte, in both directions, and what does not fit says so.
#include "engine/runtime/setup.h"
#include "engine/system/memory.h"
#include "tests/engine/runtime/test_engine.h"

namespace krasis {
namespace {

struct Case {
  std::string model;
  int lgs, devices;
  std::string gpu_format, cpu_format;
  HotCache hcs;
  std::string kv_cache;
  std::string hcs_policy = "static";
  double hcs_share = 0.5;
  std::string attention = "resident";
};

class PlanMemory : public testing::TestWithParam<Case> {};

TEST_P(PlanMemory, IsWhatIsAllocatedToTheByte) {
  const Case& p = GetParam();
  RunConfiguration c = test::exact_configuration();
  c.lgs = p.lgs;
  c.device_count = p.devices;
  c.gpu_format = p.gpu_format;
  c.cpu_format = p.cpu_format;
  c.attention_format = c.lm_head_format = c.dense_mlp_format = "int8";
  c.hcs = p.hcs;
  c.hcs_policy = p.hcs_policy;
  c.hcs_share = p.hcs_share;
#ifdef KRASIS_TEST_CUDA
  c.device = "cuda";
#endif
  if (p.hcs_share == 0) c.vram_budget_mib = 4;  // a small one, so that not all experts fit
  c.kv_cache = p.kv_cache;
  c.attention = p.attention;
  auto t = test::make_engine({.model = p.model, .configuration = c});
  const auto prompt = test::random_tokens(200, t.engine->model().spec.vocabulary, 3);
  ASSERT_TRUE(t.engine->generate(prompt, {.max_new_tokens = 4, .ignore_end_of_text = true}, {}));

  std::size_t attention = 0;
  for (std::int64_t l = 0; l < t.engine->model().spec.layer_count(); ++l) {
    attention += streamed_weights(t.engine->model(), l).bytes();
  }
  EXPECT_EQ(t.engine->plan().decode_copy_bytes_per_token, p.attention == "streamed" ? attention : 0);
  const auto report = t.engine->memory_report();
  ASSERT_FALSE(report.empty());
  for (const PlaceReport& row : report) {
    if (row.place ==
        place::kDriver) {  // a bound, and that of a GPU, whichever of its logical devices it is measured at
      EXPECT_LE(row.high_water_bytes, row.planned_bytes);
      std::printf("driver: %.1f MiB of %.1f\n", static_cast<double>(row.high_water_bytes) / 0x1p20,
                  static_cast<double>(row.planned_bytes) / 0x1p20);
      continue;
    }
    EXPECT_GT(row.high_water_bytes, 0u) << row.place << " on device " << row.device << " was never allocated";
    EXPECT_EQ(row.planned_bytes, row.high_water_bytes) << row.place << " on device " << row.device;
  }
  // And nothing was allocated that the plan does not know.
  for (int device = 0; device < c.device_count; ++device) {
    for (const PlaceUsage& usage : t.devices[static_cast<std::size_t>(device)]->memory_usage()) {
      const bool on_device = usage.space == MemorySpace::Device;
      if (usage.high_water_bytes == 0 || usage.place == place::kDriver) continue;
      EXPECT_EQ(t.engine->plan().bytes(on_device ? device : -1, usage.place), usage.high_water_bytes) << usage.place;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Plan, PlanMemory,
    testing::Values(Case{"tiny-a", 1, 1, "int4", "int4", HotCache::Off, "bf16"},
                    Case{"tiny-a", 3, 1, "int8", "int4", HotCache::On, "fp8"},
                    Case{"tiny-b", 2, 1, "int4", "int8", HotCache::On, "bf16"},
                    Case{"tiny-b", 1, 2, "bf16", "bf16", HotCache::Multi, "fp8"},
                    Case{"tiny-a", 1, 3, "int8", "int8", HotCache::On, "bf16"},
                    Case{"embedded", 1, 1, "int4", "int4", HotCache::Off, "bf16"},
                    Case{"embedded", 2, 1, "int8", "int4", HotCache::On, "bf16"},
                    Case{"embedded", 4, 1, "int8", "int4", HotCache::Off, "fp8"},
                    Case{"embedded", 2, 2, "int4", "int4", HotCache::Multi, "bf16"},
                    Case{"tiny-b", 1, 2, "int8", "int8", HotCache::Multi, "bf16", "adaptive"},
                    Case{"embedded", 1, 1, "int8", "int4", HotCache::On, "bf16", "adaptive", 0.1},
                    Case{"tiny-a", 1, 1, "bf16", "bf16", HotCache::On, "bf16", "static", 0},
                    Case{"tiny-a", 1, 1, "bf16", "bf16", HotCache::On, "bf16", "adaptive", 0},
                    Case{"tiny-a", 2, 1, "int4", "int4", HotCache::Off, "bf16", "static", 0.5, "streamed"},
                    Case{"tiny-b", 1, 2, "int4", "int4", HotCache::On, "fp8", "static", 0.5, "streamed"},
                    Case{"tiny-b", 1, 3, "int4", "int4", HotCache::Off, "bf16", "static", 0.5, "streamed"},
                    Case{"embedded", 1, 1, "int4", "int4", HotCache::Off, "bf16", "static", 0.5, "streamed"},
                    Case{"embedded", 4, 1, "int8", "int4", HotCache::On, "bf16", "static", 0.5, "streamed"},
                    Case{"tiny-a", 1, 1, "bf16", "bf16", HotCache::On, "bf16", "adaptive", 0, "streamed"}),
    [](const auto& test) {
      const Case& c = test.param;
      std::string name = c.model + "_lgs" + std::to_string(c.lgs) + "_devices" + std::to_string(c.devices) + "_" +
                         c.gpu_format + "_" + c.cpu_format + "_hcs" + std::to_string(static_cast<int>(c.hcs)) + "_" +
                         c.kv_cache + "_" + c.hcs_policy + "_" + std::to_string(static_cast<int>(100 * c.hcs_share)) +
                         "_" + c.attention;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

ModelSpec tiny() {
  auto config = load_model_spec(test::model_path("tiny-a"));
  EXPECT_TRUE(config);
  return *config;
}

// Another process's memory is not this one's to plan with; weights that are loaded already are.
TEST(Plan, CountsWithTheMemoryThatThisProcessCanGet) {
  const std::size_t usable = host_memory().usable_bytes();
  const auto near = [&](std::size_t bytes) {
    const std::size_t slack = std::size_t{512} << 20;  // what others take or give meanwhile
    return testing::AllOf(testing::Ge(bytes - std::min(bytes, slack)), testing::Le(bytes + slack));
  };
  EXPECT_THAT(host_hardware().host_memory_bytes, near(usable));
  EXPECT_THAT(host_hardware(std::size_t{64} << 30).host_memory_bytes, near(usable + (std::size_t{64} << 30)));
}

TEST(Plan, RefusesWhatCannotBe) {
  const ModelSpec model = tiny();
  const Hardware hardware = host_hardware();
  const auto message = [&](auto&& edit) {
    RunConfiguration c = test::exact_configuration();
    edit(c);
    const auto plan = make_plan(model, c, hardware);
    return plan ? std::string("accepted") : plan.error().message();
  };
  EXPECT_EQ(message([](auto& c) { c.lgs = 0; }), "LGS is 0, but tiny-a has 3 layers. Choose an LGS from 1 to 3.");
  EXPECT_EQ(message([](auto& c) { c.lgs = 4; }), "LGS is 4, but tiny-a has 3 layers. Choose an LGS from 1 to 3.");
  EXPECT_EQ(message([](auto& c) { c.device_count = 17; }),
            "17 devices were asked for, but 16 exist. Choose a device count from 1 to 16.");
  EXPECT_EQ(message([](auto& c) { c.attention = "away"; }), "attention is \"away\". Choose resident or streamed.");
  EXPECT_EQ(message([](auto& c) { c.gpu_format = "mxfp4"; }),
            "gpu_format cannot be \"mxfp4\". Choose int4, int8 or bf16.");
  EXPECT_EQ(message([](auto& c) { c.hcs_share = std::nan(""); }), "hcs_share is nan. Choose a share from 0 to 1.");
  EXPECT_EQ(message([](auto& c) { c.hcs_policy = "fifo"; }), "hcs_policy is \"fifo\". Choose static or adaptive.");
  EXPECT_THAT(message([](auto& c) { c.prompt_tokens = 2147483647; }), testing::HasSubstr("do not fit into a context"));
  EXPECT_THAT(message([](auto& c) { c.max_context = 1 << 30; }), testing::HasSubstr("was made for at most"));
}

TEST(Plan, EachRefusalNamesItsParameter) {
  const ModelSpec model = tiny();
  const auto refused = [&](auto&& edit) {
    RunConfiguration c = test::exact_configuration();
    edit(c);
    std::vector<std::string> names;
    for (const Problem& problem : validate(model, c, host_hardware())) {
      EXPECT_NE(find_parameter(problem.parameter), nullptr) << problem.parameter;
      names.emplace_back(problem.parameter);
    }
    return names;
  };
  using testing::ElementsAre;
  EXPECT_THAT(refused([](auto&) {}), testing::IsEmpty());
  EXPECT_THAT(refused([](auto& c) { c.lgs = 4; }), ElementsAre("lgs"));
  EXPECT_THAT(refused([](auto& c) { c.device_count = 17; }), ElementsAre("device_count"));
  EXPECT_THAT(refused([](auto& c) { c.gpu_format = "mxfp4"; }), ElementsAre("gpu_format"));
  EXPECT_THAT(refused([](auto& c) { c.cpu_format = "mxfp4"; }), ElementsAre("cpu_format"));
  EXPECT_THAT(refused([](auto& c) { c.attention_format = "mxfp4"; }), ElementsAre("attention_format"));
  EXPECT_THAT(refused([](auto& c) { c.dense_mlp_format = "mxfp4"; }), ElementsAre("dense_mlp_format"));
  EXPECT_THAT(refused([](auto& c) { c.lm_head_format = "mxfp4"; }), ElementsAre("lm_head_format"));
  EXPECT_THAT(refused([](auto& c) { c.group_size = 3; }), ElementsAre("group_size"));
  EXPECT_THAT(refused([](auto& c) { c.hcs_share = 2; }), ElementsAre("hcs_share"));
  EXPECT_THAT(refused([](auto& c) { c.hcs_policy = "fifo"; }), ElementsAre("hcs_policy"));
  EXPECT_THAT(refused([](auto& c) { c.max_context = 1 << 30; }), ElementsAre("max_context"));
  EXPECT_THAT(refused([](auto& c) { c.chunk_tokens = 0; }), ElementsAre("chunk_tokens"));
  EXPECT_THAT(refused([](auto& c) { c.prompt_tokens = 0; }), ElementsAre("prompt_tokens"));
  EXPECT_THAT(refused([](auto& c) { c.decode_tokens = 0; }), ElementsAre("decode_tokens"));
  EXPECT_THAT(refused([](auto& c) { c.max_context = c.prompt_tokens + c.decode_tokens; }), ElementsAre("max_context"));
  EXPECT_THAT(refused([](auto& c) { c.kv_cache = "fp4"; }), ElementsAre("kv_cache"));
  EXPECT_THAT(refused([](auto& c) { c.attention = "away"; }), ElementsAre("attention"));
  EXPECT_THAT(refused([](auto& c) { c.vram_budget_mib = 0; }), ElementsAre("vram_budget_mib"));
  EXPECT_THAT(refused([](auto& c) { c.lgs = 4, c.max_context = 1 << 30; }), ElementsAre("lgs", "max_context"));
}

TEST(Plan, AShareOfZeroCachesWhatTheBudgetLeaves) {
  const ModelSpec model = tiny();
  RunConfiguration c = test::exact_configuration();
  c.hcs = HotCache::On;
  c.hcs_share = 0;
  const auto all = model.expert_layers() * model.experts();
  EXPECT_EQ(hot_experts(model, c, 0), all) << "a large budget";
  for (const char* policy : {"static", "adaptive"}) {
    c.hcs_policy = policy;
    bool some = false;
    for (c.vram_budget_mib = 1; c.vram_budget_mib < 64; ++c.vram_budget_mib) {
      const auto plan = make_plan(model, c, host_hardware());
      ASSERT_TRUE(plan);
      const std::int64_t cached = hot_experts(model, c, 0);
      if (cached == 0 || cached == all) continue;
      some = true;
      ASSERT_TRUE(plan->fits());
      const std::size_t free = plan->places.at(1).budget_bytes - plan->places.at(1).needed_bytes;
      const std::size_t block = plan->bytes(0, "expert cache") / static_cast<std::size_t>(cached + cache_size(model, c, 0).spare);
      EXPECT_LT(free, block + plan->places.at(1).budget_bytes / 256) << c.vram_budget_mib << " MiB, " << policy;
    }
    EXPECT_TRUE(some);
  }
}

// Of an expert's bytes on either side, and of the slower side when both work.
TEST(Plan, PredictsATokenByTheBytesOfCpuAndDeviceAtOnce) {
  const ModelSpec model = tiny();
  RunConfiguration c = test::exact_configuration();
  c.gpu_format = "int8";
  c.cpu_format = "int4";
  const auto plan = make_plan(model, c, host_hardware());
  ASSERT_TRUE(plan);
  const double experts = static_cast<double>(model.expert_layers() * model.experts());
  const double gpu_expert = static_cast<double>(plan->bytes(-1, "experts (GPU)")) / experts;
  const double cpu_expert = static_cast<double>(plan->bytes(-1, "experts (CPU)")) / experts;
  Hardware hardware{.host_read_gb_per_s = 100, .device_read_gb_per_s = 1000};
  const auto seconds = [&](std::vector<double> hits) { return predict_decode_s(model, c, hardware, hits); };
  const std::vector<double> none(static_cast<std::size_t>(model.expert_layers()), 0.0);
  const std::vector<double> all(none.size(), 1.0);
  const double picks = static_cast<double>(model.expert_layers() * model.top_k());
  const double difference = picks * (cpu_expert / 100e9 - gpu_expert / 1000e9);
  EXPECT_NEAR(seconds(none) - seconds(all), difference, difference * 1e-6);

  // Where the CPU has little, a faster device helps, and a faster host does not.
  std::vector<double> most(none.size(), 0.999);
  const double before = seconds(most);
  hardware.host_read_gb_per_s = 200;
  EXPECT_DOUBLE_EQ(seconds(most), before);
  hardware.device_read_gb_per_s = 2000;
  EXPECT_DOUBLE_EQ(seconds(most), before / 2);
  hardware.device_read_gb_per_s = 0;
  EXPECT_EQ(seconds(none), 0) << "not known";

  // The plan foresees equal shares in all layers; one layer after the other, the CPU's time adds up.
  std::vector<double> first_cached = none;
  first_cached[0] = 1;
  hardware = {.host_read_gb_per_s = 100, .device_read_gb_per_s = 1000};
  EXPECT_NEAR(seconds(none) - seconds(first_cached), difference / static_cast<double>(none.size()), difference * 1e-6);
}

TEST(Plan, SaysWhatDoesNotFitAndWhatWouldHelp) {
  RunConfiguration c = test::exact_configuration();
  c.lgs = 3;
  c.vram_budget_mib = 2;
  const auto plan = make_plan(tiny(), c, host_hardware());
  ASSERT_TRUE(plan);
  EXPECT_FALSE(plan->fits());
  ASSERT_FALSE(plan->advice.empty());
  EXPECT_THAT(plan->advice, testing::Contains(testing::HasSubstr("LGS 1 frees")));

  auto engine = Engine::load([&] { auto e = c; e.model = test::model_path("tiny-a"); return e; }(), {});
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, ErrorCode::OutOfMemory);
  EXPECT_THAT(engine.error().cause, testing::HasSubstr("of device 0, but 2.0 MiB are there"));
  EXPECT_THAT(engine.error().remedy, testing::HasSubstr("frees"));
}

TEST(Plan, StreamedAttentionMovesWeightsIntoTwoBuffersAndOverTheLink) {
  auto model = load_model_spec(test::model_path("embedded"));
  ASSERT_TRUE(model);
  RunConfiguration c = test::exact_configuration();
  c.lgs = 1;
  Hardware hardware = host_hardware();
  hardware.h2d_gb_per_s = 1e-3;  // so slow that copies decide
  hardware.host_read_gb_per_s = hardware.device_read_gb_per_s = hardware.device_tflop_per_s = 1e3;
  const auto resident = make_plan(*model, c, hardware);
  c.attention = "streamed";
  const auto streamed = make_plan(*model, c, hardware);
  ASSERT_TRUE(resident && streamed);
  const std::size_t pass = streamed->decode_copy_bytes_per_token;
  EXPECT_GT(pass, 0u);
  EXPECT_EQ(resident->decode_copy_bytes_per_token, 0u);
  EXPECT_EQ(streamed->prefill_copy_bytes, resident->prefill_copy_bytes + pass);
  EXPECT_EQ(streamed->bytes(0, "attention buffers"), 2 * pass / static_cast<std::size_t>(model->layer_count()));
  EXPECT_EQ(resident->bytes(0, "attention buffers"), 0u);
  EXPECT_LT(streamed->bytes(0, "resident weights") + pass,
            resident->bytes(0, "resident weights") + 4096u * static_cast<std::size_t>(model->layer_count()));
  EXPECT_EQ(streamed->bytes(-1, "dense weights"), resident->bytes(-1, "dense weights"));
  EXPECT_DOUBLE_EQ(streamed->predicted_decode_s_per_token, static_cast<double>(pass) / 1e6);

  c.attention = "resident";
  c.vram_budget_mib = static_cast<std::int64_t>((resident->places.back().needed_bytes - 1) >> 20);
  const auto full = make_plan(*model, c, hardware);
  ASSERT_TRUE(full);
  ASSERT_FALSE(full->fits());
  EXPECT_THAT(full->advice, testing::Contains(testing::HasSubstr("streamed attention frees")));
}

TEST(Plan, ABudgetTooSmallForOneLayerIsRefusedBeforeAnythingIsLoaded) {
  RunConfiguration c = test::exact_configuration();
  c.model = test::model_path("tiny-a");
  c.lgs = 1;
  c.gpu_format = "int4";
  c.vram_budget_mib = 1;
  c.max_context = 2048;
  bool loading = false;
  EngineOptions options;
  options.progress = [&](const LoadProgress&) { loading = true; };
  auto engine = Engine::load(c, options);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, ErrorCode::OutOfMemory);
  EXPECT_FALSE(loading);
}

}  // namespace
}  // namespace krasis
