#include "kernels/cuda/hopper/attention/flash_kernel.cuh"

namespace krasis::cuda::flash {

void run_head_256(const Launch& launch, const AttentionArgs& args) {
  run_flash<Shape<256, 2, 64, 5, 40, 232, true>>(launch, args);
}

}  // namespace krasis::cuda::flash
