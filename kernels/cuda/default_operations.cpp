// Apart from the platform, so that one with other arithmetic links without the operations' library.
#include "kernels/cuda/cuda_platform.h"
#include "kernels/cuda/operations/matmul/cublaslt.h"

namespace krasis {

const CudaOperations& cuda_operations() {
  static const CudaOperations table = [] {
    CudaOperations set;
    Operations::for_each([&]<class Args>() {
      if constexpr (!Block<Args>) set.set<Args>(cuda::run<Args>);
    });
    cuda::FusedBlocks::for_each([&]<class Args>() { set.set<Args>(cuda::run<Args>); });
    set.open_dense_products = cuda::open_dense_products;
    return set;
  }();
  return table;
}

Expected<std::unique_ptr<CudaPlatform>> CudaPlatform::create(const CudaPlatformOptions& options) {
  return create(options, cuda_operations());
}

}  // namespace krasis
