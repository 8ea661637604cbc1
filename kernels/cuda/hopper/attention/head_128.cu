#include "kernels/cuda/hopper/attention/flash_kernel.cuh"

namespace krasis::cuda::flash {

void run_head_128(const Launch& launch, const AttentionArgs& args) {
  if (args.cache.element == KvElement::Bf16) {
    run_flash<Shape<KvElement::Bf16, 128, 2, 128, 6, 40, 232, true, 0>>(launch, args);
  } else {
    run_flash<Shape<KvElement::Fp8, 128, 2, 112, 5, 88, 208, true, 2>>(launch, args);
  }
}

}  // namespace krasis::cuda::flash
