#include "kernels/cuda/hopper/experts/product_kernels.cuh"

namespace krasis::cuda::hopper {

template struct Products<Element::Int8, 64>;

}  // namespace krasis::cuda::hopper
