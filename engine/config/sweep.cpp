#include "engine/config/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "engine/config/parameters.h"
#include "engine/config/toml_support.h"

namespace krasis {
namespace {

tl::unexpected<Error> wrong(std::string cause, std::string remedy = {}) {
  return fail(ErrorCode::InvalidArgument, std::move(cause), std::move(remedy));
}

Expected<const Parameter*> parameter_named(std::string_view name, std::string_view where) {
  if (const Parameter* parameter = parameter_of_key(name)) return parameter;
  Error error = unknown_parameter(name);
  error.cause = fmt::format("In {}: {}", where, error.cause);
  return tl::unexpected(std::move(error));
}

/// What Parameter::text gives for a TOML value.
Expected<std::string> canonical_text(const Parameter& parameter, const toml::node& node) {
  RunConfiguration scratch;
  KRASIS_TRY(const ParameterValue value, parameter_value(parameter, node));
  // As on the command line, "4" will do for a number; a number for a text will not.
  if (const auto* text = std::get_if<std::string>(&value)) {
    KRASIS_CHECK(parameter.set(scratch, *text));
  } else {
    KRASIS_CHECK(parameter.set_value(scratch, value));
  }
  return parameter.text(scratch);
}

Expected<SweepAxis> read_axis(std::string_view name, const toml::node& node) {
  KRASIS_TRY(const Parameter* parameter, parameter_named(name, "[axes]"));
  if (!parameter->sweepable) {
    return wrong(fmt::format("{} cannot be an axis of a sweep.", name), "Set it under [base].");
  }
  SweepAxis axis{std::string(parameter->name), {}};
  if (const auto* text = node.as_string()) {
    KRASIS_TRY(axis.values, parse_values(*parameter, text->get()));
    return axis;
  }
  const auto* array = node.as_array();
  if (array == nullptr) {
    return wrong(fmt::format("The axis {} is neither an array nor a text.", name), "Write [2, 4, 8] or \"2,4,8\".");
  }
  if (array->empty()) return wrong(fmt::format("The axis {} has no values.", name), "Name values or leave it out.");
  if (array->size() > 1000) return wrong(fmt::format("The axis {} has more than 1000 values.", name), "Name fewer.");
  for (const toml::node& element : *array) {
    KRASIS_TRY(std::string value, canonical_text(*parameter, element));
    if (std::find(axis.values.begin(), axis.values.end(), value) == axis.values.end()) {
      axis.values.push_back(std::move(value));
    }
  }
  return axis;
}

/// toml++ sorts keys; axes keep the order in which they are written.
std::vector<std::pair<std::string, const toml::node*>> in_order_of_the_text(const toml::table& table) {
  std::vector<std::pair<std::string, const toml::node*>> entries;
  for (const auto& [key, node] : table) entries.emplace_back(std::string(key.str()), &node);
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    const auto& x = a.second->source().begin;
    const auto& y = b.second->source().begin;
    return std::pair(x.line, x.column) < std::pair(y.line, y.column);
  });
  return entries;
}

Expected<SweepExclusion> read_exclusion(const toml::node& node) {
  const auto* table = node.as_table();
  if (table == nullptr || table->empty()) {
    return wrong("An entry of exclude names no parameter.", "Write [[exclude]] and below it lgs = 4 and so on.");
  }
  SweepExclusion exclusion;
  for (const auto& [name, value] : in_order_of_the_text(*table)) {
    KRASIS_TRY(const Parameter* parameter, parameter_named(name, "[[exclude]]"));
    KRASIS_TRY(std::string text, canonical_text(*parameter, *value));
    exclusion.emplace_back(parameter->name, std::move(text));
  }
  return exclusion;
}

Expected<const toml::table*> table_of(const toml::node& node, std::string_view key) {
  if (const auto* table = node.as_table()) return table;
  return wrong(fmt::format("{} is no table.", key), fmt::format("Write [{}] on a line of its own.", key));
}

Expected<void> read_key(Sweep& sweep, std::string_view key, const toml::node& node) {
  if (key == "title") {
    const auto* text = node.as_string();
    if (text == nullptr || text->get().empty() || text->get().size() > 500) {
      return wrong("title is no short text.", "Write title = \"...\".");
    }
    sweep.title = text->get();
  } else if (key == "order") {
    const auto order = node.value<std::string>();
    if (order != "interleaved" && order != "sequential") {
      return wrong("order must be \"interleaved\" or \"sequential\".");
    }
    sweep.order = *order == "interleaved" ? SweepOrder::Interleaved : SweepOrder::Sequential;
  } else if (key == "timeout_s") {
    const auto seconds = node.value<double>();
    if (!seconds || !(*seconds >= 0 && *seconds <= 1e7)) return wrong("timeout_s must be a number from 0 to 10000000.");
    sweep.timeout_s = *seconds;
  } else if (key == "base") {
    KRASIS_TRY(const toml::table* table, table_of(node, key));
    for (const auto& [name, value] : *table) {
      KRASIS_CHECK(parameter_named(name.str(), "[base]"));
      KRASIS_CHECK(set_from_toml(sweep.base, name.str(), value));
    }
  } else if (key == "axes") {
    KRASIS_TRY(const toml::table* table, table_of(node, key));
    for (const auto& [name, value] : in_order_of_the_text(*table)) {
      KRASIS_TRY(SweepAxis axis, read_axis(name, *value));
      sweep.axes.push_back(std::move(axis));
    }
  } else if (key == "exclude") {
    const auto* array = node.as_array();
    if (array == nullptr) return wrong("exclude is no array of tables.", "Write [[exclude]] on a line of its own.");
    if (array->size() > 10000) return wrong("There are more than 10000 exclusions.");
    for (const toml::node& element : *array) {
      KRASIS_TRY(SweepExclusion exclusion, read_exclusion(element));
      sweep.exclude.push_back(std::move(exclusion));
    }
  } else if (find_parameter(key) != nullptr) {
    return wrong(fmt::format("{} stands outside of a section.", key), "Put it under [base] or [axes].");
  } else {
    const std::string_view nearest = nearest_parameter(key);
    return wrong(fmt::format("A sweep has no \"{}\".", key.substr(0, 60)),
                 nearest.empty() ? "It has title, order, timeout_s, [base], [axes] and [[exclude]]."
                                 : fmt::format("Did you mean \"{}\", under [base] or [axes]?", nearest));
  }
  return {};
}

bool excluded(const Sweep& sweep, const RunConfiguration& configuration) {
  return std::any_of(sweep.exclude.begin(), sweep.exclude.end(), [&](const SweepExclusion& exclusion) {
    return std::all_of(exclusion.begin(), exclusion.end(), [&](const auto& entry) {
      const Parameter* parameter = find_parameter(entry.first);
      return parameter != nullptr && parameter->text(configuration) == entry.second;
    });
  });
}

/// The same order on every machine, which std::shuffle does not promise.
void shuffle(std::vector<RunConfiguration>& runs) {
  std::uint64_t state = 0x9e3779b97f4a7c15u;
  for (std::size_t i = runs.size(); i > 1; --i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    std::swap(runs[i - 1], runs[(state >> 33) % i]);
  }
}

std::string toml_value(const std::string& parameter_name, const std::string& text) {
  const Parameter* parameter = find_parameter(parameter_name);
  RunConfiguration scratch;
  if (parameter == nullptr || !parameter->set(scratch, text)) return toml_string(text);
  return toml_text(parameter->value(scratch));
}

}  // namespace

Expected<Sweep> sweep_from_toml(std::string_view text) {
  KRASIS_TRY(const toml::table table, parse_toml(text));
  Sweep sweep;
  for (const auto& [key, node] : table) KRASIS_CHECK(read_key(sweep, key.str(), node));
  return sweep;
}

Expected<Sweep> load_sweep(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) {
    return fail(ErrorCode::NotFound, fmt::format("There is no file {}.", path.string()), "Check the path.");
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(file), {});
  if (!file) return fail(ErrorCode::Io, fmt::format("{} cannot be read.", path.string()), "Check its permissions.");
  auto sweep = sweep_from_toml(text);
  if (!sweep) sweep.error().cause = fmt::format("{}: {}", path.string(), sweep.error().cause);
  return sweep;
}

std::string to_toml(const Sweep& sweep) {
  std::string text = fmt::format("title = {}\norder = \"{}\"\n", toml_string(sweep.title),
                                 sweep.order == SweepOrder::Interleaved ? "interleaved" : "sequential");
  if (sweep.timeout_s > 0) text += fmt::format("timeout_s = {}\n", toml_text(sweep.timeout_s));
  text += "\n[base]\n";
  for (const Parameter& parameter : parameters()) {
    if (parameter.text(sweep.base) == parameter.default_text()) continue;
    text += fmt::format("{} = {}\n", parameter.name, toml_text(parameter.value(sweep.base)));
  }
  text += "\n[axes]\n";
  for (const SweepAxis& axis : sweep.axes) {
    text += axis.parameter + " = [";
    for (std::size_t i = 0; i < axis.values.size(); ++i) {
      text += (i == 0 ? "" : ", ") + toml_value(axis.parameter, axis.values[i]);
    }
    text += "]\n";
  }
  for (const SweepExclusion& exclusion : sweep.exclude) {
    text += "\n[[exclude]]\n";
    for (const auto& [name, value] : exclusion) text += fmt::format("{} = {}\n", name, toml_value(name, value));
  }
  return text;
}

Expected<std::vector<RunConfiguration>> expand(const Sweep& sweep) {
  std::size_t combinations = 1;
  for (const SweepAxis& axis : sweep.axes) {
    KRASIS_TRY([[maybe_unused]] const Parameter* parameter, parameter_named(axis.parameter, "the axes"));
    if (axis.values.empty()) return wrong(fmt::format("The axis {} has no values.", axis.parameter));
    // Ten times the limit may be excluded again; beyond that nobody meant it.
    combinations *= axis.values.size();
    if (combinations > 10 * kMaxSweepRuns) {
      return wrong(fmt::format("The axes make more than {} combinations.", 10 * kMaxSweepRuns), "Name fewer values.");
    }
  }
  std::vector<RunConfiguration> runs;
  for (std::size_t index = 0; index < combinations; ++index) {
    RunConfiguration configuration = sweep.base;
    std::size_t rest = index;
    for (auto axis = sweep.axes.rbegin(); axis != sweep.axes.rend(); ++axis) {
      KRASIS_CHECK(find_parameter(axis->parameter)->set(configuration, axis->values[rest % axis->values.size()]));
      rest /= axis->values.size();
    }
    if (excluded(sweep, configuration)) continue;
    if (runs.size() == kMaxSweepRuns) {
      return wrong(fmt::format("The sweep has more than {} runs.", kMaxSweepRuns),
                   "Name fewer values or exclude some.");
    }
    runs.push_back(std::move(configuration));
  }
  if (runs.empty()) return wrong("Every run of the sweep is excluded.", "Remove an [[exclude]].");
  if (sweep.order == SweepOrder::Interleaved) shuffle(runs);
  return runs;
}

}  // namespace krasis
