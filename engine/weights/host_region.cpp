#include <sys/mman.h>

#include <cerrno>
#include <fstream>
#include <utility>

#include "engine/weights/host_pages.h"
#include "engine/weights/packed_model.h"

#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26)
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace krasis {
namespace {

std::size_t bytes_up_to(const std::byte* data, std::size_t alignment) {
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  return round_up(address, alignment) - address;
}

/// Huge pages of the pool that the administrator keeps. Each is taken here: a pool that is too small, or a cgroup that
/// may not use it, refuses now.
std::byte* map_explicit(const PageSystem& system, std::size_t bytes, int& nodes) {
  std::byte* data = system.map(bytes, MAP_HUGETLB | MAP_HUGE_2MB);
  if (!data) return nullptr;
  nodes = system.interleave(data, bytes);
  if (populate(system, data, bytes) == 0) return data;
  munmap(data, bytes);
  return nullptr;
}

/// Takes the system's second offer for what first touch left in small pages, e.g. where transparent huge pages are off
/// or memory was in pieces: copies them together (Linux 6.1 and later). Best effort.
void collapse(const PageSystem& system, std::byte* data, std::size_t bytes) {
  constexpr std::size_t kPiece = 32 * kHugePage;
  for (std::size_t at = 0; at < bytes / kHugePage * kHugePage; at += kPiece) {
    const std::size_t size = std::min(kPiece, bytes / kHugePage * kHugePage - at);
    if (system.advise(data + at, size, MADV_COLLAPSE) != 0) return;  // too old, or no free huge page is left
  }
}

tl::unexpected<Error> refused(const HostRegion& region) {
  return fail(ErrorCode::OutOfMemory,
              "The " + region.name() + " need " + std::to_string(region.bytes() >> 20) +
                  " MiB of host memory, which the system does not give.",
              "Choose fewer bits, a smaller model, or free memory.");
}

}  // namespace

HostRegion::HostRegion(HostRegion&& other) noexcept {
  *this = std::move(other);
}

HostRegion& HostRegion::operator=(HostRegion&& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(mapping_, other.mapping_);
  std::swap(mapped_bytes_, other.mapped_bytes_);
  std::swap(explicit_, other.explicit_);
  std::swap(numa_nodes_, other.numa_nodes_);
  std::swap(shards_, other.shards_);
  std::swap(system_, other.system_);
  return *this;
}

HostRegion::~HostRegion() {
  if (mapping_ != nullptr) munmap(mapping_, mapped_bytes_);
}

Expected<HostRegion> HostRegion::allocate(std::string name, std::size_t bytes) {
  return allocate(std::move(name), bytes, PageSystem::real());
}

Expected<HostRegion> HostRegion::allocate(std::string name, std::size_t bytes, const PageSystem& system) {
  KRASIS_TRY(HostRegion region, reserve(std::move(name), bytes, system));
  KRASIS_CHECK(region.touch(0, bytes));
  region.collect();
  return region;
}

Expected<HostRegion> HostRegion::reserve(std::string name, std::size_t bytes, Shards shards) {
  return reserve(std::move(name), bytes, PageSystem::real(), std::move(shards));
}

Expected<HostRegion> HostRegion::reserve(std::string name, std::size_t bytes, const PageSystem& system, Shards shards) {
  HostRegion region;
  region.name_ = std::move(name);
  region.bytes_ = bytes;
  region.system_ = &system;
  if (bytes == 0) return region;
  const std::size_t wanted = round_up(bytes, bytes < kHugePage ? kSmallPage : kHugePage);
  const std::size_t mapped = wanted + kHugePage + 2 * kSmallPage;
  if (wanted < bytes || mapped < wanted) return refused(region);
  if (wanted >= kHugePage && shards && can_populate_on(system, shards.nodes)) region.shards_ = std::move(shards);
  if (wanted >= kHugePage && !region.divided()) {
    if (std::byte* data = map_explicit(system, wanted, region.numa_nodes_)) {
      region.data_ = region.mapping_ = data;
      region.mapped_bytes_ = wanted;
      region.explicit_ = true;
      return region;
    }
  }
  // Map more, then give back what lies before and behind the aligned part and one page on either side. Nothing may use
  // those two: the kernel merges areas that are alike, and smaps would count the neighbours' pages as this region's.
  std::byte* begin = system.map(mapped, 0);
  if (!begin) return refused(region);
  region.data_ = begin + kSmallPage + bytes_up_to(begin + kSmallPage, kHugePage);
  region.mapping_ = region.data_ - kSmallPage;
  region.mapped_bytes_ = wanted + 2 * kSmallPage;
  std::byte* const end = region.mapping_ + region.mapped_bytes_;
  if (region.mapping_ > begin) munmap(begin, static_cast<std::size_t>(region.mapping_ - begin));
  if (begin + mapped > end) munmap(end, static_cast<std::size_t>(begin + mapped - end));
  mprotect(region.mapping_, kSmallPage, PROT_NONE);
  mprotect(end - kSmallPage, kSmallPage, PROT_NONE);

  if (region.divided()) {
    system.advise(region.data_, wanted, MADV_NOHUGEPAGE);
    region.numa_nodes_ = static_cast<int>(region.shards_.nodes.size());
    return region;
  }
  system.advise(region.data_, wanted, MADV_HUGEPAGE);  // a wish: without huge pages it is only slower
  if (wanted >= kHugePage) region.numa_nodes_ = system.interleave(region.data_, wanted);
  return region;
}

Expected<void> HostRegion::touch(std::size_t offset, std::size_t count) const {
  if (explicit_ || count == 0) return {};
  const std::size_t page = bytes_ < kHugePage || divided() ? kSmallPage : kHugePage;
  const std::size_t begin = offset / page * page, end = round_up(offset + count, page);
  const int error =
      divided() ? populate(*system_, data_, begin, end, page, shards_) : populate(*system_, data_ + begin, end - begin);
  if (error != 0 && error != EINVAL) return refused(*this);  // EINVAL: pages come when they are written
  return {};
}

void HostRegion::collect() const {
  // Not with several nodes: the copies would all lie on one.
  if (bytes_ < kHugePage || explicit_ || numa_nodes_ != 1 || pages().small < kHugePage) return;
  collapse(*system_, data_, round_up(bytes_, kHugePage));
}

HostPages HostRegion::pages() const {
  HostPages pages;
  if (explicit_) {
    pages.explicit_huge = mapped_bytes_;
  } else if (mapping_ != nullptr) {
    const std::size_t all = mapped_bytes_ - 2 * kSmallPage;
    std::ifstream smaps("/proc/self/smaps");
    const auto begin = reinterpret_cast<std::uintptr_t>(data_);
    pages.transparent_huge = transparent_bytes(smaps, begin, begin + all);
    pages.small = all - pages.transparent_huge;
  }
  return pages;
}

}  // namespace krasis
