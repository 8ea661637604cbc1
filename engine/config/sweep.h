#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/config/run_configuration.h"

namespace krasis {

/// The values that one parameter takes, as Parameter::text writes them.
struct SweepAxis {
  std::string parameter;
  std::vector<std::string> values;
  bool operator==(const SweepAxis&) const = default;
};

/// A combination that is left out: every run in which all of these parameters have these values.
using SweepExclusion = std::vector<std::pair<std::string, std::string>>;

enum class SweepOrder : std::uint8_t {
  Interleaved,  ///< runs are shuffled (always alike), so that drift of the machine does not follow an axis
  Sequential,   ///< the last axis changes fastest
};

/// Many runs, described once. As TOML:
///
///     title = "LGS and HCS"
///     order = "interleaved"
///     timeout_s = 600            # of each run; 0: none
///     [base]
///     prompt_tokens = 512
///     [axes]
///     lgs = "1..4*2"             # a text as people type values, or an array
///     hcs = ["off", "on"]
///     [[exclude]]
///     lgs = 4
///     hcs = "on"
///
/// Warm-ups and repetitions are parameters of `base`.
struct Sweep {
  std::string title = "Sweep";
  RunConfiguration base;
  std::vector<SweepAxis> axes;  ///< in the order of the file
  std::vector<SweepExclusion> exclude;
  SweepOrder order = SweepOrder::Sequential;
  double timeout_s = 0;

  bool operator==(const Sweep&) const = default;
};

inline constexpr std::size_t kMaxSweepRuns = 10000;

/// Reads a sweep's TOML text. InvalidArgument for unknown keys (with the nearest parameter), parameters that are no
/// axis, values out of range, exclusions that name what is not there; Corrupt for text that is no TOML. Every cause
/// names the key.
Expected<Sweep> sweep_from_toml(std::string_view text);
/// The same from a file of at most 4 MiB; the cause names it. NotFound, Io.
Expected<Sweep> load_sweep(const std::filesystem::path& file);
/// What sweep_from_toml reads back as the same sweep; of `base` only what differs from the defaults.
std::string to_toml(const Sweep& sweep);

/// All runs, each once, in the order they should be run in; always the same for the same sweep. InvalidArgument when
/// there are more than kMaxSweepRuns or exclusions leave none. Configurations that cannot be (validate()) are kept: the
/// caller shows why.
Expected<std::vector<RunConfiguration>> expand(const Sweep& sweep);

}  // namespace krasis
