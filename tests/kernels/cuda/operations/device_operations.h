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

  /// The arguments of an operation with all that they point to on the device, and with a workspace for attention. What
  /// is only read does not come back.
  template <class Args>
  Args moved(Args args) {
    args.visit(*this);
    add_workspace(args);
    return args;
  }
  /// One part of arguments; only a view of what is not const comes back.
  template <class Part>
  Part placed(Part part) {
    move(part, false);
    return part;
  }
  template <class T>
  View<T> placed(View<T> view) {
    move(view, !std::is_const_v<T>);
    return view;
  }
  /// Memory of the device alone.
  View<std::byte> scratch(std::size_t bytes) { return {place(nullptr, bytes, false), bytes}; }

  // The visitor of arguments (kernels/operations.h).
  template <class... Parts>
  void in(Parts&... parts) {
    (move(parts, false), ...);
  }
  template <class... Parts>
  void out(Parts&... parts) {
    (move(parts, true), ...);
  }
  template <class... Parts>
  void update(Parts&... parts) {
    out(parts...);
  }
  void scratch(View<std::byte>& view) { view = scratch(view.bytes()); }
  void in_later(const std::vector<View<const std::byte>>&) {}

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
  template <class Args>
  void add_workspace(Args&) {}
  void add_workspace(AttentionArgs& args);
  void add_workspace(AttentionBlock& block);

  template <class T>
  void move(View<T>& view, bool back) {
    auto* data = reinterpret_cast<std::byte*>(const_cast<std::remove_const_t<T>*>(view.data));
    view.data = reinterpret_cast<T*>(place(data, view.bytes(), back));
  }
  void move(Matrix& matrix, bool back) {
    matrix.data = place(const_cast<std::byte*>(matrix.data), matrix.layout.bytes(), back);
  }
  void move(Batch& batch, bool back) {
    move(batch.positions, back);
    move(batch.sequences, back);
  }
  void move(KvCache& cache, bool back) {
    for (KvPlane* plane : {&cache.keys, &cache.values}) {
      move(plane->values, back);
      move(plane->scales, back);
    }
  }
  /// `bytes` on the device; null for none.
  std::byte* place(std::byte* host, std::size_t bytes, bool back);
  std::vector<Part> parts_;
  std::vector<std::byte> image_;  ///< what the device gets
};

const HostOperations& device_operations();

}  // namespace krasis::test
