#pragma once

#include <string>
#include <vector>

#include "engine/weights/checkpoint.h"
#include "engine/weights/packed_layout.h"
#include "engine/weights/weight_source.h"

namespace krasis {

/// Reads a model's tensors, by their Hub names, from a checkpoint in BF16, F16 or F32.
class CheckpointSource : public WeightSource {
 public:
  /// `checkpoint` and `parts` must outlive the source. Errors: NotFound, with the first few names and the count, if
  /// tensors are missing; InvalidShape with expected and found shape; Unsupported for another dtype.
  static Expected<CheckpointSource> open(const Checkpoint& checkpoint, const std::vector<PackedPart>& parts);

  Expected<void> read_rows(std::size_t part, std::int64_t row_begin, std::int64_t row_count, float* out) const override;
  Expected<std::optional<std::span<const bf16>>> bf16_rows(std::size_t part, std::int64_t row_begin,
                                                           std::int64_t row_count) const override;
  void release_rows(std::size_t part, std::int64_t row_begin, std::int64_t row_count) const override;

  /// Tensors of the checkpoint that the model does not use, sorted.
  const std::vector<std::string>& extra_tensors() const { return extra_; }

 private:
  tl::unexpected<Error> not_a_number(std::size_t part, std::int64_t element, float value) const;
  explicit CheckpointSource(const std::vector<PackedPart>& parts) : parts_(&parts) {}

  const std::vector<PackedPart>* parts_;
  std::vector<const Checkpoint::Entry*> entries_;  ///< [parts]
  std::vector<std::string> extra_;
};

/// IEEE binary16 -> float, exact.
float half_to_float(std::uint16_t half);

}  // namespace krasis
