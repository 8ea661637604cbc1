#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/config/run_configuration.h"

namespace krasis::compare {

struct ModelCase {
  std::string name;
  std::string source;        ///< as RunConfiguration::model has it
  int vocabulary = 0;        ///< tokens are drawn below it
  int group_sizes[2] = {};   ///< that divide its matrices' columns
  double synthetic_skew = 0;
};

/// The embedded model, the checkpoints of tests/goldens below `root` (the repository's), and synthetic ones whose
/// config.json are written to `scratch`.
std::vector<ModelCase> models(const std::filesystem::path& root, const std::filesystem::path& scratch);

struct Case {
  std::string name;
  RunConfiguration configuration;  ///< of device, operations and model as for every case
  int prompt_tokens = 0;
};

/// Configurations in which any two values of any two choices (precisions, placements, paths, ...) meet at least once;
/// with `all`, every combination (hours). Any of them may be refused by the engine: then with the same error.
std::vector<Case> cases(const ModelCase& model, bool all);

}  // namespace krasis::compare
