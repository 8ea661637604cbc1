// krasis_prefill_benchmark [DEVICE [MODEL [MOST_TOKENS]]]
// One model, synthetic weights, INT4 in groups of 128, 16 GiB of each device ("cuda" or "host"):
//  - time to the first token of short prompts by each path, and the threshold that the engine measured;
//  - time to the first token of 32, 64, ... MOST_TOKENS tokens, the path chosen by the engine;
//  - prefill and decode with attention resident and streamed.
// Default model: the shape of Qwen3-30B-A3B. The best of three; ends with 1 on errors.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engine/runtime/engine.h"

namespace krasis {
namespace {

struct Timing {
  double prefill_s = 1e9, token_s = 1e9;
  std::size_t copied_bytes = 0;
  PrefillPath path = PrefillPath::Stream;
};

Expected<Timing> time_text(Engine& engine, std::int64_t tokens, std::optional<PrefillPath> path, int new_tokens = 1) {
  std::vector<std::int32_t> prompt(static_cast<std::size_t>(tokens));
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    prompt[i] = static_cast<std::int32_t>((i + 1) * 7919 % static_cast<std::size_t>(engine.model().spec.vocabulary));
  }
  Timing best;
  for (int repetition = 0; repetition < 3; ++repetition) {
    KRASIS_TRY(const Generation text, engine.generate(prompt, {.max_new_tokens = new_tokens, .path = path, .ignore_end_of_text = true}, {}));
    best.prefill_s = std::min(best.prefill_s, text.prefill_s);
    best.copied_bytes = text.prefill_copied_bytes;
    best.path = text.path;
    double sum = 0;
    for (const double seconds : text.token_s) sum += seconds;
    if (!text.token_s.empty()) best.token_s = std::min(best.token_s, sum / static_cast<double>(text.token_s.size()));
  }
  return best;
}

Expected<void> short_prompts(Engine& engine, std::int64_t most) {
  fmt::print("tokens      cpu   picked   stream   ms;  picked copies\n");
  for (std::int64_t tokens = 1; tokens <= std::min<std::int64_t>(kMostPickedPrompt, most); tokens *= 2) {
    std::string cpu = "-";
    if (tokens <= kMostCpuPrompt) {
      KRASIS_TRY(const Timing timing, time_text(engine, tokens, PrefillPath::Cpu));
      cpu = fmt::format("{:.1f}", 1e3 * timing.prefill_s);
    }
    KRASIS_TRY(const Timing picked, time_text(engine, tokens, PrefillPath::Picked));
    KRASIS_TRY(const Timing stream, time_text(engine, tokens, PrefillPath::Stream));
    fmt::print("{:6} {:>8} {:8.1f} {:8.1f}       {:.2f} of {:.2f} GB, {:.1f} GB/s; {} is taken\n", tokens, cpu, 1e3 * picked.prefill_s,
               1e3 * stream.prefill_s, static_cast<double>(picked.copied_bytes) * 1e-9, static_cast<double>(stream.copied_bytes) * 1e-9,
               static_cast<double>(picked.copied_bytes) * 1e-9 / picked.prefill_s, name_of(engine.prefill_path(static_cast<std::size_t>(tokens))));
    std::fflush(stdout);
  }
  return {};
}

Expected<void> lengths(Engine& engine, std::int64_t most) {
  fmt::print("tokens  first token  of the length before\n");
  double before = 0;
  for (std::int64_t tokens = 32; tokens <= most; tokens *= 2) {
    KRASIS_TRY(const Timing timing, time_text(engine, tokens, std::nullopt));
    fmt::print("{:6}  {:8.1f} ms  {:5.2f}  {}\n", tokens, 1e3 * timing.prefill_s, before > 0 ? timing.prefill_s / before : 1.0, name_of(timing.path));
    std::fflush(stdout);
    before = timing.prefill_s;
  }
  return {};
}

Expected<void> attention(Engine& engine, std::int64_t tokens) {
  const RunConfiguration& c = engine.configuration();
  KRASIS_TRY(const Timing timing, time_text(engine, tokens, PrefillPath::Stream, 33));
  fmt::print("{} attention: {} tokens {:.1f} ms ({:.0f} tok/s, {:.1f} GB/s); decode {:.2f} ms ({:.1f} tok/s), predicted copies {:.2f} GB a token\n",
             c.attention, tokens, 1e3 * timing.prefill_s, static_cast<double>(tokens) / timing.prefill_s,
             static_cast<double>(timing.copied_bytes) * 1e-9 / timing.prefill_s, 1e3 * timing.token_s, 1 / timing.token_s,
             static_cast<double>(engine.plan().decode_copy_bytes_per_token) * 1e-9);
  std::fflush(stdout);
  return {};
}

Expected<void> run(const std::string& device, const std::string& model, int most) {
  RunConfiguration c;
  c.device = device;
  c.model = model;
  c.vram_budget_mib = 16384;
  c.kv_cache = "fp8";
  c.max_context = most + 128;
  c.chunk_tokens = 5120;
  c.prompt_tokens = std::min(most, 10000);
  c.decode_tokens = 32;
  const std::int64_t middle = c.prompt_tokens;
  KRASIS_TRY(auto engine, Engine::load(c, {}));
  KRASIS_CHECK(short_prompts(*engine, most));
  KRASIS_CHECK(attention(*engine, middle));
  KRASIS_CHECK(lengths(*engine, most));
  EngineOptions options;
  options.packed = engine->shared_model();
  engine.reset();
  c.attention = "streamed";
  c.prefill_path = "stream";
  KRASIS_TRY(const auto streamed, Engine::load(c, options));
  return attention(*streamed, middle);
}

}  // namespace
}  // namespace krasis

int main(int argc, char** argv) {
  const std::string model = argc > 2 ? argv[2] : KRASIS_SHAPES "/qwen3-30b-a3b";
  const auto done = krasis::run(argc > 1 ? argv[1] : "cuda", "synthetic:" + model, argc > 3 ? std::atoi(argv[3]) : 32768);
  if (!done) fmt::print("{}\n", done.error().message());
  return done ? 0 : 1;
}
