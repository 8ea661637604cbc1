#pragma once

#include <tuple>
#include <variant>

#include "kernels/blocks.h"

namespace krasis {

/// Operations by the types of their arguments.
template <class... Args>
struct OperationList {
  /// One operation, by its arguments.
  using Pointer = std::variant<const Args*...>;
  /// One entry of type Entry<Args> for each operation.
  template <template <class> class Entry>
  using Tuple = std::tuple<Entry<Args>...>;
  /// Calls function.operator()<Args>() for each.
  template <class Function>
  static void for_each(Function&& function) {
    (function.template operator()<Args>(), ...);
  }
};

/// Every operation. A new one is named here, is defined for the host (host/operations/scalar.h) and for CUDA
/// (cuda/operations/operations.h), and is tested on both: docs/adding-an-operation.md.
using Operations = OperationList<EmbeddingArgs, RmsNormArgs, HeadNormArgs, GatedNormArgs, MatmulArgs, SwiGluArgs,
                                 RotaryArgs, KvAppendArgs, AttentionArgs, RouterArgs, ExpertsArgs, AddArgs, FillArgs,
                                 CountExpertsArgs, GatherExpertsArgs, SampleArgs, AdvanceArgs,
                                 // Blocks.
                                 MatmulsArgs, AttentionBlock, MlpBlock, RouterBlock, HeadBlock>;
using AnyOperation = Operations::Pointer;

/// Whether an operation consists of others.
template <class Args>
concept Block = requires(const Args& args) {
  args.expand([](const auto&) {});
};

/// An implementation: for each operation a function, or null.
template <template <class> class Function>
class OperationTable {
 public:
  template <class Args>
  Function<Args>& of() {
    return std::get<Function<Args>>(functions_);
  }
  template <class Args>
  Function<Args> of() const {
    return std::get<Function<Args>>(functions_);
  }

 private:
  Operations::Tuple<Function> functions_{};
};

}  // namespace krasis
