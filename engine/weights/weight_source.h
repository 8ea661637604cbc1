#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/bf16.h"
#include "base/error.h"

namespace krasis {

/// Where the numbers of a model's tensors come from: a checkpoint, or a random generator.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  /// Writes rows [row_begin, row_begin + row_count) of the `part`-th of packed_parts() to `out` [row_count, columns].
  /// Any thread. The values are finite and within the range of BF16; a source that holds others fails with Corrupt,
  /// naming the tensor.
  virtual Expected<void> read_rows(std::size_t part, std::int64_t row_begin, std::int64_t row_count,
                                   float* out) const = 0;

  /// The same rows where they lie, if the source holds them as BF16; else nothing. They live as long as the source.
  virtual Expected<std::optional<std::span<const bf16>>> bf16_rows(std::size_t /*part*/, std::int64_t /*row_begin*/,
                                                                   std::int64_t /*row_count*/) const {
    return std::nullopt;
  }

  /// Nobody needs these rows soon.
  virtual void release_rows(std::size_t /*part*/, std::int64_t /*row_begin*/, std::int64_t /*row_count*/) const {}
};

}  // namespace krasis
