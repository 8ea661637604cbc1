#pragma once

#include "kernels/host/operations/kv_layout.h"
#include "kernels/operations.h"

/// The reference operations: plain loops, sums in FP32 in the order of the index, one thread. kernels/operations.h has
/// the formulas.
namespace krasis::scalar {

void embedding(const EmbeddingArgs& args);
void rms_norm(const RmsNormArgs& args);
void head_norm(const HeadNormArgs& args);
void matmul(const MatmulArgs& args);
void swiglu(const SwiGluArgs& args);
void rotary(const RotaryArgs& args);
/// Throws std::out_of_range if a token's row lies outside the cache.
void kv_append(const KvAppendArgs& args);
/// The same with another way to write (row, head).
using WriteHead = void (*)(const KvCache& cache, KvPart part, std::int64_t row, int head, const bf16* from);
void kv_append(const KvAppendArgs& args, WriteHead write);
/// The reference's way.
void write_head(const KvCache& cache, KvPart part, std::int64_t row, int head, const bf16* from);
void attention(const AttentionArgs& args);
/// Experts are ranked by their logits, whose order is that of the softmax without its rounding. A NaN ranks last; where
/// it enters the softmax the weights are NaN, the ids stay valid. Beyond `experts` picks, the id is -1 and the weight
/// 0.
void router(const RouterArgs& args);
/// A token none of whose experts is here is neither read nor written.
void experts(const ExpertsArgs& args);
void add(const AddArgs& args);
void fill(const FillArgs& args);
/// An id outside [0, counts.size) is skipped.
void count_experts(const CountExpertsArgs& args);
void gather_experts(const GatherExpertsArgs& args);
/// sampling.h says how a token is chosen.
void sample(const SampleArgs& args);
void advance(const AdvanceArgs& args);

}  // namespace krasis::scalar
