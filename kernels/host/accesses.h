#pragma once

#include <span>
#include <vector>

#include "kernels/device.h"

namespace krasis {

/// The bytes that an operation may read and write, as the happens-before checker sees them. What depends on values in
/// device memory is declared as the whole: KV planes (values and scales), the expert pool (unless the caller knows which
/// blocks: ExpertsArgs::blocks), the history of a sequence.
/// What is added to is both read and written; a workspace is only written.
struct Accesses {
  std::vector<Access> reads, writes;
};

Accesses accesses_of(const EmbeddingArgs& args);
Accesses accesses_of(const RmsNormArgs& args);
Accesses accesses_of(const HeadNormArgs& args);
Accesses accesses_of(const MatmulArgs& args);
Accesses accesses_of(std::span<const MatmulArgs> products);  ///< of all of them; activations that they share once
Accesses accesses_of(const SwiGluArgs& args);
Accesses accesses_of(const RotaryArgs& args);
Accesses accesses_of(const KvAppendArgs& args);
Accesses accesses_of(const AttentionArgs& args);
Accesses accesses_of(const RouterArgs& args);
Accesses accesses_of(const ExpertsArgs& args);
Accesses accesses_of(const AddArgs& args);
Accesses accesses_of(const FillArgs& args);
Accesses accesses_of(const CountExpertsArgs& args);
Accesses accesses_of(const GatherExpertsArgs& args);
Accesses accesses_of(const SampleArgs& args);
Accesses accesses_of(const AdvanceArgs& args);

}  // namespace krasis
