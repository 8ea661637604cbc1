#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "kernels/host/operations/matmul/row_kernels.h"
#include "kernels/operations.h"

/// Products of packed matrices with few tokens, row by row (rows_kernels.h): the plain C++ around the kernels.
namespace krasis::simd {

/// Whether the kernels know the format: BF16, and integers whose groups are 32, 64 or a multiple of 128.
constexpr bool rows_support(const WeightFormat& format) {
  return format.element == Element::Bf16 || format.group_size == 32 || format.group_size == 64 ||
         (format.group_size > 0 && format.group_size % 128 == 0);
}

/// 64-byte aligned memory; grows, and stays for the next use.
class AlignedBytes {
 public:
  /// Makes room for at least `bytes` bytes; what was there is lost when it grows.
  std::byte* resize(std::size_t bytes);
  std::byte* data() const { return memory_.get(); }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  std::size_t capacity_ = 0;
  std::unique_ptr<std::byte, Free> memory_;
};

/// Whether a product with this number of tokens wants them interleaved.
inline bool interleaves(const RowKernels& k, std::int64_t tokens) {
  return k.interleave && tokens > k.few_tokens;
}
/// What that needs. Multiples of 16 tokens follow each other.
std::size_t interleaved_bytes(const MatrixLayout& layout, std::int64_t tokens);
/// The byte at which set `index` of several sets of tokens begins in one memory, where `first` tokens are in the sets
/// before it. Sets never overlap, whatever each is rounded up to. With the number of sets as `index`: the bytes of all.
std::size_t interleaved_place(const MatrixLayout& layout, std::int64_t index, std::int64_t first);

/// Memory for the prepared activations of some tokens.
class PreparedTokens {
 public:
  /// Room for `count` tokens of `layout.columns` numbers, to be multiplied with matrices of that format.
  void resize(const MatrixLayout& layout, std::int64_t count);
  /// Prepares token `index` from x; different tokens at the same time.
  void prepare(const RowKernels& k, const bf16* x, std::int64_t index);
  /// Interleaves tokens places[first, first + count) (the numbers themselves if null), at most kMaxRowTokens.
  void interleave(const RowKernels& k, const std::int32_t* places, std::int64_t first, int count, std::byte* out) const;
  const PreparedToken& operator[](std::int64_t index) const { return tokens_[static_cast<std::size_t>(index)]; }
  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }

 private:
  MatrixLayout layout_;
  std::vector<PreparedToken> tokens_;
  AlignedBytes memory_;
};

/// Where rows begin that a thread multiplies next, so that memory is asked for them in time; null = nothing is known.
struct NextRows {
  const std::byte* data = nullptr;
  const std::byte* scales = nullptr;
};
inline NextRows rows_from(const Matrix& weight, std::int64_t row) {
  return {weight.row(row), weight.scale_row(row)};
}

/// out[n * stride + r] = product of row row_begin + r with token places[n] (n itself if null); at most kMaxRowTokens.
/// `next`: rows as long as these. `interleaved`: these tokens, where the kernels want them so (interleaves()).
void multiply_rows(const RowKernels& k, const Matrix& weight, std::int64_t row_begin, int row_count,
                   const PreparedTokens& x, const std::int32_t* places, int tokens, float* out, std::int64_t stride,
                   NextRows next, const std::byte* interleaved);

/// Products of the same activations with matrices of one format, e.g. q, k and v: the activations are prepared once and
/// all rows are one section. The bits do not depend on how many products there are. False when the format or the number
/// of tokens is not for rows, or activations or formats differ.
bool matmul_rows(const RowKernels& k, std::span<const MatmulArgs> products);

}  // namespace krasis::simd
