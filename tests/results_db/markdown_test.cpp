#include <gmock/gmock.h>

#include <clocale>
#include <locale>

#include "results_db/export_markdown.h"
#include "tests/results_db/fixture.h"

namespace krasis::results {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// A repetition of 512 prompt tokens and 64 decoded ones.
Repetition timed(int index, double prefill_s, double ttft_s, double decode_s) {
  Repetition r;
  r.index = index;
  r.prefill_tokens = 512;
  r.prefill_s = prefill_s;
  r.ttft_s = ttft_s;
  r.decode_tokens = 64;
  r.decode_s = decode_s;
  return r;
}

RunRecord example_record() {
  RunRecord run;
  run.uuid = "aaaaaaaa-0000-4000-8000-000000000001";
  run.created_at = "2026-02-22T10:00:00Z";
  run.model = {"f", "Tiny-MoE", "qwen3_moe", "", false};
  EnvironmentRecord environment = example_environment();
  environment.machine = "EPYC, 64 GiB";
  run.environment = std::make_shared<EnvironmentRecord>(environment);
  run.parameters.lgs = 2;
  run.parameters.vram_budget_mib = 4096;
  run.parameters.threads = 8;
  run.parameters.lm_head_format = "bf16";
  run.parameters.prompt_tokens = 512;
  run.parameters.decode_tokens = 64;
  run.parameters.warmups = 1;
  run.parameters.repetitions = 3;
  run.parameters.seed = 1;
  run.status = RunStatus::Done;
  run.verdict.verdict = Verdict::Pass;
  return run;
}

std::vector<Repetition> steady() {
  return {timed(0, 0.25, 0.26, 4), timed(1, 0.25, 0.26, 4), timed(2, 0.25, 0.26, 4)};
}

std::vector<RunSummary> example_runs() {
  std::vector<RunSummary> runs;
  Repetition warm_up = timed(0, 50, 50, 50);
  warm_up.warm_up = true;
  // prefill 1024, 800, 1280 tok/s; decode 10, 8, 12.5 tok/s; 100, 125, 80 ms
  runs.push_back(summarize(example_record(),
                           {warm_up, timed(0, 0.5, 0.51, 6.4), timed(1, 0.64, 0.65, 8), timed(2, 0.4, 0.41, 5.12)}));
  RunRecord failed = example_record();
  failed.uuid = "bbbbbbbb-0000-4000-8000-000000000002";
  failed.parameters.device_count = 2;
  failed.parameters.gpu_format = "int8";
  failed.parameters.lgs = 4;
  failed.parameters.hcs = HotCache::Multi;
  failed.parameters.hcs_share = 0.5;
  failed.verdict = {Verdict::Fail, "KL divergence, nats", 0.31, 0.1};
  runs.push_back(summarize(failed, steady()));
  RunRecord crashed = example_record();
  crashed.uuid = "cccccccc-0000-4000-8000-000000000003";
  crashed.created_at = "2026-02-23T00:00:00Z";
  crashed.parameters.hcs = HotCache::On;
  crashed.parameters.hcs_share = 0.5;
  crashed.status = RunStatus::Crashed;
  crashed.verdict = {};
  crashed.failure = {"The worker ended without a word.", "Retry.", "decode", 11};
  runs.push_back(summarize(crashed, {}));
  return runs;
}

TEST(Markdown, ThePageOfASmallSweep) {
  MarkdownOptions options;
  options.title = "First sweep";
  EXPECT_EQ(export_markdown(example_runs(), options),
            R"md(## First sweep — 2026-02-23

Config: 512 token prompt, 64 decoded, 1 warm-up, 3 repetitions, INT8 attention/dense_mlp, BF16 lm_head, group size 128, BF16 KV cache, 512 token chunks, device host, HCS share 50 %, 4096 MiB VRAM budget, 8 CPU threads, seed 1, EPYC, 64 GiB.

| Model | GPUs | GPU/CPU format | LGS | HCS | Prefill (tok/s) | TTFT (s) | Decode (tok/s) | ms/tok | Status | Log |
|-------|-----:|---------------:|----:|-----|----------------:|---------:|---------------:|-------:|--------|-----|
| Tiny-MoE | 1 | INT4/INT4 | 2 | OFF | 997.4 | 0.52 | 9.84 | 101.7 | PASS | run aaaaaaaa |
| Tiny-MoE | 2 | INT8/INT4 | 4 | multi | 2048.0 | 0.26 | 16.00 | 62.5 | FAIL* | run bbbbbbbb |
| Tiny-MoE | 1 | INT4/INT4 | 2 | ON | – | – | – | – | CRASHED* | run cccccccc |

### Column Legend

- **LGS**: Layer Group Size — number of layers streamed through GPU at a time (double-buffered). Lower = less VRAM, more DMA rounds.
- **HCS**: Hot-Cache Strategy — ON = GPU-cached experts for decode, OFF = pure CPU decode, multi = HCS on all GPUs.

### Notes

- **Tiny-MoE, 2 GPUs, INT8/INT4, LGS 4, HCS multi FAIL***: speeds are valid, but the output is not right: KL divergence, nats 0.31 (threshold 0.1).
- **Tiny-MoE, 1 GPU, INT4/INT4, LGS 2, HCS ON CRASHED***: during decode, signal 11 (SIGSEGV): The worker ended without a word.
- **device host**: GPUs counts devices that the CPU pretends to be; no GPU took part.
- **Repetitions**: each figure is of all n = 3 repetitions, warm-ups excluded: speeds are tokens over time, TTFT is the mean. Largest spread of a row (standard deviation / mean): prefill 23.2 %, decode 22.2 %.
)md");
}

TEST(Markdown, WhatVariesIsAColumnAfterHcs) {
  auto runs = example_runs();
  runs.pop_back();
  runs[1].run.parameters.kv_cache = "fp8";
  runs[1].run.parameters.prompt_tokens = 1024;
  runs[1].run.environment = nullptr;
  MarkdownOptions options;
  options.log_directory = "runs";
  options.heading = options.legend = options.notes = false;
  const std::string page = export_markdown(runs, options);
  EXPECT_THAT(page, HasSubstr("| LGS | HCS | KV cache | Prompt (tokens) | Machine | Prefill (tok/s) |"));
  EXPECT_THAT(page, HasSubstr("|----:|-----|----------|----------------:|---------|----------------:|"));
  EXPECT_THAT(page, HasSubstr("| OFF | BF16 | 512 | EPYC, 64 GiB | 997.4 |"));
  EXPECT_THAT(page, HasSubstr("| multi | FP8 | 1024 | – | 2048.0 |"));
  EXPECT_THAT(page, HasSubstr("| [log](runs/bbbbbbbb-0000-4000-8000-000000000002.log) |"));
  EXPECT_THAT(page, ::testing::StartsWith("Config: 64 decoded, 1 warm-up, 3 repetitions, INT8 attention"));
  EXPECT_THAT(page, Not(HasSubstr("###")));
}

// What a run does not have differs from nothing; what is as usual needs no words.
TEST(Markdown, AParameterThatDoesNotApplyNeverVaries) {
  auto runs = example_runs();
  runs[0].run.parameters.hcs_policy = "adaptive";  // without a cache
  runs[1].run.parameters.group_size = 32;
  RunParameters& without_groups = runs[2].run.parameters;
  without_groups.gpu_format = without_groups.cpu_format = without_groups.attention_format = "bf16";
  without_groups.dense_mlp_format = without_groups.lm_head_format = "bf16";
  const std::string page = export_markdown(runs);
  EXPECT_THAT(page, HasSubstr("| Group size |"));
  EXPECT_THAT(page, HasSubstr("| CRASHED* |"));
  EXPECT_THAT(page, Not(HasSubstr("HCS policy")));
  runs[0].run.parameters.group_size = 32;
  EXPECT_THAT(export_markdown(runs), HasSubstr(", group size 32,")) << "all that have groups have this one";
  for (RunSummary& run : runs) run.run.parameters.numa = "shards";
  EXPECT_THAT(export_markdown(runs), HasSubstr(", NUMA shards,"));
}

TEST(Markdown, SpreadSyntheticAndTooFewRepetitions) {
  RunRecord run = example_record();
  run.model.synthetic = true;
  run.verdict.verdict = Verdict::None;
  const RunSummary two = summarize(run, {timed(0, 0.5, 0.51, 6.4), timed(1, 0.64, 0.65, 8)});
  MarkdownOptions options;
  options.spread = true;
  options.date = "2026-03-01";
  const std::string page = export_markdown(std::vector{two}, options);
  EXPECT_THAT(page, HasSubstr("## Benchmarks — 2026-03-01\n"));
  // 1024 and 800 tok/s: 1,024 tokens in 1.14 s, deviation 112 * sqrt(2)
  EXPECT_THAT(page,
              HasSubstr("| Tiny-MoE (synthetic) | 1 | INT4/INT4 | 2 | OFF | 898.2 ± 158.4 | 0.58 ± 0.10 | 8.89 ± 1.41 "
                        "| 112.5 ± 17.7 | DONE |"));
  EXPECT_THAT(page, HasSubstr("- **n too small**"));
  EXPECT_THAT(page, HasSubstr("- **(synthetic)**"));
  EXPECT_THAT(page, HasSubstr("- **DONE**"));
}

TEST(Markdown, NotesAppearOnlyWhenNeeded) {
  RunRecord run = example_record();
  run.parameters.device = "cuda";
  const std::string page = export_markdown(std::vector{summarize(run, steady())});
  EXPECT_THAT(page, HasSubstr(", device cuda,"));
  for (const char* text : {"pretends", "synthetic", "n too small", "DONE", "FAIL", "outlier", "operations"}) {
    EXPECT_THAT(page, Not(HasSubstr(text)));
  }
  auto slow_start = steady();
  slow_start.push_back(timed(3, 0.25, 0.26, 4));
  slow_start[0].decode_s = 8;
  EXPECT_THAT(export_markdown(std::vector{summarize(run, slow_start)}), HasSubstr("first repetition is an outlier"));
}

TEST(Markdown, AThrottledRunSaysSo) {
  RunRecord record = example_record();
  record.telemetry_json = R"({"gpus":[{"throttled":{}},{"throttled":{"power cap":0.4}}]})";
  const std::string page = export_markdown(std::vector{summarize(record, steady())});
  EXPECT_THAT(page, HasSubstr("| PASS, throttled* |"));
  EXPECT_THAT(page, HasSubstr("throttled***: the GPU was slower than its settings allow: power cap in 40 % of the samples."));
  EXPECT_THAT(export_markdown(std::vector{summarize(example_record(), steady())}), Not(HasSubstr("throttled")));
}

TEST(Markdown, ADisturbedRunIsMarked) {
  RunRecord record = example_record();
  record.disturbance = "krasis chat (process 7, user id 0) computed meanwhile: 3.1 s of CPU time in 9.0 s.";
  const std::string page = export_markdown(std::vector{summarize(record, steady())});
  EXPECT_THAT(page, HasSubstr("| PASS, disturbed* |"));
  EXPECT_THAT(
      page,
      HasSubstr("disturbed***: the machine was not this run's alone: krasis chat (process 7, user id 0) computed"));
  EXPECT_THAT(export_markdown(std::vector{summarize(example_record(), steady())}), Not(HasSubstr("disturbed")));
}

TEST(Markdown, EveryEndOfARun) {
  const std::pair<RunStatus, const char*> cases[] = {{RunStatus::Failed, "| FAILED* |"},
                                                     {RunStatus::OutOfMemory, "| OUT OF MEMORY* |"},
                                                     {RunStatus::Cancelled, "| CANCELLED |"},
                                                     {RunStatus::Queued, "| QUEUED |"},
                                                     {RunStatus::Running, "| RUNNING |"}};
  for (const auto& [status, cell] : cases) {
    RunRecord run = example_record();
    run.status = status;
    EXPECT_THAT(export_markdown(std::vector{summarize(run, {})}), HasSubstr(cell));
  }
  EXPECT_EQ(export_markdown({}), "## Benchmarks\n\nNo runs.\n");
}

TEST(Markdown, TextThatWouldBreakTheTable) {
  EXPECT_EQ(escape_markdown("a|b\nc\r\nd"), "a\\|b c  d");
  EXPECT_EQ(escape_markdown("<img src=x> & `code` *b* [l](u) \\"),
            "&lt;img src=x&gt; &amp; \\`code\\` \\*b\\* \\[l\\](u) \\\\");
  RunRecord run = example_record();
  run.model.name = "evil|name\n| row |";
  run.failure.cause = "one\n\n## two";
  run.status = RunStatus::Failed;
  const std::string page = export_markdown(std::vector{summarize(run, {})});
  EXPECT_THAT(page, HasSubstr("| evil\\|name \\| row \\| | 1 |"));
  EXPECT_THAT(page, Not(HasSubstr("\n## two")));
}

struct CommaNumbers : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

TEST(Markdown, NumbersDoNotDependOnTheLocale) {
  const std::string before = export_markdown(example_runs());
  const std::locale old = std::locale::global(std::locale(std::locale(), new CommaNumbers));
  const std::string c_locale = std::setlocale(LC_ALL, nullptr);
  for (const char* name : {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE.utf8"}) {
    if (std::setlocale(LC_ALL, name) != nullptr) break;
  }
  const std::string during = export_markdown(example_runs());
  std::setlocale(LC_ALL, c_locale.c_str());
  std::locale::global(old);
  EXPECT_EQ(during, before);
}

}  // namespace
}  // namespace krasis::results
