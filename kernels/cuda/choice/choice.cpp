#include "kernels/cuda/choice/choice.h"

#include "kernels/cuda/operations/tensor_cores/layout.h"

namespace krasis::cuda {
namespace {

bool is_aligned(const void* data, std::size_t to) {
  return reinterpret_cast<std::uintptr_t>(data) % to == 0;
}
template <class... Pointers>
bool are_aligned(Pointers... data) {
  return (is_aligned(data, 16) && ...);
}

// Products ------------------------------------------------------------------------------------------------------------

bool whole_pieces(const Target&, const MatmulArgs& args) {
  return args.weight.layout.columns % kPiece == 0 && are_aligned(args.weight.data, args.x.data);
}

// Attention -----------------------------------------------------------------------------------------------------------

std::int64_t rows_of(const AttentionArgs& args) {
  return static_cast<std::int64_t>(args.batch.tokens) * (args.heads / args.cache.heads);
}
bool tiles_fit(const Target&, const AttentionArgs& args) {
  const KvCache& cache = args.cache;
  return (cache.head_dim == 64 || cache.head_dim == 128 || cache.head_dim == 256) &&
         are_aligned(args.q.data, args.out.data, cache.keys.values.data, cache.values.values.data);
}
/// Whether there is room for an FP8 cache as BF16.
bool can_widen(const AttentionArgs& args) {
  const KvCache& cache = args.cache;
  return cache.element == KvElement::Bf16 ||
         (args.workspace.bytes() >= widened_cache_bytes(cache.rows, cache.heads, cache.head_dim) &&
          are_aligned(args.workspace.data));
}

// Experts -------------------------------------------------------------------------------------------------------------

std::int64_t tokens_of(const ExpertsArgs& args) {
  return static_cast<std::int64_t>(args.ids.size) / args.top_k;
}
bool tensor_cores_fit(const Target&, const ExpertsArgs& args) {
  return args.layout.hidden() % kPiece == 0 && args.layout.width() % kPiece == 0 &&
         are_aligned(args.pool.data, args.x.data, args.workspace.data);
}

constexpr Features kEvenFormats = weight_features::kFormats;
constexpr Features kAnyFormat = kEvenFormats | weight_features::kUnevenGroups;

}  // namespace

std::optional<MatmulPath> choose_matmul(const Target& target, const MatmulArgs& args) {
  static constexpr Candidate<MatmulPath, Target, MatmulArgs> kCandidates[] = {
      {MatmulPath::Rows, kEvenFormats,
       [](const Target& t, const MatmulArgs& a) { return a.tokens <= kMostRowsTokens && whole_pieces(t, a); }},
      {MatmulPath::Library, 0,
       [](const Target& t, const MatmulArgs& a) {
         return t.dense_library && a.tokens >= kLeastLibraryTokens && whole_pieces(t, a);
       }},
      {MatmulPath::Hopper, kEvenFormats,
       [](const Target& t, const MatmulArgs& a) {
         return t.hopper_products && t.compute_major == 9 && a.weight.layout.columns > 0 && whole_pieces(t, a);
       }},
      {MatmulPath::Tiles, kEvenFormats, whole_pieces},
      {MatmulPath::Fallback, kAnyFormat, [](const Target&, const MatmulArgs&) { return true; }},
  };
  return choose(kCandidates, features_of(args), target, args);
}

std::optional<AttentionPath> choose_attention(const Target& target, const AttentionArgs& args) {
  constexpr Features kFp8 = attention_features::kFp8, kAnyScale = attention_features::kScaleNotPositive;
  static constexpr Candidate<AttentionPath, Target, AttentionArgs> kCandidates[] = {
      {AttentionPath::Hopper, kFp8,
       [](const Target& t, const AttentionArgs& a) {
         return t.hopper_attention && t.compute_major == 9 && rows_of(a) >= kLeastHopperRows && tiles_fit(t, a) &&
                can_widen(a);
       }},
      {AttentionPath::SplitTiles, kFp8 | kAnyScale,
       [](const Target& t, const AttentionArgs& a) { return rows_of(a) <= kMostSplitRows && tiles_fit(t, a); }},
      {AttentionPath::Tiles, kFp8 | kAnyScale, tiles_fit},
      {AttentionPath::Fallback, kFp8 | kAnyScale,
       [](const Target&, const AttentionArgs& a) { return a.cache.head_dim <= 512; }},
  };
  return choose(kCandidates, features_of(args), target, args);
}

std::optional<ExpertsPath> choose_experts(const Target& target, const ExpertsArgs& args) {
  constexpr Features kEven = kEvenFormats | experts_features::kClampedSwiGlu;
  static constexpr Candidate<ExpertsPath, Target, ExpertsArgs> kCandidates[] = {
      {ExpertsPath::Decode, kEven,
       [](const Target& t, const ExpertsArgs& a) {
         const bool few = tokens_of(a) <= kMostDecodeExpertTokens;
         return (few || static_cast<std::int64_t>(a.offsets.size) > kMostSortedExperts) && tensor_cores_fit(t, a);
       }},
      {ExpertsPath::Hopper, kEven,
       [](const Target& t, const ExpertsArgs& a) {
         return t.hopper_products && t.compute_major == 9 && a.layout.hidden() > 0 && a.layout.width() > 0 &&
                tensor_cores_fit(t, a);
       }},
      {ExpertsPath::Tiles, kEven, tensor_cores_fit},
      {ExpertsPath::Fallback, kAnyFormat | experts_features::kClampedSwiGlu,
       [](const Target&, const ExpertsArgs&) { return true; }},
  };
  return choose(kCandidates, features_of(args), target, args);
}

bool router_fits(const RouterArgs& args) {
  return (features_of(args) & ~router_features::kNotRenormalized) == 0 && args.experts <= kMostRoutedExperts &&
         args.top_k <= kMostPickedExperts;
}

bool fuses_decode(const Target& target, const AttentionBlock& block) {
  const KvCache& cache = block.cache;
  const int most_group = cache.head_dim == 128 ? 16 : cache.head_dim == 256 ? 8 : 0;
  return (features_of(block) & ~attention_features::kFp8) == 0 && block.batch.tokens == 1 && target.counters &&
         cache.heads <= kCounters && block.heads % cache.heads == 0 && block.heads <= most_group * cache.heads &&
         are_aligned(cache.keys.values.data, cache.values.values.data) && is_aligned(block.attended.data, 8);
}

bool fuses_norm(const RmsNormArgs& norm, std::int64_t tokens) {
  return tokens <= kMostFusedTokens && norm.width <= kMostFusedWidth && norm.width % kPiece == 0 &&
         are_aligned(norm.x.data, norm.weight.data, norm.out.data);
}

bool fuses_router(const Target& target, const RouterBlock& block) {
  constexpr Features kKnown = router_features::kNotRenormalized << kOfChoice;  // the matrix is BF16
  const RmsNormArgs norm{block.residual, block.norm, block.normed, block.router.layout.columns, block.epsilon};
  return (features_of(block) & ~kKnown) == 0 && target.counters && fuses_norm(norm, block.tokens) &&
         are_aligned(block.router.data) && block.router.layout.rows <= 512 && block.top_k <= kMostPickedExperts;
}

}  // namespace krasis::cuda
