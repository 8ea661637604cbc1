#include "engine/model/architecture.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <system_error>

#include "engine/model/families/families.h"
#include "engine/model/families/keys.h"

namespace krasis {
namespace {

using Json = nlohmann::json;

constexpr std::uintmax_t kMaxFileBytes = 16 << 20;
constexpr const Architecture* kArchitectures[] = {&kQwen3Moe};

void add_tokens(std::vector<std::int32_t>& tokens, const std::vector<std::int64_t>& more) {
  for (const std::int64_t token : more) {
    const auto id = static_cast<std::int32_t>(token);
    if (std::find(tokens.begin(), tokens.end(), id) == tokens.end()) tokens.push_back(id);
  }
}

Expected<std::string> read_small_file(const std::filesystem::path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) {
    return fail(ErrorCode::NotFound, path.string() + " cannot be read: " + error.message() + ".",
                "Choose a folder in Hugging Face layout, with config.json in it.");
  }
  if (size > kMaxFileBytes) {
    return fail(ErrorCode::Corrupt, path.string() + " is larger than a configuration can be.", "Download it again.");
  }
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file) return fail(ErrorCode::Io, path.string() + " cannot be read.", "Check the file's permissions.");
  return text;
}

std::string model_types(std::span<const Architecture* const> known) {
  std::string text;
  for (std::size_t i = 0; i < known.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == known.size() ? " or " : ", ") + std::string(known[i]->model_type);
  }
  return text;
}

}  // namespace

std::span<const Architecture* const> architectures() {
  return kArchitectures;
}

tl::unexpected<Error> no_experts() {
  return fail(ErrorCode::Unsupported, "config.json: no layer of this model has experts.",
              "Choose a mixture-of-experts model.");
}

Expected<void> check_model_spec(const ModelSpec& spec) {
  if (spec.expert_layers() == 0) return no_experts();
  for (const LayerSpec& layer : spec.layers) {
    const auto* routed = std::get_if<RoutedExperts>(&layer.feed_forward);
    if (routed == nullptr || *routed == spec.routed()) continue;
    return fail(ErrorCode::Unsupported, "config.json: the experts of this model's layers differ in number or size.",
                "Choose a model whose layers with experts are alike.");
  }
  return {};
}

Expected<ModelSpec> parse_model_spec(std::string_view json_text, std::span<const Architecture* const> known) {
  KRASIS_TRY(const Json json, parse_json_object(json_text, "config.json"));
  ConfigReader reader(json);
  KRASIS_TRY(const std::string model_type, reader.text("model_type", ""));
  const auto architecture = std::ranges::find(known, model_type, &Architecture::model_type);
  if (architecture == known.end()) {
    return fail(ErrorCode::Unsupported, "config.json: model_type \"" + model_type + "\" is not supported.",
                "Choose a model of type " + model_types(known) + ".");
  }
  KRASIS_TRY(ModelSpec spec, (*architecture)->parse(reader));
  spec.architecture = *architecture;
  spec.model_type = model_type;
  KRASIS_CHECK(check_model_spec(spec));
  KRASIS_TRY(const auto eos, reader.integers("eos_token_id", 0, INT32_MAX));
  add_tokens(spec.eos_tokens, eos);
  keys::ignore_keys_without_effect(reader);
  for (auto& key : reader.unread()) spec.unknown_keys.push_back(std::move(key));
  return spec;
}

Expected<ModelSpec> load_model_spec(const std::filesystem::path& path, std::span<const Architecture* const> known) {
  std::error_code error;
  const bool is_file = std::filesystem::is_regular_file(path, error);
  const auto config_path = is_file ? path : path / "config.json";
  KRASIS_TRY(const std::string text, read_small_file(config_path));
  KRASIS_TRY(ModelSpec spec, parse_model_spec(text, known));
  auto full_path = std::filesystem::absolute(config_path, error).lexically_normal();
  spec.name = (full_path.filename() == "config.json" ? full_path.parent_path().filename() : full_path.stem()).string();

  const auto generation_path = config_path.parent_path() / "generation_config.json";
  if (std::filesystem::exists(generation_path, error)) {
    KRASIS_TRY(const std::string generation_text, read_small_file(generation_path));
    KRASIS_TRY(const Json generation, parse_json_object(generation_text, "generation_config.json"));
    ConfigReader reader(generation, {}, "generation_config.json");
    KRASIS_TRY(const auto eos, reader.integers("eos_token_id", 0, INT32_MAX));
    add_tokens(spec.eos_tokens, eos);
  }
  return spec;
}

Expected<ModelSpec> model_spec_of(const std::string& model, std::span<const Architecture* const> known) {
  if (!model.starts_with(kSyntheticPrefix)) return load_model_spec(model, known);
  KRASIS_TRY(ModelSpec spec, load_model_spec(model.substr(kSyntheticPrefix.size()), known));
  spec.synthetic = true;
  spec.name += " (synthetic)";
  return spec;
}

}  // namespace krasis
