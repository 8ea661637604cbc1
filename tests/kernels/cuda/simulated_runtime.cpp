// A CUDA runtime of threads: what the platform calls of CUDA, with streams that run side by side, events, and graphs
// whose branches run side by side. It knows of CUDA what the platform relies on, and refuses what CUDA refuses:
// waiting, while a stream is captured, for an event from outside; ending a capture whose streams have not come back;
// asking for a captured event.
#include <cstdlib>
#include <cstring>

#include "kernels/cuda/probe.h"
#include "kernels/cuda/signal_kernels.h"
#include "kernels/cuda/signals.h"
#include "platform_support.h"
#include "simulated_streams.h"

namespace {

using namespace simulated;

bool is_page_locked(const void* data) {
  const auto* const address = static_cast<const std::byte*>(data);
  auto range = page_locked.upper_bound(address);
  return range != page_locked.begin() && std::prev(range)->first + std::prev(range)->second > address;
}
void* obtain(std::size_t bytes) {
  if (bytes > (std::size_t{1} << 33)) return nullptr;
  void* const data = std::aligned_alloc(4096, krasis::round_up(bytes, 4096));
  const std::lock_guard lock(mutex);
  page_locked[static_cast<std::byte*>(data)] = bytes;
  return data;
}
void give_back(void* data) {
  {
    const std::lock_guard lock(mutex);
    page_locked.erase(static_cast<std::byte*>(data));
  }
  std::free(data);
}

}  // namespace

extern "C" {
// Devices and errors
cudaError_t cudaSetDevice(int device) {
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() {
  return std::exchange(last_error, cudaSuccess);
}
const char* cudaGetErrorString(cudaError_t) {
  return "simulated error";
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 9;
  return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int* possible, int, int) {
  *possible = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceEnablePeerAccess(int, unsigned) {
  return cudaSuccess;
}
cudaError_t cudaDeviceDisablePeerAccess(int) {
  return cudaSuccess;
}

// Memory
cudaError_t cudaMemGetInfo(size_t*, size_t*) {
  return result(cudaErrorNotSupported);
}
cudaError_t cudaMalloc(void** data, size_t bytes) {
  *data = obtain(bytes);
  return *data ? cudaSuccess : result(cudaErrorMemoryAllocation);
}
cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned) {
  return cudaMalloc(data, bytes);
}
cudaError_t cudaFree(void* data) {
  give_back(data);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* data) {
  return cudaFree(data);
}
cudaError_t cudaHostRegister(void* data, size_t bytes, unsigned) {
  const std::lock_guard lock(mutex);
  if (is_page_locked(data)) return result(cudaErrorHostMemoryAlreadyRegistered);
  page_locked[static_cast<std::byte*>(data)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaHostUnregister(void* data) {
  const std::lock_guard lock(mutex);
  page_locked.erase(static_cast<std::byte*>(data));
  return cudaSuccess;
}
cudaError_t cudaHostGetDevicePointer(void** on_device, void* data, unsigned) {
  *on_device = data;
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream) {
  enqueue_locked(stream, [=] { std::memset(data, value, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  bool waits = false;
  {
    const std::lock_guard lock(mutex);
    waits = !is_page_locked(to) || !is_page_locked(from);
    enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  }
  return waits ? cudaStreamSynchronize(stream) : cudaSuccess;
}

// Streams
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  *stream = new CUstream_st();
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  std::unique_lock lock(mutex);
  if (stream->graph) return result(cudaErrorStreamCaptureUnsupported);
  changed.wait(lock, [&] { return stream->queue.empty() && !stream->busy; });
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  {
    const std::lock_guard lock(mutex);
    stream->ending = true;
    changed.notify_all();
  }
  stream->thread.join();
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const std::lock_guard lock(mutex);
  if (event->graph) {
    if (stream->graph && stream->graph != event->graph) return result(cudaErrorStreamCaptureIsolation);
    stream->graph = event->graph;
    stream->graph->streams.insert(stream);
    stream->tail.insert(event->point.begin(), event->point.end());
    return cudaSuccess;
  }
  if (stream->graph) {
    stream->graph->invalid = true;
    return result(cudaErrorStreamCaptureIsolation);
  }
  if (event->completion) enqueue(stream, [completion = event->completion] { wait_for(completion); });
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const std::lock_guard lock(mutex);
  stream->graph = new CUgraph_st();
  stream->graph->streams.insert(stream);
  stream->tail.clear();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::lock_guard lock(mutex);
  *graph = stream->graph;
  bool joined = true;
  for (const cudaStream_t other : (*graph)->streams) joined = joined && reaches(**graph, stream->tail, other->tail);
  for (const cudaStream_t other : (*graph)->streams) {
    other->graph = nullptr;
    other->tail.clear();
  }
  if (joined && !(*graph)->invalid) return cudaSuccess;
  const bool invalid = (*graph)->invalid;
  delete std::exchange(*graph, nullptr);
  return result(invalid ? cudaErrorStreamCaptureInvalidated : cudaErrorStreamCaptureUnjoined);
}

// Events
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st{.device = current_device, .timing = (flags & cudaEventDisableTiming) == 0};
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
  const std::lock_guard lock(mutex);
  if (event->device != stream->device) return result(cudaErrorInvalidResourceHandle);
  event->graph = nullptr;
  if (stream->graph && flags == cudaEventRecordExternal) {
    event->completion = std::make_shared<Completion>();
    enqueue(stream, [completion = event->completion] { complete(completion); });
  } else if (stream->graph) {
    event->graph = stream->graph;
    event->point = stream->tail;
    event->completion = nullptr;
  } else {
    event->completion = std::make_shared<Completion>();
    enqueue(stream, [completion = event->completion] { complete(completion); });
  }
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return cudaEventRecordWithFlags(event, stream, cudaEventRecordDefault);
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::lock_guard lock(mutex);
  if (event->graph) return result(cudaErrorCapturedEvent);
  return event->completion && !event->completion->done ? result(cudaErrorNotReady) : cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  std::unique_lock lock(mutex);
  const auto completion = event->completion;
  changed.wait(lock, [&] { return !completion || completion->done; });
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  const std::lock_guard lock(mutex);
  if (!start->timing || !end->timing || !start->completion || !end->completion) {
    return result(cudaErrorInvalidResourceHandle);
  }
  if (!start->completion->done || !end->completion->done) return result(cudaErrorNotReady);
  *ms = static_cast<float>(end->completion->time_ms - start->completion->time_ms);
  return cudaSuccess;
}

// Graphs
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new CUgraphExec_st{graph->nodes, graph->streams};
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  enqueue_locked(stream, [executable] { run_graph(executable->nodes, executable->streams); });
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
}  // extern "C"

namespace krasis {

Expected<std::vector<CudaDeviceInfo>> cuda_devices() {
  const CudaDeviceInfo gpu{"simulated GPU", std::size_t{8} << 30, std::size_t{8} << 30, 9, 0, "0000:00:00.0"};
  return std::vector<CudaDeviceInfo>{gpu, gpu};
}

namespace cuda {
namespace {

void wait_until(const SignalLine* line, std::uint32_t wanted) {
  while (load_acquire(line->stop) == 0 && !reached(load_acquire(line->raised), wanted)) std::this_thread::yield();
}

}  // namespace

void launch_raise(cudaStream_t stream, std::uint32_t* count, SignalLine* line) {
  enqueue_locked(stream, [=] { store_release(line->raised, ++*count); });
}
void launch_await(cudaStream_t stream, std::uint32_t* count, const SignalLine* line) {
  enqueue_locked(stream, [=] { wait_until(line, ++*count); });
}
void launch_copy_and_raise(const Launch& launch, const SmallCopies& copies, std::uint32_t* count, SignalLine* line) {
  enqueue_locked(launch.stream, [=] {
    for (int i = 0; i < copies.count; ++i) std::memcpy(copies.to[i], copies.from[i], 4 * std::size_t{copies.words[i]});
    store_release(line->raised, ++*count);
  });
}
void launch_await_and_add(const Launch& launch, std::uint32_t* count, const SignalLine* line, const AddArgs& sum) {
  enqueue_locked(launch.stream, [=] {
    wait_until(line, ++*count);
    for (std::size_t i = 0; i < sum.x.size; ++i) sum.out.data[i] += sum.x.data[i];
  });
}
void launch_await_value(cudaStream_t stream, const SignalLine* line, std::uint32_t wanted) {
  enqueue_locked(stream, [=] { wait_until(line, wanted); });
}
void launch_small_copy(cudaStream_t stream, std::byte* to, const std::byte* from, std::size_t bytes) {
  enqueue_locked(stream, [=] { std::memcpy(to, from, bytes); });
}
cudaError_t load_signal_kernels() {
  return cudaSuccess;
}

}  // namespace cuda

namespace testing_support {

std::string why_no_gpu() {
  return {};
}
int gpu_count() {
  return 2;
}
const CudaOperations& platform_operations() {
  static const CudaOperations table = [] {
    CudaOperations some;
    some.set<AddArgs>([](const cuda::Launch& launch, const AddArgs& a) {
      enqueue_locked(launch.stream, [a] {
        for (std::size_t i = 0; i < a.out.size; ++i) a.out.data[i] += a.x.data[i];
      });
    });
    some.set<FillArgs>([](const cuda::Launch& launch, const FillArgs& a) {
      enqueue_locked(launch.stream, [a] {
        for (std::size_t i = 0; i < a.out.size; ++i) a.out.data[i] = a.value;
      });
    });
    return some;
  }();
  return table;
}

}  // namespace testing_support
}  // namespace krasis
