#include "kernels/cuda/operations/expert_pool.cuh"

namespace krasis::cuda {

void experts(const Launch& launch, const ExpertsArgs& args) {
  if (args.ids.empty()) return;
  experts_any(launch, args);
}

}  // namespace krasis::cuda
