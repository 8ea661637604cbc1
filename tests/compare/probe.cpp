// Writes what this tree computes into a file, or says in what two such files differ. tests/compare_builds.sh builds it
// in two trees, so it uses only what changes seldom: load_packed_model, reference_logits, Engine. What has changed
// between two trees is told apart by `if constexpr (requires ...)` or __has_include, so that one source serves both.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#if __has_include("engine/placement/layer_groups.h")
#include "engine/placement/layer_groups.h"
#endif
#if __has_include("engine/runtime/reference.h")
#include "engine/runtime/reference.h"
#elif __has_include("engine/layers/reference.h")
#include "engine/layers/reference.h"
#else
#include "engine/model/reference.h"
#endif
#include "engine/runtime/engine.h"
#include "engine/runtime/setup.h"
#include "engine/weights/packed_model.h"
#include "tests/compare/cases.h"
#include "tests/compare/records.h"
#ifdef KRASIS_HAVE_EMULATION
#include "tests/compare/emulated.h"
#endif

namespace krasis::compare {
namespace {

struct Options {
  std::filesystem::path root, scratch, file;
  std::string device = "host";
  std::string only;      ///< models whose names contain it
  std::size_t every = 1; ///< every n-th configuration
  bool all = false;      ///< all combinations instead of all pairs
};

constexpr int kDecoded = 10;  ///< teacher-forced tokens behind a prompt, and as many greedy ones

std::vector<std::int32_t> text_of(std::size_t count, int vocabulary, std::uint64_t seed) {
  std::vector<std::int32_t> tokens;
  while (tokens.size() < count) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    tokens.push_back(static_cast<std::int32_t>((seed >> 33) % static_cast<std::uint64_t>(vocabulary)));
  }
  return tokens;
}

std::string refusal(const Error& error) {
  return "refused: " + std::to_string(static_cast<int>(error.code)) + " " + error.message();
}

/// Packed models by what they depend on.
class Weights {
 public:
  explicit Weights(const ModelCase& model) : model_(model) {}
  Expected<std::shared_ptr<const PackedModel>> get(const Precision& p, const std::filesystem::path& cache = {}) {
    auto& kept = kept_[name(p)];
    if (kept && cache.empty()) return kept;
    LoadOptions options;
    options.cache_directory = cache;
    options.synthetic_skew = model_.synthetic_skew;
    KRASIS_TRY(PackedModel loaded, load_packed_model(model_.source, p, options));
    kept = std::make_shared<const PackedModel>(std::move(loaded));
    return kept;
  }
  static std::string name(const Precision& p) {
    std::string text;
    for (const Element e : {p.gpu_experts, p.cpu_experts, p.attention, p.dense_mlp, p.lm_head}) {
      text += std::to_string(static_cast<int>(e)) + "/";
    }
    return "elements " + text + " group " + std::to_string(p.group_size);
  }

 private:
  const ModelCase& model_;
  std::map<std::string, std::shared_ptr<const PackedModel>> kept_;
};

void record_regions(Recorder& out, const std::string& prefix, const PackedModel& model) {
  for (const HostRegion* region : {&model.dense, &model.gpu_experts, &model.cpu_experts}) {
    if (region->bytes() == 0 && region->data() == nullptr) continue;
    out.add_hashes(prefix + "packed " + region->name(), region->data(), region->bytes());
  }
  out.add(prefix + "fingerprint", model.fingerprint);
}

/// The packed copy on disk, as this tree writes it; what it remembers of fingerprints has times in it.
void record_copy(Recorder& out, const std::string& prefix, const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file() && entry.path().extension() == ".packed") files.push_back(entry.path());
  }
  if (files.size() != 1) return out.add(prefix + "packed copy", std::to_string(files.size()) + " files");
  std::ifstream in(files.front(), std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(in)), {});
  out.add(prefix + "packed copy's name", files.front().filename().string());
  out.add_hashes(prefix + "packed copy", reinterpret_cast<const std::byte*>(bytes.data()), bytes.size());
}

void record_reference(Recorder& out, const std::string& prefix, const ModelCase& model, const PackedModel& weights) {
  const auto tokens = text_of(24, model.vocabulary, 3);
  const std::vector<std::int32_t> positions{0, 1, 9, 15, 16, 23};
  const auto on_gpu = [](int layer, int expert, int position) { return position < 16 || (layer + expert) % 2 == 0; };
  for (const KvElement kv : {KvElement::Bf16, KvElement::Fp8}) {
    const std::string name = prefix + (kv == KvElement::Bf16 ? "logits, kv bf16" : "logits, kv fp8");
    const auto logits = reference_logits(weights, kv, tokens, positions, on_gpu);
    if (logits) {
      out.add(name, std::span<const float>(*logits));
    } else {
      out.add(name, refusal(logits.error()));
    }
  }
}

/// Packed bytes and reference logits of every precision that the cases have, and of MXFP4.
void record_weights(Recorder& out, const ModelCase& model, const std::vector<Case>& cases, Weights& weights,
                    const std::filesystem::path& scratch) {
  constexpr Element kMxfp4 = Element::Mxfp4;
  std::vector<Precision> precisions{{kMxfp4, kMxfp4, kMxfp4, kMxfp4, kMxfp4, 32}};
  for (const Case& c : cases) precisions.push_back(precision_of(c.configuration));
  std::set<std::string> seen;
  const auto copy = scratch / ("copy of " + model.name);
  for (const Precision& precision : precisions) {
    if (!seen.insert(Weights::name(precision)).second) continue;
    const std::string prefix = "|" + Weights::name(precision) + "|";
    const bool with_copy = seen.size() == 2 && !model.source.starts_with("synthetic:");
    const auto loaded = weights.get(precision, with_copy ? copy : std::filesystem::path());
    if (!loaded) {
      out.add(model.name + "|load" + prefix + "refusal", refusal(loaded.error()));
      continue;
    }
    record_regions(out, model.name + "|load" + prefix, **loaded);
    if (with_copy) record_copy(out, model.name + "|load" + prefix, copy);
    record_reference(out, model.name + "|reference" + prefix, model, **loaded);
  }
}

void record_evaluation(Recorder& out, const std::string& prefix, Engine& engine, const ModelCase& model, int prompt) {
  const auto tokens = text_of(static_cast<std::size_t>(prompt + kDecoded), model.vocabulary, 9);
  EvaluationOptions options{.prefill_tokens = prompt, .record_picks = true};
  for (const int position : {0, prompt / 3, prompt / 2, prompt - 1, prompt, prompt + 1, prompt + kDecoded - 1}) {
    if (options.positions.empty() || position > options.positions.back()) options.positions.push_back(position);
  }
  const auto result = engine.evaluate(tokens, options);
  if (!result) return out.add(prefix + "logits, prefill", refusal(result.error()));
  const std::span<const float> logits(result->logits);
  const std::size_t vocabulary = logits.size() / options.positions.size();
  out.add(prefix + "logits, prefill", logits.first((options.positions.size() - 3) * vocabulary));
  out.add(prefix + "logits, decode", logits.last(3 * vocabulary));
  out.add(prefix + "picks", std::span<const std::int32_t>(result->picks.ids));
  out.add(prefix + "pick weights", std::span<const float>(result->picks.weights));
}

void record_text(Recorder& out, const std::string& prefix, const std::string& what, Engine& engine,
                 std::span<const std::int32_t> prompt) {
  const auto text = engine.generate(prompt, {.max_new_tokens = kDecoded, .ignore_end_of_text = true}, {});
  if (!text) return out.add(prefix + what, refusal(text.error()));
  out.add(prefix + what, std::span<const std::int32_t>(text->tokens));
  std::vector<std::int64_t> use = text->cache.hits;
  use.insert(use.end(), text->cache.misses.begin(), text->cache.misses.end());
  use.insert(use.end(), text->cache.layers_by_misses.begin(), text->cache.layers_by_misses.end());
  use.push_back(static_cast<std::int64_t>(text->path));
  out.add(prefix + "cache use, " + what, std::span<const std::int64_t>(use));
  std::vector<std::int64_t> changes;
  for (const CacheChange& change : engine.cache_changes()) {
    changes.insert(changes.end(), {change.step, change.expert, change.cached ? 1 : 0});
  }
  out.add(prefix + "cache changes", std::span<const std::int64_t>(changes));
}

void record_engine(Recorder& out, const std::string& prefix, Engine& engine, const ModelCase& model, const Case& c) {
  out.add(prefix + "cached experts", std::span<const int>(engine.cached_experts()));
  record_evaluation(out, prefix, engine, model, c.prompt_tokens);
  const auto prompt = text_of(static_cast<std::size_t>(c.prompt_tokens), model.vocabulary, 11);
  record_text(out, prefix, "greedy", engine, prompt);
  RunConfiguration sampling = c.configuration;
  sampling.temperature = 0.9;
  sampling.top_k = 50;
  sampling.top_p = 0.95;
  sampling.min_p = 0.01;
  sampling.repetition_penalty = 1.1;
  sampling.seed = 5;
  engine.set_sampling(sampling);
  const auto text = engine.generate(prompt, {.max_new_tokens = kDecoded, .ignore_end_of_text = true}, {});
  if (text) out.add(prefix + "sampled", std::span<const std::int32_t>(text->tokens));
}

struct Counts {
  std::size_t compared = 0, refused = 0;
};

/// @return whether this machine has the set
bool record_set(Recorder& out, const std::string& set, const ModelCase& model, const std::vector<Case>& cases,
                Weights& weights, std::set<std::string>& accepted) {
  Counts counts;
  for (const Case& c : cases) {
    RunConfiguration configuration = c.configuration;
    configuration.device = set == "cuda" ? "cuda" : "host";
    configuration.operations = set == "cuda" ? "simd" : set;
    const std::string prefix = model.name + "|" + set + "|" + c.name + "|";
    EngineOptions options;
    options.heatmap_tokens = text_of(64, model.vocabulary, 7);
    if (const auto packed = weights.get(precision_of(configuration))) options.packed = *packed;
    const auto engine = Engine::load(configuration, options);
    const bool first = counts.compared + counts.refused == 0;
    if (first && !engine && engine.error().code == ErrorCode::Unsupported) {
      std::fprintf(stderr, "%s: %s\n", set.c_str(), engine.error().message().c_str());
      return false;
    }
    if (!engine) {
      out.add(prefix + "refusal", refusal(engine.error()));
      ++counts.refused;
      continue;
    }
    accepted.insert(c.name);
    record_engine(out, prefix, **engine, model, c);
    ++counts.compared;
  }
  std::fprintf(stderr, "%s, %s: %zu configurations, %zu refused\n", model.name.c_str(), set.c_str(),
               counts.compared + counts.refused, counts.refused);
  if (2 * counts.refused > counts.compared) std::exit(2);  // the cases do not fit this tree
  return true;
}

void record_emulated([[maybe_unused]] Recorder& out, [[maybe_unused]] const ModelCase& model,
                     [[maybe_unused]] const std::vector<Case>& cases,
                     [[maybe_unused]] const std::set<std::string>& accepted) {
#ifdef KRASIS_HAVE_EMULATION
  if (model.source.starts_with("synthetic:")) return;
  for (const char* set : {"emulated avx512", "emulated amx"}) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < cases.size(); ++i) {
      const Case& c = cases[i];
      if (i % 4 != 0 || !accepted.contains(c.name)) continue;
      const std::string prefix = model.name + "|" + set + "|" + c.name + "|";
      with_emulated(set, c.configuration, [&](Engine& engine) { record_engine(out, prefix, engine, model, c); });
      ++count;
    }
    std::fprintf(stderr, "%s, %s: %zu configurations\n", model.name.c_str(), set, count);
  }
#endif
}

void record_all(const Options& options) {
  Recorder out(options.file);
  for (const ModelCase& model : models(options.root, options.scratch)) {
    if (model.name.find(options.only) == std::string::npos) continue;
    std::vector<Case> chosen;
    const std::vector<Case> known = cases(model, options.all);
    for (std::size_t i = 0; i < known.size(); i += options.every) chosen.push_back(known[i]);
    Weights weights(model);
    record_weights(out, model, chosen, weights, options.scratch);
    std::set<std::string> accepted;
    if (options.device == "cuda") {
      if (!record_set(out, "cuda", model, chosen, weights, accepted)) std::exit(2);
      continue;
    }
    for (const char* set : {"scalar", "avx2", "avx512", "amx"}) record_set(out, set, model, chosen, weights, accepted);
    record_emulated(out, model, chosen, accepted);
  }
  out.finish();
}

[[noreturn]] void usage() {
  std::fprintf(stderr,
               "compare_probe run FILE --root REPOSITORY --scratch FOLDER [--device host|cuda] [--only MODEL]"
               " [--every N] [--all]\ncompare_probe compare OLD_FILE NEW_FILE\n");
  std::exit(2);
}

Options parse(const std::vector<std::string>& arguments) {
  Options options;
  options.file = arguments[1];
  for (std::size_t i = 2; i < arguments.size(); ++i) {
    if (arguments[i] == "--all") {
      options.all = true;
      continue;
    }
    if (i + 1 == arguments.size()) usage();
    const std::string& name = arguments[i];
    const std::string& value = arguments[++i];
    if (name == "--root") options.root = value;
    else if (name == "--scratch") options.scratch = value;
    else if (name == "--device") options.device = value;
    else if (name == "--only") options.only = value;
    else if (name == "--every") options.every = std::max<std::size_t>(1, std::strtoull(value.c_str(), nullptr, 10));
    else usage();
  }
  if (options.root.empty() || options.scratch.empty()) usage();
  return options;
}

}  // namespace
}  // namespace krasis::compare

int main(int argc, char** argv) {
  using namespace krasis::compare;
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 3 && arguments[0] == "compare") return compare_files(arguments[1], arguments[2]) ? 0 : 1;
  if (arguments.size() < 2 || arguments[0] != "run") usage();
  record_all(parse(arguments));
}
