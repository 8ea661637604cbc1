#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "kernels/operation_list.h"

namespace krasis {

class Device;

enum class MemorySpace : std::uint8_t {
  Device,  ///< the device's own memory; counts against its budget
  Pinned,  ///< host memory that the device copies from and to directly
};

/// Owns memory of a device; freed on destruction (on the host device: poisoned, then freed). Whoever destroys it has
/// waited for the last operation that uses it.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Device* device, MemorySpace space, std::byte* data, std::size_t bytes)
      : device_(device), space_(space), data_(data), bytes_(bytes) {}
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(space_, other.space_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Buffer();

  std::size_t bytes() const { return bytes_; }
  std::byte* data() const { return data_; }
  MemorySpace space() const { return space_; }
  /// The whole buffer, or `count` elements from byte `offset`, as T. The caller keeps within bytes().
  template <class T = std::byte>
  View<T> view() const {
    return {reinterpret_cast<T*>(data_), bytes_ / sizeof(T)};
  }
  template <class T>
  View<T> view(std::size_t offset, std::size_t count) const {
    return {reinterpret_cast<T*>(data_ + offset), count};
  }

 private:
  Device* device_ = nullptr;
  MemorySpace space_ = MemorySpace::Device;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// An in-order queue of operations. Lanes run side by side; only events and signals order them.
enum class Lane : std::uint8_t {
  Compute,  ///< the device's arithmetic
  Copy,     ///< its copy engine
  Host,     ///< host threads: CPU experts
};
struct Stream {
  int id = -1;
};
/// A point in a stream. A default-made Event is "already done" and must not be waited for.
struct Event {
  std::uint64_t id = 0;
  explicit operator bool() const { return id != 0; }
};
/// A counter between two lanes. The n-th await on it waits for the n-th raise, so a recorded step needs no new numbers.
struct Signal {
  int id = -1;
};
/// A recorded step.
struct Recording {
  int id = -1;
};

/// Bytes that an operation reads or writes, for the happens-before checker.
struct Access {
  const std::byte* data = nullptr;
  std::size_t bytes = 0;
  template <class T>
  static Access of(View<T> view) {
    return {reinterpret_cast<const std::byte*>(view.data), view.bytes()};
  }
};

struct DeviceInfo {
  std::string kind;              ///< "host" or "cuda"; results say it
  std::string name;              ///< e.g. the CPU's or GPU's name
  int index = 0;
  std::size_t budget_bytes = 0;  ///< what allocate(Device) may use in all
};

/// Memory of one place ("group buffers", "kv cache", ...), as allocated.
struct PlaceUsage {
  std::string place;
  MemorySpace space = MemorySpace::Device;
  std::size_t bytes = 0;
  std::size_t high_water_bytes = 0;
};

/// One accelerator, or the host pretending to be one.
///
/// Everything between allocate() and synchronize() is asynchronous: operations are enqueued on a stream by one thread
/// and return at once; errors inside an operation surface at synchronize(). Operations on different streams are ordered
/// by events and signals alone. Arguments hold pointers that stay valid until the operation has run.
class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;

  // Memory ------------------------------------------------------------------------------------------------------
  /// At least 64-byte aligned. Fails with OutOfMemory, naming place, bytes needed, bytes free and the budget.
  virtual Expected<Buffer> allocate(std::string_view place, std::size_t bytes, MemorySpace space) = 0;
  virtual std::vector<PlaceUsage> memory_usage() const = 0;
  /// Makes existing host memory (the packed weights) copyable from, and known to the checker, until the device dies
  /// or unregister_host is called with the same pointer.
  virtual Expected<void> register_host(std::string_view place, std::byte* data, std::size_t bytes) = 0;
  virtual void unregister_host(std::byte* data) = 0;
  /// How a KV cache should lie for this device's attention with these numbers of heads.
  virtual KvLayout kv_layout(int /*heads*/, int /*kv_heads*/, int /*head_dim*/) const { return KvLayout::Rows; }

  // Order -------------------------------------------------------------------------------------------------------
  virtual Stream create_stream(std::string_view name, Lane lane) = 0;
  virtual Signal create_signal(std::string_view name) = 0;
  virtual Event record(Stream stream) = 0;
  /// Later operations of `stream` run after `event`, which may be of another device of the same platform.
  /// `why` names the reason ("group buffer is free"): messages and tests identify the wait by it.
  virtual void wait(Stream stream, Event event, std::string_view why) = 0;
  virtual void raise(Stream stream, Signal signal) = 0;
  virtual void await(Stream stream, Signal signal, std::string_view why) = 0;
  /// Blocks the calling thread until `event` is done; returns the first error of any operation since the last call.
  virtual Expected<void> synchronize(Event event, std::string_view why) = 0;
  /// Tells the checker that the calling thread itself now reads or writes these bytes.
  virtual void host_access(std::string_view name, std::span<const Access> reads, std::span<const Access> writes) = 0;

  // A step that is recorded once and replayed ---------------------------------------------------------------------
  /// Until end_recording, operations, events and signals of this platform are noted, not run.
  virtual void begin_recording() = 0;
  virtual Recording end_recording() = 0;
  virtual void replay(Recording recording) = 0;

  // Operations ----------------------------------------------------------------------------------------------------
  /// Any memory to any memory (host, own, a peer device's).
  virtual void copy(Stream stream, View<std::byte> to, View<const std::byte> from, std::string_view name) = 0;
  /// Host code on a Host lane: CPU experts.
  virtual void host_task(Stream stream, std::string_view name, std::span<const Access> reads,
                         std::span<const Access> writes, std::function<void()> task) = 0;

  /// Any operation of operation_list.h: run(stream, RmsNormArgs{...}). One that this device cannot do fails at
  /// synchronize(), with Unsupported where another configuration could do without.
  template <class Args>
  void run(Stream stream, const Args& args) {
    enqueue(stream, &args);
  }

  /// A step's hand-over to the host and back, as copies, raise, await and add (the defaults), or each as one operation.
  /// Copies `copies`, at most 3, then raises.
  virtual void copy_and_raise(Stream stream, std::span<const CopyArgs> copies, Signal signal);
  /// Awaits, then out += x. `x`, page-locked, was written before the raise; `arrived`, as large, is there for a device
  /// that has to copy it first.
  virtual void await_and_add(Stream stream, Signal signal, std::string_view why, const AddArgs& sum, View<float> arrived);

 protected:
  friend class Buffer;
  /// The arguments are copied; a block that the device does not have at once is expanded.
  virtual void enqueue(Stream stream, AnyOperation operation) = 0;
  virtual void release(MemorySpace space, std::byte* data, std::size_t bytes) noexcept = 0;
};

/// Typed copy.
template <class T, class U>
void copy(Device& device, Stream stream, View<T> to, View<U> from, std::string_view name) {
  device.copy(stream, View<std::byte>{reinterpret_cast<std::byte*>(to.data), to.bytes()},
              View<const std::byte>{reinterpret_cast<const std::byte*>(from.data), from.bytes()}, name);
}

}  // namespace krasis
