// Which kernels are chosen, told from kernels/cuda/choice/choice.h: no GPU is needed.
#include "kernels/features.h"

#include <gtest/gtest.h>

#include "kernels/cuda/choice/choice.h"
#include "kernels/host/operations/vectorized_features.h"

namespace krasis::cuda {
namespace {

/// An address that nobody follows.
template <class T>
View<T> at(std::uintptr_t address, std::size_t size = 8) {
  return {reinterpret_cast<T*>(address), size};
}

const Target kAmpere{.compute_major = 8, .dense_library = true, .counters = true};
const Target kHopper{
    .compute_major = 9, .hopper_attention = true, .hopper_products = true, .dense_library = true, .counters = true};
/// A GPU newer than the kernels that are built for Hopper alone.
const Target kBlackwell = [] {
  Target t = kHopper;
  t.compute_major = 10;
  return t;
}();
Target without_library(Target target) {
  target.dense_library = false;
  return target;
}

MatmulArgs product(WeightFormat format, std::int64_t tokens, std::int64_t columns = 256) {
  return {.x = at<const bf16>(0x1000),
          .weight = {{format, 64, columns}, at<const std::byte>(0x2000).data},
          .out_f32 = at<float>(0x3000),
          .tokens = tokens};
}

TEST(ChooseMatmul, ByTokensFormatAndDevice) {
  const WeightFormat bf{Element::Bf16, 0}, int4{Element::Int4, 128}, int8{Element::Int8, 32}, mx{Element::Mxfp4, 32};
  for (const WeightFormat& format : {bf, int4, int8, mx}) {
    const bool dense = format.element == Element::Bf16;
    for (const std::int64_t tokens : {1, 16}) {
      for (const Target& target : {kAmpere, kHopper, kBlackwell}) {
        EXPECT_EQ(choose_matmul(target, product(format, tokens)), MatmulPath::Rows);
      }
    }
    EXPECT_EQ(choose_matmul(kHopper, product(format, 17)), MatmulPath::Hopper);
    EXPECT_EQ(choose_matmul(kAmpere, product(format, 63)), MatmulPath::Tiles);
    EXPECT_EQ(choose_matmul(kHopper, product(format, 64)), dense ? MatmulPath::Library : MatmulPath::Hopper);
    EXPECT_EQ(choose_matmul(without_library(kHopper), product(format, 64)), MatmulPath::Hopper);
    EXPECT_EQ(choose_matmul(kAmpere, product(format, 4096)), dense ? MatmulPath::Library : MatmulPath::Tiles);
    EXPECT_EQ(choose_matmul(without_library(kBlackwell), product(format, 4096)), MatmulPath::Tiles);
  }
}

TEST(ChooseMatmul, OddShapesGroupsAndAddressesAreForTheFallback) {
  for (const std::int64_t tokens : {1, 100}) {
    for (const Target& target : {kAmpere, kHopper}) {
      EXPECT_EQ(choose_matmul(target, product({Element::Int8, 4}, tokens, 260)), MatmulPath::Fallback);  // 260 % 8
      EXPECT_EQ(choose_matmul(target, product({Element::Int4, 96}, tokens, 288)), MatmulPath::Fallback);
      EXPECT_EQ(choose_matmul(target, product({Element::Int8, 16}, tokens)), MatmulPath::Fallback);
      MatmulArgs moved = product({Element::Int4, 128}, tokens);
      moved.x = at<const bf16>(0x1002);
      EXPECT_EQ(choose_matmul(target, moved), MatmulPath::Fallback);
    }
  }
}

AttentionArgs attention(int tokens, int heads, int kv_heads, int head_dim, KvElement element) {
  AttentionArgs args;
  args.q = at<const bf16>(0x1000);
  args.out = at<bf16>(0x2000);
  args.cache = {element, 4096, kv_heads, head_dim, {at<std::byte>(0x3000), {}}, {at<std::byte>(0x4000), {}}};
  args.batch.tokens = tokens;
  args.heads = heads;
  args.workspace = at<std::byte>(0x5000, widened_cache_bytes(4096, kv_heads, head_dim));
  return args;
}

TEST(ChooseAttention, ByRowsHeadDimAndDevice) {
  for (const KvElement element : {KvElement::Bf16, KvElement::Fp8}) {
    for (const int head_dim : {64, 128, 256}) {
      EXPECT_EQ(choose_attention(kHopper, attention(8, 32, 4, head_dim, element)), AttentionPath::SplitTiles);
      EXPECT_EQ(choose_attention(kHopper, attention(9, 32, 4, head_dim, element)), AttentionPath::Tiles);
      EXPECT_EQ(choose_attention(kHopper, attention(63, 32, 4, head_dim, element)), AttentionPath::Tiles);
      EXPECT_EQ(choose_attention(kHopper, attention(64, 32, 4, head_dim, element)), AttentionPath::Hopper);
      EXPECT_EQ(choose_attention(kAmpere, attention(64, 32, 4, head_dim, element)), AttentionPath::Tiles);
      EXPECT_EQ(choose_attention(kBlackwell, attention(64, 32, 4, head_dim, element)), AttentionPath::Tiles);
    }
    for (const int head_dim : {32, 96, 512}) {
      EXPECT_EQ(choose_attention(kHopper, attention(64, 32, 4, head_dim, element)), AttentionPath::Fallback);
    }
    EXPECT_EQ(choose_attention(kHopper, attention(64, 32, 4, 513, element)), std::nullopt);
  }
}

TEST(ChooseAttention, WhatAPathLacksPassesItOver) {
  AttentionArgs args = attention(64, 32, 4, 128, KvElement::Fp8);
  args.workspace.size = 1;  // no room to widen the cache
  EXPECT_EQ(choose_attention(kHopper, args), AttentionPath::Tiles);
  args = attention(64, 32, 4, 128, KvElement::Bf16);
  args.scale = -1.0f;
  EXPECT_EQ(choose_attention(kHopper, args), AttentionPath::Tiles);
  args.cache.keys.values.data += 8;
  EXPECT_EQ(choose_attention(kHopper, args), AttentionPath::Fallback);
  for (const int tokens : {1, 64}) {
    args = attention(tokens, 32, 4, 128, KvElement::Bf16);
    args.cache.layout = KvLayout::Tiles;  // the host's own; no GPU kernel reads it
    EXPECT_EQ(choose_attention(kHopper, args), std::nullopt);
  }
}

TEST(FusesDecode, OneTokenOfTheShapesThatItKnows) {
  const auto block = [](int tokens, int heads, int kv_heads, int head_dim) {
    const AttentionArgs args = attention(tokens, heads, kv_heads, head_dim, KvElement::Fp8);
    AttentionBlock b;
    b.cache = args.cache;
    b.batch = args.batch;
    b.heads = heads;
    b.attended = at<bf16>(0x6000);
    return b;
  };
  EXPECT_TRUE(fuses_decode(kAmpere, block(1, 32, 4, 128)));
  EXPECT_TRUE(fuses_decode(kAmpere, block(1, 64, 4, 128)));
  EXPECT_FALSE(fuses_decode(kAmpere, block(1, 68, 4, 128)));  // 17 heads for each of the cache
  EXPECT_TRUE(fuses_decode(kAmpere, block(1, 32, 4, 256)));
  EXPECT_FALSE(fuses_decode(kAmpere, block(1, 36, 4, 256)));
  EXPECT_FALSE(fuses_decode(kAmpere, block(1, 32, 4, 64)));
  EXPECT_FALSE(fuses_decode(kAmpere, block(2, 32, 4, 128)));
  Target bare = kAmpere;
  bare.counters = false;
  EXPECT_FALSE(fuses_decode(bare, block(1, 32, 4, 128)));
  AttentionBlock tiles = block(1, 32, 4, 128);
  tiles.cache.layout = KvLayout::Tiles;
  EXPECT_FALSE(fuses_decode(kAmpere, tiles));
}

ExpertsArgs experts(Element element, int group_size, std::size_t tokens, std::size_t count, std::int64_t width = 768) {
  ExpertsArgs args{.x = at<const bf16>(0x1000),
                   .ids = at<const std::int32_t>(0x2000, tokens * 8),
                   .weights = at<const float>(0x3000, tokens * 8),
                   .pool = at<const std::byte>(0x4000),
                   .offsets = at<const std::int64_t>(0x5000, count)};
  args.layout = {
      {{element, group_size}, width, 2048}, {{element, group_size}, width, 2048}, {{element, group_size}, 2048, width}};
  args.top_k = 8;
  args.workspace = at<std::byte>(0x6000);
  return args;
}

TEST(ChooseExperts, ByTokensFormatAndDevice) {
  for (const auto& [element, group] : {std::pair{Element::Int4, 128}, {Element::Int8, 64}, {Element::Mxfp4, 32}}) {
    for (const Glu glu : {Glu::SwiGlu, Glu::ClampedSwiGlu}) {
      const auto chosen = [&](const Target& target, std::size_t tokens, std::size_t count) {
        ExpertsArgs args = experts(element, group, tokens, count);
        args.glu = glu;
        return choose_experts(target, args);
      };
      EXPECT_EQ(chosen(kHopper, 8, 128), ExpertsPath::Decode);
      EXPECT_EQ(chosen(kHopper, 9, 128), ExpertsPath::Hopper);
      EXPECT_EQ(chosen(kAmpere, 9, 128), ExpertsPath::Tiles);
      EXPECT_EQ(chosen(kBlackwell, 9000, 128), ExpertsPath::Tiles);
      EXPECT_EQ(chosen(kHopper, 9000, 4097), ExpertsPath::Decode);  // more than can be sorted
    }
  }
  EXPECT_EQ(choose_experts(kHopper, experts(Element::Int8, 12, 100, 128)), ExpertsPath::Fallback);
  EXPECT_EQ(choose_experts(kHopper, experts(Element::Int8, 4, 1, 128, 764)), ExpertsPath::Fallback);
  ExpertsArgs moved = experts(Element::Int4, 128, 100, 128);
  moved.pool = at<const std::byte>(0x4008);
  EXPECT_EQ(choose_experts(kHopper, moved), ExpertsPath::Fallback);
}

TEST(FusesRouter, SmallBf16RoutersOfFewTokens) {
  const auto block = [](std::int64_t tokens, std::int64_t experts, int top_k, std::int64_t width = 2048) {
    RouterBlock b;
    b.residual = at<const float>(0x1000);
    b.norm = at<const bf16>(0x2000);
    b.normed = at<bf16>(0x3000);
    b.router = {{{Element::Bf16, 0}, experts, width}, at<const std::byte>(0x4000).data};
    b.top_k = top_k;
    b.tokens = tokens;
    return b;
  };
  EXPECT_TRUE(fuses_router(kAmpere, block(1, 128, 8)));
  EXPECT_TRUE(fuses_router(kHopper, block(4, 512, 32)));
  EXPECT_FALSE(fuses_router(kHopper, block(5, 512, 32)));
  EXPECT_FALSE(fuses_router(kHopper, block(4, 513, 32)));
  EXPECT_FALSE(fuses_router(kHopper, block(4, 512, 33)));
  EXPECT_FALSE(fuses_router(kHopper, block(1, 128, 8, 4104)));
  RouterBlock b = block(1, 128, 8);
  b.renormalize = false;
  EXPECT_TRUE(fuses_router(kAmpere, b));
  b.router.layout.format = {Element::Int8, 128};
  EXPECT_FALSE(fuses_router(kAmpere, b));
}

TEST(RouterFits, UpTo1024ExpertsAnd32Picks) {
  RouterArgs args{.experts = 1024, .top_k = 32};
  EXPECT_TRUE(router_fits(args));
  args.experts = 1025;
  EXPECT_FALSE(router_fits(args));
  args = {.experts = 64, .top_k = 33};
  EXPECT_FALSE(router_fits(args));
}

TEST(Vectorized, KnowsWhatOurModelsAsk) {
  for (const int group : {32, 128, 12}) {
    EXPECT_TRUE(simd::is_vectorized(product({Element::Int4, group}, 1)));
    EXPECT_TRUE(simd::is_vectorized(experts(Element::Int8, group, 1, 8)));
  }
  AttentionArgs args = attention(1, 32, 4, 128, KvElement::Fp8);
  args.cache.layout = KvLayout::Tiles;
  EXPECT_TRUE(simd::is_vectorized(args));
  EXPECT_TRUE(simd::is_vectorized(RouterArgs{.renormalize = false}));
}

/// A path that does not know an asked bit is never the answer, whatever fits: each bit that exists, asked alone.
TEST(Choose, RefusesEachUnknownBit) {
  constexpr auto always = [](const int&) { return true; };
  for (int known = 0; known < 32; ++known) {
    const Candidate<int, int> candidates[] = {{1, Features{1} << known, always}};
    for (int asked = 0; asked < 32; ++asked) {
      const auto path = choose(candidates, Features{1} << asked, 0);
      EXPECT_EQ(path.has_value(), asked == known);
    }
    EXPECT_EQ(choose(candidates, Features{0}, 0), 1);
  }
}

}  // namespace
}  // namespace krasis::cuda
