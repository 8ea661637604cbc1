#include "results_db/export_markdown.h"

#include <algorithm>
#include <csignal>
#include <functional>
#include <optional>

#include "engine/config/parameters.h"
#include "results_db/number_text.h"
#include "results_db/telemetry.h"

namespace krasis::results {

namespace {

constexpr std::string_view kNothing = "–";

using Runs = std::span<const RunSummary>;

struct Column {
  std::string heading;
  bool right = false;  ///< numbers
  std::function<std::string(const RunSummary&)> cell;
};

/// Whether all runs agree on what `value` gives.
template <class Value>
bool constant(Runs runs, const Value& value) {
  return std::all_of(runs.begin(), runs.end(),
                     [&](const RunSummary& run) { return value(run) == value(runs.front()); });
}

std::string machine_of(const RunSummary& summary) {
  return summary.run.environment ? summary.run.environment->machine : std::string();
}

std::string plural(const std::string& count, const std::string& word) {
  return count + " " + word + (count == "1" ? "" : "s");
}

std::string status_of(const RunRecord& run) {
  switch (run.status) {
    case RunStatus::Done:
      return run.verdict.verdict == Verdict::Pass ? "PASS" : run.verdict.verdict == Verdict::Fail ? "FAIL*" : "DONE";
    case RunStatus::Failed:
      return "FAILED*";
    case RunStatus::Crashed:
      return "CRASHED*";
    case RunStatus::OutOfMemory:
      return "OUT OF MEMORY*";
    case RunStatus::Cancelled:
      return "CANCELLED";
    case RunStatus::Queued:
      return "QUEUED";
    case RunStatus::Running:
      return "RUNNING";
  }
  return {};
}

std::string formats(const RunParameters& parameters) {
  return shown(parameters, "gpu_format") + "/" + shown(parameters, "cpu_format");
}

/// One run in words, for the notes: "Qwen3, 2 GPUs, INT4/INT4, LGS 2, HCS ON".
std::string label(const RunSummary& summary, std::span<const Column> extra) {
  const RunParameters& p = summary.run.parameters;
  std::string text = escape_markdown(summary.run.model.name) + ", " + plural(std::to_string(p.device_count), "GPU") +
                     ", " + formats(p) + ", LGS " + std::to_string(p.lgs) + ", HCS " + shown(p, "hcs");
  for (const Column& column : extra) text += ", " + column.heading + " " + column.cell(summary);
  return text;
}

std::string figure(const Metric& metric, int decimals, bool spread) {
  if (metric.statistics.n == 0) return std::string(kNothing);
  std::string text = fixed(metric.value, decimals);
  if (spread && metric.statistics.stddev) text += " ± " + fixed(*metric.statistics.stddev, decimals);
  return text;
}

// What all rows share stands in the Config line; each of these is a column when it varies.

/// What these runs have in common; none if they differ. A run to which the parameter does not apply ("-") does not
/// count.
std::optional<std::string> common(Runs runs, const Parameter& parameter) {
  std::string one = "-";
  for (const RunSummary& run : runs) {
    const std::string value = parameter.cell(run.run.parameters);
    if (value == "-" || value == one) continue;
    if (one != "-") return std::nullopt;
    one = value;
  }
  return one;
}

/// Every table has columns of these.
bool has_column(const Parameter& parameter) {
  constexpr std::string_view kAlways[] = {"device_count", "gpu_format", "cpu_format", "lgs", "hcs"};
  return std::find(std::begin(kAlways), std::end(kAlways), parameter.name) != std::end(kAlways);
}

std::string or_nothing(const std::string& text) {
  return text.empty() ? std::string(kNothing) : escape_markdown(text);
}

std::vector<Column> varying_columns(Runs runs) {
  std::vector<Column> columns;
  for (const Parameter* parameter : stored_parameters()) {
    if (has_column(*parameter) || common(runs, *parameter)) continue;
    const bool number = parameter->type == ParameterType::Int || parameter->type == ParameterType::Real;
    columns.push_back({std::string(parameter->column_heading()), number,
                       [parameter](const RunSummary& run) { return or_nothing(parameter->cell(run.run.parameters)); }});
  }
  if (!constant(runs, [](const RunSummary& run) { return run.run.parameters.prompt_fingerprint; })) {
    columns.push_back({"Prompt", false, [](const RunSummary& run) {
                         return or_nothing(run.run.parameters.prompt_fingerprint.substr(0, 8));
                       }});
  }
  if (!constant(runs, machine_of)) {
    columns.push_back({"Machine", false, [](const RunSummary& run) { return or_nothing(machine_of(run)); }});
  }
  return columns;
}

/// "{} warm-up(s)" with 1 for {}: "1 warm-up".
std::string filled(std::string phrase, const std::string& value) {
  if (const auto at = phrase.find("{}"); at != std::string::npos) phrase.replace(at, 2, value);
  if (const auto at = phrase.find("(s)"); at != std::string::npos) phrase.replace(at, 3, value == "1" ? "" : "s");
  return phrase;
}

/// What the runs have in common of a group's parameters; parts of one format together: "INT8 attention/lm_head".
void add_common(std::vector<std::string>& items, Runs runs, ParameterGroup group) {
  std::string format;  // of the last item
  for (const Parameter* parameter : stored_parameters()) {
    const auto value = common(runs, *parameter);
    if (parameter->group != group || has_column(*parameter) || !value || *value == "-") continue;
    const std::string phrase(parameter->phrase);
    const bool part = parameter->type == ParameterType::Format && phrase.starts_with("{} ");
    if (part && *value == format) {
      items.back() += "/" + phrase.substr(3);
    } else if (!phrase.empty()) {
      items.push_back(filled(phrase, escape_markdown(*value)));
    } else if (*value != parameter->default_text()) {
      items.push_back(std::string(parameter->column_heading()) + " " + escape_markdown(*value));
    }
    format = part ? *value : std::string();
  }
}

std::string config_line(Runs runs) {
  std::vector<std::string> items;
  for (const auto group :
       {ParameterGroup::Workload, ParameterGroup::Quantization, ParameterGroup::Model, ParameterGroup::Context,
        ParameterGroup::Placement, ParameterGroup::Sampling, ParameterGroup::Synthetic}) {
    add_common(items, runs, group);
  }
  if (const std::string machine = machine_of(runs.front()); !machine.empty() && constant(runs, machine_of)) {
    items.push_back(escape_markdown(machine));
  }
  std::string line = "Config: ";
  for (std::size_t i = 0; i < items.size(); ++i) line += (i == 0 ? "" : ", ") + items[i];
  return line + ".\n";
}

std::vector<Column> columns_of(std::span<const Column> varying, const MarkdownOptions& options) {
  std::vector<Column> columns;
  columns.push_back({"Model", false, [](const RunSummary& s) {
                       return escape_markdown(s.run.model.name) + (s.run.model.synthetic ? " (synthetic)" : "");
                     }});
  columns.push_back({"GPUs", true, [](const RunSummary& s) { return std::to_string(s.run.parameters.device_count); }});
  columns.push_back({"GPU/CPU format", true, [](const RunSummary& s) { return formats(s.run.parameters); }});
  columns.push_back({"LGS", true, [](const RunSummary& s) { return std::to_string(s.run.parameters.lgs); }});
  columns.push_back({"HCS", false, [](const RunSummary& s) { return shown(s.run.parameters, "hcs"); }});
  columns.insert(columns.end(), varying.begin(), varying.end());
  const bool spread = options.spread;
  columns.push_back({"Prefill (tok/s)", true,
                     [spread](const RunSummary& s) { return figure(s.prefill_tokens_per_second, 1, spread); }});
  columns.push_back({"TTFT (s)", true, [spread](const RunSummary& s) { return figure(s.ttft_s, 2, spread); }});
  columns.push_back({"Decode (tok/s)", true,
                     [spread](const RunSummary& s) { return figure(s.decode_tokens_per_second, 2, spread); }});
  columns.push_back({"ms/tok", true, [spread](const RunSummary& s) { return figure(s.ms_per_token, 1, spread); }});
  columns.push_back({"Status", false, [](const RunSummary& s) {
                       return status_of(s.run) + (throttling(s.run.telemetry_json).empty() ? "" : ", throttled*") +
                              (s.run.disturbance.empty() ? "" : ", disturbed*");
                     }});
  columns.push_back({"Log", false, [directory = options.log_directory](const RunSummary& s) {
                       if (!directory) return "run " + s.run.short_id();
                       return "[log](" + *directory + "/" + s.run.uuid + ".log)";
                     }});
  return columns;
}

std::size_t characters(std::string_view utf8) {
  return static_cast<std::size_t>(std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string table(Runs runs, std::span<const Column> columns) {
  std::string text = "|";
  for (const Column& column : columns) text += " " + column.heading + " |";
  text += "\n|";
  // As wide as the heading with its blanks, as an editor would write it.
  for (const Column& column : columns) {
    const std::size_t width = characters(column.heading) + 2;
    text += column.right ? std::string(width - 1, '-') + ":|" : std::string(width, '-') + "|";
  }
  text += "\n";
  for (const RunSummary& run : runs) {
    text += "|";
    for (const Column& column : columns) text += " " + column.cell(run) + " |";
    text += "\n";
  }
  return text;
}

std::string signal_name(int signal) {
  switch (signal) {
    case SIGSEGV:
      return "SIGSEGV";
    case SIGABRT:
      return "SIGABRT";
    case SIGKILL:
      return "SIGKILL";
    case SIGBUS:
      return "SIGBUS";
    case SIGFPE:
      return "SIGFPE";
    case SIGILL:
      return "SIGILL";
    case SIGTERM:
      return "SIGTERM";
    default:
      return {};
  }
}

std::string verdict_note(const VerdictRecord& verdict) {
  std::string text = "speeds are valid, but the output is not right";
  if (verdict.figure.empty()) return text + ".";
  text += ": " + escape_markdown(verdict.figure);
  if (verdict.value) text += " " + significant(*verdict.value);
  if (verdict.threshold) text += " (threshold " + significant(*verdict.threshold) + ")";
  return text + ".";
}

std::string failure_note(const FailureRecord& failure) {
  std::string text;
  if (!failure.stage.empty()) text += "during " + escape_markdown(failure.stage);
  if (failure.signal != 0) {
    const std::string name = signal_name(failure.signal);
    text += (text.empty() ? "" : ", ") + std::string("signal ") + std::to_string(failure.signal) +
            (name.empty() ? "" : " (" + name + ")");
  }
  if (!failure.cause.empty()) text += (text.empty() ? "" : ": ") + escape_markdown(failure.cause);
  if (text.empty()) text = "no cause was recorded.";
  return text.back() == '.' ? text : text + ".";
}

/// "1.2 %" of the row that varies most.
std::string largest_variation(Runs runs, Metric RunSummary::*metric) {
  double largest = -1;
  for (const RunSummary& run : runs) largest = std::max(largest, (run.*metric).statistics.variation.value_or(-1));
  return largest < 0 ? std::string() : fixed(100 * largest, 1) + " %";
}

std::string notes(Runs runs, std::span<const Column> varying) {
  std::string text;
  const auto add = [&](const std::string& head, const std::string& body) {
    text += "- **" + head + "**: " + body + "\n";
  };
  for (const RunSummary& summary : runs) {
    const RunRecord& run = summary.run;
    if (const std::string why = throttling(run.telemetry_json); !why.empty()) {
      add(label(summary, varying) + " throttled*", "the GPU was slower than its settings allow: " + escape_markdown(why) + ".");
    }
    if (!run.disturbance.empty()) {
      add(label(summary, varying) + " disturbed*",
          "the machine was not this run's alone: " + escape_markdown(run.disturbance));
    }
    if (run.status == RunStatus::Done && run.verdict.verdict == Verdict::Fail) {
      add(label(summary, varying) + " FAIL*", verdict_note(run.verdict));
    } else if (run.status == RunStatus::Failed || run.status == RunStatus::Crashed ||
               run.status == RunStatus::OutOfMemory) {
      add(label(summary, varying) + " " + status_of(run), failure_note(run.failure));
    }
  }
  if (std::any_of(runs.begin(), runs.end(), [](auto& s) { return s.run.parameters.device == "host"; })) {
    add("device host", "GPUs counts devices that the CPU pretends to be; no GPU took part.");
  }
  if (std::any_of(runs.begin(), runs.end(), [](auto& s) { return s.run.model.synthetic; })) {
    add("(synthetic)", "the weights were drawn at random in the model's real shapes; only the speeds mean something.");
  }
  if (std::any_of(runs.begin(), runs.end(),
                  [](auto& s) { return s.run.status == RunStatus::Done && s.run.verdict.verdict == Verdict::None; })) {
    add("DONE", "measured, but the output was not compared with the reference.");
  }
  std::size_t fewest = 0, most = 0;
  bool measured = false;
  for (const RunSummary& run : runs) {
    const std::size_t n = std::max(run.ttft_s.statistics.n, run.decode_tokens_per_second.statistics.n);
    if (n == 0) continue;
    fewest = measured ? std::min(fewest, n) : n;
    most = std::max(most, n);
    measured = true;
  }
  if (measured) {
    const std::string n =
        fewest == most ? std::to_string(most) : std::to_string(fewest) + " to " + std::to_string(most);
    std::string body = "each figure is of all n = " + n +
                       " repetitions, warm-ups excluded: speeds are tokens over time, TTFT is the mean.";
    if (most == 1) body = "each figure is one measurement, n = 1.";
    const std::string prefill = largest_variation(runs, &RunSummary::prefill_tokens_per_second);
    const std::string decode = largest_variation(runs, &RunSummary::decode_tokens_per_second);
    if (!prefill.empty() && !decode.empty()) {
      body += " Largest spread of a row (standard deviation / mean): prefill " + prefill + ", decode " + decode + ".";
    }
    add("Repetitions", body);
    if (fewest < kMinimumRepetitions) {
      add("n too small",
          "rows with fewer than " + std::to_string(kMinimumRepetitions) + " repetitions say little about differences.");
    }
  }
  for (const RunSummary& run : runs) {
    if (run.ttft_s.statistics.first_is_outlier || run.decode_tokens_per_second.statistics.first_is_outlier) {
      add(label(run, varying), "the first repetition is an outlier; more warm-ups would help.");
    }
  }
  return text;
}

constexpr std::string_view kLegend =
    "### Column Legend\n"
    "\n"
    "- **LGS**: Layer Group Size — number of layers streamed through GPU at a time (double-buffered). Lower = less "
    "VRAM, "
    "more DMA rounds.\n"
    "- **HCS**: Hot-Cache Strategy — ON = GPU-cached experts for decode, OFF = pure CPU decode, multi = HCS on all "
    "GPUs.\n";

}  // namespace

std::string escape_markdown(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '\n':
      case '\r':
      case '\t':
        escaped += ' ';
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '&':
        escaped += "&amp;";
        break;
      case '|':
      case '\\':
      case '`':
      case '*':
      case '[':
      case ']':
        escaped += '\\';
        escaped += c;
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string export_markdown(std::span<const RunSummary> runs, const MarkdownOptions& options) {
  std::string date = options.date;
  if (date.empty()) {
    for (const RunSummary& run : runs) date = std::max(date, run.run.created_at.substr(0, 10));
  }
  std::string page;
  if (options.heading) page += "## " + escape_markdown(options.title) + (date.empty() ? "" : " — " + date) + "\n\n";
  if (runs.empty()) return page + "No runs.\n";
  const std::vector<Column> varying = varying_columns(runs);
  page += config_line(runs) + "\n" + table(runs, columns_of(varying, options));
  if (options.legend) page += "\n" + std::string(kLegend);
  if (options.notes) {
    if (const std::string text = notes(runs, varying); !text.empty()) page += "\n### Notes\n\n" + text;
  }
  return page;
}

}  // namespace krasis::results
