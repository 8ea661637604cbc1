#include "kernels/cuda/hopper/experts/product_kernels.cuh"

namespace krasis::cuda::hopper {

template struct Products<Element::Int4, 128>;

}  // namespace krasis::cuda::hopper
