// Which pages host memory gets, what is done when the system refuses some, and what is said about it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <mutex>
#include <sstream>

#include "engine/weights/host_pages.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace krasis {
namespace {

using testing::HasSubstr;

constexpr std::size_t kBytes = 70 * kHugePage + 1000;
constexpr std::size_t kRounded = 71 * kHugePage;

bool explicit_asked(int flags) {
  return (flags & MAP_HUGETLB) != 0;
}

/// The real system, but its pool of huge pages is ordinary memory.
PageSystem with_pool() {
  PageSystem system = PageSystem::real();
  system.map = [](std::size_t bytes, int flags) {
    return PageSystem::real().map(bytes, explicit_asked(flags) ? 0 : flags);
  };
  return system;
}
/// The real system without a pool.
PageSystem without_pool() {
  PageSystem system = PageSystem::real();
  system.map = [](std::size_t bytes, int flags) {
    return explicit_asked(flags) ? nullptr : PageSystem::real().map(bytes, flags);
  };
  return system;
}

std::size_t sum(const HostPages& pages) {
  return pages.explicit_huge + pages.transparent_huge + pages.small;
}

/// Every byte is zero and can be written.
void expect_usable(const HostRegion& region) {
  ASSERT_NE(region.data(), nullptr);
  EXPECT_EQ(std::count(region.data(), region.data() + region.bytes(), std::byte{0}),
            static_cast<std::ptrdiff_t>(region.bytes()));
  std::fill_n(region.data(), region.bytes(), std::byte{7});
}

std::size_t free_pool_pages() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    unsigned long long pages = 0;
    if (std::sscanf(line.c_str(), "HugePages_Free: %llu", &pages) == 1) return pages;
  }
  return 0;
}

TEST(HostRegion, TakesExplicitPagesFirst) {
  const auto region = HostRegion::allocate("weights", kBytes, with_pool());
  ASSERT_TRUE(region);
  EXPECT_EQ(region->bytes(), kBytes);
  EXPECT_EQ(region->pages().explicit_huge, kRounded);
  EXPECT_EQ(sum(region->pages()), kRounded);
  expect_usable(*region);
}

TEST(HostRegion, TakesThePoolsOwnPages) {
  const std::size_t before = free_pool_pages();
  if (before < kRounded / kHugePage)
    GTEST_SKIP() << "the pool has only " << before << " free pages of 2 MiB (vm.nr_hugepages)";
  {
    const auto region = HostRegion::allocate("weights", kBytes);
    ASSERT_TRUE(region);
    EXPECT_EQ(region->pages().explicit_huge, kRounded);
    EXPECT_EQ(free_pool_pages(), before - kRounded / kHugePage);
    expect_usable(*region);
  }
  EXPECT_EQ(free_pool_pages(), before);
}

/// A pool that is too small refuses the mapping; one that a cgroup or a node's share forbids refuses only the pages.
TEST(HostRegion, FallsBackWhenThePoolRefuses) {
  PageSystem refuses_pages = with_pool();
  std::byte* pool = nullptr;
  refuses_pages.map = [&pool](std::size_t bytes, int flags) {
    std::byte* data = PageSystem::real().map(bytes, explicit_asked(flags) ? 0 : flags);
    if (explicit_asked(flags)) pool = data;
    return data;
  };
  refuses_pages.advise = [&pool](std::byte* data, std::size_t bytes, int advice) {
    if (pool != nullptr && data == pool && advice == MADV_POPULATE_WRITE) {
      pool = nullptr;  // the memory is given back, and may be given again
      return EFAULT;
    }
    return PageSystem::real().advise(data, bytes, advice);
  };
  for (const PageSystem& system : {without_pool(), refuses_pages}) {
    const auto region = HostRegion::allocate("weights", kBytes, system);
    ASSERT_TRUE(region);
    EXPECT_EQ(region->pages().explicit_huge, 0u);
    EXPECT_EQ(sum(region->pages()), kRounded);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(region->data()) % kHugePage, 0u);
    expect_usable(*region);
  }
}

TEST(HostRegion, HasAllItsPagesFromTheStart) {
  const auto region = HostRegion::allocate("weights", kBytes, without_pool());
  ASSERT_TRUE(region);
  std::vector<unsigned char> resident(kRounded / kSmallPage);
  ASSERT_EQ(mincore(region->data(), kRounded, resident.data()), 0);
  EXPECT_EQ(std::count_if(resident.begin(), resident.end(), [](unsigned char r) { return (r & 1) != 0; }),
            static_cast<std::ptrdiff_t>(resident.size()));
}

/// Loading a packed copy needs memory for what is read, not for all that will be.
TEST(HostRegion, AReservedOneGetsItsPagesWhereItIsTouched) {
  const PageSystem system = without_pool();
  const auto region = HostRegion::reserve("weights", kBytes, system);
  ASSERT_TRUE(region);
  const auto resident_pages = [&] {
    std::vector<unsigned char> resident(kRounded / kSmallPage);
    EXPECT_EQ(mincore(region->data(), kRounded, resident.data()), 0);
    return static_cast<std::size_t>(
        std::count_if(resident.begin(), resident.end(), [](unsigned char r) { return (r & 1) != 0; }));
  };
  EXPECT_EQ(resident_pages(), 0u);
  ASSERT_TRUE(region->touch(5 * kHugePage, kHugePage));
  ASSERT_TRUE(region->touch(70 * kHugePage, 1000));  // its end
  EXPECT_EQ(resident_pages(), 2 * kHugePage / kSmallPage);
  ASSERT_TRUE(region->touch(0, kBytes));
  EXPECT_EQ(resident_pages(), kRounded / kSmallPage);
  region->collect();
  expect_usable(*region);
}

TEST(HostRegion, APageThatCannotBeHadIsAnErrorOfItsTouch) {
  PageSystem system = without_pool();
  system.advise = [](std::byte* data, std::size_t bytes, int advice) {
    return advice == MADV_POPULATE_WRITE ? ENOMEM : PageSystem::real().advise(data, bytes, advice);
  };
  const auto region = HostRegion::reserve("weights", kBytes, system);
  ASSERT_TRUE(region);
  const auto touched = region->touch(0, kHugePage);
  ASSERT_FALSE(touched);
  EXPECT_EQ(touched.error().code, ErrorCode::OutOfMemory);
}

TEST(HostRegion, OnAnOldKernelPagesComeWhenTheyAreWritten) {
  PageSystem system = with_pool();
  system.advise = [](std::byte*, std::size_t, int) { return EINVAL; };
  const auto region = HostRegion::allocate("weights", kBytes, system);
  ASSERT_TRUE(region);
  EXPECT_EQ(region->pages().explicit_huge, 0u) << "nothing could tell that the pool will not fail later";
  expect_usable(*region);
}

TEST(HostRegion, NoMemoryIsAnErrorNotASignal) {
  PageSystem no_mapping = PageSystem::real();
  no_mapping.map = [](std::size_t, int) { return nullptr; };
  PageSystem no_pages = PageSystem::real();
  no_pages.advise = [](std::byte*, std::size_t, int advice) { return advice == MADV_POPULATE_WRITE ? ENOMEM : 0; };
  for (const PageSystem& system : {no_mapping, no_pages}) {
    const auto region = HostRegion::allocate("weights", kBytes, system);
    ASSERT_FALSE(region);
    EXPECT_EQ(region.error().code, ErrorCode::OutOfMemory);
    EXPECT_THAT(region.error().message(), HasSubstr("The weights need 140 MiB"));
  }
}

/// First touch, in pieces of several threads, covers each byte once, and only when the pages have been spread.
TEST(HostRegion, IsSpreadOverNodesBeforeItIsTouched) {
  std::mutex mutex;
  std::vector<std::pair<std::byte*, std::size_t>> spread, touched;
  PageSystem system = without_pool();
  system.interleave = [&](std::byte* data, std::size_t bytes) {
    EXPECT_TRUE(touched.empty());
    spread.emplace_back(data, bytes);
    return 4;
  };
  system.advise = [&](std::byte* data, std::size_t bytes, int advice) {
    const std::lock_guard lock(mutex);
    if (advice == MADV_POPULATE_WRITE) touched.emplace_back(data, bytes);
    return 0;
  };
  const auto region = HostRegion::allocate("weights", kBytes, system);
  ASSERT_TRUE(region);
  EXPECT_EQ(region->numa_nodes(), 4);
  ASSERT_EQ(spread.size(), 1u);
  EXPECT_EQ(spread.front(), std::pair(region->data(), kRounded));
  std::sort(touched.begin(), touched.end());
  std::byte* next = region->data();
  for (const auto& [data, bytes] : touched) {
    EXPECT_EQ(data, next);
    next = data + bytes;
  }
  EXPECT_EQ(next, region->data() + kRounded);
  EXPECT_GT(touched.size(), 1u);
}

/// A system with nodes 4 and 7 that remembers what was touched, and on which node.
struct TwoNodes {
  std::mutex mutex;
  std::vector<std::pair<std::byte*, int>> touched;  ///< small pages
  PageSystem system = without_pool();

  TwoNodes() {
    static thread_local int node_of_thread = -1;
    system.map = [](std::size_t bytes, int flags) {
      EXPECT_FALSE(explicit_asked(flags));
      return PageSystem::real().map(bytes, flags);
    };
    system.interleave = [](std::byte*, std::size_t) { return 2; };
    system.on_node = [](int node, const std::function<int()>& touch) {
      node_of_thread = node;
      const int outcome = touch();
      node_of_thread = -1;
      return outcome;
    };
    system.advise = [this](std::byte* data, std::size_t bytes, int advice) {
      if (advice != MADV_POPULATE_WRITE) {
        EXPECT_EQ(advice, MADV_NOHUGEPAGE);
        return PageSystem::real().advise(data, bytes, advice);
      }
      const std::lock_guard lock(mutex);
      for (std::size_t at = 0; at < bytes; at += kSmallPage) touched.emplace_back(data + at, node_of_thread);
      return PageSystem::real().advise(data, bytes, advice);
    };
  }
};

/// Whatever is touched first, and in whatever pieces: every page comes once or more, always on its node.
TEST(HostRegion, DividedPagesComeOnTheNodeOfTheirRows) {
  const ExpertLayout layout = expert_layout(Element::Int4, 128, 2048, 768);
  const std::size_t bytes = 20 * layout.bytes();
  const Shards shards = expert_shards(layout, {4, 7});
  TwoNodes nodes;
  const auto region = HostRegion::reserve("weights", bytes, nodes.system, shards);
  ASSERT_TRUE(region);
  EXPECT_TRUE(region->divided());
  EXPECT_EQ(region->numa_nodes(), 2);
  nodes.touched.clear();  // of the question whether it can be done
  ASSERT_TRUE(region->touch(3 * kHugePage + 100, kHugePage));
  EXPECT_EQ(nodes.touched.size(), kHugePage / kSmallPage + 1) << "whole small pages, no huge ones";
  ASSERT_TRUE(region->touch(0, bytes));
  region->collect();
  std::vector<bool> seen(round_up(bytes, kSmallPage) / kSmallPage);
  std::size_t of_first = 0;
  for (const auto& [data, node] : nodes.touched) {
    const auto at = static_cast<std::size_t>(data - region->data());
    ASSERT_LT(at / kSmallPage, seen.size());
    EXPECT_EQ(node, shards.nodes[shards.at(at + kSmallPage / 2).node]);
    of_first += !seen[at / kSmallPage] && node == 4;
    seen[at / kSmallPage] = true;
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), static_cast<std::ptrdiff_t>(seen.size()));
  EXPECT_NEAR(static_cast<double>(of_first) / static_cast<double>(seen.size()), 0.5, 0.01);
  EXPECT_EQ(region->pages().small, sum(region->pages()));
  expect_usable(*region);
  const HostRegion* const regions[] = {&*region};
  EXPECT_THAT(pages_note(regions), HasSubstr("of small pages, spread over 2 NUMA nodes, the rows of the CPU's experts "
                                             "beside the cores that read them."));
}

TEST(HostRegion, IsInterleavedWhereItCannotBeDivided) {
  const ExpertLayout layout = expert_layout(Element::Int4, 128, 2048, 768);
  struct Case {
    const char* why;
    int refusal;  ///< of on_node
    std::vector<int> nodes;
    int touched;  ///< what MADV_POPULATE_WRITE says on a chosen node
  };
  for (const Case& c : {Case{"a container's filter", EPERM, {0, 1}, 0}, Case{"one node", 0, {0}, 0},
                        Case{"nothing asked", 0, {}, 0}, Case{"an old kernel", 0, {0, 1}, EINVAL}}) {
    SCOPED_TRACE(c.why);
    PageSystem system = with_pool();
    system.interleave = [](std::byte*, std::size_t) { return 2; };
    system.on_node = [&c](int, const std::function<int()>& touch) {
      const int outcome = c.refusal != 0 ? c.refusal : touch();
      return c.touched != 0 ? c.touched : outcome;
    };
    const auto region = HostRegion::reserve("weights", kBytes, system, expert_shards(layout, c.nodes));
    ASSERT_TRUE(region);
    EXPECT_FALSE(region->divided());
    EXPECT_EQ(region->numa_nodes(), 2);
    EXPECT_EQ(region->pages().explicit_huge, kRounded) << "as without shards";
  }
  TwoNodes nodes;
  nodes.system.advise = PageSystem::real().advise;
  const auto small = HostRegion::reserve("weights", kHugePage / 2, nodes.system, expert_shards(layout, {4, 7}));
  ASSERT_TRUE(small);
  EXPECT_FALSE(small->divided());
}

TEST(HostRegion, NoPageOnAnyNodeIsAnErrorOfItsTouch) {
  const ExpertLayout layout = expert_layout(Element::Int4, 128, 2048, 768);
  TwoNodes nodes;
  const auto region = HostRegion::reserve("weights", kBytes, nodes.system, expert_shards(layout, {4, 7}));
  ASSERT_TRUE(region);
  nodes.system.advise = [](std::byte*, std::size_t, int) { return ENOMEM; };
  const auto touched = region->touch(0, kBytes);
  ASSERT_FALSE(touched);
  EXPECT_EQ(touched.error().code, ErrorCode::OutOfMemory);
}

/// The real system call, on a node that there is; a filter of system calls may refuse it.
TEST(PageSystem, ChoosesANodeForWhatIsTouchedMeanwhile) {
  const PageSystem& real = PageSystem::real();
  int inside = -1;
  const auto policy = [] {
    int mode = -1;
    return syscall(SYS_get_mempolicy, &mode, nullptr, 0, nullptr, 0) == 0 ? mode : -1;
  };
  const int before = policy();
  const int outcome = real.on_node(0, [&] {
    inside = policy();
    return 0;
  });
  if (outcome == EPERM || outcome == ENOSYS) GTEST_SKIP() << "this system lets nobody choose";
  EXPECT_EQ(outcome, 0);
  EXPECT_EQ(inside, MPOL_PREFERRED);
  EXPECT_EQ(policy(), before) << "as it was";
  EXPECT_EQ(real.on_node(0, [] { return ENOMEM; }), ENOMEM);
  EXPECT_NE(real.on_node(1023, [] { return 0; }), 0) << "no such node";
  EXPECT_EQ(real.on_node(-1, [] { return 0; }), EINVAL);
  EXPECT_EQ(real.on_node(1 << 20, [] { return 0; }), EINVAL);
}

/// Memory of a pretended device: huge pages, in equal parts or spread.
TEST(Spread, DividesOrInterleaves) {
  TwoNodes nodes;
  std::byte* const data = nodes.system.map(5 * kHugePage, 0);
  ASSERT_NE(data, nullptr);
  spread(nodes.system, data, 5 * kHugePage, {4, 7});
  std::sort(nodes.touched.begin(), nodes.touched.end());
  ASSERT_EQ(nodes.touched.size(), 5 * kHugePage / kSmallPage);
  for (const auto& [page, node] : nodes.touched) {
    EXPECT_EQ(node, page < data + 2 * kHugePage ? 4 : 7) << "the third begins in the first half, its middle is not";
  }
  int interleaved = 0;
  nodes.touched.clear();
  nodes.system.interleave = [&](std::byte* at, std::size_t bytes) {
    EXPECT_EQ(at, data);
    EXPECT_EQ(bytes, 5 * kHugePage);
    return ++interleaved;
  };
  spread(nodes.system, data, 5 * kHugePage, {});
  spread(nodes.system, data, 5 * kHugePage, {4});
  EXPECT_EQ(interleaved, 2);
  nodes.system.on_node = [](int, const std::function<int()>&) { return EPERM; };
  spread(nodes.system, data, 5 * kHugePage, {4, 7});
  EXPECT_EQ(interleaved, 3) << "refused";
  EXPECT_TRUE(nodes.touched.empty());
  munmap(data, 5 * kHugePage);
}

TEST(HostRegion, SaysWhatItGot) {
  const auto note = [](PageSystem system, int nodes, std::size_t bytes = kBytes) {
    system.interleave = [nodes](std::byte*, std::size_t) { return nodes; };
    const auto region = HostRegion::allocate("weights", bytes, system);
    const auto none = HostRegion::allocate("nothing", 0, system);
    if (!region || !none) return std::string("refused");
    const HostRegion* const regions[] = {&*region, &*none};
    return pages_note(regions);
  };
  EXPECT_EQ(note(with_pool(), 1), "The weights lie in 142 MiB of explicit huge pages.");
  EXPECT_EQ(note(with_pool(), 2), "The weights lie in 142 MiB of explicit huge pages, spread over 2 NUMA nodes.");
  EXPECT_EQ(
      note(with_pool(), 0),
      "The weights lie in 142 MiB of explicit huge pages; the system refused to spread them over the NUMA nodes.");
  EXPECT_EQ(note(with_pool(), 1, 5000), "") << "nothing to say of less than a huge page";
  PageSystem small = without_pool();  // neither asks for huge pages nor collects small ones
  small.advise = [](std::byte* data, std::size_t bytes, int advice) {
    return advice == MADV_POPULATE_WRITE ? PageSystem::real().advise(data, bytes, advice) : 0;
  };
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  const std::string setting(std::istreambuf_iterator<char>(file), {});
  if (setting.find("[always]") == std::string::npos) {
    EXPECT_EQ(note(small, 1), "The weights lie in 142 MiB of small pages.");
  }
}

/// Memory that came in small pages, as it does where the setting is "never", is copied together where the kernel can.
TEST(HostRegion, CollectsSmallPages) {
  PageSystem system = without_pool();
  system.advise = [](std::byte* data, std::size_t bytes, int advice) {
    return advice == MADV_HUGEPAGE ? 0 : PageSystem::real().advise(data, bytes, advice);
  };
  const auto region = HostRegion::allocate("weights", kBytes, system);
  ASSERT_TRUE(region);
  EXPECT_EQ(sum(region->pages()), kRounded);
  const bool can = PageSystem::real().advise(region->data(), kHugePage, MADV_COLLAPSE) == 0;
  EXPECT_EQ(region->pages().transparent_huge >= kRounded / 2, can);
  expect_usable(*region);
}

TEST(BytesBesidePool, ARegionIsWhollyInThePoolOrNotAtAll) {
  const std::size_t regions[] = {3 * kHugePage + 1, 10 * kHugePage, kHugePage, 100};
  EXPECT_EQ(bytes_beside_pool(regions, 0), 14 * kHugePage + 101);
  EXPECT_EQ(bytes_beside_pool(regions, 4 * kHugePage), 11 * kHugePage + 100);
  EXPECT_EQ(bytes_beside_pool(regions, 5 * kHugePage), 10 * kHugePage + 100);
  EXPECT_EQ(bytes_beside_pool(regions, 14 * kHugePage), kHugePage + 100);
  EXPECT_EQ(bytes_beside_pool(regions, 1000 * kHugePage), 100u);
}

TEST(TransparentBytes, CountsTheAreasThatOverlap) {
  const std::string text =
      "7f0000000000-7f0000400000 rw-p 00000000 00:00 0 \n"
      "Size:               4096 kB\nAnonHugePages:      4096 kB\nVmFlags: rd wr\n"
      "7f0000400000-7f0000401000 ---p 00000000 00:00 0 \n"
      "Size:                  4 kB\nAnonHugePages:         0 kB\n"
      "7f0000401000-7f0001000000 rw-p 00000000 00:00 0   [anon:x]\n"
      "Size:              12284 kB\nAnonHugePages:      2048 kB\nShmemPmdMapped:     8192 kB\n";
  const auto count = [&](std::uintptr_t begin, std::uintptr_t end) {
    std::istringstream smaps(text);
    return transparent_bytes(smaps, begin, end);
  };
  EXPECT_EQ(count(0x7f0000000000, 0x7f0000400000), 4u << 20);
  EXPECT_EQ(count(0x7f0000400000, 0x7f0000401000), 0u);
  EXPECT_EQ(count(0x7f0000000000, 0x7f0001000000), 6u << 20);
  EXPECT_EQ(count(0x7f0000200000, 0x7f0000300000), 1u << 20) << "never more than the range";
  EXPECT_EQ(count(0x7e0000000000, 0x7e0000400000), 0u);
}

}  // namespace
}  // namespace krasis
