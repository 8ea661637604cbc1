#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <thread>
#include <utility>

#include "app/cli.h"
#include "app/tables.h"
#include "engine/config/parameters.h"
#include "engine/config/sweep.h"
#include "engine/protocol/request_watch.h"
#include "engine/worker/worker_process.h"
#include "results_db/from_worker.h"
#include "results_db/run_recorder.h"
#include "results_db/telemetry.h"
#include "results_db/validation.h"

namespace krasis::cli {
namespace {

using Clock = std::chrono::steady_clock;

std::atomic<int> interrupts{0};

struct BenchOptions {
  std::string sweep_file, database = "krasis.db", format = "md", trace_directory;
  bool telemetry = false;
  std::vector<std::string> worker;
};

/// Runs the configurations of a sweep one after another and stores each repetition as it arrives.
class Bench {
 public:
  Bench(results::Database database, Sweep sweep, std::vector<std::string> command, std::string trace_directory)
      : database_(std::move(database)),
        sweep_(std::move(sweep)),
        command_(std::move(command)),
        trace_directory_(std::move(trace_directory)) {}

  /// Stops at the first error of the database and when the worker does not start; a run that fails is recorded, and the
  /// sweep goes on.
  Expected<void> run(const std::vector<RunConfiguration>& runs) {
    KRASIS_CHECK(wait_for_database());
    for (std::size_t i = 0; i < runs.size() && interrupts == 0; ++i) {
      label_ = fmt::format("{}/{} LGS {}, HCS {}, GPU {}, CPU {}", i + 1, runs.size(), runs[i].lgs,
                           name_of(runs[i].hcs), runs[i].gpu_format, runs[i].cpu_format);
      KRASIS_CHECK(run_one(runs[i], fmt::format("run-{}", i)));
    }
    return {};
  }

  results::Database& database() { return database_; }
  const std::vector<results::RunId>& ids() const { return ids_; }
  bool all_passed() const { return all_passed_; }

 private:
  /// Returns when nobody else measures with the database, or when it is interrupted.
  Expected<void> wait_for_database() {
    for (bool told = false; interrupts == 0;) {
      const auto mine = database_.begin_measuring();
      renewed_ = Clock::now();
      if (mine || mine.error().code != ErrorCode::Conflict) return mine;
      if (!std::exchange(told, true)) std::cerr << mine.error().cause << " Waiting until it has finished.\n";
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    return {};
  }

  /// Whoever reads the database elsewhere knows by this that the run lives.
  Expected<void> renew() {
    if (Clock::now() - renewed_ < std::chrono::seconds(results::kRenewSeconds)) return {};
    renewed_ = Clock::now();
    return database_.begin_measuring();
  }

  Expected<void> run_one(const RunConfiguration& configuration, const std::string& id) {
    uuid_ = results::new_uuid();
    configuration_ = configuration;
    RequestWatch watch(id, worker_ready_, Clock::now(), patience());
    KRASIS_TRY(const RequestEnd end, follow(id, watch));
    if (end.never_ready && end.kind == RequestEnd::Kind::Crashed) return fail(ErrorCode::Io, end.cause, end.remedy);
    if (recorder_.run() == 0) KRASIS_CHECK(begin_run());  // cancelled before the worker was ready
    if (end.worker_lost) KRASIS_CHECK(drop_worker(end.stage));
    const results::RunOutcome outcome = results::outcome_of(end);
    KRASIS_CHECK(recorder_.finish(outcome));
    const bool passed = outcome.status == results::RunStatus::Done && outcome.verdict.verdict != results::Verdict::Fail;
    all_passed_ = all_passed_ && passed;
    tell(passed ? describe(outcome) : std::string(results::name_of(outcome.status)) + " " + describe(outcome));
    return {};
  }

  /// Named by the run's id, in a folder of the machine that runs the worker; empty if none is wanted.
  std::string trace_file() const {
    if (trace_directory_.empty()) return {};
    return (std::filesystem::path(trace_directory_) / (uuid_.substr(0, 8) + ".trace.json")).string();
  }

  static std::string describe(const results::RunOutcome& outcome) {
    if (!outcome.failure.cause.empty()) return outcome.failure.cause;
    if (outcome.verdict.verdict == results::Verdict::None) return "no verdict";
    return fmt::format("{}, {} {:.4f}", outcome.verdict.verdict == results::Verdict::Pass ? "PASS" : "FAIL", outcome.verdict.figure,
                       outcome.verdict.value.value_or(0));
  }

  /// "repetition 2 of 5, prompt 4096 of 10000 tokens, 37 % of the run, 12 s left"
  static std::string describe(const protocol::Stage& now) {
    std::string text = fmt::format("{} {} of {}", now.stage, now.index + 1, now.count);
    if (now.part == "prompt") text += fmt::format(", prompt {} of {} tokens", now.done, now.all);
    if (now.part == "text") text += fmt::format(", token {} of {}", now.done, now.all);
    if (now.part == "reference") text += fmt::format(", judging {} of {} positions", now.done, now.all);
    if (now.share > 0) text += fmt::format(", {:.0f} % of the run, {:.0f} s left", now.share * 100, now.left_s);
    return text;
  }

  Patience patience() const {
    Patience patience;
    if (sweep_.timeout_s > 0) patience.whole = std::chrono::duration<double>(sweep_.timeout_s);
    return patience;
  }

  Expected<void> ensure_worker() {
    if (worker_) return {};
    KRASIS_TRY(worker_, WorkerProcess::start(command_));
    return {};
  }

  /// Sends the request and listens until it has ended, one way or another. Errors are the database's.
  Expected<RequestEnd> follow(const std::string& id, RequestWatch& watch) {
    if (auto started = ensure_worker(); !started) return watch.never_started(started.error());
    // One that does not listen any more is heard to its end below.
    if (!worker_->send(protocol::Benchmark{id, configuration_, trace_file()})) worker_->kill();
    for (std::optional<RequestEnd> end;;) {
      // A worker that does not even start leaves no row.
      if (watch.is_ready() && recorder_.run() == 0) KRASIS_CHECK(begin_run());
      if (interrupts > 0 && !watch.is_cancelling()) {
        watch.cancel();
        (void)worker_->send(protocol::Cancel{id});
      }
      const auto event = worker_->next(std::chrono::milliseconds(200));
      if (event && *event) {
        const std::string* request = request_of(**event);
        if (!request || *request == id) {
          show(**event);
          KRASIS_CHECK(recorder_.hear(**event));
        }
        end = watch.hear(**event);
      } else if (!event && event.error().code == ErrorCode::Io && worker_->end()) {
        for (const std::string& line : worker_->end()->last_lines) watch.remember(line);
        end = watch.worker_ended(worker_->end()->exit_code, worker_->end()->signal);
      } else if (!event) {
        end = watch.hear_nonsense(event.error());
      }
      worker_ready_ = watch.is_ready();
      KRASIS_CHECK(renew());
      if (!end) end = watch.tick(Clock::now());
      if (end) return *end;
    }
  }

  /// Ends the process; the last lines of its standard error become the run's.
  Expected<void> drop_worker(const std::string& stage) {
    if (!worker_) return {};
    worker_->kill();
    const auto lines = worker_->end() ? worker_->end()->last_lines : std::vector<std::string>{};
    worker_.reset();
    worker_ready_ = false;
    for (const std::string& line : lines) KRASIS_CHECK(recorder_.hear(protocol::Log{"warning", stage, line}));
    return {};
  }

  Expected<void> begin_run() {
    results::NewRun run = results::new_run_of(configuration_, sweep_.title);
    run.uuid = uuid_;
    KRASIS_TRY(const results::RunId id, database_.enqueue(run));
    ids_.push_back(id);
    KRASIS_TRY(results::RunRecord claimed, database_.claim(id));
    return recorder_.begin(database_, std::move(claimed));
  }

  void show(const protocol::Event& event) const {
    if (const auto* loading = std::get_if<protocol::Loading>(&event)) {
      if (loading->stage.starts_with(protocol::kWaitingFor)) return tell(loading->stage);
      progress(fmt::format("{} {:.0f} %", loading->stage, loading->done * 100));
    } else if (const auto* now = std::get_if<protocol::Stage>(&event)) {
      progress(describe(*now));
    } else if (const auto* finished = std::get_if<protocol::Finished>(&event)) {
      if (!finished->disturbance.empty()) tell("disturbed: " + finished->disturbance);
    }
  }

  /// A line that stays, on a terminal and in a file.
  void tell(const std::string& text) const {
    std::cerr << (::isatty(STDERR_FILENO) ? "\r\033[K" : "") << label_ << ": " << text << "\n";
  }

  void progress(const std::string& text) const {
    if (::isatty(STDERR_FILENO)) std::cerr << "\r\033[K" << label_ << ": " << text << std::flush;
  }

  results::Database database_;
  Sweep sweep_;
  std::vector<std::string> command_;
  std::string trace_directory_;
  std::unique_ptr<WorkerProcess> worker_;
  Clock::time_point renewed_;
  bool worker_ready_ = false;  ///< the process has said so
  RunConfiguration configuration_;
  std::string uuid_;  ///< of the run
  results::RunRecorder recorder_;
  std::vector<results::RunId> ids_;
  std::string label_;
  bool all_passed_ = true;
};

Expected<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(ErrorCode::NotFound, "The sweep " + path + " cannot be read.", "Check the path.");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// What the hardware did in each run, a block for each.
std::string telemetry_text(const std::vector<results::RunSummary>& runs) {
  std::string text;
  for (const results::RunSummary& summary : runs) {
    text += fmt::format("\nrun {}\n", summary.run.short_id());
    std::string group;
    const auto lines = results::describe_telemetry(summary.run.telemetry_json);
    if (lines.empty()) text += "  nothing was seen\n";
    for (const results::TelemetryLine& line : lines) {
      if (line.group != group) text += fmt::format("  {}\n", group = line.group);
      text += fmt::format("    {:<24} {}\n", line.name, line.value);
    }
  }
  return text;
}

Expected<int> bench(const BenchOptions& options) {
  KRASIS_TRY(const std::string text, read_file(options.sweep_file));
  KRASIS_TRY(Sweep sweep, sweep_from_toml(text));
  KRASIS_TRY(const std::vector<RunConfiguration> runs, expand(sweep));
  KRASIS_TRY(auto database, results::Database::open(options.database, {.program = "krasis bench"}));
  if (database.read_only()) {
    return fail(ErrorCode::Io, "The database " + options.database + " cannot be written: " + database.read_only_reason(), "Choose another --database.");
  }
  KRASIS_CHECK(database.mark_interrupted());
  std::vector<std::string> command = options.worker;
  if (command.empty()) command = {own_path().string(), "worker"};
  if (command.size() == 1 && !std::filesystem::exists(command[0])) {  // a command line in one text
    if (const auto words = CLI::detail::split_up(command[0]); !words.empty()) command = words;
  }
  std::signal(SIGINT, [](int) {
    if (++interrupts > 1) ::_exit(kInterrupted);
  });
  Bench bench(std::move(database), std::move(sweep), std::move(command), options.trace_directory);
  const auto done = bench.run(runs);
  results::RunFilter filter;
  filter.ids = bench.ids();
  if (!filter.ids.empty()) {
    KRASIS_TRY(const std::string table, table_of(bench.database(), filter, options.format));
    std::cout << table << std::flush;
    if (options.telemetry) {
      KRASIS_TRY(const std::vector<results::RunSummary> summaries, bench.database().summaries(filter));
      (options.format == "md" ? std::cout : std::cerr) << telemetry_text(summaries) << std::flush;
    }
  }
  KRASIS_CHECK(done);
  std::cerr << "Stored in " << options.database << "\n";
  return interrupts > 0 ? kInterrupted : bench.all_passed() ? kDone : kRunFailed;
}

}  // namespace

void add_bench(CLI::App& app, Run& run) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand("bench", "Run a sweep, store every sample, print the table");
  command->add_option("sweep", options->sweep_file, "The sweep's TOML file")->required();
  command->add_option("--database", options->database, "The results database; made if there is none")->capture_default_str();
  command->add_option("-o,--output", options->format, "md, csv or json")->check(CLI::IsMember({"md", "csv", "json"}))->capture_default_str();
  command->add_flag("--telemetry", options->telemetry, "Below the table, for each run: copies, computation and their overlap in a traced prefill, decode's parts, the GPUs' state");
  command->add_option("--trace", options->trace_directory, "Write a trace of each run into this folder of the worker's machine: RUN.trace.json, in Chrome's format, for Perfetto");
  command->add_option("--worker", options->worker, "The worker's command, in quotes if it has options of its own: --worker \"ssh -p 2222 host krasis worker\" [this program]");
  command->callback([&run, options] {
    run = [options] {
      auto code = bench(*options);
      return code ? *code : report(code.error());
    };
  });
}

}  // namespace krasis::cli
