#pragma once

#include <driver_types.h>

#include "kernels/cuda/choice/choice.h"
#include "kernels/operation_list.h"

/// The primitive operations (kernels/operations.h: formulas, shapes, rounding points) in CUDA.
///
/// Every View is memory that the device can read and write. A function launches kernels on `stream` and returns: it
/// allocates nothing, waits for nothing and reads no device memory from the host, so it can be recorded into a graph.
/// Shapes come from the arguments; what is data (ids, positions, sequences, lengths, offsets) is read by the kernels at
/// each replay. A launch that the driver refuses shows in cudaGetLastError(). Results do not depend on the order in
/// which blocks run: no sum is made with floating-point atomics.
///
/// Fast kernels want rows of activations that are multiples of 16 bytes (columns % 8 == 0) at 16-byte aligned
/// addresses, and groups of 32 or of multiples of 64 (INT8, INT4); anything else is right, too, but slow.
namespace krasis::cuda {

class DenseProducts;

/// Where and on what an operation runs.
struct Launch {
  cudaStream_t stream = nullptr;
  int multiprocessors = 1;
  int compute_major = 8;
  DenseProducts* dense = nullptr;  ///< for large BF16 products (dense_products.h); null = own kernels alone
  /// [kCounters] in device memory, zeros, of this stream alone: blocks of threads count there who comes last, and the
  /// last one leaves zeros. Null = blocks of operations (blocks.h) run as their primitives.
  unsigned* counters = nullptr;
};

/// What choice.h needs to know.
Target target_of(const Launch& launch);

/// Each operation of operation_list.h that is no block, and each of FusedBlocks, specializes this in a file of this
/// folder. kv_append skips a token whose row lies outside the cache (the host fails instead). Throws
/// std::invalid_argument for what no kernel can do.
template <class Args>
void run(const Launch& launch, const Args& args);

/// Blocks with fewer launches than their parts: a decode step is mostly launches. The results are those of the parts,
/// rounded at the same points; sums of squares may run in another order.
using FusedBlocks = OperationList<AttentionBlock, MlpBlock, RouterBlock, HeadBlock>;

}  // namespace krasis::cuda
