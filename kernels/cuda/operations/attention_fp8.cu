#include "kernels/cuda/operations/attention_tiles.cuh"

namespace krasis::cuda {

bool attention_tiles_fp8(const Launch& launch, const AttentionArgs& args) {
  return run_attention_of<KvElement::Fp8>(launch, args);
}

}  // namespace krasis::cuda
