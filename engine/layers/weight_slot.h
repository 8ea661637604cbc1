#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/tensor.h"

/// Weights are declared once: each part of a model has a function `visit_weights(part, hidden, visit, weights...)` that
/// calls `visit(slot, weights.field...)` for each of its weights, in the order in which they lie in memory. The field
/// is a `Matrix` or, for a vector, a `View<const bf16>`; with no `weights` the visitor gets the slots alone, with
/// several the same field of each. Bytes, places, binding, uploads, synthetic rows and checkpoints' names come from
/// there.
namespace krasis {

/// What a weight is, which decides its precision (precision.h).
enum class WeightClass : std::uint8_t {
  Exact,      ///< norms, routers, the embedding: BF16 always
  Attention,  ///< the mixers' matrices: what `attention = streamed` streams
  DenseMlp,
  LmHead,
  Expert,
};

/// How synthetic rows are drawn (weights/synthetic_source.h).
enum class Draw : std::uint8_t {
  Gaussian,        ///< of deviation 1 / sqrt(columns)
  ResidualWriter,  ///< the same, divided by sqrt(2 * layers); row 0 is zero
  Norm,            ///< 1 +- 0.1
  RoutersNorm,     ///< the same, but channel 0 is 1
  FinalNorm,
  Embedding,  ///< of deviation 1, channel 0 is 1
  Router,     ///< Gaussian, and column 0 is the experts' bias
};

struct WeightSlot {
  std::string_view name;  ///< "attention.q_proj": unique within a layer, or within the model
  std::int64_t rows = 1;
  std::int64_t columns = 0;
  WeightClass weight_class = WeightClass::Exact;
  Draw draw = Draw::Gaussian;
  int seed = 0;         ///< of synthetic rows; each name has its own, for ever
  bool vector = false;  ///< [columns] in a checkpoint; others are [rows, columns]

  std::int64_t elements() const { return rows * columns; }
};

/// A norm's weight.
constexpr WeightSlot norm_slot(std::string_view name, std::int64_t columns, int seed, Draw draw = Draw::Norm) {
  return {name, 1, columns, WeightClass::Exact, draw, seed, true};
}

/// What an architecture's weights are for a part; specialized beside each.
template <class Part>
struct PartOf;

}  // namespace krasis
