#include "results_db/parameter_columns.h"

#include <array>

namespace krasis::results {

std::span<const ParameterColumn> parameter_columns() {
  using P = RunParameters;
  static const std::array<ParameterColumn, 27> kColumns{{{"device", &P::device},
                                                         {"operations", &P::operations},
                                                         {"device_count", &P::device_count},
                                                         {"gpus", &P::gpus},
                                                         {"lgs", &P::lgs},
                                                         {"hcs", &P::hcs},
                                                         {"hcs_share", &P::hcs_share},
                                                         {"hcs_policy", &P::hcs_policy},
                                                         {"vram_budget_mib", &P::vram_budget_mib},
                                                         {"threads", &P::threads},
                                                         {"numa", &P::numa},
                                                         {"gpu_bits", &P::gpu_bits},
                                                         {"cpu_bits", &P::cpu_bits},
                                                         {"attention_bits", &P::attention_bits},
                                                         {"dense_mlp_bits", &P::dense_mlp_bits},
                                                         {"lm_head_bits", &P::lm_head_bits},
                                                         {"group_size", &P::group_size},
                                                         {"prefill_path", &P::prefill_path},
                                                         {"attention", &P::attention},
                                                         {"kv_cache", &P::kv_cache},
                                                         {"chunk_tokens", &P::chunk_tokens},
                                                         {"prompt_tokens", &P::prompt_tokens},
                                                         {"decode_tokens", &P::decode_tokens},
                                                         {"warmups", &P::warmups},
                                                         {"repetitions", &P::repetitions},
                                                         {"seed", &P::seed},
                                                         {"prompt_fingerprint", &P::prompt_fingerprint}}};
  return kColumns;
}

}  // namespace krasis::results
