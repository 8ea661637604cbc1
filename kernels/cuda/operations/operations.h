#pragma once

#include <driver_types.h>

#include "kernels/operations.h"

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

/// Counters that a stream has for its kernels (Launch::counters).
constexpr int kCounters = 256;

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

void embedding(const Launch& launch, const EmbeddingArgs& args);
void rms_norm(const Launch& launch, const RmsNormArgs& args);
void head_norm(const Launch& launch, const HeadNormArgs& args);
void matmul(const Launch& launch, const MatmulArgs& args);
void swiglu(const Launch& launch, const SwiGluArgs& args);
void rotary(const Launch& launch, const RotaryArgs& args);
/// A token whose row lies outside the cache is skipped (the host device fails instead).
void kv_append(const Launch& launch, const KvAppendArgs& args);
void attention(const Launch& launch, const AttentionArgs& args);
void router(const Launch& launch, const RouterArgs& args);
void experts(const Launch& launch, const ExpertsArgs& args);
void add(const Launch& launch, const AddArgs& args);
void fill(const Launch& launch, const FillArgs& args);
void count_experts(const Launch& launch, const CountExpertsArgs& args);
void gather_experts(const Launch& launch, const GatherExpertsArgs& args);
void sample(const Launch& launch, const SampleArgs& args);
void advance(const Launch& launch, const AdvanceArgs& args);

}  // namespace krasis::cuda
