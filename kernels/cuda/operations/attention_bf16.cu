#include "kernels/cuda/operations/attention_tiles.cuh"

namespace krasis::cuda {

bool attention_tiles_bf16(const Launch& launch, const AttentionArgs& args) {
  return run_attention_of<KvElement::Bf16>(launch, args);
}

}  // namespace krasis::cuda
