#pragma once

#include <cstring>

#include "kernels/tensor.h"

/// Where the numbers of a KV cache lie. As tiles (KvLayout), a line of 64 bytes is a row of a right operand of AMX: it
/// has 4 bytes for each of 16. Of keys these are 16 rows, 4 bytes of each one's numbers; of values 16 numbers, 4 bytes
/// of rows that are 16 apart, so that a product's weights need not be put in another order.
namespace krasis {

enum class KvPart : std::uint8_t { Keys, Values };

inline const KvPlane& plane_of(const KvCache& cache, KvPart part) {
  return part == KvPart::Keys ? cache.keys : cache.values;
}
constexpr int kv_bytes(KvElement element) {
  return element == KvElement::Bf16 ? 2 : 1;
}

/// Where number i of (row, head) begins in its plane, in bytes. As tiles, head_dim is a multiple of 64.
inline std::size_t kv_offset(const KvCache& cache, KvPart part, std::int64_t row, int head, int i) {
  const int size = kv_bytes(cache.element);
  const std::int64_t head_bytes = std::int64_t{cache.head_dim} * size;
  if (cache.layout == KvLayout::Rows) {
    return static_cast<std::size_t>((row * cache.heads + head) * head_bytes + i * size);
  }
  const int together = part == KvPart::Keys ? 16 : 64 / size;  // rows that share lines
  const std::int64_t first = head * kv_capacity(cache.rows) + row / together * together;
  const std::int64_t at = part == KvPart::Keys
                              ? i * size / 4 * 64 + row % 16 * 4 + i * size % 4
                              : i / 16 * 1024 + row % 16 * 64 + i % 16 * 4 + row % together / 16 * size;
  return static_cast<std::size_t>(first * head_bytes + at);
}

/// Where the scale of (row, head) is in a plane's.
inline std::size_t kv_scale(const KvCache& cache, std::int64_t row, int head) {
  return static_cast<std::size_t>(cache.layout == KvLayout::Rows ? row * cache.heads + head
                                                                 : head * kv_capacity(cache.rows) + row);
}

/// Writes the head_dim numbers of (row, head).
inline void kv_write(const KvCache& cache, KvPart part, std::int64_t row, int head, const void* numbers) {
  const auto size = static_cast<std::size_t>(kv_bytes(cache.element));
  const auto bytes = static_cast<std::size_t>(cache.head_dim) * size;
  const auto* from = static_cast<const std::byte*>(numbers);
  std::byte* to = plane_of(cache, part).values.data + kv_offset(cache, part, row, head, 0);
  if (cache.layout == KvLayout::Rows) {
    std::memcpy(to, from, bytes);
  } else if (part == KvPart::Keys) {
    for (std::size_t at = 0; at < bytes; at += 4, to += 64) std::memcpy(to, from + at, 4);
  } else {
    for (std::size_t at = 0; at < bytes; at += 16 * size, to += 1024) {
      for (std::size_t i = 0; i < 16; ++i) std::memcpy(to + 4 * i, from + at + i * size, size);
    }
  }
}

}  // namespace krasis
