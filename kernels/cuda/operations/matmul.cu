#include "kernels/cuda/operations/products.cuh"

namespace krasis::cuda {

void matmul(const Launch& launch, const MatmulArgs& args) {
  matmul_any(launch, args);
}

}  // namespace krasis::cuda
