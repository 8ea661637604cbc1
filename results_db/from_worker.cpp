#include "results_db/from_worker.h"

#include "engine/config/parameters.h"

namespace krasis::results {

RunParameters parameters_of(const RunConfiguration& c) {
  return {.device = c.device,
          .operations = c.operations,
          .device_count = c.device_count,
          .gpus = c.gpus,
          .lgs = c.lgs,
          .hcs = std::string(name_of(c.hcs)),
          .hcs_share = c.hcs_share,
          .hcs_policy = c.hcs_policy,
          .vram_budget_mib = c.vram_budget_mib,
          .threads = c.threads,
          .numa = c.numa,
          .gpu_bits = c.gpu_bits,
          .cpu_bits = c.cpu_bits,
          .attention_bits = c.attention_bits,
          .dense_mlp_bits = c.dense_mlp_bits,
          .lm_head_bits = c.lm_head_bits,
          .group_size = c.group_size,
          .prefill_path = c.prefill_path,
          .attention = c.attention,
          .kv_cache = c.kv_cache,
          .chunk_tokens = c.chunk_tokens,
          .prompt_tokens = c.prompt_tokens,
          .decode_tokens = c.decode_tokens,
          .warmups = c.warmups,
          .repetitions = c.repetitions,
          .seed = c.seed,
          .prompt_fingerprint = {}};
}

ModelRecord model_of(const protocol::ModelFacts& f) {
  return {f.fingerprint, f.name, f.model_type, f.architecture, f.synthetic};
}

EnvironmentRecord environment_of(const protocol::MachineFacts& f) {
  return {.fingerprint = {},
          .machine = f.machine,
          .cpu = f.cpu,
          .memory_bytes = f.memory_bytes,
          .gpu = f.gpu,
          .driver = f.driver,
          .kernel = f.kernel,
          .build = f.build,
          .facts_json = f.facts_json,
          .ceilings_json = f.ceilings_json};
}

Repetition repetition_of(const protocol::Sample& s) {
  return {.index = static_cast<int>(s.index),
          .warm_up = s.warm_up,
          .measured_at = {},
          .prefill_tokens = s.prefill_tokens,
          .prefill_s = s.prefill_s,
          .ttft_s = s.ttft_s,
          .decode_tokens = s.decode_tokens,
          .decode_s = s.decode_s,
          .decode_token_s = s.decode_token_s,
          .metrics_json = s.metrics_json,
          .output_text = s.output_text};
}

VerdictRecord verdict_of(const protocol::VerdictFacts& f) {
  return {verdict_of(std::string_view(f.verdict)).value_or(Verdict::None), f.figure, f.value, f.threshold};
}

RunOutcome outcome_of(const RequestEnd& end) {
  const auto status = [&end] {
    switch (end.kind) {
      case RequestEnd::Kind::Done:
        return RunStatus::Done;
      case RequestEnd::Kind::Cancelled:
        return RunStatus::Cancelled;
      case RequestEnd::Kind::OutOfMemory:
        return RunStatus::OutOfMemory;
      case RequestEnd::Kind::Crashed:
        return RunStatus::Crashed;
      case RequestEnd::Kind::Failed:
        break;
    }
    return RunStatus::Failed;
  }();
  if (status == RunStatus::Done) return {status, verdict_of(end.verdict), {}};
  if (status == RunStatus::Cancelled) return {status, {}, {}};
  return {status, {}, {end.cause, end.remedy, end.stage, end.signal}};
}

}  // namespace krasis::results
