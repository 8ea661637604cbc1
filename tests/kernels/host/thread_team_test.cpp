// The team: every index once, whoever calls and however many members there are; results that do not depend on them.
#include "kernels/host/operations/threads/thread_team.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#include "kernels/host/operations/threads/parallel.h"
#include "kernels/host/operations/threads/read_bandwidth.h"

namespace krasis {
namespace {

class Team : public testing::TestWithParam<int> {};

TEST_P(Team, DoesEveryIndexOnce) {
  ThreadTeam team(GetParam());
  EXPECT_EQ(team.size(), GetParam());
  for (const std::int64_t count : {0, 1, 2, 3, 17, 1000}) {
    std::vector<std::atomic<int>> visits(static_cast<std::size_t>(count));
    team.run(count, [&](std::int64_t i) { ++visits[static_cast<std::size_t>(i)]; });
    for (const auto& v : visits) EXPECT_EQ(v, 1) << "of " << count;
  }
}

TEST_P(Team, RangesTogetherAreEveryIndexOnce) {
  ThreadTeam team(GetParam());
  for (const std::int64_t count : {0, 1, 2, 7, 16, 100, 5000}) {
    std::vector<std::atomic<int>> visits(static_cast<std::size_t>(count));
    team.run_ranges(count, [&](std::int64_t begin, std::int64_t end) {
      ASSERT_LT(begin, end);
      for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
    });
    for (const auto& v : visits) EXPECT_EQ(v, 1) << "of " << count;
  }
}

/// Two steps: whatever the first wrote is there in the second, wherever it was written; what is asked for ahead lies in
/// the second and is no work.
TEST_P(Team, TheSecondStepSeesAllOfTheFirst) {
  ThreadTeam team(GetParam());
  for (const auto& [first, second] :
       {std::pair<std::int64_t, std::int64_t>{1, 1}, {300, 7}, {5, 400}, {64, 64}, {0, 9}}) {
    for (int round = 0; round < 50; ++round) {
      std::vector<std::int64_t> written(static_cast<std::size_t>(first), 0);
      std::vector<std::atomic<int>> visits(static_cast<std::size_t>(second));
      std::atomic<int> wrong = 0;
      team.run_two(
          first,
          [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) written[static_cast<std::size_t>(i)] = i + round;
          },
          second,
          [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
            for (std::int64_t i = 0; i < first; ++i) wrong += written[static_cast<std::size_t>(i)] != i + round;
          },
          [&](std::int64_t begin, std::int64_t end) { wrong += begin < 0 || begin >= end || end > second; }, 3);
      EXPECT_EQ(wrong, 0);
      for (const auto& v : visits) ASSERT_EQ(v, 1) << first << " and " << second;
    }
  }
}

/// Shares are equal, work is not: all of it lies in one member's share, and the others take from it.
TEST(TeamShares, WhoIsDoneHelps) {
  ThreadTeam team(2);
  std::atomic<int> of_caller = 0, of_member = 0;
  const auto caller = std::this_thread::get_id();
  for (int round = 0; round < 50 && (of_caller == 0 || of_member == 0); ++round) {
    team.run(64, [&](std::int64_t i) {
      if (i >= 32) return;  // the caller's share is the first
      std::this_thread::sleep_for(std::chrono::microseconds(200));
      ++(std::this_thread::get_id() == caller ? of_caller : of_member);
    });
  }
  EXPECT_GT(of_caller, 0);
  EXPECT_GT(of_member, 0);
}

TEST_P(Team, ASectionSeesWhatWasWrittenBeforeIt) {
  ThreadTeam team(GetParam());
  std::vector<std::int64_t> a(512), b(512);
  std::iota(a.begin(), a.end(), 0);
  for (int round = 0; round < 500; ++round) {  // each reads its mirror image, which another thread has written
    team.run(512, [&](std::int64_t i) { b[static_cast<std::size_t>(i)] = a[static_cast<std::size_t>(511 - i)] + 1; });
    std::swap(a, b);
  }
  for (std::int64_t i = 0; i < 512; ++i) ASSERT_EQ(a[static_cast<std::size_t>(i)], i + 500);
}

TEST_P(Team, SeveralCallersTakeTurns) {
  ThreadTeam team(GetParam());
  std::atomic<int> inside = 0, most = 0;
  std::vector<std::int64_t> sums(3);
  const auto call = [&](std::size_t caller) {
    for (int round = 0; round < 200; ++round) {
      std::atomic<std::int64_t> sum = 0;
      std::atomic<bool> first = true;
      team.run(16, [&](std::int64_t i) {
        if (first.exchange(false)) most = std::max(most.load(), ++inside);
        sum += i;
        if (i == 15) --inside;
      });
      sums[caller] += sum;
    }
  };
  {
    std::vector<std::jthread> callers;
    for (std::size_t caller = 0; caller < 3; ++caller) callers.emplace_back(call, caller);
  }
  for (const std::int64_t sum : sums) EXPECT_EQ(sum, 200 * 120);
  EXPECT_LE(most, 1) << "two sections at the same time";
}

TEST_P(Team, ASectionWithinASectionDoesNotWaitForItself) {
  ThreadTeam team(GetParam());
  const ThreadTeam::Scope scope(&team);
  std::atomic<int> inner = 0;
  constexpr std::int64_t kMuchWork = std::int64_t{1} << 30;
  parallel_units(4, kMuchWork, [&](std::int64_t) {
    EXPECT_EQ(ThreadTeam::current(), nullptr);
    parallel_units(8, kMuchWork, [&](std::int64_t) { ++inner; });
  });
  EXPECT_EQ(inner, 32);
  EXPECT_EQ(ThreadTeam::current(), &team);
}

TEST_P(Team, MembersThatSleptComeBack) {
  ThreadTeam team(GetParam());
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // longer than members spin
    std::atomic<int> done = 0;
    team.run(64, [&](std::int64_t) { ++done; });
    EXPECT_EQ(done, 64);
  }
}

TEST_P(Team, ReadsAllNumbers) {
  ThreadTeam team(GetParam());
  std::vector<std::uint64_t> numbers(300'001);  // no multiple of a piece, nor of what is unrolled
  std::iota(numbers.begin(), numbers.end(), 1);
  EXPECT_EQ(sum_all(team, numbers), 300'001ull * 300'002 / 2);
  EXPECT_EQ(sum_all(team, {}), 0u);
  EXPECT_GT(read_gb_per_s(team, numbers, 2), 0);
}

INSTANTIATE_TEST_SUITE_P(Sizes, Team, testing::Values(1, 2, 3, 8), testing::PrintToStringParamName());

TEST(TeamOnCpus, MembersStayOnTheirs) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE && cpus.size() < 2; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
  }
  if (cpus.size() < 2) GTEST_SKIP() << "this process may use one CPU alone";
  ThreadTeam team(2, cpus);
  EXPECT_EQ(team.pinned(), 1);
  const auto caller = std::this_thread::get_id();
  std::atomic<int> seen = -1;
  for (int round = 0; round < 10'000 && seen < 0; ++round) {
    team.run(8, [&](std::int64_t) {
      if (std::this_thread::get_id() != caller) seen = sched_getcpu();
      std::this_thread::yield();
    });
  }
  EXPECT_EQ(seen, cpus[1]);
}

TEST(TeamOnCpus, ACpuThatIsNotThereIsNoError) {
  const std::vector<int> cpus{0, 100'000, -1};
  ThreadTeam team(3, cpus);
  EXPECT_EQ(team.pinned(), 0);
  std::atomic<int> done = 0;
  team.run(10, [&](std::int64_t) { ++done; });
  EXPECT_EQ(done, 10);
}

}  // namespace
}  // namespace krasis
