#include "kernels/host/shadow_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <tuple>

namespace krasis {
namespace {

using Seen = std::tuple<std::uint32_t, std::size_t, std::size_t>;  // name, begin, end
using testing::ElementsAre;
using testing::IsEmpty;

std::vector<Seen> all(const ShadowMemory& shadow) {
  std::vector<Seen> seen;
  shadow.visit_all([&](const Epoch& epoch, std::size_t begin, std::size_t end) {
    seen.push_back({epoch.name, begin, end});
  });
  return seen;
}

TEST(ShadowMemory, WriteReplacesWhatItCoversAndKeepsTheRest) {
  ShadowMemory shadow;
  const auto ignore = [](const Epoch&, std::size_t, std::size_t) {};
  shadow.write(0, 100, {1, 1, 1}, ignore);
  shadow.read(40, 60, {2, 2, 1}, ignore);
  std::vector<Seen> met;
  shadow.write(50, 80, {3, 3, 1}, [&](const Epoch& epoch, std::size_t begin, std::size_t end) {
    met.push_back({epoch.name, begin, end});
  });
  EXPECT_THAT(met, ElementsAre(Seen{1, 50, 60}, Seen{2, 50, 60}, Seen{1, 60, 80}));
  EXPECT_THAT(all(shadow),
              ElementsAre(Seen{1, 0, 40}, Seen{1, 40, 50}, Seen{2, 40, 50}, Seen{3, 50, 80}, Seen{1, 80, 100}));
}

TEST(ShadowMemory, ReadsMeetOnlyWrites) {
  ShadowMemory shadow;
  const auto ignore = [](const Epoch&, std::size_t, std::size_t) {};
  std::vector<Seen> met;
  const auto note = [&](const Epoch& epoch, std::size_t begin, std::size_t end) {
    met.push_back({epoch.name, begin, end});
  };
  shadow.read(0, 8, {1, 1, 1}, ignore);
  shadow.read(0, 8, {2, 2, 1}, note);
  EXPECT_THAT(met, IsEmpty());
  EXPECT_FALSE(shadow.any_written(0, 8));
  shadow.write(4, 6, {3, 3, 1}, ignore);
  EXPECT_TRUE(shadow.any_written(0, 8));
  EXPECT_TRUE(shadow.any_written(5, 6));
  EXPECT_FALSE(shadow.any_written(0, 4));
  EXPECT_FALSE(shadow.any_written(6, 8));
}

/// Against one entry per byte, which is too slow to use but too simple to be wrong.
TEST(ShadowMemory, AgreesWithAnArrayOfBytes) {
  constexpr std::size_t kBytes = 48;
  struct Byte {
    std::uint64_t write = 0;
    std::map<std::uint32_t, std::uint64_t> reads;
  };
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    ShadowMemory shadow;
    std::vector<Byte> bytes(kBytes);
    for (std::uint64_t time = 1; time <= 40; ++time) {
      const std::size_t begin = random() % kBytes;
      const std::size_t end = begin + random() % (kBytes - begin + 1);
      const Epoch epoch{static_cast<std::uint32_t>(random() % 3), 1, time};
      const bool is_write = random() % 2 == 0;
      std::vector<std::vector<std::uint64_t>> met(kBytes), expected(kBytes);
      const auto note = [&](const Epoch& older, std::size_t from, std::size_t to) {
        for (std::size_t i = std::max(from, begin); i < std::min(to, end); ++i) met[i].push_back(older.time);
      };
      for (std::size_t i = begin; i < end; ++i) {
        if (bytes[i].write > 0) expected[i].push_back(bytes[i].write);
        if (is_write) {
          for (const auto& [thread, read] : bytes[i].reads) expected[i].push_back(read);
          bytes[i] = {time, {}};
        } else {
          bytes[i].reads[epoch.thread] = time;
        }
      }
      if (is_write) {
        shadow.write(begin, end, epoch, note);
      } else {
        shadow.read(begin, end, epoch, note);
      }
      for (std::size_t i = 0; i < kBytes; ++i) {
        ASSERT_THAT(met[i], testing::UnorderedElementsAreArray(expected[i])) << "byte " << i << ", time " << time;
      }
    }
  }
}

TEST(ShadowMemory, StaysSmallWhenWritesCoverIt) {
  ShadowMemory shadow;
  const auto ignore = [](const Epoch&, std::size_t, std::size_t) {};
  for (std::uint64_t time = 1; time < 1000; ++time) {
    shadow.read(time % 64, 64 + time % 64, {1, 1, time}, ignore);
    shadow.write(0, 128, {2, 2, time}, ignore);
    ASSERT_EQ(shadow.ranges(), 1u);
  }
}

}  // namespace
}  // namespace krasis
