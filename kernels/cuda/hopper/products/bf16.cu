#include "kernels/cuda/hopper/products/product_kernels.cuh"

namespace krasis::cuda::hopper {

template struct Products<Element::Bf16, 128>;

}  // namespace krasis::cuda::hopper
