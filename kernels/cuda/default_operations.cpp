// Apart from the platform, so that one with other arithmetic links without the operations' library.
#include "kernels/cuda/cuda_platform.h"
#include "kernels/cuda/operations/dense_products.h"

namespace krasis {

const CudaOperations& cuda_operations() {
  static const CudaOperations table = {
      .embedding = cuda::embedding,
      .rms_norm = cuda::rms_norm,
      .head_norm = cuda::head_norm,
      .matmul = cuda::matmul,
      .swiglu = cuda::swiglu,
      .rotary = cuda::rotary,
      .kv_append = cuda::kv_append,
      .attention = cuda::attention,
      .router = cuda::router,
      .experts = cuda::experts,
      .add = cuda::add,
      .fill = cuda::fill,
      .count_experts = cuda::count_experts,
      .gather_experts = cuda::gather_experts,
      .sample = cuda::sample,
      .advance = cuda::advance,
      .attention_block = cuda::attention_block,
      .mlp_block = cuda::mlp_block,
      .router_block = cuda::router_block,
      .head_block = cuda::head_block,
      .open_dense_products = cuda::open_dense_products,
  };
  return table;
}

Expected<std::unique_ptr<CudaPlatform>> CudaPlatform::create(const CudaPlatformOptions& options) {
  return create(options, cuda_operations());
}

}  // namespace krasis
