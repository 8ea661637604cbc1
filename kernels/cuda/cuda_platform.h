#pragma once

#include <cstddef>
#include <filesystem>
#include <limits>
#include <memory>
#include <vector>

#include "kernels/cuda/operation_table.h"
#include "base/driver_bytes.h"
#include "kernels/device.h"
#include "kernels/host/trace.h"

namespace krasis {

/// A device as the engine sees it: a GPU, or a part of one.
struct CudaLogicalDevice {
  static constexpr std::size_t kAllThatIsFree = std::numeric_limits<std::size_t>::max();
  int cuda_index = 0;  ///< the GPU, in CUDA's order (probe.h); several devices may share one
  /// What allocate(Device) may use. kAllThatIsFree: an equal share of what is free on the GPU at the start, less
  /// kReservedBytes for CUDA itself.
  std::size_t budget_bytes = kAllThatIsFree;
  static constexpr std::size_t kReservedBytes = kDriverBytes;
};

struct CudaPlatformOptions {
  std::vector<CudaLogicalDevice> devices = {{}};
  bool trace = false;   ///< remembers when each operation ran: two more events for each, some microseconds
  bool poison = false;  ///< fills new and freed memory with 0xFF bytes, NaN in float and BF16
  bool graphs = true;   ///< false: a recording is replayed command by command, to look for defects
  /// Copies from GPU to GPU run directly where the hardware can; false (or KRASIS_PEER_ACCESS=off in the environment) =
  /// through host memory, as between GPUs that cannot reach each other.
  bool peer_access = true;
  /// synchronize() fails after this number of seconds without an end and says which signals are missing; 0 = waits for
  /// ever.
  double patience_s = 0.0;
};

/// CUDA devices that share streams, events, signals and recordings: a stream of one may wait for an event of another,
/// and begin_recording() on any device notes the commands of all.
///
/// Everything is called by one thread, the one that enqueues, whose current CUDA device changes; info(), trace() and
/// the Chrome trace may be asked for by others. Buffers must die before their platform. What has not run when the
/// platform dies may still run without its waits, so whoever ends it early keeps registered host memory alive.
///
/// How order is kept:
///  - A Compute or Copy lane is a CUDA stream of its own (non-blocking; compute has the higher priority), a Host lane a
///    thread. Compute and copy streams wait for each other's events by cudaStreamWaitEvent.
///  - Signals are counters in page-locked memory that kernels of one thread and host lanes raise and wait for
///    (signals.h): no host round trip, neither from the GPU to the CPU experts nor back. A signal has one raising and
///    one awaiting lane.
///  - A host lane waits for a GPU's event by asking; a stream waits for a host lane's event by a kernel that reads the
///    lane's progress.
///  - A recording becomes one CUDA graph of all its streams, of all GPUs, and a list for each host lane. Events inside
///    it become edges, or signals where a host lane is involved. A replay starts after all that was enqueued before on
///    its streams, and what is enqueued on them later starts after it; a wait for an event from outside is done before
///    the graph, and an event from inside is done when the whole graph is: both later than they need be, never earlier.
///  - copy() is cudaMemcpyAsync, except that a few kilobytes on a compute lane are copied by a kernel. Host memory that
///    is neither allocated here nor registered is right, too, but then the call itself waits: from such memory until
///    it has been read, into such memory until it has been written, each after all earlier work of the stream. It
///    cannot be part of a recording.
class CudaPlatform {
 public:
  /// Fails with Unsupported where there is no driver, NotFound for a GPU that is not there, InvalidArgument without
  /// devices, OutOfMemory if the budgets are more than a GPU has free.
  static Expected<std::unique_ptr<CudaPlatform>> create(const CudaPlatformOptions& options);
  /// The same with other arithmetic; `operations` outlives the platform.
  static Expected<std::unique_ptr<CudaPlatform>> create(const CudaPlatformOptions& options,
                                                        const CudaOperations& operations);
  ~CudaPlatform();

  int device_count() const;
  /// `index` in [0, device_count()).
  Device& device(int index = 0);

  /// The operations that were enqueued while tracing and done at the last synchronize(), in order of their start. Of
  /// GPUs within some 10 us of the host's clock, among themselves within 1 us. trace_summary.h sums them up.
  std::vector<TraceEntry> trace() const;
  /// Starts a new trace, or ends tracing and forgets it; between steps, when nothing runs. A replayed graph shows its
  /// operations only if it was recorded while tracing.
  Expected<void> set_tracing(bool tracing);
  PlatformActivity activity() const;
  /// Writes trace() for chrome://tracing or Perfetto. Fails with Io.
  Expected<void> write_chrome_trace(const std::filesystem::path& path) const;

  class Impl;  ///< cuda_platform_impl.h; for the devices alone

 private:
  explicit CudaPlatform(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace krasis
