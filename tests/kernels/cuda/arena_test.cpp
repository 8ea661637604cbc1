// Parts of the CUDA platform that need no GPU: the arena and the map of addresses.
#include "kernels/cuda/arena.h"

#include <gtest/gtest.h>

#include <random>

#include "kernels/cuda/memory.h"

namespace krasis::cuda {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

/// Chunks at made-up addresses: an arena touches none. Neighbours touch, as cudaMalloc's may.
struct Chunks {
  std::size_t limit = SIZE_MAX, used = 0;
  std::byte* next = reinterpret_cast<std::byte*>(std::uintptr_t{1} << 30);
  std::map<std::byte*, std::size_t> live;

  Arena arena(std::size_t chunk_bytes) {
    return Arena(
        chunk_bytes,
        [this](std::size_t bytes) -> std::byte* {
          if (bytes > limit - used) return nullptr;
          used += bytes;
          live[next] = bytes;
          return std::exchange(next, next + bytes);
        },
        [this](std::byte* chunk, std::size_t bytes) {
          EXPECT_EQ(live.at(chunk), bytes);
          live.erase(chunk);
          used -= bytes;
        });
  }
};

TEST(Arena, SmallPartsShareAChunkAndALargeOneHasItsOwn) {
  Chunks chunks;
  Arena arena = chunks.arena(4 * kMiB);
  arena.allocate(1000);
  arena.allocate(kMiB);
  EXPECT_EQ(chunks.used, 4 * kMiB);
  arena.allocate(9 * kMiB);
  EXPECT_EQ(chunks.used, 14 * kMiB);  // 9 rounded up to the granularity
}

TEST(Arena, FreedNeighboursBecomeOneHoleButNotAcrossChunks) {
  Chunks chunks;
  Arena arena = chunks.arena(2 * kMiB);
  std::byte* const a = arena.allocate(kMiB);
  std::byte* const b = arena.allocate(kMiB);
  std::byte* const c = arena.allocate(2 * kMiB);  // of the chunk right behind
  EXPECT_EQ(c, b + kMiB);
  arena.release(b);
  arena.release(c);
  arena.release(a);
  EXPECT_EQ(arena.allocate(2 * kMiB), a) << "both halves together";
  EXPECT_NE(arena.allocate(4 * kMiB), a);
}

TEST(Arena, EmptyChunksGoBackWhenAnotherOneIsRefused) {
  Chunks chunks{.limit = 8 * kMiB};
  Arena arena = chunks.arena(2 * kMiB);
  std::byte* const first = arena.allocate(4 * kMiB);
  std::byte* const second = arena.allocate(4 * kMiB);
  EXPECT_EQ(arena.allocate(2 * kMiB), nullptr);
  arena.release(first);
  arena.release(second);
  EXPECT_NE(arena.allocate(8 * kMiB), nullptr);
  EXPECT_EQ(chunks.live.size(), 1u);
}

TEST(Arena, ASmallRequestTakesAChunkOfItsSizeWhereNoLargerOneIsLeft) {
  Chunks chunks{.limit = 2 * kMiB};
  Arena arena = chunks.arena(64 * kMiB);
  EXPECT_NE(arena.allocate(1), nullptr);
  EXPECT_EQ(chunks.used, 2 * kMiB);
}

TEST(Arena, PartsNeverOverlapAndAllComesBack) {
  Chunks chunks;
  {
    Arena arena = chunks.arena(2 * kMiB);
    std::mt19937 random(7);
    std::map<std::byte*, std::size_t> parts;
    for (int i = 0; i < 5000; ++i) {
      if (parts.size() > 60 || (!parts.empty() && random() % 3 == 0)) {
        const auto part = std::next(parts.begin(), static_cast<std::ptrdiff_t>(random() % parts.size()));
        arena.release(part->first);
        parts.erase(part);
        continue;
      }
      const std::size_t bytes = 1 + random() % (random() % 4 == 0 ? 3 * kMiB : 5000);
      std::byte* const data = arena.allocate(bytes);
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(data) % Arena::kAlignment, 0u);
      const auto [part, is_new] = parts.emplace(data, bytes);
      ASSERT_TRUE(is_new);
      if (part != parts.begin()) {
        ASSERT_LE(std::prev(part)->first + std::prev(part)->second, data);
      }
      if (std::next(part) != parts.end()) {
        ASSERT_LE(data + bytes, std::next(part)->first);
      }
      const auto chunk = std::prev(chunks.live.upper_bound(data));
      ASSERT_LE(data + bytes, chunk->first + chunk->second);
    }
    for (const auto& [data, bytes] : parts) arena.release(data);
    arena.trim();
    EXPECT_TRUE(chunks.live.empty());
  }
  EXPECT_EQ(chunks.used, 0u);
}

TEST(AddressMap, FindsTheRangeThatHoldsAllOfIt) {
  AddressMap map;
  alignas(8) static std::byte memory[100];
  map.add(memory + 10, {20, AddressMap::Kind::PageLocked, -1});
  map.add(memory + 30, {20, AddressMap::Kind::Device, 3});
  EXPECT_FALSE(map.find(memory + 9, 1));
  EXPECT_EQ(map.find(memory + 10, 20)->kind, AddressMap::Kind::PageLocked);
  EXPECT_FALSE(map.find(memory + 10, 21)) << "two ranges";
  EXPECT_EQ(map.find(memory + 49, 1)->cuda_index, 3);
  EXPECT_FALSE(map.find(memory + 50, 1));
  EXPECT_TRUE(map.overlaps(memory, 11));
  EXPECT_FALSE(map.overlaps(memory, 10));
  EXPECT_FALSE(map.overlaps(memory + 50, 10));
  map.remove(memory + 30);
  EXPECT_FALSE(map.overlaps(memory + 30, 20));
}

}  // namespace
}  // namespace krasis::cuda
