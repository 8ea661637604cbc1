#pragma once

#include <span>

#include "kernels/cuda/operations/matmul/products.cuh"

/// Products with 1 to 16 tokens: each weight is read once (row_product.cuh), so the limit is the memory's speed.
namespace krasis::cuda {

struct NormJob;

constexpr std::size_t kMostJobs = 3;

struct RowsJob {
  const std::uint8_t* weight = nullptr;
  ProductOutput out;
};

/// Up to kMostJobs matrices of the same format and number of columns times the same tokens in one launch (q, k and v).
/// Each of them is for MatmulPath::Rows.
void matmul_rows(const Launch& launch, const bf16* x, std::int64_t tokens, std::span<const Matrix> weights,
                 std::span<const ProductOutput> outputs);

/// The same with x = rms_norm(...), which fuses_norm(), in the same kernel; false, and nothing is done, where that does
/// not pay: many rows. `norm.normed` stays unwritten.
bool matmul_rows_normed(const Launch& launch, const NormJob& norm, std::int64_t tokens, std::span<const Matrix> weights,
                        std::span<const ProductOutput> outputs);

}  // namespace krasis::cuda
