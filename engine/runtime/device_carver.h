#pragma once

#include <optional>
#include <vector>

#include "engine/layers/carver.h"
#include "kernels/device.h"

namespace krasis {

/// Allocates each piece as a buffer of its own. After the first error it hands out nothing more.
class DeviceCarver final : public Carver {
 public:
  /// `device` and `buffers`, which then own the memory, outlive the carver.
  DeviceCarver(Device& device, MemorySpace space, std::vector<Buffer>& buffers)
      : device_(device), space_(space), buffers_(buffers) {}
  /// OutOfMemory, naming the place, if some piece could not be had: then no view that was carved may be used.
  Expected<void> outcome() const {
    if (error_) return tl::unexpected(*error_);
    return {};
  }

 private:
  std::byte* take(std::string_view place, std::size_t bytes) override {
    if (bytes == 0 || error_) return nullptr;
    auto buffer = device_.allocate(place, bytes, space_);
    if (!buffer) {
      error_ = buffer.error();
      return nullptr;
    }
    buffers_.push_back(std::move(*buffer));
    return buffers_.back().data();
  }

  Device& device_;
  MemorySpace space_;
  std::vector<Buffer>& buffers_;
  std::optional<Error> error_;
};

}  // namespace krasis
