#include "engine/bench/session.h"

#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "engine/bench/prompt.h"
#include "engine/runtime/setup.h"
#include "engine/system/resident_memory.h"

namespace krasis {
namespace {

constexpr int kHeatmapTokens = 2048;

Expected<std::string> read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return fail(ErrorCode::NotFound, "The held-out text " + path.string() + " cannot be read.",
                "Set KRASIS_RESOURCES to the folder that holds prompts/heldout.txt.");
  }
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

bool same_engine(const RunConfiguration& loaded, const RunConfiguration& wanted) {
  RunConfiguration aligned = loaded;
  aligned.prompt_tokens = wanted.prompt_tokens;
  aligned.decode_tokens = wanted.decode_tokens;
  aligned.warmups = wanted.warmups;
  aligned.repetitions = wanted.repetitions;
  aligned.temperature = wanted.temperature;
  aligned.top_k = wanted.top_k;
  aligned.top_p = wanted.top_p;
  aligned.min_p = wanted.min_p;
  aligned.repetition_penalty = wanted.repetition_penalty;
  aligned.seed = wanted.seed;
  return aligned == wanted;
}

Expected<Session> load_session(const RunConfiguration& configuration, const Resources& resources,
                               const std::filesystem::path& cache_directory,
                               const std::function<void(const LoadProgress&)>& progress, std::stop_token stop,
                               std::shared_ptr<const PackedModel> packed) {
  Session session;
  session.configuration = configuration;
  reset_peak_resident();
  KRASIS_TRY(session.text, read_text(resources.held_out_text()));
  EngineOptions options;
  options.embedded_model = resources.embedded_model();
  options.cache_directory = cache_directory;
  options.progress = progress;
  options.stop = stop;
  options.packed = std::move(packed);

  const std::filesystem::path folder = model_folder(configuration.model, options.embedded_model);
  const bool synthetic = configuration.model.starts_with("synthetic:");
  if (!synthetic) {
    KRASIS_TRY(session.tokenizer, Tokenizer::load(folder / "tokenizer.json", folder / "tokenizer_config.json"));
    if (const std::string& source = session.tokenizer->config().chat_template; !source.empty()) {
      KRASIS_TRY(session.chat_template, ChatTemplate::parse(source));
    }
  }
  if (configuration.hcs != HotCache::Off) {
    const int tokens = std::min(kHeatmapTokens, configuration.max_context);
    if (synthetic) {
      KRASIS_TRY(const ModelSpec model, load_model_spec(folder));
      options.heatmap_tokens = random_prompt(model.vocabulary, tokens, 1).tokens;
    } else {
      KRASIS_TRY(options.heatmap_tokens, session.tokenizer->encode(session.text, false));
      // The end of the text, so that the heatmap is not measured on the prompt itself.
      auto& all = options.heatmap_tokens;
      if (all.size() > static_cast<std::size_t>(tokens)) all.erase(all.begin(), all.end() - tokens);
    }
  }
  KRASIS_TRY(session.engine, Engine::load(configuration, options));
  return session;
}

protocol::ModelFacts Session::model_facts() const {
  const PackedModel& model = engine->model();
  // Tables add "(synthetic)" themselves, from the flag.
  constexpr std::string_view kSuffix = " (synthetic)";
  std::string name = model.spec.name;
  if (model.spec.synthetic && name.ends_with(kSuffix)) name.resize(name.size() - kSuffix.size());
  if (configuration.model == "embedded") name = configuration.model;  // not the name of the folder that it lies in
  return {model.fingerprint, name, model.spec.model_type, model_summary(model.spec), model.spec.synthetic};
}

std::string Session::plan_json() const {
  const Plan& plan = engine->plan();
  nlohmann::json places = nlohmann::json::array();
  std::size_t host_bytes = 0;  // the host device pretends its devices' memory
  for (const PlaceReport& row : engine->memory_report()) {
    places.push_back({{"device", row.device},
                      {"place", row.place},
                      {"planned_bytes", row.planned_bytes},
                      {"high_water_bytes", row.high_water_bytes}});
    if (row.device < 0 || configuration.device == "host") host_bytes += row.planned_bytes;
  }
  return nlohmann::json{{"places", places},
                        {"host_planned_bytes", host_bytes},
                        {"host_peak_bytes", peak_resident_bytes().value_or(0)},
                        {"prefill_copy_bytes", plan.prefill_copy_bytes},
                        {"decode_bytes_per_token", plan.decode_bytes_per_token},
                        {"decode_copy_bytes_per_token", plan.decode_copy_bytes_per_token},
                        {"predicted_prefill_s", plan.predicted_prefill_s},
                        {"predicted_decode_s_per_token", plan.predicted_decode_s_per_token},
                        {"cached_experts", plan.cached_experts}}
      .dump();
}

}  // namespace krasis
