#pragma once

#include "kernels/host/operations/cache/kv_layout.h"
#include "kernels/operations.h"

/// The reference operations: plain loops, sums in FP32 in the order of the index, one thread. kernels/operations.h has
/// the formulas.
namespace krasis::scalar {

/// Each operation of operation_list.h that is no block specializes this in a file scalar.cpp.
template <class Args>
void run(const Args& args);

/// kv_append with another way to write (row, head); `write_head` is the reference's. Throws std::out_of_range if a
/// token's row lies outside the cache.
using WriteHead = void (*)(const KvCache& cache, KvPart part, std::int64_t row, int head, const bf16* from);
void kv_append(const KvAppendArgs& args, WriteHead write);
void write_head(const KvCache& cache, KvPart part, std::int64_t row, int head, const bf16* from);

}  // namespace krasis::scalar
