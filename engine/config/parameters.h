#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "engine/config/run_configuration.h"

namespace krasis {

enum class ParameterType : std::uint8_t {
  Int,
  Real,
  Choice,  ///< one of `choices`
  Format,  ///< a choice, too: how numbers are stored; results show it in capitals
  Text,
};

enum class ParameterGroup : std::uint8_t { Model, Placement, Quantization, Context, Workload, Sampling, Synthetic };

/// What a parameter has an influence on; a set of bits.
struct Affects {
  static constexpr unsigned kMemory = 1, kPrefill = 2, kDecode = 4, kQuality = 8;
};

struct ParameterChoice {
  std::string_view value;  ///< as stored and typed: "int4", "off"
  std::string_view label;  ///< as shown: "INT4", "Off"
};

/// What stood for a value while a parameter had its old name.
struct OldValue {
  std::string_view old, value;  ///< "4", "int4"
};

/// A value as JSON or TOML have it: integer, real or text.
using ParameterValue = std::variant<std::int64_t, double, std::string>;

/// Whether a parameter matters in a configuration, and if not, why.
struct Applicability {
  bool applies = true;
  std::string_view reason;  ///< whole sentence when it does not apply
  explicit operator bool() const { return applies; }
};

/// Whether results keep a parameter in a column of its own (all of them stand in the configuration that is kept with a
/// run), and what is true of runs and exports from before.
struct StoredParameter {
  int since = 0;            ///< the first schema of the results database that has the column; 0: none
  std::string_view before;  ///< what the parameter was in runs of older schemas, as text
};

/// One row of the table from which the form, the command line, validation, sweep axes, columns of the results database,
/// exports, comparisons and the documentation are made.
struct Parameter {
  using Field = std::variant<int RunConfiguration::*, std::int64_t RunConfiguration::*, double RunConfiguration::*,
                             std::string RunConfiguration::*, HotCache RunConfiguration::*>;

  std::string_view name;   ///< in TOML, JSON, the database; on the command line with dashes: --hcs-share
  std::string_view label;  ///< in forms and column headings
  ParameterGroup group = ParameterGroup::Model;
  ParameterType type = ParameterType::Int;
  Field field = {};
  double minimum = 0, maximum = 0;  ///< inclusive, of Int and Real
  std::vector<ParameterChoice> choices = {};
  std::string_view old_name = {};             ///< still read: in TOML, JSON, exports, on the command line
  std::span<const OldValue> old_values = {};  ///< read besides, as text or number; only renamed_parameters() have them
  std::string_view unit = {};                 ///< "tokens", "MiB", or empty
  unsigned affects = 0;                       ///< bits of Affects
  bool sweepable = true;                      ///< may be an axis of a sweep
  Applicability (*applicability)(const RunConfiguration&) = nullptr;
  StoredParameter stored = {};
  std::string_view heading = {};  ///< of its column in results; empty: the label
  /// How a line of what runs have in common says it, with {} for the value: "{} token prompt", "{} warm-up(s)". Empty:
  /// label and value, and nothing at the default.
  std::string_view phrase = {};
  std::string (*shown)(const RunConfiguration&) = nullptr;  ///< in results, where that is not text()
  std::string_view help = {};                               ///< one sentence or two, shown as it is

  Applicability applies(const RunConfiguration& configuration) const {
    return applicability == nullptr ? Applicability{} : applicability(configuration);
  }

  ParameterValue value(const RunConfiguration& configuration) const;
  /// As typed and stored: "int4", "0.5", "multi". Reals with the fewest digits that read back as the same number.
  std::string text(const RunConfiguration& configuration) const;
  /// As shown: the label of a choice, otherwise text().
  std::string display(const RunConfiguration& configuration) const;
  /// As tables of results show it: "-" where it does not apply.
  std::string cell(const RunConfiguration& configuration) const;
  std::string_view column_heading() const { return heading.empty() ? label : heading; }
  /// The value that a default-made configuration has.
  ParameterValue default_value() const;
  std::string default_text() const;
  /// "1 to 1024", "int4, int8 or bf16"; empty for texts.
  std::string range_text() const;

  /// Sets the field from text, or from a value of the same kind (an integer will do for a real). Accepts a choice's
  /// value or label, in any case. InvalidArgument, naming the parameter and what it may be, leaves it as it was.
  Expected<void> set(RunConfiguration& configuration, std::string_view text) const;
  Expected<void> set_value(RunConfiguration& configuration, const ParameterValue& value) const;
  /// Sets the field to what a database or an export holds. Ranges are not checked, because they change: only that the
  /// field can hold the value. InvalidArgument leaves it as it was.
  Expected<void> restore(RunConfiguration& configuration, const ParameterValue& value) const;
};

/// All parameters, in the order of the form.
std::span<const Parameter> parameters();
/// Those that have a column in the results database, in the same order.
std::span<const Parameter* const> stored_parameters();
/// Those with an old name once more, as found under it: they have the new name, and read old values, too.
std::span<const Parameter> renamed_parameters();
/// By its name or its old name; null if there is none. '-' counts as '_'.
const Parameter* find_parameter(std::string_view name);
/// The same for a key of a file or message, where '-' is no '_'.
const Parameter* parameter_of_key(std::string_view key);
/// The name that is most like `name`, for "did you mean"; empty when none is similar.
std::string_view nearest_parameter(std::string_view name);
/// An InvalidArgument for a name that no parameter has, with nearest_parameter in its remedy.
Error unknown_parameter(std::string_view name);

std::string_view name_of(ParameterGroup group);  ///< "Placement"
std::string_view name_of(HotCache hcs);          ///< "off", "on", "multi"

/// The GPUs that RunConfiguration::gpus names; none for "all". InvalidArgument for anything else but different numbers
/// from 0 with commas between them.
Expected<std::vector<int>> gpu_indices(std::string_view text);

/// Something that a configuration cannot be, at the parameter under which a form shows it.
struct Problem {
  std::string_view parameter;  ///< its name
  Error error;
};

/// Everything that is wrong with a configuration as far as it can be told without model and machine
/// (engine/placement/plan.h has the same with both). Empty: nothing.
std::vector<Problem> validate(const RunConfiguration& configuration);

/// The values of one sweep axis as people type them: `2,4,8`, `1..8`, with a step `16..64+16` (or `16..64:16`), with a
/// factor `1..16*2`, or a mixture; in order, each once, as Parameter::text writes them. Errors: a value that the
/// parameter does not take, nothing, a range of a choice or text, one that never ends, or more than `limit` values.
Expected<std::vector<std::string>> parse_values(const Parameter& parameter, std::string_view text,
                                                std::size_t limit = 1000);

}  // namespace krasis
