#include "kernels/cuda/operations/attention.cuh"

namespace krasis::cuda {

void attention(const Launch& launch, const AttentionArgs& args) {
  attention_any(launch, args);
}

}  // namespace krasis::cuda
