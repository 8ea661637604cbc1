// The command line program end to end: real processes, real files, workers that die.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

#include <nlohmann/json.hpp>

#include "engine/config/parameters.h"
#include "results_db/database.h"
#include "tests/app/process.h"

namespace krasis {
namespace {

using results::Database;
using results::OpenMode;
using results::RunStatus;
using test::Output;
using test::Program;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kHeader =
    "| Model | GPUs | GPU/CPU format | LGS | HCS | Prefill (tok/s) | TTFT (s) | Decode (tok/s) | ms/tok | Status | Log "
    "|";

/// A sweep of the embedded model that takes no time.
std::string sweep_text(const std::string& axes, const std::string& base = "") {
  return "title = \"Tiny\"\n[base]\nprompt_tokens = 16\ndecode_tokens = 4\nmax_context = 64\nchunk_tokens = 16\n"
         "warmups = 0\nrepetitions = 2\n" + base + "[axes]\n" + axes + "\n";
}

Database open(const std::filesystem::path& path, OpenMode mode = OpenMode::ReadOnly) {
  auto database = Database::open(path, {.mode = mode});
  if (!database) {
    ADD_FAILURE() << database.error().message();
    std::abort();
  }
  return std::move(*database);
}

template <class T>
T get(Expected<T> value) {
  if (!value) {
    ADD_FAILURE() << value.error().message();
    std::abort();
  }
  return std::move(*value);
}

bool has_line(const std::string& text, const std::string& line) { return ("\n" + text).find("\n" + line + "\n") != std::string::npos; }

// Usage --------------------------------------------------------------------------------------------------------------

TEST(Usage, HelpNamesEverySubcommand) {
  Program program;
  const Output help = program.run({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  for (const char* command : {"bench", "chat", "inspect", "check", "export", "parameters", "worker"}) {
    EXPECT_THAT(help.out, HasSubstr(command));
  }
  EXPECT_THAT(help.out, HasSubstr("Exit codes"));
  const Output bench = program.run({"bench", "--help"});
  EXPECT_EQ(bench.exit_code, 0);
  for (const char* option : {"sweep", "--database", "--output", "--worker", "--telemetry", "--trace"}) EXPECT_THAT(bench.out, HasSubstr(option));
}

TEST(Usage, EveryParameterHasAFlagWhereAModelIsNamed) {
  Program program;
  for (const char* command : {"chat", "inspect"}) {
    const Output help = program.run({command, "--help"});
    EXPECT_EQ(help.exit_code, 0);
    for (const Parameter& parameter : parameters()) {
      std::string flag = "--" + std::string(parameter.name);
      std::replace(flag.begin(), flag.end(), '_', '-');
      EXPECT_THAT(help.out, HasSubstr(flag + " ")) << command;
    }
  }
}

TEST(Usage, BadValuesPrintWhatTheyMayBe) {
  Program program;
  for (const std::string name : {"lgs", "hcs", "gpu_format", "temperature"}) {
    std::string flag = "--" + name;
    std::replace(flag.begin(), flag.end(), '_', '-');
    const Output output = program.run({"inspect", flag, "-7"});
    EXPECT_EQ(output.exit_code, 2) << name;
    EXPECT_THAT(output.err, HasSubstr(find_parameter(name)->range_text()));
    EXPECT_EQ(output.out, "");
  }
  EXPECT_EQ(program.run({}).exit_code, 2);
  EXPECT_EQ(program.run({"bench"}).exit_code, 2);
  EXPECT_EQ(program.run({"inspect", "--no-such-flag"}).exit_code, 2);
  EXPECT_EQ(program.run({"export", "--database", "x.db", "-o", "pdf"}).exit_code, 2);
}

TEST(Usage, FlagsOfOldNamesAreTakenAndNotShown) {
  Program program;
  const Output old = program.run({"inspect", "--gpu-bits", "16", "--lm-head-bits=4"});
  EXPECT_EQ(old.exit_code, 0) << old.err;
  EXPECT_THAT(old.out, testing::AllOf(HasSubstr("all experts, BF16"), HasSubstr("head INT4")));
  EXPECT_THAT(program.run({"inspect", "--help"}).out, testing::Not(HasSubstr("bits")));
  EXPECT_EQ(program.run({"inspect", "--gpu-bits", "5"}).exit_code, 2);
  EXPECT_EQ(program.run({"inspect", "--gpu-format", "mxfp4"}).exit_code, 2);
}

TEST(Usage, UnknownModelsAndFilesSayWhatToDo) {
  Program program;
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"inspect", "--model", "/nonexistent/model"},
        {"chat", "--model", "/nonexistent/model", "--prompt", "Hi"},
        {"bench", "/nonexistent/model.toml"},
        {"export", "--database", "/nonexistent/model.db"}}) {
    const Output output = program.run(arguments);
    EXPECT_EQ(output.exit_code, 1) << arguments[0];
    EXPECT_THAT(output.err, HasSubstr("/nonexistent/model")) << arguments[0];
    EXPECT_GE(std::count(output.err.begin(), output.err.end(), '\n'), 2) << "cause and remedy\n" << output.err;
    EXPECT_EQ(output.out, "");
  }
  EXPECT_EQ(program.run({"inspect", "--lgs", "2"}).exit_code, 0);
}

TEST(Usage, CheckSaysWhichGpusCanBeUsed) {
  Program program;
  const Output output = program.run({"check", "--json"});
  ASSERT_EQ(output.exit_code, 0) << output.err;
  const auto findings = nlohmann::json::parse(output.out);
  EXPECT_EQ(findings.at(0).at("id"), "gpu");
  const std::string title = findings.at(0).at("title");
  EXPECT_TRUE(title == "No GPU can be used" || title.starts_with("GPU 0: ")) << title;
  EXPECT_NE(findings.at(0).at("detail"), "");
}

TEST(Usage, HostileSweepsAreRefusedBeforeAnythingIsMade) {
  Program program;
  for (const std::string& text :
       {std::string("[base\n"), std::string("\xff\xfe\x00", 3), std::string("[axes]\nlgs = \"1..999999999\"\n"),
        std::string("[axes]\nlsg = [1]\n"), std::string("[axes]\nlgs = [0]\n"), std::string("[axes]\nlgs = []\n"),
        std::string("[base]\nmodel = 3\n"), std::string(100000, '[')}) {
    const std::string file = program.write("hostile.toml", text);
    const Output output = program.run({"bench", file, "--database", "hostile.db"});
    EXPECT_EQ(output.exit_code, 1) << text.substr(0, 40);
    EXPECT_THAT(output.err, HasSubstr("krasis: ")) << text.substr(0, 40);
    EXPECT_FALSE(std::filesystem::exists(program.file("hostile.db")));
  }
}

// The real worker ----------------------------------------------------------------------------------------------------

TEST(Bench, TellsWhatTheHardwareDidAndWritesTraces) {
  Program program;
  const std::string sweep = program.write("sweep.toml", sweep_text("lgs = [1, 2]", "prefill_path = \"stream\"\n"));
  const std::string traces = program.file("traces/of today").string();
  const Output output = program.run({"bench", sweep, "--database", "results.db", "--telemetry", "--trace", traces});
  ASSERT_EQ(output.exit_code, 0) << output.err;
  Database database = open(program.file("results.db"));
  const auto runs = get(database.runs());
  ASSERT_EQ(runs.size(), 2U);
  for (const results::RunRecord& run : runs) {
    const auto telemetry = nlohmann::json::parse(run.telemetry_json);
    EXPECT_GT(telemetry.at("prefill").at("devices").at(0).at("copied_bytes").get<double>(), 0);
    EXPECT_GT(telemetry.at("prefill").at("devices").at(0).at("share_of_link").get<double>(), 0);
    EXPECT_GT(telemetry.at("decode").at("s_per_token").get<double>(), 0);
    EXPECT_GT(telemetry.at("decode").at("parts").at("predicted_s_per_token").get<double>(), 0);
    const std::string file = (std::filesystem::path(traces) / (run.short_id() + ".trace.json")).string();
    EXPECT_EQ(telemetry.at("trace_file"), file);
    EXPECT_GT(nlohmann::json::parse(std::ifstream(file)).at("traceEvents").size(), 20U);
    EXPECT_THAT(output.out, HasSubstr("\nrun " + run.short_id() + "\n"));
  }
  for (const char* line : {"  Prefill\n", "    copies ", "    both at once ", "  Decode\n", "    CPU experts busy ", "    predicted by measured parts "}) {
    EXPECT_THAT(output.out, HasSubstr(line));
  }
}

TEST(Bench, SweepEndToEnd) {
  Program program;
  const std::string sweep = program.write("sweep.toml", sweep_text("lgs = [1, 2]"));
  const Output output = program.run({"bench", sweep, "--database", "results.db"});
  ASSERT_EQ(output.exit_code, 0) << output.err;
  EXPECT_TRUE(has_line(output.out, kHeader)) << output.out;
  EXPECT_THAT(output.out, Not(HasSubstr("\033[")));
  EXPECT_THAT(output.err, HasSubstr("PASS"));

  Database database = open(program.file("results.db"));
  EXPECT_TRUE(database.check_integrity());
  const auto runs = get(database.runs());
  ASSERT_EQ(runs.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    const results::RunRecord& run = runs[i];
    EXPECT_EQ(run.status, RunStatus::Done);
    EXPECT_EQ(run.sweep, "Tiny");
    EXPECT_EQ(run.parameters.lgs, static_cast<std::int64_t>(i) + 1);
    EXPECT_GT(run.parameters.threads, 0);
    EXPECT_EQ(run.verdict.verdict, results::Verdict::Pass);
    ASSERT_TRUE(run.verdict.value && run.verdict.threshold);
    EXPECT_LE(*run.verdict.value, *run.verdict.threshold);
    ASSERT_TRUE(run.environment);
    EXPECT_FALSE(run.environment->cpu.empty());
    EXPECT_GT(nlohmann::json::parse(run.environment->ceilings_json).size(), 0U);
    const auto plan = nlohmann::json::parse(run.plan_json);
    EXPECT_FALSE(plan.at("places").empty());
    EXPECT_GT(plan.at("host_planned_bytes").get<std::size_t>(), 0u);
    EXPECT_GE(plan.at("host_peak_bytes").get<std::size_t>(), plan.at("host_planned_bytes").get<std::size_t>());
    EXPECT_EQ(nlohmann::json::parse(run.configuration_json).at("lgs"), i + 1);
    EXPECT_FALSE(run.model.synthetic);
    EXPECT_FALSE(run.parameters.prompt_fingerprint.empty());
    const auto repetitions = get(database.repetitions(run.id));
    ASSERT_EQ(repetitions.size(), 2U);
    for (const results::Repetition& repetition : repetitions) {
      EXPECT_FALSE(repetition.warm_up);
      EXPECT_EQ(repetition.prefill_tokens, 16);
      EXPECT_EQ(repetition.decode_token_s.size(), 4U);
      EXPECT_GT(repetition.prefill_s, 0);
    }
  }
  EXPECT_EQ(runs[0].model.fingerprint, runs[1].model.fingerprint);
  EXPECT_EQ(runs[0].parameters.prompt_fingerprint, runs[1].parameters.prompt_fingerprint);

  // The same runs once more, from the database.
  const auto lines_of_table = [](const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
      if (line.starts_with('|')) lines.push_back(line);
    }
    return lines;
  };
  const Output markdown = program.run({"export", "--database", "results.db"});
  EXPECT_EQ(markdown.exit_code, 0);
  EXPECT_EQ(lines_of_table(markdown.out), lines_of_table(output.out));
  EXPECT_GE(lines_of_table(markdown.out).size(), 4U);  // header, rule, two runs
  const Output csv = program.run({"export", "--database", "results.db", "-o", "csv"});
  EXPECT_EQ(csv.exit_code, 0);
  EXPECT_EQ(std::count(csv.out.begin(), csv.out.end(), '\n'), 3);
  const Output json = program.run({"export", "--database", "results.db", "-o", "json", "--sweep", "Tiny"});
  EXPECT_EQ(json.exit_code, 0);
  EXPECT_THAT(nlohmann::json::parse(json.out).dump(), HasSubstr(runs[1].uuid));
  const Output none = program.run({"export", "--database", "results.db", "-o", "json", "--sweep", "Other"});
  EXPECT_THAT(none.out, Not(HasSubstr(runs[1].uuid)));
}

TEST(Bench, FailedConfigurationIsRecordedAndTheSweepGoesOn) {
  Program program;
  const std::string sweep = program.write("sweep.toml", sweep_text("lgs = [9, 2]"));
  const Output output = program.run({"bench", sweep, "--database", "results.db", "-o", "csv"});
  EXPECT_EQ(output.exit_code, 3) << output.err;
  Database database = open(program.file("results.db"));
  const auto runs = get(database.runs());
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(runs[0].status, RunStatus::Failed);
  EXPECT_THAT(runs[0].failure.cause, HasSubstr("LGS is 9, but"));
  EXPECT_FALSE(runs[0].failure.remedy.empty());
  EXPECT_EQ(runs[0].failure.signal, 0);
  EXPECT_TRUE(get(database.repetitions(runs[0].id)).empty());
  EXPECT_EQ(runs[1].status, RunStatus::Done);
  EXPECT_EQ(runs[1].verdict.verdict, results::Verdict::Pass);
  EXPECT_THAT(output.out, HasSubstr(runs[0].uuid));
}

TEST(Bench, UnknownModelIsAFailedRun) {
  Program program;
  const std::string sweep = program.write("sweep.toml", sweep_text("lgs = [1]", "model = \"/nonexistent/model\"\n"));
  const Output output = program.run({"bench", sweep, "--database", "results.db"});
  EXPECT_EQ(output.exit_code, 3) << output.err;
  Database database = open(program.file("results.db"));
  const auto runs = get(database.runs());
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0].status, RunStatus::Failed);
  EXPECT_EQ(runs[0].failure.stage, "load");
  EXPECT_THAT(runs[0].failure.cause, HasSubstr("/nonexistent/model"));
  EXPECT_FALSE(runs[0].failure.remedy.empty());
}

TEST(Bench, KilledInTheMiddleLosesAtMostTheRepetitionInFlight) {
  Program program;
  const std::string sweep =
      program.write("sweep.toml", "[base]\nprompt_tokens = 16\ndecode_tokens = 4\nmax_context = 64\nchunk_tokens = 16\n"
                                  "warmups = 1\nrepetitions = 1000\n[axes]\nlgs = [1]\n");
  const pid_t pid = program.start({"bench", sweep, "--database", "results.db"});
  std::size_t seen = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(90);
  while (seen < 4 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    auto database = Database::open(program.file("results.db"), {.mode = OpenMode::ReadOnly});
    if (!database) continue;  // not made yet
    const auto runs = database->runs();
    if (!runs || runs->empty()) continue;
    if (const auto repetitions = database->repetitions(runs->front().id)) seen = repetitions->size();
  }
  ::kill(pid, SIGKILL);
  const Output output = program.finish(pid);
  ASSERT_EQ(output.signal, SIGKILL) << output.err;
  ASSERT_GE(seen, 4U);

  Database database = open(program.file("results.db"), OpenMode::ReadWrite);
  const auto sound = database.check_integrity();
  EXPECT_TRUE(sound) << sound.error().message();
  const auto runs = get(database.runs());
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0].status, RunStatus::Running);
  const auto repetitions = get(database.repetitions(runs[0].id));
  EXPECT_GE(repetitions.size(), seen);  // what was there once stays
  EXPECT_TRUE(repetitions[0].warm_up);
  for (std::size_t i = 1; i < repetitions.size(); ++i) {
    EXPECT_EQ(repetitions[i].index, static_cast<int>(i) - 1);
    EXPECT_EQ(repetitions[i].decode_token_s.size(), 4U);
  }
  EXPECT_EQ(get(database.mark_interrupted()).size(), 1U);
  EXPECT_EQ(get(database.run(runs[0].id)).status, RunStatus::Crashed);
}

TEST(Bench, InterruptEndsWithACancelledRun) {
  Program program;
  const std::string sweep = program.write("sweep.toml", sweep_text("lgs = [1, 2]"));
  const std::string worker = std::string(KRASIS_FAKE_WORKER) + " --script slow";
  const pid_t pid = program.start({"bench", sweep, "--database", "results.db", "--worker", worker});
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  for (bool ready = false; !ready && std::chrono::steady_clock::now() < end;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    auto database = Database::open(program.file("results.db"), {.mode = OpenMode::ReadOnly});
    if (!database) continue;
    const auto runs = database->runs();
    if (!runs || runs->empty()) continue;
    const auto repetitions = database->repetitions(runs->front().id);
    ready = repetitions && repetitions->size() == 2;
  }
  ::kill(pid, SIGINT);
  EXPECT_EQ(program.finish(pid).exit_code, 130);
  Database database = open(program.file("results.db"));
  const auto runs = get(database.runs());
  ASSERT_EQ(runs.size(), 1U);  // the second one never began
  EXPECT_EQ(runs[0].status, RunStatus::Cancelled);
  EXPECT_EQ(get(database.repetitions(runs[0].id)).size(), 2U);
}

// Nothing measures beside a measurement
// ---------------------------------------------------------------------------------

/// Whether the first run of a database gets `count` repetitions, warm-ups included, within a minute.
bool waits_for_repetitions(const std::filesystem::path& path, std::size_t count) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    auto database = Database::open(path, {.mode = OpenMode::ReadOnly});
    if (!database) continue;  // not made yet
    const auto runs = database->runs();
    if (!runs || runs->empty()) continue;
    const auto repetitions = database->repetitions(runs->front().id);
    if (repetitions && repetitions->size() >= count) return true;
  }
  return false;
}

/// Whether the program has written `text` to its standard error within a minute.
bool waits_for_error_text(const Program& program, const std::string& text) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < end) {
    if (test::read_bytes(program.file("stderr")).find(text) != std::string::npos) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

/// Goes on until it is interrupted.
std::string endless_sweep() {
  return "[base]\nprompt_tokens = 16\ndecode_tokens = 4\nmax_context = 64\nchunk_tokens = 16\nwarmups = 0\n"
         "repetitions = 1000\n[axes]\nlgs = [1]\n";
}

TEST(Together, ASecondBenchOfADatabaseSaysWhoMeasuresAndWaits) {
  Program first, second;  // with a runtime folder each: only the database keeps them apart
  const pid_t measuring =
      first.start({"bench", first.write("sweep.toml", endless_sweep()), "--database", "results.db"});
  const std::string database = first.file("results.db").string();
  ASSERT_TRUE(waits_for_repetitions(database, 1));
  const pid_t waiting =
      second.start({"bench", second.write("sweep.toml", sweep_text("lgs = [1]")), "--database", database});
  EXPECT_TRUE(waits_for_error_text(second, "krasis bench (process " + std::to_string(measuring) + " on "));
  EXPECT_EQ(get(open(database).runs()).size(), 1U) << "it has measured nothing yet";
  ::kill(measuring, SIGINT);
  EXPECT_EQ(first.finish(measuring).exit_code, 130);
  const Output output = second.finish(waiting);
  EXPECT_EQ(output.exit_code, 0) << output.err;
  EXPECT_EQ(get(open(database).runs()).size(), 2U);
}

TEST(Together, ABenchThatWaitsCanBeInterrupted) {
  Program first, second;
  const pid_t measuring =
      first.start({"bench", first.write("sweep.toml", endless_sweep()), "--database", "results.db"});
  const std::string database = first.file("results.db").string();
  ASSERT_TRUE(waits_for_repetitions(database, 1));
  const pid_t waiting =
      second.start({"bench", second.write("sweep.toml", sweep_text("lgs = [1]")), "--database", database});
  EXPECT_TRUE(waits_for_error_text(second, "measuring since"));
  ::kill(waiting, SIGINT);
  EXPECT_EQ(second.finish(waiting).exit_code, 130);
  ::kill(measuring, SIGKILL);
  first.finish(measuring);
  // The next one opens the database, marks what was interrupted, and measures.
  const Output next =
      second.run({"bench", second.write("sweep.toml", sweep_text("lgs = [1]")), "--database", database});
  EXPECT_EQ(next.exit_code, 0) << next.err;
  const auto runs = get(open(database).runs());
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(runs[0].status, RunStatus::Crashed);
  EXPECT_EQ(runs[1].status, RunStatus::Done);
}

TEST(Together, OneWorkerComputesOnAMachineWhateverItsDatabase) {
  Program first, second;
  second.share_runtime_folder(first);
  const pid_t measuring =
      first.start({"bench", first.write("sweep.toml", endless_sweep()), "--database", "results.db"});
  ASSERT_TRUE(waits_for_repetitions(first.file("results.db"), 1));
  const pid_t waiting =
      second.start({"bench", second.write("sweep.toml", sweep_text("lgs = [1]")), "--database", "results.db"});
  EXPECT_TRUE(waits_for_error_text(second, "waiting for a benchmark of process "));
  Program third;
  third.share_runtime_folder(first);
  const pid_t chatting = third.start({"chat", "--prompt", "Once", "--max-tokens", "4"});
  EXPECT_TRUE(waits_for_error_text(third, "Waiting for a benchmark of process "));
  ::kill(measuring, SIGINT);
  EXPECT_EQ(first.finish(measuring).exit_code, 130);
  const Output output = second.finish(waiting);
  EXPECT_EQ(output.exit_code, 0) << output.err;
  EXPECT_EQ(third.finish(chatting).exit_code, 0);
}

TEST(Together, ARunThatWasDisturbedAllTheSameIsMarked) {
  Program first, second;  // as if of two users: nothing keeps their workers apart
  const pid_t measuring =
      first.start({"bench", first.write("sweep.toml", endless_sweep()), "--database", "results.db"});
  ASSERT_TRUE(waits_for_repetitions(first.file("results.db"), 1));
  std::string forty = sweep_text("lgs = [1]");
  forty.replace(forty.find("repetitions = 2"), 15, "repetitions = 40");
  const Output other = second.run({"bench", second.write("sweep.toml", forty), "--database", "results.db"});
  ::kill(measuring, SIGINT);
  EXPECT_EQ(first.finish(measuring).exit_code, 130);
  EXPECT_EQ(other.exit_code, 0) << other.err;
  for (const Program* program : {&first, &second}) {
    const auto runs = get(open(program->file("results.db")).runs());
    ASSERT_EQ(runs.size(), 1U);
    EXPECT_THAT(runs[0].disturbance, HasSubstr("krasis worker (process "));
    EXPECT_THAT(runs[0].disturbance, HasSubstr("computed meanwhile"));
  }
  EXPECT_THAT(other.out, HasSubstr("disturbed*"));
}

// Databases that cannot be written -----------------------------------------------------------------------------------

TEST(Files, CorruptDatabaseIsLeftAsItIs) {
  Program program;
  const std::string sweep = program.write("sweep.toml", sweep_text("lgs = [1]"));
  for (const std::string& bytes : {std::string(5000, 'x'), "SQLite format 3" + std::string(1, '\0') + std::string(4080, '\x5a')}) {
    const std::string file = program.write("corrupt.db", bytes);
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"bench", sweep, "--database", file}, {"export", "--database", file}}) {
      const Output output = program.run(arguments);
      EXPECT_EQ(output.exit_code, 1) << arguments[0];
      EXPECT_THAT(output.err, HasSubstr("corrupt.db"));
      EXPECT_GE(std::count(output.err.begin(), output.err.end(), '\n'), 2) << output.err;
      EXPECT_EQ(test::read_bytes(file), bytes);
    }
  }
}

TEST(Files, FolderIsNoDatabase) {
  Program program;
  const std::string sweep = program.write("sweep.toml", sweep_text("lgs = [1]"));
  std::filesystem::create_directory(program.file("folder.db"));
  const Output output = program.run({"bench", sweep, "--database", "folder.db"});
  EXPECT_EQ(output.exit_code, 1);
  EXPECT_THAT(output.err, HasSubstr("folder.db"));
  EXPECT_TRUE(std::filesystem::is_empty(program.file("folder.db")));
}

// Workers that die ---------------------------------------------------------------------------------------------------

struct Death {
  const char* script;
  RunStatus status;
  int signal;
  const char* stage;
  std::size_t repetitions;  ///< stored, without the warm-up
};

void PrintTo(const Death& death, std::ostream* stream) { *stream << death.script; }

class WorkerDeath : public testing::TestWithParam<Death> {};

TEST_P(WorkerDeath, IsRecordedWithWhatCameBefore) {
  const Death& death = GetParam();
  Program program;
  const std::string sweep =
      program.write("sweep.toml", "[base]\nprompt_tokens = 16\ndecode_tokens = 4\nwarmups = 1\nrepetitions = 3\n[axes]\nlgs = [1, 2]\n");
  const std::string worker = std::string(KRASIS_FAKE_WORKER) + " --script " + death.script;
  const Output output = program.run({"bench", sweep, "--database", "results.db", "--worker", worker});
  EXPECT_EQ(output.exit_code, 3) << output.err;
  EXPECT_TRUE(has_line(output.out, kHeader)) << output.out;
  Database database = open(program.file("results.db"));
  const auto runs = get(database.runs());
  ASSERT_EQ(runs.size(), 2U);  // a new worker for the second run
  for (const results::RunRecord& run : runs) {
    EXPECT_EQ(run.status, death.status);
    EXPECT_EQ(run.failure.signal, death.signal) << run.failure.cause;
    EXPECT_EQ(run.failure.stage, death.stage);
    EXPECT_FALSE(run.failure.cause.empty());
    EXPECT_FALSE(run.failure.remedy.empty());
    const auto repetitions = get(database.repetitions(run.id));
    EXPECT_EQ(static_cast<std::size_t>(std::count_if(repetitions.begin(), repetitions.end(), [](const auto& r) { return !r.warm_up; })),
              death.repetitions);
    const auto log = get(database.log(run.id));
    EXPECT_TRUE(std::any_of(log.begin(), log.end(), [](const auto& line) { return line.level == "error"; }));
  }
}

INSTANTIATE_TEST_SUITE_P(Scripts, WorkerDeath,
                         testing::Values(Death{"crash-load", RunStatus::Crashed, 11, "load", 0},
                                         Death{"crash-warm-up", RunStatus::Crashed, 11, "warm-up", 0},
                                         Death{"crash-run", RunStatus::Crashed, 11, "repetition", 1},
                                         Death{"crash-verdict", RunStatus::Crashed, 6, "verdict", 3},
                                         Death{"killed", RunStatus::Crashed, 9, "repetition", 1},
                                         Death{"out-of-memory", RunStatus::OutOfMemory, 0, "load", 0},
                                         Death{"error-run", RunStatus::Failed, 0, "repetition", 1},
                                         Death{"nonsense", RunStatus::Crashed, 0, "start", 0}),
                         [](const auto& test) {
                           std::string name = test.param.script;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Worker, AnErrorAboutALineThatWasNoRequestEndsNothing) {
  Program program;
  const std::string sweep = program.write("sweep.toml", sweep_text("lgs = [1]"));
  const Output output =
      program.run({"bench", sweep, "--database", "results.db", "--worker", KRASIS_FAKE_WORKER " --script stray-error"});
  EXPECT_EQ(output.exit_code, 0) << output.err;
  Database database = open(program.file("results.db"));
  EXPECT_EQ(get(database.runs()).at(0).status, RunStatus::Done);
}

TEST(Worker, AnErrorWithTheCodeCancelledIsACancelledRun) {
  Program program;
  const std::string sweep = program.write("sweep.toml", sweep_text("lgs = [1]"));
  const std::string worker = KRASIS_FAKE_WORKER " --script cancelled-by-itself";
  EXPECT_EQ(program.run({"bench", sweep, "--database", "results.db", "--worker", worker}).exit_code, 3);
  Database database = open(program.file("results.db"));
  EXPECT_EQ(get(database.runs()).at(0).status, RunStatus::Cancelled);
}

TEST(Worker, OneThatDoesNotStartEndsTheSweepWithOneMessageAndNoRows) {
  Program program;
  const std::string sweep = program.write("sweep.toml", sweep_text("lgs = [1, 2, 3]"));
  for (const auto& [command, why] : {std::pair{"/nonexistent/worker", "/nonexistent/worker"},
                                     {KRASIS_FAKE_WORKER " --script crash-start", "signal 11"},
                                     {KRASIS_FAKE_WORKER " --script exit-start", "error while loading shared libraries"},
                                     {KRASIS_FAKE_WORKER " --script wrong-version", "version"}}) {
    const Output output = program.run({"bench", sweep, "--database", "results.db", "--worker", command});
    EXPECT_EQ(output.exit_code, 1) << command;
    EXPECT_THAT(output.err, HasSubstr(why));
    EXPECT_THAT(output.err, HasSubstr("Check the worker command"));
    Database database = open(program.file("results.db"));
    EXPECT_TRUE(get(database.runs()).empty()) << command;
  }
}

TEST(Worker, StandardErrorOfACrashIsInTheLog) {
  Program program;
  const std::string sweep = program.write("sweep.toml", sweep_text("lgs = [1]"));
  (void)program.run({"bench", sweep, "--database", "results.db", "--worker", KRASIS_FAKE_WORKER " --script crash-run"});
  Database database = open(program.file("results.db"));
  std::string text;
  for (const auto& line : get(database.log(get(database.runs()).at(0).id))) text += line.text + "\n";
  EXPECT_THAT(text, HasSubstr("the last words"));
  EXPECT_THAT(text, HasSubstr("segfault follows"));
}

TEST(Worker, WordsOrOneTextAreTheSameCommand) {
  Program program;
  const std::string sweep = program.write("sweep.toml", sweep_text("lgs = [1]"));
  EXPECT_EQ(program.run({"bench", sweep, "--database", "a.db", "--worker", KRASIS_FAKE_WORKER}).exit_code, 0);
  EXPECT_EQ(program.run({"bench", sweep, "--database", "b.db", "--worker", KRASIS_FAKE_WORKER, "worker"}).exit_code, 0);
  EXPECT_EQ(program.run({"bench", sweep, "--database", "c.db", "--worker", KRASIS_FAKE_WORKER " --script ok worker"}).exit_code, 0);
  EXPECT_EQ(program.run({"bench", sweep, "--database", "d.db", "--worker", KRASIS_FAKE_WORKER " --script fail-verdict"}).exit_code, 3);
}

}  // namespace
}  // namespace krasis
