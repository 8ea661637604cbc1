#include <sys/mman.h>

#include <utility>

#include "engine/weights/packed_model.h"

namespace krasis {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

HostRegion::HostRegion(HostRegion&& other) noexcept {
  *this = std::move(other);
}

HostRegion& HostRegion::operator=(HostRegion&& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

HostRegion::~HostRegion() {
  if (data_ != nullptr) munmap(data_, round_up(bytes_, kPage));
}

Expected<HostRegion> HostRegion::allocate(std::string name, std::size_t bytes) {
  HostRegion region;
  region.name_ = std::move(name);
  if (bytes == 0) return region;
  const std::size_t wanted = round_up(bytes, kPage);
  const std::size_t mapped = wanted + kHugePage;
  void* address = wanted < bytes || mapped < wanted
                      ? MAP_FAILED
                      : mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) {
    return fail(ErrorCode::OutOfMemory,
                "The " + region.name_ + " need " + std::to_string(bytes >> 20) +
                    " MiB of host memory, which the system does not give.",
                "Choose fewer bits, a smaller model, or free memory.");
  }
  // Map more, then give back what lies before and behind the aligned part.
  auto* begin = static_cast<std::byte*>(address);
  const std::size_t before =
      round_up(reinterpret_cast<std::uintptr_t>(begin), kHugePage) - reinterpret_cast<std::uintptr_t>(begin);
  if (before > 0) munmap(begin, before);
  region.data_ = begin + before;
  if (const std::size_t behind = mapped - before - wanted; behind > 0) munmap(region.data_ + wanted, behind);
  region.bytes_ = bytes;
  madvise(region.data_, wanted, MADV_HUGEPAGE);  // a wish: without huge pages it is only slower
  return region;
}

}  // namespace krasis
