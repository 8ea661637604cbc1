#include "engine/config/parameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

namespace krasis {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::string shortened(std::string_view text) {
  return text.size() <= 60 ? std::string(text) : std::string(text.substr(0, 57)) + "...";
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

template <class Number>
bool parse_number(std::string_view text, Number& number) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

/// Locale-free, as short as possible.
std::string number_text(double number) {
  return fmt::format("{}", number == 0 ? 0.0 : number);
}

std::string value_text(const ParameterValue& value) {
  return std::visit(Overloaded{[](std::int64_t v) { return fmt::format("{}", v); },
                               [](double v) { return number_text(v); }, [](const std::string& v) { return v; }},
                    value);
}

tl::unexpected<Error> refuse(const Parameter& parameter, std::string_view text) {
  const std::string range = parameter.range_text();
  return fail(ErrorCode::InvalidArgument, fmt::format("{} cannot be \"{}\".", parameter.name, shortened(text)),
              range.empty()                          ? "Give a text without control characters."
              : parameter.type == ParameterType::Int ? fmt::format("Choose a whole number from {}.", range)
                                                     : fmt::format("Choose {}.", range));
}

Expected<void> set_text(const Parameter& parameter, RunConfiguration& configuration, std::string_view text) {
  const bool control = std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 32; });
  if (text.empty() || control || text.size() > 4096) return refuse(parameter, text);
  configuration.*std::get<std::string RunConfiguration::*>(parameter.field) = text;
  return {};
}

std::string_view current_value(const Parameter& parameter, std::string_view text) {
  for (const OldValue& old : parameter.old_values) {
    if (old.old == text) return old.value;
  }
  return text;
}

Expected<void> set_choice(const Parameter& parameter, RunConfiguration& configuration, std::string_view given) {
  const std::string_view text = current_value(parameter, given);
  for (std::size_t i = 0; i < parameter.choices.size(); ++i) {
    const auto& choice = parameter.choices[i];
    if (!same_ignoring_case(text, choice.value) && !same_ignoring_case(text, choice.label)) continue;
    std::visit(Overloaded{[&](std::string RunConfiguration::*field) { configuration.*field = choice.value; },
                          [&](HotCache RunConfiguration::*field) { configuration.*field = static_cast<HotCache>(i); },
                          [](auto) {}},
               parameter.field);
    return {};
  }
  return refuse(parameter, given);
}

Expected<void> set_number(const Parameter& parameter, RunConfiguration& configuration, double number,
                          std::string_view text) {
  if (!(number >= parameter.minimum && number <= parameter.maximum)) return refuse(parameter, text);
  std::visit(Overloaded{[&](std::string RunConfiguration::*) {}, [&](HotCache RunConfiguration::*) {},
                        [&]<class N>(N RunConfiguration::*field) { configuration.*field = static_cast<N>(number); }},
             parameter.field);
  return {};
}

std::string upper(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

/// False if the field cannot hold the value.
bool hold(const Parameter& parameter, std::string& field, const ParameterValue& value) {
  const std::string text = value_text(value);
  const std::string_view current = current_value(parameter, text);
  const bool held = std::holds_alternative<std::string>(value) || current != text;
  if (held) field = current;
  return held;
}
bool hold(const Parameter&, double& field, const ParameterValue& value) {
  const auto* integer = std::get_if<std::int64_t>(&value);
  const auto* real = std::get_if<double>(&value);
  if (integer != nullptr) field = static_cast<double>(*integer);
  if (real != nullptr) field = *real;
  return integer != nullptr || real != nullptr;
}
bool hold(const Parameter& parameter, HotCache& field, const ParameterValue& value) {
  for (std::size_t i = 0; i < parameter.choices.size(); ++i) {
    if (value != ParameterValue(std::string(parameter.choices[i].value))) continue;
    field = static_cast<HotCache>(i);
    return true;
  }
  return false;
}
template <class Integer>
bool hold(const Parameter&, Integer& field, const ParameterValue& value) {
  const auto* integer = std::get_if<std::int64_t>(&value);
  if (integer == nullptr || !std::in_range<Integer>(*integer)) return false;
  field = static_cast<Integer>(*integer);
  return true;
}

}  // namespace

ParameterValue Parameter::value(const RunConfiguration& configuration) const {
  return std::visit(
      Overloaded{[&](HotCache RunConfiguration::*f) { return ParameterValue(std::string(name_of(configuration.*f))); },
                 [&](std::string RunConfiguration::*f) { return ParameterValue(configuration.*f); },
                 [&](double RunConfiguration::*f) { return ParameterValue(configuration.*f); },
                 [&](auto f) { return ParameterValue(static_cast<std::int64_t>(configuration.*f)); }},
      field);
}

std::string Parameter::text(const RunConfiguration& configuration) const {
  return value_text(value(configuration));
}

std::string Parameter::display(const RunConfiguration& configuration) const {
  std::string value = text(configuration);
  for (const auto& choice : choices) {
    if (choice.value == value) return std::string(choice.label);
  }
  return value;
}

std::string Parameter::cell(const RunConfiguration& configuration) const {
  if (!applies(configuration)) return "-";
  if (shown != nullptr) return shown(configuration);
  return type == ParameterType::Format ? upper(display(configuration)) : text(configuration);
}

ParameterValue Parameter::default_value() const {
  return value(RunConfiguration{});
}
std::string Parameter::default_text() const {
  return text(RunConfiguration{});
}

std::string Parameter::range_text() const {
  if (type == ParameterType::Text) return {};
  if (type == ParameterType::Int) return fmt::format("{:.0f} to {:.0f}", minimum, maximum);
  if (type == ParameterType::Real) return fmt::format("{} to {}", number_text(minimum), number_text(maximum));
  std::string result;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (i > 0) result += i + 1 == choices.size() ? " or " : ", ";
    result += choices[i].value;
  }
  return result;
}

Expected<void> Parameter::set(RunConfiguration& configuration, std::string_view given) const {
  const std::string_view text = trim(given);
  if (type == ParameterType::Text) return set_text(*this, configuration, text);
  if (!choices.empty()) return set_choice(*this, configuration, text);
  if (type == ParameterType::Int) {
    std::int64_t number = 0;
    if (!parse_number(text, number)) return refuse(*this, text);
    return set_number(*this, configuration, static_cast<double>(number), text);
  }
  double number = 0;
  if (!parse_number(text, number)) return refuse(*this, text);
  return set_number(*this, configuration, number, text);
}

Expected<void> Parameter::set_value(RunConfiguration& configuration, const ParameterValue& value) const {
  const std::string text = value_text(value);
  const bool is_text = std::holds_alternative<std::string>(value);
  const bool stored_as_text = std::holds_alternative<std::string>(default_value());
  if (is_text != stored_as_text && old_values.empty()) {
    return fail(ErrorCode::InvalidArgument,
                fmt::format("{} is a {}, but \"{}\" is a {}.", name, stored_as_text ? "text" : "number",
                            shortened(text), is_text ? "text" : "number"),
                stored_as_text ? "Write it in quotes." : "Write it without quotes.");
  }
  if (type == ParameterType::Int && std::holds_alternative<double>(value)) return refuse(*this, text);
  return set(configuration, std::string_view(text));
}

Expected<void> Parameter::restore(RunConfiguration& configuration, const ParameterValue& value) const {
  const bool held = std::visit([&](auto member) { return hold(*this, configuration.*member, value); }, field);
  if (held) return {};
  return fail(ErrorCode::InvalidArgument, fmt::format("{} cannot be \"{}\".", name, shortened(value_text(value))));
}

Error unknown_parameter(std::string_view name) {
  const std::string_view nearest = nearest_parameter(name);
  return Error{ErrorCode::InvalidArgument, fmt::format("There is no parameter \"{}\".", shortened(name)),
               nearest.empty() ? "krasis parameters lists all of them." : fmt::format("Did you mean \"{}\"?", nearest)};
}

Expected<std::vector<int>> gpu_indices(std::string_view text) {
  std::vector<int> indices;
  if (trim(text) == "all") return indices;
  for (bool more = true; more;) {
    const std::size_t comma = text.find(',');
    int index = -1;
    if (!parse_number(trim(text.substr(0, comma)), index) || index < 0 || std::ranges::find(indices, index) != indices.end()) {
      return fail(ErrorCode::InvalidArgument, fmt::format("\"{}\" names no GPUs.", shortened(text)),
                  "Write different numbers from 0 on with commas between them, as in 0,2, or \"all\".");
    }
    indices.push_back(index);
    more = comma != std::string_view::npos;
    if (more) text.remove_prefix(comma + 1);
  }
  return indices;
}

std::vector<Problem> validate(const RunConfiguration& configuration) {
  std::vector<Problem> problems;
  for (const Parameter& parameter : parameters()) {
    RunConfiguration scratch;
    if (auto done = parameter.set(scratch, parameter.text(configuration)); !done) {
      problems.push_back({parameter.name, done.error()});
    }
  }
  const auto add = [&](std::string_view parameter, std::string cause, std::string remedy) {
    problems.push_back({parameter, Error{ErrorCode::InvalidArgument, std::move(cause), std::move(remedy)}});
  };
  const RunConfiguration& r = configuration;
  if (r.group_size > 0 && (r.group_size & (r.group_size - 1)) != 0) {
    add("group_size", fmt::format("group_size is {}, which is no power of two.", r.group_size),
        "Choose 32, 64, 128 or another power of two.");
  }
  const std::int64_t tokens = std::int64_t{r.prompt_tokens} + r.decode_tokens;
  if (tokens > r.max_context) {
    add("max_context",
        fmt::format("A prompt of {} and {} decoded tokens do not fit into a context of {} tokens.", r.prompt_tokens,
                    r.decode_tokens, r.max_context),
        fmt::format("Raise max_context to {}, or shorten the prompt.", tokens));
  }
  if (const auto gpus = gpu_indices(r.gpus); !gpus) problems.push_back({"gpus", gpus.error()});
  if (r.model == "synthetic:") {
    add("model", "\"synthetic:\" names no config.json.", "Write synthetic:PATH/config.json.");
  }
  return problems;
}

namespace {

struct Range {
  std::string_view first, last, step;
  bool multiplies = false;
};

/// "1..8", "1..8+2", "1..8:2", "1..16*2".
bool split_range(std::string_view item, Range& range) {
  const auto dots = item.find("..");
  if (dots == std::string_view::npos) return false;
  range.first = trim(item.substr(0, dots));
  const std::string_view rest = item.substr(dots + 2);
  // A '+' right after 'e' or at the beginning belongs to the number.
  std::size_t at = rest.find_first_of("*:");
  for (std::size_t i = 1; at == std::string_view::npos && i < rest.size(); ++i) {
    if (rest[i] == '+' && rest[i - 1] != 'e' && rest[i - 1] != 'E') at = i;
  }
  range.last = trim(rest.substr(0, at));
  if (at != std::string_view::npos) {
    range.multiplies = rest[at] == '*';
    range.step = trim(rest.substr(at + 1));
    if (range.step.empty()) range.step = "0";  // "1..8+": refused as a step that never ends
  }
  return true;
}

tl::unexpected<Error> bad_range(const Parameter& parameter, std::string_view item, std::string_view why) {
  return fail(ErrorCode::InvalidArgument, fmt::format("{}: the range \"{}\" {}.", parameter.name, shortened(item), why),
              "Write 1..8, 16..64+16 for steps or 1..16*2 for factors.");
}

Expected<std::vector<std::string>> expand_range(const Parameter& parameter, std::string_view item, const Range& range,
                                                std::size_t limit) {
  if (parameter.type != ParameterType::Int && parameter.type != ParameterType::Real) {
    return bad_range(parameter, item, "needs a parameter that is a number");
  }
  double first = 0, last = 0, step = 1;
  if (!parse_number(range.first, first) || !parse_number(range.last, last) ||
      (!range.step.empty() && !parse_number(range.step, step)) || !std::isfinite(first + last + step)) {
    return bad_range(parameter, item, "is not made of numbers");
  }
  if (parameter.type == ParameterType::Int &&
      (first != std::floor(first) || last != std::floor(last) || step != std::floor(step))) {
    return bad_range(parameter, item, "has fractions, but the parameter is a whole number");
  }
  if (last < first) return bad_range(parameter, item, "runs backwards");
  if (range.multiplies ? step <= 1 || first <= 0 : step <= 0) return bad_range(parameter, item, "never ends");
  std::vector<std::string> values;
  for (std::size_t i = 0;; ++i) {
    // Multiples of the step instead of a running sum: 0..1+0.1 has to end with 1.
    double value =
        range.multiplies ? first * std::pow(step, static_cast<double>(i)) : first + step * static_cast<double>(i);
    if (value > last + 1e-9 * std::max(1.0, std::abs(last))) break;
    if (values.size() == limit) return bad_range(parameter, item, fmt::format("has more than {} values", limit));
    value = std::min(std::round(value * 1e12) / 1e12, last);
    values.push_back(parameter.type == ParameterType::Int ? fmt::format("{:.0f}", value) : number_text(value));
  }
  return values;
}

}  // namespace

Expected<std::vector<std::string>> parse_values(const Parameter& parameter, std::string_view text, std::size_t limit) {
  std::vector<std::string> values;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    const std::string_view item = trim(text.substr(begin, comma - begin));
    begin = comma + 1;
    if (item.empty()) {
      return fail(ErrorCode::InvalidArgument,
                  fmt::format("{} lacks a value in \"{}\".", parameter.name, shortened(text)),
                  "Write values with commas between them: 2,4,8.");
    }
    std::vector<std::string> expanded{std::string(item)};
    if (Range range; parameter.type != ParameterType::Text && split_range(item, range)) {
      KRASIS_TRY(expanded, expand_range(parameter, item, range, limit));
    }
    for (const std::string& one : expanded) {
      RunConfiguration scratch;
      KRASIS_CHECK(parameter.set(scratch, one));
      std::string canonical = parameter.text(scratch);
      if (std::find(values.begin(), values.end(), canonical) != values.end()) continue;
      if (values.size() == limit) {
        return fail(ErrorCode::InvalidArgument, fmt::format("{} has more than {} values.", parameter.name, limit),
                    "Name fewer.");
      }
      values.push_back(std::move(canonical));
    }
  }
  return values;
}

}  // namespace krasis
