#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <istream>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/weights/packed_model.h"
#include "engine/weights/shards.h"

namespace krasis {

constexpr std::size_t kSmallPage = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

/// The system calls beneath a HostRegion; tests pretend others.
struct PageSystem {
  /// mmap of anonymous private memory, readable and writable, with `flags` more; null = refused.
  std::function<std::byte*(std::size_t bytes, int flags)> map;
  /// madvise: 0 or an errno.
  std::function<int(std::byte* data, std::size_t bytes, int advice)> advise;
  /// Spreads pages that come later evenly over the NUMA nodes with CPUs; how many these are, 0 if the system refuses.
  std::function<int(std::byte* data, std::size_t bytes)> interleave;
  /// Runs touch() on this thread, whose new pages then come from a node as long as it has any: what touch() returns, or
  /// the errno with which the system refused to choose (in a container its filter of system calls).
  std::function<int(int node, const std::function<int()>& touch)> on_node;

  static const PageSystem& real();
};

/// Gives [data, data + bytes) its pages, in parallel: zeroing them is what loading would else wait for. Any page that
/// cannot be had is an error here instead of a SIGBUS later; 0 or an errno. EINVAL: the kernel is too old to say
/// (before 5.14).
int populate(const PageSystem& system, std::byte* data, std::size_t bytes);
/// The same for [begin, end) of what begins at `data`, in pages of `page` bytes, each on its node.
int populate(const PageSystem& system, std::byte* data, std::size_t begin, std::size_t end, std::size_t page,
             const Shards& shards);
/// Whether that can be done on each of these nodes.
bool can_populate_on(const PageSystem& system, std::span<const int> nodes);

/// Where new memory of a pretended device lies when there are several NUMA nodes, before it is touched: 2 MiB pages, in
/// equal parts on `nodes` if these are several, otherwise spread evenly. A wish.
void spread(const PageSystem& system, std::byte* data, std::size_t bytes, const std::vector<int>& nodes);

/// Bytes of transparent huge pages in [begin, end), from the text of /proc/self/smaps: of the areas that overlap it.
std::size_t transparent_bytes(std::istream& smaps, std::uintptr_t begin, std::uintptr_t end);

/// How much of regions of these sizes, allocated in this order, will be ordinary memory: what the pool cannot hold. The
/// pool's pages are no part of the memory that the system calls available.
std::size_t bytes_beside_pool(std::span<const std::size_t> regions, std::size_t pool_bytes);

/// What the user should know of the pages of all regions, one sentence; empty if none is as large as a huge page.
std::string pages_note(std::span<const HostRegion* const> regions);

}  // namespace krasis
