#include "kernels/cuda/hopper/products/product_kernels.cuh"

namespace krasis::cuda::hopper {

template struct Products<Element::Int8, 32>;

}  // namespace krasis::cuda::hopper
