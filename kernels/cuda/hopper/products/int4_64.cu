#include "kernels/cuda/hopper/products/product_kernels.cuh"

namespace krasis::cuda::hopper {

template struct Products<Element::Int4, 64>;

}  // namespace krasis::cuda::hopper
