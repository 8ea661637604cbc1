#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/config/configuration_io.h"
#include "engine/config/parameters.h"
#include "results_db/exchange.h"
#include "results_db/schema.h"

namespace krasis::results {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "krasis-results";
constexpr std::int64_t kVersion = 1;
constexpr int kMaxDepth = 80;  // the records' own JSON nests at most 64 deep

/// What is wrong with a text that is to be imported; stays in this file.
struct BadValue {
  std::string what;
};

// Out

Json object_of(const std::string& text) {
  return Json::parse(text, nullptr, false);
}

Json to_json(const ModelRecord& m) {
  return {{"fingerprint", m.fingerprint},
          {"name", m.name},
          {"model_type", m.model_type},
          {"architecture", m.architecture},
          {"synthetic", m.synthetic}};
}

Json to_json(const EnvironmentRecord& e) {
  return {{"fingerprint", e.fingerprint},
          {"machine", e.machine},
          {"cpu", e.cpu},
          {"memory_bytes", e.memory_bytes},
          {"gpu", e.gpu},
          {"driver", e.driver},
          {"kernel", e.kernel},
          {"build", e.build},
          {"facts", object_of(e.facts_json)},
          {"ceilings", object_of(e.ceilings_json)}};
}

Json to_json(const RunParameters& parameters) {
  Json json = Json::object();
  for (const Parameter* parameter : stored_parameters()) {
    std::visit([&](const auto& value) { json[std::string(parameter->name)] = value; }, parameter->value(parameters));
  }
  json["prompt_fingerprint"] = parameters.prompt_fingerprint;
  return json;
}

Json to_json(const Repetition& r) {
  return {{"index", r.index},
          {"warm_up", r.warm_up},
          {"measured_at", r.measured_at},
          {"prefill_tokens", r.prefill_tokens},
          {"prefill_s", r.prefill_s},
          {"ttft_s", r.ttft_s},
          {"decode_tokens", r.decode_tokens},
          {"decode_s", r.decode_s},
          {"decode_token_s", r.decode_token_s},
          {"metrics", object_of(r.metrics_json)},
          {"output_text", r.output_text}};
}

Json to_json(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json to_json(const RunRecord& run) {
  Json json{{"uuid", run.uuid},
            {"created_at", run.created_at},
            {"started_at", run.started_at},
            {"finished_at", run.finished_at},
            {"sweep", run.sweep},
            {"model", to_json(run.model)},
            {"environment", run.environment ? to_json(*run.environment) : Json(nullptr)},
            {"parameters", to_json(run.parameters)},
            {"configuration", object_of(run.configuration_json)},
            {"plan", object_of(run.plan_json)},
            {"telemetry", object_of(run.telemetry_json)},
            {"disturbance", run.disturbance},
            {"status", name_of(run.status)}};
  json["verdict"] = Json{{"verdict", name_of(run.verdict.verdict)},
                         {"figure", run.verdict.figure},
                         {"value", to_json(run.verdict.value)},
                         {"threshold", to_json(run.verdict.threshold)}};
  json["failure"] = Json{{"cause", run.failure.cause},
                         {"remedy", run.failure.remedy},
                         {"stage", run.failure.stage},
                         {"signal", run.failure.signal}};
  json["tags"] = run.tags;
  json["note"] = run.note;
  return json;
}

// In: everything is checked, whoever wrote the text

const Json& member(const Json& object, const char* name) {
  if (!object.is_object()) throw BadValue{std::string("an object with \"") + name + "\" is something else"};
  const auto found = object.find(name);
  if (found == object.end()) throw BadValue{std::string("\"") + name + "\" is missing"};
  return *found;
}

void read(const Json& json, const char* name, std::string& value) {
  if (!json.is_string()) throw BadValue{std::string("\"") + name + "\" is no text"};
  value = json.get<std::string>();
}
void read(const Json& json, const char* name, bool& value) {
  if (!json.is_boolean()) throw BadValue{std::string("\"") + name + "\" is neither true nor false"};
  value = json.get<bool>();
}
void read(const Json& json, const char* name, double& value) {
  if (!json.is_number()) throw BadValue{std::string("\"") + name + "\" is no number"};
  value = json.get<double>();
}
void read(const Json& json, const char* name, std::int64_t& value) {
  const bool too_large = json.is_number_unsigned() && json.get<std::uint64_t>() > std::uint64_t{INT64_MAX};
  if (!json.is_number_integer() || too_large) throw BadValue{std::string("\"") + name + "\" is no whole number"};
  value = json.get<std::int64_t>();
}
void read(const Json& json, const char* name, int& value) {
  std::int64_t wide = 0;
  read(json, name, wide);
  if (wide < INT32_MIN || wide > INT32_MAX) throw BadValue{std::string("\"") + name + "\" is out of range"};
  value = static_cast<int>(wide);
}
void read(const Json& json, const char* name, std::optional<double>& value) {
  if (json.is_null()) return;
  value.emplace();
  read(json, name, *value);
}
template <class T>
void read(const Json& json, const char* name, std::vector<T>& values) {
  if (!json.is_array()) throw BadValue{std::string("\"") + name + "\" is no list"};
  for (const Json& element : json) {
    values.emplace_back();
    read(element, name, values.back());
  }
}

template <class T>
void take(const Json& object, const char* name, T& value) {
  read(member(object, name), name, value);
}

std::string take_object(const Json& object, const char* name) {
  const Json& json = member(object, name);
  if (!json.is_object()) throw BadValue{std::string("\"") + name + "\" is no object"};
  return json.dump();
}

ModelRecord model_of(const Json& json) {
  ModelRecord m;
  take(json, "fingerprint", m.fingerprint);
  take(json, "name", m.name);
  take(json, "model_type", m.model_type);
  take(json, "architecture", m.architecture);
  take(json, "synthetic", m.synthetic);
  return m;
}

std::shared_ptr<const EnvironmentRecord> environment_of(const Json& json) {
  if (json.is_null()) return nullptr;
  auto e = std::make_shared<EnvironmentRecord>();
  take(json, "fingerprint", e->fingerprint);
  take(json, "machine", e->machine);
  take(json, "cpu", e->cpu);
  take(json, "memory_bytes", e->memory_bytes);
  take(json, "gpu", e->gpu);
  take(json, "driver", e->driver);
  take(json, "kernel", e->kernel);
  take(json, "build", e->build);
  e->facts_json = take_object(json, "facts");
  e->ceilings_json = take_object(json, "ceilings");
  return e;
}

/// Gives a run what its schema did not have yet, as a migration gives it to the runs of a file.
void fill_in(Json& run, std::int64_t schema) {
  for (const AddedColumn& column : added_columns()) {
    if (schema >= column.version || !run.is_object() || run.contains(column.name)) continue;
    Json before = Json::parse(column.before, nullptr, false);
    if (!before.is_object()) before = column.before;
    run[std::string(column.name)] = std::move(before);
  }
}

/// Those that came after `schema` have what was true of every run then, unless the export tells.
RunParameters parameters_of(const Json& json, std::int64_t schema) {
  RunParameters parameters;
  take(json, "prompt_fingerprint", parameters.prompt_fingerprint);
  for (const Parameter* parameter : stored_parameters()) {
    const Parameter* read = parameter;
    if (!parameter->old_name.empty() && !json.contains(parameter->name)) read = find_parameter(parameter->old_name);
    const std::string key(read == parameter ? parameter->name : parameter->old_name);
    if (!json.contains(key) && schema < parameter->stored.since) {
      if (auto set = parameter->set(parameters, parameter->stored.before); !set) throw BadValue{set.error().cause};
      continue;
    }
    const auto value = parameter_value(member(json, key.c_str()));
    if (!value) throw BadValue{"\"" + key + "\" is neither a number nor a text"};
    if (auto held = read->restore(parameters, *value); !held) throw BadValue{held.error().cause};
  }
  return parameters;
}

Repetition repetition_of(const Json& json) {
  Repetition r;
  take(json, "index", r.index);
  take(json, "warm_up", r.warm_up);
  take(json, "measured_at", r.measured_at);
  take(json, "prefill_tokens", r.prefill_tokens);
  take(json, "prefill_s", r.prefill_s);
  take(json, "ttft_s", r.ttft_s);
  take(json, "decode_tokens", r.decode_tokens);
  take(json, "decode_s", r.decode_s);
  take(json, "decode_token_s", r.decode_token_s);
  r.metrics_json = take_object(json, "metrics");
  take(json, "output_text", r.output_text);
  return r;
}

RunRecord run_of(const Json& json, std::int64_t schema) {
  RunRecord run;
  take(json, "uuid", run.uuid);
  take(json, "created_at", run.created_at);
  take(json, "started_at", run.started_at);
  take(json, "finished_at", run.finished_at);
  take(json, "sweep", run.sweep);
  run.model = model_of(member(json, "model"));
  run.environment = environment_of(member(json, "environment"));
  run.parameters = parameters_of(member(json, "parameters"), schema);
  run.configuration_json = take_object(json, "configuration");
  run.plan_json = take_object(json, "plan");
  run.telemetry_json = take_object(json, "telemetry");
  take(json, "disturbance", run.disturbance);
  std::string name;
  take(json, "status", name);
  const auto status = run_status_of(name);
  if (!status) throw BadValue{"\"status\" has the unknown value \"" + name + "\""};
  run.status = *status;
  const Json& verdict = member(json, "verdict");
  take(verdict, "verdict", name);
  const auto kind = verdict_of(name);
  if (!kind) throw BadValue{"\"verdict\" has the unknown value \"" + name + "\""};
  run.verdict.verdict = *kind;
  take(verdict, "figure", run.verdict.figure);
  take(verdict, "value", run.verdict.value);
  take(verdict, "threshold", run.verdict.threshold);
  const Json& failure = member(json, "failure");
  take(failure, "cause", run.failure.cause);
  take(failure, "remedy", run.failure.remedy);
  take(failure, "stage", run.failure.stage);
  take(failure, "signal", run.failure.signal);
  take(json, "tags", run.tags);
  take(json, "note", run.note);
  return run;
}

Database::WholeRun whole_run_of(const Json& json, std::int64_t schema) {
  Database::WholeRun whole;
  whole.run = run_of(json, schema);
  const Json& repetitions = member(json, "samples");
  if (!repetitions.is_array()) throw BadValue{"\"samples\" is no list"};
  for (const Json& repetition : repetitions) whole.repetitions.push_back(repetition_of(repetition));
  const Json& log = member(json, "log");
  if (!log.is_array()) throw BadValue{"\"log\" is no list"};
  for (const Json& line : log) {
    whole.log.emplace_back();
    take(line, "time", whole.log.back().time);
    take(line, "level", whole.log.back().level);
    take(line, "stage", whole.log.back().stage);
    take(line, "text", whole.log.back().text);
  }
  return whole;
}

/// Schema of the database that was exported; 0 when the export does not tell (none before schema 8 does).
std::int64_t schema_of(const Json& json) {
  std::int64_t schema = 0;
  if (json.contains("schema")) take(json, "schema", schema);
  return schema;
}

tl::unexpected<Error> not_imported(ErrorCode code, const std::string& cause) {
  return fail(code, cause, "Nothing was imported; export the results again.");
}

}  // namespace

Expected<std::string> export_json(Database& database, const RunFilter& filter) {
  KRASIS_TRY(const auto runs, database.runs(filter));
  Json json{{"format", kFormat}, {"version", kVersion}, {"schema", Database::current_schema_version()}};
  Json& list = json["runs"] = Json::array();
  for (const RunRecord& run : runs) {
    KRASIS_TRY(const auto repetitions, database.repetitions(run.id));
    KRASIS_TRY(const auto log, database.log(run.id));
    Json entry = to_json(run);
    Json& samples = entry["samples"] = Json::array();
    for (const Repetition& repetition : repetitions) samples.push_back(to_json(repetition));
    Json& lines = entry["log"] = Json::array();
    for (const LogLine& line : log) {
      lines.push_back({{"time", line.time}, {"level", line.level}, {"stage", line.stage}, {"text", line.text}});
    }
    list.push_back(std::move(entry));
  }
  // Text of a crashed worker may hold anything; what is no UTF-8 becomes U+FFFD.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Expected<Database::ImportReport> import_json(Database& database, std::string_view text) {
  bool too_deep = false;
  const auto watch = [&](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  };
  const Json json = Json::parse(text, watch, false);
  if (too_deep || !json.is_object()) return not_imported(ErrorCode::Corrupt, "The text is not an export of results.");
  std::vector<Database::WholeRun> runs;
  try {
    std::string format;
    take(json, "format", format);
    if (format != kFormat) return not_imported(ErrorCode::Corrupt, "The text is not an export of results.");
    std::int64_t version = 0;
    take(json, "version", version);
    if (version != kVersion) {
      return fail(ErrorCode::Unsupported,
                  "The results were exported in version " + std::to_string(version) +
                      " of the format; this program knows " + std::to_string(kVersion) + ".",
                  "Update the program. Nothing was imported.");
    }
    const std::int64_t schema = schema_of(json);
    if (schema > Database::current_schema_version()) {
      return fail(ErrorCode::Unsupported,
                  "The results were exported by a newer version of the program (schema " + std::to_string(schema) +
                      ", this program knows " + std::to_string(Database::current_schema_version()) + ").",
                  "Update the program. Nothing was imported.");
    }
    const Json& list = member(json, "runs");
    if (!list.is_array()) throw BadValue{"\"runs\" is no list"};
    for (Json run : list) {
      try {
        fill_in(run, schema);
        runs.push_back(whole_run_of(run, schema));
      } catch (const BadValue& bad) {
        return not_imported(ErrorCode::Corrupt, "Run " + std::to_string(runs.size() + 1) +
                                                    " of the exported results cannot be read: " + bad.what + ".");
      }
    }
  } catch (const BadValue& bad) {
    return not_imported(ErrorCode::Corrupt, "The exported results cannot be read: " + bad.what + ".");
  }
  auto report = database.import_runs(runs);
  if (!report && report.error().code == ErrorCode::InvalidArgument) {
    return not_imported(ErrorCode::Corrupt, "The exported results hold an impossible value: " + report.error().cause);
  }
  return report;
}

}  // namespace krasis::results
