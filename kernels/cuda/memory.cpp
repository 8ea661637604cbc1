#include "kernels/cuda/memory.h"

#include <sys/resource.h>

#include <cstring>

#include "kernels/cuda/failures.h"

namespace krasis::cuda {
namespace {

constexpr int kPoison = 0xFF;

}  // namespace

// Addresses ----------------------------------------------------------------------------------------------------------

std::optional<AddressMap::Range> AddressMap::find(const std::byte* data, std::size_t bytes) const {
  auto range = ranges_.upper_bound(data);
  if (range == ranges_.begin()) return std::nullopt;
  --range;
  const auto offset = static_cast<std::size_t>(data - range->first);
  if (offset >= range->second.bytes || bytes > range->second.bytes - offset) return std::nullopt;
  return range->second;
}

bool AddressMap::overlaps(const std::byte* data, std::size_t bytes) const {
  auto range = ranges_.lower_bound(data + bytes);
  if (range == ranges_.begin()) return false;
  --range;
  return range->first + range->second.bytes > data;
}

// Memory of a device -------------------------------------------------------------------------------------------------

Expected<std::unique_ptr<Memory>> Memory::create(int cuda_index, std::size_t budget_bytes, bool poison,
                                                 AddressMap& addresses) {
  std::unique_ptr<Memory> memory(new Memory(cuda_index, budget_bytes, poison, addresses));
  cudaError_t status = cudaSetDevice(cuda_index);
  if (status == cudaSuccess) status = cudaStreamCreateWithFlags(&memory->stream_, cudaStreamNonBlocking);
  if (status != cudaSuccess) return tl::unexpected(cuda_error("make a stream", status));
  return memory;
}

Memory::Memory(int cuda_index, std::size_t budget_bytes, bool poison, AddressMap& addresses)
    : cuda_index_(cuda_index),
      poison_(poison),
      addresses_(addresses),
      ledger_(budget_bytes),
      device_(
          kDeviceChunk,
          [this](std::size_t bytes) -> std::byte* {
            void* data = nullptr;
            if (cudaSetDevice(cuda_index_) != cudaSuccess || cudaMalloc(&data, bytes) != cudaSuccess) {
              cudaGetLastError();
              return nullptr;
            }
            addresses_.add(static_cast<std::byte*>(data), {bytes, AddressMap::Kind::Device, cuda_index_});
            return static_cast<std::byte*>(data);
          },
          [this](std::byte* chunk, std::size_t) {
            addresses_.remove(chunk);
            if (cudaSetDevice(cuda_index_) != cudaSuccess || cudaFree(chunk) != cudaSuccess) cudaGetLastError();
          }),
      pinned_(
          kPinnedChunk,
          [this](std::size_t bytes) -> std::byte* {
            void* data = nullptr;
            if (cudaSetDevice(cuda_index_) != cudaSuccess ||
                cudaHostAlloc(&data, bytes, cudaHostAllocPortable | cudaHostAllocMapped) != cudaSuccess) {
              cudaGetLastError();
              return nullptr;
            }
            addresses_.add(static_cast<std::byte*>(data), {bytes, AddressMap::Kind::PageLocked, -1});
            return static_cast<std::byte*>(data);
          },
          [this](std::byte* chunk, std::size_t) {
            addresses_.remove(chunk);
            if (cudaFreeHost(chunk) != cudaSuccess) cudaGetLastError();
          }) {}

Memory::~Memory() {
  if (stream_) cudaStreamDestroy(stream_);
}

cudaError_t Memory::poison(std::byte* data, std::size_t bytes, MemorySpace space) {
  if (space == MemorySpace::Pinned) {
    std::memset(data, kPoison, bytes);
    return cudaSuccess;
  }
  cudaError_t status = cudaSetDevice(cuda_index_);
  if (status == cudaSuccess) status = cudaMemsetAsync(data, kPoison, bytes, stream_);
  if (status == cudaSuccess) status = cudaStreamSynchronize(stream_);
  return status;
}

Expected<std::byte*> Memory::allocate(std::string_view place, std::size_t bytes, MemorySpace space) {
  KRASIS_CHECK(ledger_.check(place, bytes, space));
  if (bytes == 0) return nullptr;
  Arena& arena = space == MemorySpace::Device ? device_ : pinned_;
  std::byte* const data = arena.allocate(bytes);
  if (!data && space == MemorySpace::Pinned) return tl::unexpected(out_of_host_memory(place, bytes));
  if (!data) {
    return fail(ErrorCode::OutOfMemory,
                "GPU " + std::to_string(cuda_index_) + " has no " + mebibytes(bytes) + " in one piece for '" +
                    std::string(place) + "', although the budget of " + mebibytes(ledger_.budget_bytes()) +
                    " allows it: " + mebibytes(device_.chunk_total_bytes()) + " are taken by this program.",
                "Close other programs that use the GPU, or lower the device's memory budget.");
  }
  const MemoryLedger::Share share = ledger_.add(place, bytes, space);
  blocks_[data] = {space, share};
  if (poison_) {
    if (const cudaError_t status = poison(data, share.bytes, space); status != cudaSuccess) {
      release(data);
      return tl::unexpected(cuda_error("fill new memory", status));
    }
  }
  return data;
}

void Memory::release(std::byte* data) {
  const auto found = blocks_.find(data);
  if (found == blocks_.end()) return;
  const Block block = found->second;
  blocks_.erase(found);
  ledger_.remove(block.share);
  // A failure here has no one to hear it: it is a broken context, which the next synchronize reports.
  if (poison_ && poison(data, block.share.bytes, block.space) != cudaSuccess) cudaGetLastError();
  (block.space == MemorySpace::Device ? device_ : pinned_).release(data);
}

// Existing host memory -----------------------------------------------------------------------------------------------

Expected<AddressMap::Range> page_lock(std::string_view place, std::byte* data, std::size_t bytes) {
  const cudaError_t status = cudaHostRegister(data, bytes, cudaHostRegisterPortable | cudaHostRegisterMapped);
  if (status == cudaErrorHostMemoryAlreadyRegistered) {
    cudaGetLastError();
    return fail(ErrorCode::InvalidArgument, "Host memory for '" + std::string(place) + "' is page-locked already.",
                "Register each range once, as a whole, and no two ranges that share a page.");
  }
  if (status != cudaSuccess) {
    cudaGetLastError();
    rlimit limit{};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    const std::string allowed =
        limit.rlim_cur == RLIM_INFINITY ? "is unlimited" : "is " + mebibytes(static_cast<std::size_t>(limit.rlim_cur));
    return fail(status == cudaErrorMemoryAllocation ? ErrorCode::OutOfMemory : ErrorCode::Io,
                "The system refused to page-lock the " + mebibytes(bytes) + " of '" + std::string(place) +
                    "': " + cudaGetErrorString(status) + ". The limit of locked memory (ulimit -l) " + allowed + ".",
                "Raise the limit (ulimit -l unlimited, or memlock in /etc/security/limits.conf), close other programs, "
                "or choose fewer bits.");
  }
  void* on_device = nullptr;
  const bool same = cudaHostGetDevicePointer(&on_device, data, 0) == cudaSuccess && on_device == data;
  if (!same) cudaGetLastError();
  return AddressMap::Range{bytes, same ? AddressMap::Kind::PageLocked : AddressMap::Kind::CopyOnly, -1};
}

void page_unlock(std::byte* data) {
  if (cudaHostUnregister(data) != cudaSuccess) cudaGetLastError();
}

}  // namespace krasis::cuda
