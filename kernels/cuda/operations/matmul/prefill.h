#pragma once

#include "kernels/cuda/operations/matmul/products.cuh"

/// Products of many tokens by tensor cores, weights unpacked tile by tile (tile_product.cuh).
namespace krasis::cuda {

void matmul_tiles(const Launch& launch, const MatmulArgs& args);

}  // namespace krasis::cuda
