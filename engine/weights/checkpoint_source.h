#pragma once

#include <string>
#include <vector>

#include "engine/weights/checkpoint.h"
#include "engine/weights/packed_layout.h"
#include "engine/weights/weight_source.h"

namespace krasis {

/// Reads a model's weights from a checkpoint in BF16, F16 or F32, whose tensors the model's architecture names
/// (Architecture::hub): a weight may be some rows of a tensor, one of a stack, or lie transposed.
class CheckpointSource : public WeightSource {
 public:
  /// `checkpoint` and `parts` must outlive the source, `spec` need not. Errors: NotFound, with the first few names and
  /// the count, if tensors are missing; InvalidShape with expected and found shape; Unsupported for another dtype.
  static Expected<CheckpointSource> open(const Checkpoint& checkpoint, const ModelSpec& spec,
                                         const std::vector<PackedPart>& parts);

  Expected<void> read_rows(std::size_t part, std::int64_t row_begin, std::int64_t row_count, float* out) const override;
  Expected<std::optional<std::span<const bf16>>> bf16_rows(std::size_t part, std::int64_t row_begin,
                                                           std::int64_t row_count) const override;
  void release_rows(std::size_t part, std::int64_t row_begin, std::int64_t row_count) const override;

  /// Tensors of the checkpoint that the model does not use, sorted.
  const std::vector<std::string>& extra_tensors() const { return extra_; }

 private:
  struct Tensor {
    const Checkpoint::Entry* entry = nullptr;
    TensorSource source;
    std::int64_t rows = 0, columns = 0;  ///< of the tensor, or of the slice that the weight is in
    bool in_order() const { return source.rows == RowMap{} && !source.transposed; }
    /// Where element (row, column) of the weight is, counted from the tensor's begin.
    std::int64_t element(std::int64_t row, std::int64_t column) const;
  };
  explicit CheckpointSource(const std::vector<PackedPart>& parts) : parts_(&parts) {}
  template <class T, class F>
  void gather(const Tensor& tensor, std::int64_t row_begin, std::int64_t row_count, std::int64_t columns, float* out,
              const F& to_float) const;
  /// `element` counts from the tensor's begin.
  tl::unexpected<Error> not_a_number(const Tensor& tensor, std::int64_t element, float value) const;

  const std::vector<PackedPart>* parts_;
  std::vector<Tensor> tensors_;  ///< [parts]
  std::vector<std::string> extra_;
};

/// IEEE binary16 -> float, exact.
float half_to_float(std::uint16_t half);

}  // namespace krasis
