#include "engine/config/parameter_page.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "engine/config/parameters.h"

namespace krasis {
namespace {

constexpr std::string_view kIntroduction = R"md(# Configuration

Made from the table of parameters (`engine/config/parameter_table.cpp`) by `krasis parameters > docs/configuration.md`.
Change the table, not this page: a test compares them.

A parameter has one name everywhere: in TOML, in JSON, in the results database and its exports. On the command line of
`krasis inspect` and `krasis chat` it has dashes: `--hcs-share 0.25`. A sweep gives `krasis bench` and the window many
configurations at once; what it does not name has its default:

```toml
title = "LGS and HCS"
order = "interleaved"   # or "sequential": the last axis changes fastest
timeout_s = 600         # of each run; 0: none
[base]
prompt_tokens = 512
[axes]
lgs = "1..4*2"          # 1, 2, 4; or [1, 2, 4]
hcs = ["off", "on"]
[[exclude]]
lgs = 4
hcs = "on"
```

*Affects* says what a parameter may change: memory, the speed of prefill and of decode, the quality of the text.
)md";

constexpr std::string_view kHeading =
    "| parameter | in the form | default | values | affects | what it is |\n"
    "|---|---|---|---|---|---|\n";

std::string affects_text(unsigned affects) {
  static constexpr std::pair<unsigned, std::string_view> kNames[] = {{Affects::kMemory, "memory"},
                                                                     {Affects::kPrefill, "prefill"},
                                                                     {Affects::kDecode, "decode"},
                                                                     {Affects::kQuality, "quality"}};
  std::string text;
  for (const auto& [bit, name] : kNames) {
    if ((affects & bit) == 0) continue;
    if (!text.empty()) text += ", ";
    text += name;
  }
  return text.empty() ? "-" : text;
}

std::string values_text(const Parameter& parameter) {
  const std::string range = parameter.range_text();
  if (range.empty()) return "text";
  return parameter.unit.empty() ? range : fmt::format("{} {}", range, parameter.unit);
}

/// Help of a cell that is read at a glance; what goes beyond its first sentence stands below the table.
constexpr std::size_t kLongestCell = 200;
std::size_t cell_end(std::string_view help) {
  if (help.size() <= kLongestCell) return help.size();
  const std::size_t end = help.find(". ");
  return end == std::string_view::npos ? help.size() : end + 1;
}

std::string row(const Parameter& parameter) {
  const std::string_view help = parameter.help;
  std::string what(help.substr(0, cell_end(help)));
  if (!parameter.sweepable) what += " No axis of a sweep.";
  if (const Applicability by_default = parameter.applies(RunConfiguration{}); !by_default) {
    what += fmt::format(" By default without effect: {}", by_default.reason);
  }
  return fmt::format("| `{}` | {} | `{}` | {} | {} | {} |\n", parameter.name, parameter.label, parameter.default_text(),
                     values_text(parameter), affects_text(parameter.affects), what);
}

}  // namespace

std::string parameter_page() {
  std::string page(kIntroduction), below;
  const Parameter* before = nullptr;
  for (const Parameter& parameter : parameters()) {
    if (before == nullptr || before->group != parameter.group) {
      page += std::exchange(below, {}) + fmt::format("\n## {}\n\n{}", name_of(parameter.group), kHeading);
    }
    page += row(parameter);
    const std::string_view help = parameter.help;
    if (const std::size_t end = cell_end(help); end < help.size()) {
      below += fmt::format("\n`{}`: {}\n", parameter.name, help.substr(end + 1));
    }
    before = &parameter;
  }
  return page + below;
}

}  // namespace krasis
