#pragma once

#include <cstddef>
#include <cstdint>

#include "base/format.h"

/// Bytes of the workspaces that operations take (kernels/operations.h), as pure functions: the plan counts with them
/// and the engine allocates by them. Each is the maximum over what the host's and the GPU's implementations need.
namespace krasis {

/// Parts into which a device divides the keys of a token at most.
constexpr int kMostAttentionSplits = 128;

/// AttentionArgs::workspace for `tokens` tokens of a decode step: sums, maxima and totals of the parts, in FP32.
/// 1 token of 32 heads of 128 needs 2 MiB.
constexpr std::size_t attention_workspace_bytes(std::int64_t tokens, int heads, int head_dim) {
  return round_up(static_cast<std::size_t>(kMostAttentionSplits) * static_cast<std::size_t>(tokens) *
                      static_cast<std::size_t>(heads) * static_cast<std::size_t>(head_dim + 2) * 4,
                  64);
}

/// AttentionArgs::workspace for many tokens behind an FP8 cache: keys and values of a layer as BF16.
/// 10,000 rows of 4 heads of 128 need 20 MiB.
constexpr std::size_t widened_cache_bytes(std::int64_t rows, int heads, int head_dim) {
  return round_up(
      static_cast<std::size_t>(rows) * static_cast<std::size_t>(heads) * static_cast<std::size_t>(head_dim) * 4, 64);
}

/// ExpertsArgs::workspace: gate and up in FP32 and their product in BF16 for each pair of a token and an expert, what
/// the pairs give in FP32, and the pairs sorted by expert.
constexpr std::size_t experts_workspace_bytes(std::int64_t tokens, int top_k, const ExpertLayout& layout) {
  const auto pairs = static_cast<std::size_t>(tokens) * static_cast<std::size_t>(top_k);
  return round_up(pairs * static_cast<std::size_t>(layout.width()) * (2 * 4 + 2), 64) +
         round_up(pairs * static_cast<std::size_t>(layout.hidden()) * 4, 64) + round_up(pairs * 16 + 4096, 64);
}

}  // namespace krasis
