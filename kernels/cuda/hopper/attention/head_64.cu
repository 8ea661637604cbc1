#include "kernels/cuda/hopper/attention/flash_kernel.cuh"

namespace krasis::cuda::flash {

void run_head_64(const Launch& launch, const AttentionArgs& args) {
  if (args.cache.element == KvElement::Bf16) {
    run_flash<Shape<KvElement::Bf16, 64, 3, 128, 6, 32, 160, true, 0>>(launch, args);
  } else {
    run_flash<Shape<KvElement::Fp8, 64, 2, 128, 6, 88, 208, true, 2>>(launch, args);
  }
}

}  // namespace krasis::cuda::flash
