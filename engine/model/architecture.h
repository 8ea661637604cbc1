#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "engine/model/config_reader.h"
#include "engine/model/model_spec.h"

namespace krasis {

/// Which row of a checkpoint's tensor is row r of a weight:
///
///   offset + r / run * stride + r % run
///
/// The default is the row itself. A range of rows begins at `offset`; with run 1 and stride 2 every other row is taken
/// (interleaved gate and up); with run d and stride n * d the heads' parts of a fused projection are.
struct RowMap {
  std::int64_t offset = 0, run = 1, stride = 1;
  std::int64_t operator()(std::int64_t row) const { return offset + row / run * stride + row % run; }
  bool operator==(const RowMap&) const = default;
};

/// Where the numbers of a weight [rows, columns] are in a checkpoint.
struct TensorSource {
  std::string tensor;
  RowMap rows;
  std::int64_t tensor_rows = 0;  ///< that the tensor has; 0 = as many as the weight
  bool transposed = false;       ///< the tensor is [columns, tensor_rows]
  std::int64_t slice = -1;       ///< of a tensor with a dimension of `slices` in front (all experts in one); -1 = none
  std::int64_t slices = 0;
};

/// One weight of a model: its name as the layer's part declares it (engine/layers), and where it belongs.
struct WeightName {
  std::string_view slot;  ///< "attention.q_proj", "expert.down_proj", ...
  int layer = -1;         ///< -1 = none
  int expert = -1;        ///< -1 = none
};

/// A family of models: how a configuration becomes a ModelSpec, and which tensors feed its weights.
struct Architecture {
  std::string_view model_type;
  /// Reads what config.json says; model_type, name and unknown keys are the caller's. Errors name the key: Unsupported
  /// for features that are not built, InvalidArgument for absurd numbers.
  Expected<ModelSpec> (*parse)(ConfigReader& reader);
  /// The tensor of a weight in the layout of the Hugging Face Hub; an empty name for a slot that it does not know.
  TensorSource (*hub)(const ModelSpec& spec, const WeightName& name);
};

/// The families that this program runs.
std::span<const Architecture* const> architectures();

/// config.json's text as a model. Errors: Corrupt for JSON that is none, Unsupported for a model_type that `known`
/// lacks, those of Architecture::parse and check_model_spec.
Expected<ModelSpec> parse_model_spec(std::string_view json_text,
                                     std::span<const Architecture* const> known = architectures());
/// Reads `path`/config.json (and eos ids of generation_config.json if there is one); name = the directory's name.
/// `path` may also be a configuration file itself.
Expected<ModelSpec> load_model_spec(const std::filesystem::path& path,
                                    std::span<const Architecture* const> known = architectures());

/// "synthetic:PATH": a model without a checkpoint, of which only the configuration PATH is on disk.
inline constexpr std::string_view kSyntheticPrefix = "synthetic:";
/// The specification of a model as a run names it: a path, or a path behind kSyntheticPrefix, which makes it
/// `synthetic` and adds " (synthetic)" to its name.
Expected<ModelSpec> model_spec_of(const std::string& model,
                                  std::span<const Architecture* const> known = architectures());

/// What the engine needs of any model: some layer has experts, and all that do have the same ones. Unsupported.
Expected<void> check_model_spec(const ModelSpec& spec);

}  // namespace krasis
