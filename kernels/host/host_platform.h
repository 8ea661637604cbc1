#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/device.h"
#include "kernels/host/operations/operations.h"
#include "kernels/host/operations/threads/thread_team.h"
#include "kernels/host/order_checker.h"
#include "kernels/host/trace.h"

namespace krasis {

enum class OperationSet : std::uint8_t { Scalar, Simd };

enum class Schedule : std::uint8_t {
  Threads,  ///< one thread for each stream: really asynchronous
  Seeded,   ///< no threads: synchronize() runs commands in an order drawn from a seed. Host tasks must not wait for
            ///< each other by other means than events and signals
  Immediate,  ///< no threads: each operation runs when it is enqueued, so its arguments need not outlive the call
};

struct HostPlatformOptions {
  int devices = 1;
  std::vector<std::size_t>
      budgets;  ///< bytes of MemorySpace::Device: one for each device, one for all, or none = no limit
  OperationSet operations = OperationSet::Scalar;
  std::shared_ptr<ThreadTeam> team;  ///< computes the operations of all streams; null = oneTBB's threads
  Schedule schedule = Schedule::Threads;
  std::uint64_t seed = 0;    ///< of Schedule::Seeded
  bool check_order = false;  ///< runs the happens-before checker; costs a few microseconds for each operation
  bool trace = false;        ///< remembers when each operation ran
  bool poison = true;        ///< fills new and freed memory with 0xFF bytes, NaN in float and BF16
  /// Called with new memory from 2 MiB on, whole pages of that size, before it is touched: to say on which NUMA nodes
  /// it lies; none = wherever it is touched first.
  std::function<void(std::byte* data, std::size_t bytes)> spread;
};

/// The machine's CPU, pretending to be one or more accelerators with their own memory budgets.
///
/// The devices share streams, events, signals and recordings: a stream of one may wait for an event of another, and
/// begin_recording() on any device notes the commands of all. Everything is called by one thread, the one that
/// enqueues; info(), trace() and wait_reasons() may be called by others. Buffers must die before their platform;
/// commands that have not run when the platform dies never will.
class HostPlatform {
 public:
  /// Fails with InvalidArgument if the number of devices or of budgets makes no sense.
  static Expected<std::unique_ptr<HostPlatform>> create(const HostPlatformOptions& options);
  /// The same with other arithmetic than `options.operations` says. `operations` outlives the platform.
  static Expected<std::unique_ptr<HostPlatform>> create(const HostPlatformOptions& options,
                                                        const HostOperations& operations);
  ~HostPlatform();

  int device_count() const;
  /// `index` in [0, device_count()).
  Device& device(int index = 0);

  /// What the happens-before checker found so far; empty without check_order. It judges what was enqueued, whether or
  /// not it has run.
  std::vector<Violation> violations() const;
  void clear_violations();

  /// The operations that have run while tracing, in order of their start.
  std::vector<TraceEntry> trace() const;
  /// Starts a new trace, or ends tracing and forgets it; between steps, when nothing runs.
  void set_tracing(bool tracing);
  PlatformActivity activity() const;
  /// Writes trace() for chrome://tracing or Perfetto. Fails with Io.
  Expected<void> write_chrome_trace(const std::filesystem::path& path) const;

  // Fault injection ---------------------------------------------------------------------------------------------
  /// From now on every wait, await and synchronize whose `why` equals this one is ignored, also by the checker; a
  /// dropped await still counts, so that later ones keep their partners. Use Schedule::Seeded to run such an order:
  /// with threads the missing wait is a real data race.
  void drop_waits(std::string why);
  void keep_all_waits();
  /// The distinct `why`s of all waits, awaits and synchronizes that were enqueued so far, sorted.
  std::vector<std::string> wait_reasons() const;

  class Impl;  ///< host_platform_impl.h; for the devices alone

 private:
  explicit HostPlatform(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace krasis
