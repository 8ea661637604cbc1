#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cuda/cuda_platform.h"
#include "kernels/cuda/gpu_trace.h"
#include "kernels/cuda/host_lane.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/signals.h"

namespace krasis {

class CudaDevice;

namespace cuda {

/// One entry of a stream, as enqueued or noted by a recording.
struct StreamCommand {
  enum class Kind : std::uint8_t { Launch, Task, Record, Wait, Raise, Await };
  Kind kind = Kind::Launch;
  int stream = -1;
  std::string name;                           ///< Launch: of the operation; Wait, Await: why
  std::function<void(const Launch&)> launch;  ///< Launch: enqueues kernels or copies
  std::size_t copied_bytes = 0;               ///< Launch: of a copy
  std::shared_ptr<const Operation> task;      ///< Task: host code
  Event event;                                ///< Record, Wait
  int signal = -1;                            ///< Raise, Await
  std::optional<SmallCopies> copies;          ///< Raise: before it
  std::optional<AddArgs> sum;                 ///< Await: behind it
};

/// A stream of the platform: a CUDA stream, or a host lane.
struct StreamState {
  std::string name;
  int device = 0;  ///< logical
  int cuda_index = 0;
  std::uint64_t recorded = 0;  ///< events so far
  std::unique_ptr<HostLane> host;

  // Of a CUDA stream:
  Launch launch;
  bool compute = false;            ///< Lane::Compute
  unsigned* counters = nullptr;    ///< of a compute lane: Launch::counters
  std::uint64_t completed = 0;     ///< events known to be done
  std::deque<EventLease> pending;  ///< of the events completed + 1 .. recorded
  bool touched = true;             ///< by commands that the graph's stream has not waited for
  EventLease join;                 ///< of the last graph that it was part of: its next command comes after
  int join_origin = -1;            ///< the stream on which that graph ran
};

/// A recorded step.
struct RecordedStep {
  bool failed = false;       ///< it could not be built; the error was noted
  int origin = -1;           ///< the stream on which the graph is launched; -1 = it has no graph
  std::vector<int> streams;  ///< the CUDA streams in the graph
  std::shared_ptr<CUgraphExec_st> graph;
  std::vector<TimedSpan> spans;   ///< of the graph, if it was recorded while tracing
  EventLease done;                ///< of the last replay's graph, if it was replayed while tracing
  std::size_t copied_bytes = 0;   ///< of its copies
  std::map<int, std::shared_ptr<const std::vector<HostCommand>>> lists;  ///< by host lane
  std::vector<StreamCommand> outside;                                    ///< waits for events from outside
  std::map<int, std::uint32_t> awaits;                                   ///< by signal
  std::map<int, Event> last;            ///< by stream: the event after its part of the last replay
  std::vector<StreamCommand> commands;  ///< all of them, if there is no graph because none is wanted
};

}  // namespace cuda

/// What the devices of a platform share. A command is noted if there is a recording, else executed: handed to CUDA or
/// to a host lane.
class CudaPlatform::Impl {
 public:
  static Expected<std::unique_ptr<Impl>> create(const CudaPlatformOptions& options, const CudaOperations& operations);
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
  /// False, and nothing is enqueued: not by one kernel.
  bool copy_and_raise(Stream stream, std::span<const CopyArgs> copies, Signal signal);
  bool await_and_add(Stream stream, Signal signal, std::string_view why, const AddArgs& sum);
  void await(Stream stream, Signal signal, std::string_view why);
  Expected<void> synchronize(Event event, std::string_view why);
  void host_access();

  // Operations
  void launch(Stream stream, std::string_view name, std::function<void(const cuda::Launch&)> launch,
              std::size_t copied_bytes = 0);
  void copy(Stream stream, View<std::byte> to, View<const std::byte> from, std::string_view name);
  void host_task(Stream stream, std::string_view name, std::function<void()> task);

  // Recording
  void begin_recording();
  Recording end_recording();
  void replay(Recording recording);

  /// A defect of the caller; surfaces at synchronize().
  void misuse(std::string cause);
  void refuse(std::string cause, std::string remedy) { failures_.note({ErrorCode::Unsupported, std::move(cause), std::move(remedy)}); }
  /// Runs a command's launch; what it throws becomes the error of the next synchronize.
  void call(const cuda::StreamCommand& command, const cuda::Launch& launch);
  /// Whether kernels can read this host memory at its own address.
  bool reads_directly(View<const std::byte> host) const;
  Expected<void> set_tracing(bool tracing);
  std::vector<TraceEntry> trace() const { return trace_.entries(); }
  PlatformActivity activity() const { return {copied_bytes_, host_task_ns_}; }
  const CudaOperations& operations() const { return operations_; }
  std::vector<std::unique_ptr<CudaDevice>>& devices() { return devices_; }

 private:
  struct DeviceState {
    int cuda_index = 0;
    std::unique_ptr<cuda::Memory> memory;
    std::shared_ptr<cuda::DenseProducts> dense;
    cuda::Launch launch;  ///< without a stream
    std::size_t free_at_start = 0;            ///< of its GPU
    mutable std::size_t most_by_driver = 0;   ///< seen so far, of the first logical device of a GPU
  };
  /// What the GPU holds beside its logical devices' allocations, at most so far; 0 for all but its first device.
  std::size_t driver_bytes(int device) const;
  struct Registration {
    std::size_t bytes = 0;
    int count = 0;
  };
  /// An event of a recording.
  struct Template {
    int recording = -1;
    int stream = -1;
    Event last;  ///< where the recording has no graph
  };

  Impl(const CudaPlatformOptions& options, const CudaOperations& operations)
      : options_(options), operations_(operations) {}
  /// Lets two GPUs read each other's memory, or not, as the options say.
  void set_peer_access(int one, int other);
  Expected<void> open(const std::vector<std::size_t>& budgets);

  // cuda_commands.cpp
  void add(cuda::StreamCommand command);
  void execute(const cuda::StreamCommand& command);
  void execute_launch(const cuda::StreamCommand& command);
  void execute_wait(const cuda::StreamCommand& command);
  void execute_signal(const cuda::StreamCommand& command);
  Event record_now(int stream);
  /// Makes the stream's GPU current and its next command come after the last graph that it was part of.
  void prepare(cuda::StreamState& stream);
  /// A record of now on a CUDA stream, kept as its next event.
  cuda::EventLease record_event(cuda::StreamState& stream);
  cuda::EventLease find_event(cuda::StreamState& stream, std::uint64_t sequence);
  void forget_done(cuda::StreamState& stream);
  /// The event itself, or for an event of a recording that of its last replay; none if it never was replayed.
  std::optional<Event> resolve(Event event) const;
  cudaError_t poll(Event event);
  std::string describe_missing() const;
  /// Whether the stream is the one that raises (or awaits) the signal, or may become it.
  bool claim(cuda::SignalState& signal, int stream, bool raise);
  int new_signal(std::string_view name);
  /// Enqueues the kernel that raises or awaits.
  void launch_signal(const cuda::StreamState& stream, const cuda::SignalState& signal, bool raise);
  /// The same, with what the command does before the raise or behind the await.
  void launch_signal(const cuda::StreamState& stream, const cuda::StreamCommand& command);
  /// Whether a kernel of the stream copies between these: few bytes, memory that its GPU can address.
  bool is_small_copy(const cuda::StreamState& stream, View<const std::byte> to, View<const std::byte> from) const;
  void check(cudaError_t status, std::string_view what) { failures_.check(status, what); }
  cuda::StreamState& stream(int id) { return *streams_[static_cast<std::size_t>(id)]; }
  const cuda::StreamState& stream(int id) const { return *streams_[static_cast<std::size_t>(id)]; }
  cuda::SignalState& signal(int id) { return signal_states_[static_cast<std::size_t>(id)]; }
  cuda::EventPool& events(int cuda_index) { return events_.at(cuda_index); }

  // cuda_recording.cpp
  friend class GraphBuilder;
  void replay_commands(const cuda::RecordedStep& step);
  void launch_graph(cuda::RecordedStep& step);
  /// The times of everything that is done.
  void collect_trace();

  const CudaPlatformOptions options_;
  const CudaOperations& operations_;
  cuda::Failures failures_;
  cuda::AddressMap addresses_;
  std::vector<DeviceState> gpus_;  ///< [logical devices]
  std::map<std::byte*, Registration> registrations_;
  std::map<int, cuda::EventPool> events_;  ///< by GPU
  cuda::Signals signals_;
  std::deque<cuda::SignalState> signal_states_;  ///< their addresses stay
  cuda::GpuTrace trace_;
  std::atomic<bool> tracing_ = false;
  std::atomic<std::uint64_t> copied_bytes_ = 0;
  std::atomic<std::int64_t> host_task_ns_ = 0;
  std::vector<std::unique_ptr<cuda::StreamState>> streams_;

  bool recording_ = false;
  std::vector<cuda::StreamCommand> current_;
  std::vector<cuda::RecordedStep> recordings_;
  std::vector<Template> templates_;

  std::vector<std::unique_ptr<CudaDevice>> devices_;
};

}  // namespace krasis
