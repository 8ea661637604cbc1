#include "kernels/cuda/hopper/attention/flash_kernel.cuh"

namespace krasis::cuda::flash {

void run_head_128(const Launch& launch, const AttentionArgs& args) {
  run_flash<Shape<128, 2, 128, 6, 40, 232, true>>(launch, args);
}

}  // namespace krasis::cuda::flash
