#include "kernels/cuda/operations/attention/flash.cuh"

namespace krasis::cuda {

void attention_tiles_fp8(const Launch& launch, const AttentionArgs& args, bool split) {
  run_attention_of<KvElement::Fp8>(launch, args, split);
}

}  // namespace krasis::cuda
