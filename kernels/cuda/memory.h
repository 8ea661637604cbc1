#pragma once

#include <cuda_runtime_api.h>

#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "kernels/cuda/arena.h"
#include "kernels/memory_ledger.h"

namespace krasis::cuda {

/// Who can reach which addresses: what decides how a copy is done. Not thread-safe.
class AddressMap {
 public:
  enum class Kind : std::uint8_t {
    Device,      ///< memory of the GPU `cuda_index`
    PageLocked,  ///< host memory that kernels and copy engines of every GPU use under the host's own address
    CopyOnly,    ///< registered, but kernels cannot use the host's address
  };
  struct Range {
    std::size_t bytes = 0;
    Kind kind = Kind::Device;
    int cuda_index = -1;
  };
  void add(const std::byte* data, Range range) { ranges_[data] = range; }
  void remove(const std::byte* data) { ranges_.erase(data); }
  /// The range that holds all of [data, data + bytes), if one does.
  std::optional<Range> find(const std::byte* data, std::size_t bytes) const;
  /// Whether any byte of it lies in a range.
  bool overlaps(const std::byte* data, std::size_t bytes) const;

 private:
  std::map<const std::byte*, Range> ranges_;
};

/// The memory of one logical device: a budget, counted by place; arenas of cudaMalloc and of page-locked host memory.
/// Not thread-safe.
///
/// The budget counts what is asked for (rounded up to 64 bytes). The arenas may hold more of the GPU, less than one
/// chunk of kDeviceChunk, and what fragmentation adds.
class Memory {
 public:
  static constexpr std::size_t kDeviceChunk = 64ull << 20;
  static constexpr std::size_t kPinnedChunk = 4ull << 20;

  /// @param poison  new memory and memory that is about to be freed is filled with 0xFF bytes, NaN in float and BF16.
  ///                The filling runs on a stream of its own and is waited for.
  static Expected<std::unique_ptr<Memory>> create(int cuda_index, std::size_t budget_bytes, bool poison,
                                                  AddressMap& addresses);
  ~Memory();

  /// 256-byte aligned; null for zero bytes. Page-locked memory is visible to all GPUs under its host address.
  Expected<std::byte*> allocate(std::string_view place, std::size_t bytes, MemorySpace space);
  void release(std::byte* data);
  const std::vector<PlaceUsage>& usage() const { return ledger_.usage(); }

 private:
  Memory(int cuda_index, std::size_t budget_bytes, bool poison, AddressMap& addresses);
  cudaError_t poison(std::byte* data, std::size_t bytes, MemorySpace space);

  struct Block {
    MemorySpace space = MemorySpace::Device;
    MemoryLedger::Share share;
  };
  int cuda_index_ = 0;
  bool poison_ = false;
  AddressMap& addresses_;
  cudaStream_t stream_ = nullptr;
  MemoryLedger ledger_;
  Arena device_, pinned_;
  std::map<std::byte*, Block> blocks_;
};

/// Page-locks existing host memory for all GPUs and makes it reachable by kernels (AddressMap says whether under its
/// own address). Fails with InvalidArgument if it is page-locked already, with OutOfMemory or Io if the system refuses.
Expected<AddressMap::Range> page_lock(std::string_view place, std::byte* data, std::size_t bytes);
void page_unlock(std::byte* data);

}  // namespace krasis::cuda
