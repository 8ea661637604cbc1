#include "kernels/cuda/operations/attention/flash.cuh"

namespace krasis::cuda {

void attention_tiles_bf16(const Launch& launch, const AttentionArgs& args, bool split) {
  run_attention_of<KvElement::Bf16>(launch, args, split);
}

}  // namespace krasis::cuda
