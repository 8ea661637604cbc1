#include "kernels/cuda/hopper/attention/flash_kernel.cuh"

namespace krasis::cuda::flash {

void run_head_64(const Launch& launch, const AttentionArgs& args) {
  run_flash<Shape<64, 3, 128, 6, 32, 160, true>>(launch, args);
}

}  // namespace krasis::cuda::flash
