// What the happens-before checker is told of arguments.
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

TEST(Accesses, OfWeightsAreTheirPackedBytesAndWhatIsUpdatedIsReadAndWritten) {
  const Matrix weight{{{Element::Int4, 64}, 2, 64}, fake<const std::byte>(2).data};
  const auto added = accesses_of(MatmulArgs{.x = fake<const bf16>(1), .weight = weight, .accumulate = fake<float>(3)});
  // Two rows of 32 bytes, then one BF16 scale each, padded to 64 bytes.
  EXPECT_THAT(added.reads, UnorderedElementsAre(range(1, 16), range(2, 128), range(3, 32)));
  EXPECT_THAT(added.writes, UnorderedElementsAre(range(3, 32)));
}

TEST(Accesses, OfSeveralProductsNameSharedActivationsOnce) {
  const auto weight = [](int number) {
    return Matrix{{{Element::Int4, 64}, 2, 64}, fake<const std::byte>(number).data};
  };
  const Accesses all =
      accesses_of(MatmulsArgs{{{{.x = fake<const bf16>(1), .weight = weight(2), .out_bf16 = fake<bf16>(3)},
                                {.x = fake<const bf16>(1), .weight = weight(4), .out_f32 = fake<float>(5)},
                                {.x = fake<const bf16>(6), .weight = weight(7), .accumulate = fake<float>(8)}}},
                              3});
  EXPECT_THAT(all.reads, UnorderedElementsAre(range(1, 16), range(2, 128), range(4, 128), range(6, 16), range(7, 128),
                                              range(8, 32)));
  EXPECT_THAT(all.writes, UnorderedElementsAre(range(3, 16), range(5, 32), range(8, 32)));
}

TEST(Accesses, OfAKvCacheAreTheWhole) {
  const auto append = accesses_of(KvAppendArgs{fake<const bf16>(1), fake<const bf16>(2), fp8_cache(), batch()});
  EXPECT_THAT(append.reads, UnorderedElementsAre(range(1, 16), range(2, 16), kPositions, kSequences));
  EXPECT_THAT(append.writes, UnorderedElementsAre(kKeys, kKeyScales, kValues, kValueScales));
}

TEST(Accesses, OfAWorkspaceAreWritesAndBlocksStandForThePool) {
  ExpertsArgs args{.x = fake<const bf16>(1), .ids = fake<const std::int32_t>(2), .weights = fake<const float>(3)};
  args.pool = fake<const std::byte>(4, 640);
  args.offsets = fake<const std::int64_t>(5);
  args.out = fake<float>(6);
  args.workspace = fake<std::byte>(7, 128);
  const auto whole = accesses_of(args);
  EXPECT_THAT(whole.reads, UnorderedElementsAre(range(1, 16), range(2, 32), range(3, 32), range(4, 640), range(5, 64),
                                                range(6, 32)));
  EXPECT_THAT(whole.writes, UnorderedElementsAre(range(6, 32), range(7, 128)));
  EXPECT_EQ(whole.later_reads, nullptr);
  const std::vector<View<const std::byte>> blocks;
  args.blocks = &blocks;
  const auto known = accesses_of(args);
  EXPECT_THAT(known.reads, UnorderedElementsAre(range(1, 16), range(2, 32), range(3, 32), range(5, 64), range(6, 32)));
  EXPECT_EQ(known.later_reads, &blocks);
}

}  // namespace
}  // namespace krasis
