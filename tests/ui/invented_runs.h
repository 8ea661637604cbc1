#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "results_db/database.h"
#include "results_db/from_worker.h"
#include "ui/controllers/sweep_controller.h"

namespace krasis::test {

/// A repetition with given speeds; 100 tokens read, 10 written.
inline results::Repetition repetition(int index, double prefill, double decode) {
  results::Repetition r;
  r.index = index;
  r.prefill_tokens = 100;
  r.prefill_s = 100.0 / prefill;
  r.ttft_s = r.prefill_s + 0.001;
  r.decode_tokens = 10;
  r.decode_s = 10.0 / decode;
  r.output_text = "Once upon a time";
  return r;
}

/// A finished run of an invented model in memory.
inline results::RunSummary summary(results::RunId id, int lgs, HotCache hcs, const std::vector<double>& prefill,
                                   const std::vector<double>& decode,
                                   results::Verdict verdict = results::Verdict::Pass) {
  results::RunRecord run;
  run.id = id;
  run.uuid = "0000000" + std::to_string(id) + "-0000-4000-8000-000000000000";
  run.created_at = "2026-02-22T10:00:0" + std::to_string(id) + ".000Z";
  run.model = {"fp", "Invented", "qwen3_moe", "5 layers", false};
  run.parameters.lgs = lgs;
  run.parameters.hcs = hcs;
  run.status = results::RunStatus::Done;
  run.verdict.verdict = verdict;
  std::vector<results::Repetition> repetitions;
  for (std::size_t i = 0; i < prefill.size(); ++i) {
    repetitions.push_back(repetition(static_cast<int>(i), prefill[i], decode[i]));
  }
  return results::summarize(run, repetitions);
}

template <class T>
void must(const Expected<T>& done) {
  if (!done) throw std::runtime_error(done.error().message());
}

/// Stores a finished run of the given configuration. Throws if the database refuses.
inline results::RunId store(results::Database& database, const RunConfiguration& configuration,
                            const std::vector<double>& prefill, const std::vector<double>& decode,
                            results::Verdict verdict = results::Verdict::Pass, const char* telemetry = "{}") {
  results::NewRun run;
  run.model = {"fp", "Invented", "qwen3_moe", "5 layers, hidden 256, 16 experts", false};
  run.sweep = "invented";
  run.parameters = {configuration};
  const auto id = database.enqueue(run).value();
  must(database.claim(id));
  must(database.set_environment(id, {{}, "Invented machine", "Invented CPU", std::int64_t{1} << 34, "", "", "Linux", "b1"}));
  for (std::size_t i = 0; i < prefill.size(); ++i) {
    must(database.append_repetition(id, repetition(static_cast<int>(i), prefill[i], decode[i])));
  }
  must(database.set_telemetry(id, telemetry));
  results::RunOutcome outcome;
  outcome.verdict.verdict = verdict;
  must(database.finish(id, outcome));
  return id;
}

}  // namespace krasis::test
