#include "engine/weights/host_pages.h"

#include <hwloc.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <tbb/parallel_for.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <memory>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace krasis {
namespace {

struct DestroyTopology {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
};
using Topology = std::unique_ptr<hwloc_topology, DestroyTopology>;
struct FreeBitmap {
  void operator()(hwloc_bitmap_t bitmap) const { hwloc_bitmap_free(bitmap); }
};
using NodeSet = std::unique_ptr<hwloc_bitmap_s, FreeBitmap>;

/// The nodes that this process may use and that have CPUs of their own: none without memory, and no slow memory alone.
NodeSet nodes_with_cpus(hwloc_topology_t topology) {
  NodeSet set(hwloc_bitmap_alloc());
  for (hwloc_obj_t node = nullptr; (node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node));) {
    if (node->attr->numanode.local_memory == 0 || hwloc_bitmap_iszero(node->cpuset)) continue;
    hwloc_bitmap_set(set.get(), node->os_index);
  }
  return set;
}

int interleave_by_hwloc(std::byte* data, std::size_t bytes) {
  static const Topology topology = [] {
    hwloc_topology_t raw = nullptr;
    if (hwloc_topology_init(&raw) != 0) return Topology();
    Topology made(raw);
    return hwloc_topology_load(raw) == 0 ? std::move(made) : Topology();
  }();
  if (!topology) return 0;
  const NodeSet nodes = nodes_with_cpus(topology.get());
  const int count = hwloc_bitmap_weight(nodes.get());
  if (count <= 1) return 1;  // nothing to spread over
  const int done = hwloc_set_area_membind(topology.get(), data, bytes, nodes.get(), HWLOC_MEMBIND_INTERLEAVE,
                                          HWLOC_MEMBIND_BYNODESET);
  return done == 0 ? count : 0;
}

/// set_mempolicy(2) rather than a policy of the range, each of which would be a mapping of its own: more than a process
/// may have (vm.max_map_count) when all experts' rows are divided.
int on_node_by_policy(int node, const std::function<int()>& touch) {
  constexpr int kMost = 1024;  // nodes that Linux can have
  constexpr int kWordBits = 8 * sizeof(unsigned long);
  std::array<unsigned long, kMost / kWordBits> before{}, wanted{};
  if (node < 0 || node >= kMost) return EINVAL;
  wanted[static_cast<std::size_t>(node / kWordBits)] = 1ul << (node % kWordBits);
  int mode = 0;
  if (syscall(SYS_get_mempolicy, &mode, before.data(), kMost + 1, nullptr, 0) != 0) return errno;
  if (syscall(SYS_set_mempolicy, MPOL_PREFERRED, wanted.data(), kMost + 1) != 0) return errno;
  const int outcome = touch();
  syscall(SYS_set_mempolicy, mode, before.data(), kMost + 1);
  return outcome;
}

/// On this thread: 0 or an errno.
int populate_here(const PageSystem& system, std::byte* data, std::size_t bytes) {
  int outcome = EAGAIN;  // a signal or a moment's shortage: once more
  for (int attempt = 0; attempt < 3 && (outcome == EAGAIN || outcome == EINTR); ++attempt) {
    outcome = system.advise(data, bytes, MADV_POPULATE_WRITE);
  }
  return outcome;
}

/// piece(begin, end) for all pieces of [begin, end), in parallel, until one is an error; 0 or that.
template <class Piece>
int populate_pieces(std::size_t begin, std::size_t end, const Piece& piece) {
  constexpr std::size_t kPiece = 16 * kHugePage;  // some 5 ms of zeroing
  std::atomic<int> error = 0;
  tbb::parallel_for(std::size_t{0}, (end - begin + kPiece - 1) / kPiece, [&](std::size_t i) {
    if (error.load(std::memory_order_relaxed) != 0) return;
    const std::size_t at = begin + i * kPiece;
    if (const int outcome = piece(at, std::min(at + kPiece, end)); outcome != 0) {
      error.store(outcome, std::memory_order_relaxed);
    }
  });
  return error;
}

std::string amount(std::size_t bytes) {
  const double mib = static_cast<double>(bytes) / (1 << 20);
  char text[32];
  std::snprintf(text, sizeof text, mib < 1024 ? "%.0f MiB" : "%.1f GiB", mib < 1024 ? mib : mib / 1024);
  return text;
}

}  // namespace

const PageSystem& PageSystem::real() {
  static const PageSystem system = {
      [](std::size_t bytes, int flags) {
        void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
        return data == MAP_FAILED ? nullptr : static_cast<std::byte*>(data);
      },
      [](std::byte* data, std::size_t bytes, int advice) { return madvise(data, bytes, advice) == 0 ? 0 : errno; },
      interleave_by_hwloc, on_node_by_policy};
  return system;
}

int populate(const PageSystem& system, std::byte* data, std::size_t bytes) {
  return populate_pieces(
      0, bytes, [&](std::size_t begin, std::size_t end) { return populate_here(system, data + begin, end - begin); });
}

int populate(const PageSystem& system, std::byte* data, std::size_t begin, std::size_t end, std::size_t page,
             const Shards& shards) {
  return populate_pieces(begin, end, [&](std::size_t piece_begin, std::size_t piece_end) {
    for (const PageRun& run : page_runs(shards, piece_begin, piece_end, page)) {
      const int outcome = system.on_node(shards.nodes[run.node],
                                         [&] { return populate_here(system, data + run.begin, run.end - run.begin); });
      if (outcome != 0) return outcome;
    }
    return 0;
  });
}

bool can_populate_on(const PageSystem& system, std::span<const int> nodes) {
  for (const int node : nodes) {
    std::byte* const page = system.map(kSmallPage, 0);
    if (!page) return false;
    const int outcome = system.on_node(node, [&] { return populate_here(system, page, kSmallPage); });
    munmap(page, kSmallPage);
    if (outcome != 0) return false;
  }
  return true;
}

void spread(const PageSystem& system, std::byte* data, std::size_t bytes, const std::vector<int>& nodes) {
  if (const Shards shards = equal_shards(bytes, nodes)) {
    if (populate(system, data, 0, bytes, kHugePage, shards) == 0) return;
  }
  system.interleave(data, bytes);
}

std::size_t transparent_bytes(std::istream& smaps, std::uintptr_t begin, std::uintptr_t end) {
  std::size_t sum = 0;
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long long first = 0, last = 0, kib = 0;
    if (std::sscanf(line.c_str(), "%llx-%llx ", &first, &last) == 2) {
      inside = first < end && last > begin;
    } else if (inside && std::sscanf(line.c_str(), "AnonHugePages: %llu kB", &kib) == 1) {
      sum += static_cast<std::size_t>(kib) << 10;
    }
  }
  return std::min(sum, static_cast<std::size_t>(end - begin));
}

std::size_t bytes_beside_pool(std::span<const std::size_t> regions, std::size_t pool_bytes) {
  std::size_t beside = 0;
  for (const std::size_t bytes : regions) {
    const std::size_t rounded = round_up(bytes, kHugePage);
    if (bytes >= kHugePage && rounded <= pool_bytes) {
      pool_bytes -= rounded;
    } else {
      beside += bytes;
    }
  }
  return beside;
}

std::string pages_note(std::span<const HostRegion* const> regions) {
  HostPages sum;
  int nodes = 1;
  bool large = false, refused = false, divided = false;
  for (const HostRegion* region : regions) {
    const HostPages pages = region->pages();
    sum.explicit_huge += pages.explicit_huge;
    sum.transparent_huge += pages.transparent_huge;
    sum.small += pages.small;
    if (region->bytes() < kHugePage) continue;
    large = true;
    nodes = std::max(nodes, region->numa_nodes());
    refused |= region->numa_nodes() == 0;
    divided |= region->divided();
  }
  if (!large) return "";
  std::string text;
  const auto add = [&text](std::size_t bytes, const char* kind) {
    if (bytes > 0) text += (text.empty() ? "" : ", ") + amount(bytes) + " of " + kind;
  };
  add(sum.explicit_huge, "explicit huge pages");
  add(sum.transparent_huge, "transparent huge pages");
  add(sum.small, "small pages");
  text = "The weights lie in " + text;
  if (refused) return text + "; the system refused to spread them over the NUMA nodes.";
  if (nodes > 1) text += ", spread over " + std::to_string(nodes) + " NUMA nodes";
  if (divided) text += ", the rows of the CPU's experts beside the cores that read them";
  return text + ".";
}

}  // namespace krasis
