#pragma once

#include "kernels/host/operations/attention/head_kernel.h"
#include "kernels/host/operations/matmul/row_kernels.h"

/// The kernels of wider instruction sets with emulated instructions (emulated_avx512.h, emulated_amx.h): they run where
/// AVX2, FMA and F16C do.
namespace krasis::simd {

const RowKernels& emulated_avx512_rows();
const RowKernels& emulated_amx_rows();
void emulated_dot_bf16_amx(const PackedRows& rows, int tokens, const std::byte* interleaved, float* out,
                           std::int64_t stride);
void emulated_interleave_bf16_amx(const PreparedToken* x, int tokens, std::int64_t columns, std::byte* out);
void emulated_attend_amx(const HeadKeys* heads, int count);

}  // namespace krasis::simd
