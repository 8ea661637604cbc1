#include "kernels/cuda/hopper/attention/flash_kernel.cuh"

namespace krasis::cuda::flash {

void run_head_256(const Launch& launch, const AttentionArgs& args) {
  if (args.cache.element == KvElement::Bf16) {
    run_flash<Shape<KvElement::Bf16, 256, 2, 64, 5, 40, 232, true, 0>>(launch, args);
  } else {
    run_flash<Shape<KvElement::Fp8, 256, 2, 48, 5, 88, 208, true, 2>>(launch, args);
  }
}

}  // namespace krasis::cuda::flash
