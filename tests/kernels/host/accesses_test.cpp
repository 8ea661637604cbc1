// The declared reads and writes, told from kernels/operations.h.
#include "kernels/host/accesses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace krasis {

static bool operator==(const Access& a, const Access& b) {
  return a.data == b.data && a.bytes == b.bytes;
}
static void PrintTo(const Access& a, std::ostream* out) {
  *out << static_cast<const void*>(a.data) << " + " << a.bytes;
}

namespace {

using testing::UnorderedElementsAre;

/// Addresses that nobody dereferences, 4 KiB apart.
template <class T>
View<T> fake(int number, std::size_t size = 8) {
  return {reinterpret_cast<T*>(static_cast<std::uintptr_t>(number) << 12), size};
}
Access range(int number, std::size_t bytes) {
  return {fake<const std::byte>(number).data, bytes};
}

Batch batch() {
  return {8, fake<const std::int32_t>(100), fake<const SequenceSpan>(101, 2)};
}
const Access kPositions = range(100, 8 * 4);
const Access kSequences = range(101, 2 * sizeof(SequenceSpan));

KvCache fp8_cache() {
  KvCache cache{KvElement::Fp8, 4, 2, 8, {}, {}};
  cache.keys = {fake<std::byte>(110, 64), fake<float>(111)};
  cache.values = {fake<std::byte>(112, 64), fake<float>(113)};
  return cache;
}
const Access kKeys = range(110, 64), kKeyScales = range(111, 32), kValues = range(112, 64),
             kValueScales = range(113, 32);

TEST(Accesses, MatmulReadsWholeWeightsAndUpdatesWhatItAccumulates) {
  const Matrix weight{{{Element::Int4, 64}, 2, 64}, fake<const std::byte>(2).data};
  const auto stored = accesses_of(MatmulArgs{.x = fake<const bf16>(1), .weight = weight, .out_f32 = fake<float>(3)});
  // Two rows of 32 bytes, then one BF16 scale each, padded to 64 bytes.
  EXPECT_THAT(stored.reads, UnorderedElementsAre(range(1, 16), range(2, 128)));
  EXPECT_THAT(stored.writes, UnorderedElementsAre(range(3, 32)));
  const auto added = accesses_of(MatmulArgs{.x = fake<const bf16>(1), .weight = weight, .accumulate = fake<float>(3)});
  EXPECT_THAT(added.reads, UnorderedElementsAre(range(1, 16), range(2, 128), range(3, 32)));
  EXPECT_THAT(added.writes, UnorderedElementsAre(range(3, 32)));
}

TEST(Accesses, MatmulsAreTheSumOfTheirProducts) {
  const auto weight = [](int number) {
    return Matrix{{{Element::Int4, 64}, 2, 64}, fake<const std::byte>(number).data};
  };
  const MatmulArgs products[] = {{.x = fake<const bf16>(1), .weight = weight(2), .out_bf16 = fake<bf16>(3)},
                                 {.x = fake<const bf16>(1), .weight = weight(4), .out_f32 = fake<float>(5)},
                                 {.x = fake<const bf16>(6), .weight = weight(7), .accumulate = fake<float>(8)}};
  const Accesses all = accesses_of(products);
  EXPECT_THAT(all.reads, UnorderedElementsAre(range(1, 16), range(2, 128), range(4, 128), range(6, 16), range(7, 128),
                                              range(8, 32)));
  EXPECT_THAT(all.writes, UnorderedElementsAre(range(3, 16), range(5, 32), range(8, 32)));
}

TEST(Accesses, InPlaceOperationsReadAndWrite) {
  const auto norm = accesses_of(HeadNormArgs{fake<bf16>(1), fake<const bf16>(2), 8});
  EXPECT_THAT(norm.reads, UnorderedElementsAre(range(1, 16), range(2, 16)));
  EXPECT_THAT(norm.writes, UnorderedElementsAre(range(1, 16)));
  const auto rotary = accesses_of(RotaryArgs{fake<bf16>(1), fake<const float>(2), batch(), 1, 8});
  EXPECT_THAT(rotary.reads, UnorderedElementsAre(range(1, 16), range(2, 32), kPositions, kSequences));
  EXPECT_THAT(rotary.writes, UnorderedElementsAre(range(1, 16)));
  const auto add = accesses_of(AddArgs{fake<const float>(1), fake<float>(2)});
  EXPECT_THAT(add.reads, UnorderedElementsAre(range(1, 32), range(2, 32)));
  EXPECT_THAT(add.writes, UnorderedElementsAre(range(2, 32)));
}

TEST(Accesses, TheKvCacheIsUsedAsAWhole) {
  const auto append = accesses_of(KvAppendArgs{fake<const bf16>(1), fake<const bf16>(2), fp8_cache(), batch()});
  EXPECT_THAT(append.reads, UnorderedElementsAre(range(1, 16), range(2, 16), kPositions, kSequences));
  EXPECT_THAT(append.writes, UnorderedElementsAre(kKeys, kKeyScales, kValues, kValueScales));
  const auto attention = accesses_of(AttentionArgs{fake<const bf16>(1), fp8_cache(), batch(), fake<bf16>(3), 2, 1.0f});
  EXPECT_THAT(attention.reads,
              UnorderedElementsAre(range(1, 16), kKeys, kKeyScales, kValues, kValueScales, kPositions, kSequences));
  EXPECT_THAT(attention.writes, UnorderedElementsAre(range(3, 16)));
}

TEST(Accesses, ExpertsUpdateTheirOutputAndOnlyWriteTheirWorkspace) {
  ExpertsArgs args{.x = fake<const bf16>(1), .ids = fake<const std::int32_t>(2), .weights = fake<const float>(3)};
  args.pool = fake<const std::byte>(4, 640);
  args.offsets = fake<const std::int64_t>(5);
  args.out = fake<float>(6);
  args.workspace = fake<std::byte>(7, 128);
  const auto experts = accesses_of(args);
  EXPECT_THAT(experts.reads, UnorderedElementsAre(range(1, 16), range(2, 32), range(3, 32), range(4, 640), range(5, 64),
                                                  range(6, 32)));
  EXPECT_THAT(experts.writes, UnorderedElementsAre(range(6, 32), range(7, 128)));
}

TEST(Accesses, SamplingUpdatesStateAndHistory) {
  const auto sample = accesses_of(
      SampleArgs{fake<const float>(1), fake<SamplingState>(2, 1), fake<std::int32_t>(3), fake<std::int32_t>(4, 1)});
  EXPECT_THAT(sample.reads, UnorderedElementsAre(range(1, 32), range(2, sizeof(SamplingState)), range(3, 32)));
  EXPECT_THAT(sample.writes, UnorderedElementsAre(range(2, sizeof(SamplingState)), range(3, 32), range(4, 4)));
  const auto advance =
      accesses_of(AdvanceArgs{fake<const std::int32_t>(1, 1), fake<std::int32_t>(2, 1), fake<std::int32_t>(3, 1)});
  EXPECT_THAT(advance.reads, UnorderedElementsAre(range(1, 4), range(3, 4)));
  EXPECT_THAT(advance.writes, UnorderedElementsAre(range(2, 4), range(3, 4)));
}

TEST(Accesses, TheRest) {
  const Matrix table{{{}, 2, 64}, fake<const std::byte>(1).data};
  const auto embedding = accesses_of(EmbeddingArgs{table, fake<const std::int32_t>(2), fake<float>(3)});
  EXPECT_THAT(embedding.reads, UnorderedElementsAre(range(1, 256), range(2, 32)));
  EXPECT_THAT(embedding.writes, UnorderedElementsAre(range(3, 32)));
  const auto norm = accesses_of(RmsNormArgs{fake<const float>(1), fake<const bf16>(2), fake<bf16>(3), 8});
  EXPECT_THAT(norm.reads, UnorderedElementsAre(range(1, 32), range(2, 16)));
  EXPECT_THAT(norm.writes, UnorderedElementsAre(range(3, 16)));
  const auto swiglu = accesses_of(SwiGluArgs{fake<const float>(1), fake<const float>(2), fake<bf16>(3)});
  EXPECT_THAT(swiglu.reads, UnorderedElementsAre(range(1, 32), range(2, 32)));
  EXPECT_THAT(swiglu.writes, UnorderedElementsAre(range(3, 16)));
  const auto router = accesses_of(RouterArgs{fake<const float>(1), fake<std::int32_t>(2), fake<float>(3), 8, 1});
  EXPECT_THAT(router.reads, UnorderedElementsAre(range(1, 32)));
  EXPECT_THAT(router.writes, UnorderedElementsAre(range(2, 32), range(3, 32)));
  const auto fill = accesses_of(FillArgs{fake<float>(1), 0.0f});
  EXPECT_TRUE(fill.reads.empty());
  EXPECT_THAT(fill.writes, UnorderedElementsAre(range(1, 32)));
  const auto count = accesses_of(CountExpertsArgs{fake<const std::int32_t>(1), fake<std::int64_t>(2)});
  EXPECT_THAT(count.reads, UnorderedElementsAre(range(1, 32), range(2, 64)));
  EXPECT_THAT(count.writes, UnorderedElementsAre(range(2, 64)));
  const auto gather = accesses_of(GatherExpertsArgs{fake<const std::int32_t>(1), fake<const std::int64_t>(2), fake<const std::byte>(3, 128),
                                                    fake<std::byte>(4, 128), 64, fake<std::int64_t>(5, 1)});
  EXPECT_THAT(gather.reads, UnorderedElementsAre(range(1, 32), range(2, 64), range(3, 128), range(5, 8)));
  EXPECT_THAT(gather.writes, UnorderedElementsAre(range(4, 128), range(5, 8)));
}

}  // namespace
}  // namespace krasis
