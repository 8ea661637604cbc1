#pragma once

#include "kernels/cuda/operations/products.cuh"

/// Products of many tokens by tensor cores, weights unpacked tile by tile (tile_product.cuh).
namespace krasis::cuda {

bool many_tokens_support(const MatrixLayout& layout, const std::byte* data, const bf16* x);
void matmul_many(const Launch& launch, const MatmulArgs& args);

}  // namespace krasis::cuda
