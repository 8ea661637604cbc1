#pragma once

#include "kernels/features.h"

/// Which kernels compute an operation on a GPU: pure functions of the arguments' shapes, formats and addresses (which
/// are looked at, not followed) and of the device, so that the whole table is tested without a GPU. Null: no kernel
/// can.
namespace krasis::cuda {

/// The device and the build, as far as a choice depends on them.
struct Target {
  int compute_major = 8;
  bool hopper_attention = false;  ///< built in
  bool hopper_products = false;   ///< built in
  bool dense_library = false;     ///< cuBLASLt may be asked
  bool counters = false;          ///< Launch::counters
};

constexpr int kCounters = 256;                       ///< counters that a stream has for its kernels
constexpr std::int64_t kMostRowsTokens = 16;         ///< of MatmulPath::Rows
constexpr std::int64_t kLeastLibraryTokens = 64;     ///< fewer are not worth a library's call
constexpr std::int64_t kMostDecodeExpertTokens = 8;  ///< of ExpertsPath::Decode
constexpr std::int64_t kMostSortedExperts = 4096;    ///< experts that the paths for many tokens can sort by
/// Rows of (token, head) for each cache head from which on Hopper's attention pays: fewer leave most of a tile empty or
/// most of the device idle, and the other kernels share out the keys of few tokens.
constexpr std::int64_t kLeastHopperRows = 512;
constexpr std::int64_t kMostSplitRows = 64;     ///< rows of (token, head) for each cache head that small tiles are for
constexpr std::int64_t kMostFusedTokens = 4;    ///< of a norm that is fused with the product behind it
constexpr std::int64_t kMostFusedWidth = 4096;  ///< the same
constexpr int kMostPickedExperts = 32, kMostRoutedExperts = 1024;

enum class MatmulPath : std::uint8_t {
  Rows,      ///< few tokens: each weight is read once (row_product.cuh)
  Library,   ///< cuBLASLt; where it has no kernel, the choice without dense_library
  Hopper,    ///< warpgroup products
  Tiles,     ///< tensor cores, weights unpacked tile by tile (tile_product.cuh)
  Fallback,  ///< a warp for each number
};
std::optional<MatmulPath> choose_matmul(const Target& target, const MatmulArgs& args);

enum class AttentionPath : std::uint8_t {
  Hopper,      ///< flash attention by warpgroup products
  SplitTiles,  ///< few rows: small tiles, the keys shared out
  Tiles,       ///< flash attention by tensor cores
  Fallback,    ///< a warp for each (token, head)
};
std::optional<AttentionPath> choose_attention(const Target& target, const AttentionArgs& args);

enum class ExpertsPath : std::uint8_t {
  Decode,    ///< few tokens: each weight is read once
  Hopper,    ///< sorted by expert, warpgroup products
  Tiles,     ///< sorted by expert, tensor cores
  Fallback,  ///< a warp for each number
};
std::optional<ExpertsPath> choose_experts(const Target& target, const ExpertsArgs& args);

/// Whether the kernel that picks can do it.
bool router_fits(const RouterArgs& args);

/// Whether one kernel does the middle of an attention block: norms, rotary, the cache, attention of one token.
bool fuses_decode(const Target& target, const AttentionBlock& block);
/// Whether a norm is computed by the kernel of the product behind it.
bool fuses_norm(const RmsNormArgs& norm, std::int64_t tokens);
/// Whether one kernel does a whole router block.
bool fuses_router(const Target& target, const RouterBlock& block);

}  // namespace krasis::cuda
