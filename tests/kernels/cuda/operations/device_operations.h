#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/cuda/operations/operations.h"
#include "kernels/host/operations/operations.h"

/// The CUDA operations with the host's table and the host's memory, so that the tests of the host's operations hold
/// them against the same references: a call copies its arguments to the device, runs there and copies what it may write
/// back.
namespace krasis::test {

/// Throws if a CUDA call fails.
inline void check_cuda(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

/// Why no operation can run here; empty if they can.
std::string missing_device();
/// The device's properties, for launches of one's own; dense = null.
cuda::Launch device_launch();

/// Device memory for one call: places in one arena, between guards. All of it is poison until upload(), so nothing is
/// zero by chance; afterwards the guards and everything that was const must be as they were, so that a kernel which
/// writes beside its outputs is found although the driver saw nothing. With KRASIS_TEST_SEPARATE_ALLOCATIONS set, each
/// place is an allocation of its own, for compute-sanitizer (slow).
class DeviceMemory {
 public:
  DeviceMemory() = default;
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  /// A place for a copy on the device, as a view; what was const does not come back.
  template <class T>
  View<T> in(View<T> host) {
    auto* data = reinterpret_cast<std::byte*>(const_cast<std::remove_const_t<T>*>(host.data));
    return {reinterpret_cast<T*>(place(data, host.bytes(), !std::is_const_v<T>)), host.size};
  }
  Matrix in(const Matrix& host) {
    return {host.layout, place(const_cast<std::byte*>(host.data), host.layout.bytes(), false)};
  }
  KvCache in(KvCache host, bool written);
  Batch in(const Batch& host) { return {host.tokens, in(host.positions), in(host.sequences)}; }
  /// Memory of the device alone.
  View<std::byte> scratch(std::size_t bytes) { return {place(nullptr, bytes, false), bytes}; }

  /// Copies everything to the device; nothing is placed afterwards.
  void upload();
  /// Waits for the device, checks errors, guards and what is const, and copies the rest back.
  void finish();

 private:
  struct Part {
    std::byte* host;  ///< null: scratch
    std::size_t bytes;
    bool back;
    std::size_t offset;           ///< of the first guard
    std::byte* device = nullptr;  ///< of the first guard
    bool owned = false;
  };
  /// `bytes` on the device; null for none.
  std::byte* place(std::byte* host, std::size_t bytes, bool back);
  std::vector<Part> parts_;
  std::vector<std::byte> image_;  ///< what the device gets
};

const HostOperations& device_operations();

}  // namespace krasis::test
