#pragma once

#include <cstdint>

#include "base/bf16.h"
#include "base/format.h"

/// The inner loops of packing, as one table for each instruction set; vector/kernels.h says how their files are
/// compiled.
namespace krasis::simd {

/// One row of a matrix that is packed: where its elements and scales go.
struct PackTarget {
  Element element = Element::Int4;  ///< not BF16
  int group_size = 0;               ///< 32, 64 or 128
  std::int64_t groups = 0;          ///< the row has groups * group_size columns
  std::byte* data = nullptr;        ///< padding is written too
  std::byte* scales = nullptr;
};

/// Give, bit for bit, what the definition in pack.h says.
struct PackKernels {
  void (*from_float)(const float* values, const PackTarget& row);
  void (*from_bf16)(const bf16* values, const PackTarget& row);
};

/// Call only where the CPU has AVX2.
const PackKernels& avx2_pack_kernels();

}  // namespace krasis::simd
