#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kernels/host/executor.h"
#include "kernels/host/host_platform.h"
#include "kernels/host/memory.h"

namespace krasis {

class HostDevice;

/// What the devices of a platform share. A command passes the recording if there is one, then loses its wait if that is
/// dropped, then is numbered, judged by the checker, and handed to the executor.
class HostPlatform::Impl {
 public:
  Impl(const HostPlatformOptions& options, const HostOperations& operations);
  ~Impl();

  // Memory
  Expected<std::byte*> allocate(int device, std::string_view place, std::size_t bytes, MemorySpace space);
  void release(int device, std::byte* data);
  std::vector<PlaceUsage> memory_usage(int device) const;
  Expected<void> register_host(int device, std::string_view place, std::byte* data, std::size_t bytes);
  void unregister_host(std::byte* data);

  // Order
  Stream create_stream(int device, std::string_view name, Lane lane);
  Signal create_signal(std::string_view name);
  Event record(Stream stream);
  void wait(Stream stream, Event event, std::string_view why);
  void raise(Stream stream, Signal signal);
  void await(Stream stream, Signal signal, std::string_view why);
  void run(Stream stream, Operation operation);
  Expected<void> synchronize(Event event, std::string_view why);
  void host_access(std::string_view name, std::span<const Access> reads, std::span<const Access> writes);

  // Recording
  void begin_recording();
  Recording end_recording();
  void replay(Recording recording);

  std::vector<Violation> violations() const;
  void clear_violations();
  std::vector<TraceEntry> trace() const { return executor_->trace(); }
  void set_tracing(bool tracing) { executor_->set_tracing(tracing); }
  PlatformActivity activity() const { return {copied_bytes_, host_task_ns_}; }
  void drop_waits(std::string why);
  void keep_all_waits();
  std::vector<std::string> wait_reasons() const;

  const HostOperations& operations() const { return operations_; }
  std::vector<std::unique_ptr<HostDevice>>& devices() { return devices_; }

 private:
  struct SignalCount {
    std::uint64_t raises = 0, awaits = 0;
  };
  struct Registration {
    std::size_t bytes = 0;
    int count = 0;
  };

  void add(Command command);
  /// Enqueues now: what a recording holds, or what came while there is none.
  void enqueue(Command command);
  /// The event itself, or for an event of a recording that of its last replay; none if it never was replayed.
  std::optional<Event> resolve(Event event) const;
  void remember(ErrorCode code, std::string cause);

  const HostPlatformOptions options_;
  const HostOperations& operations_;
  mutable std::mutex mutex_;                           ///< guards all below but the executor, which has its own lock
  std::vector<std::unique_ptr<HostMemory>> memories_;  ///< [devices]
  std::map<std::byte*, Registration> registrations_;
  std::vector<std::uint64_t> recorded_;  ///< [streams] events so far
  std::vector<SignalCount> signals_;
  std::unique_ptr<OrderChecker> checker_;  ///< null without check_order
  std::optional<Error> misuse_;            ///< of the interface; surfaces at synchronize()
  std::set<std::string> wait_reasons_, dropped_;

  std::atomic<std::uint64_t> copied_bytes_ = 0;
  std::atomic<std::int64_t> host_task_ns_ = 0;
  bool recording_ = false;
  std::vector<Command> current_;
  std::vector<std::vector<Command>> recordings_;
  std::uint64_t templates_ = 0;
  std::map<std::uint64_t, Event> last_replay_;  ///< event of a recording -> that of its last replay

  std::unique_ptr<Executor> executor_;  ///< after all that its threads may touch
  std::vector<std::unique_ptr<HostDevice>> devices_;
};

}  // namespace krasis
