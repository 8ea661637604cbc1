#include "kernels/cuda/gpu_trace.h"

#include <algorithm>
#include <set>

namespace krasis::cuda {

GpuTrace::~GpuTrace() {
  for (auto& [cuda_index, gpu] : gpus_) {
    if (gpu.stream) cudaStreamDestroy(gpu.stream);
  }
}

Expected<void> GpuTrace::add_gpu(int cuda_index) {
  Gpu& gpu = gpus_[cuda_index];
  if (!gpu.pool) gpu.pool = std::make_unique<EventPool>(cuda_index, true);
  cudaError_t status = cudaSetDevice(cuda_index);
  if (status == cudaSuccess && !gpu.stream) status = cudaStreamCreateWithFlags(&gpu.stream, cudaStreamNonBlocking);
  if (status == cudaSuccess) gpu.reference = gpu.pool->get();
  if (status == cudaSuccess && !gpu.reference) status = cudaErrorUnknown;
  // The first record of a stream is slow; the second one counts.
  for (int i = 0; i < 2 && status == cudaSuccess; ++i) {
    const std::int64_t before = trace_clock_ns();
    status = cudaEventRecord(gpu.reference.get(), gpu.stream);
    if (status == cudaSuccess) status = cudaEventSynchronize(gpu.reference.get());
    gpu.reference_ns = static_cast<double>(before + trace_clock_ns()) / 2;
  }
  if (status != cudaSuccess) return tl::unexpected(cuda_error("time a first event", status));
  return {};
}

void GpuTrace::move_references() {
  for (auto& [cuda_index, gpu] : gpus_) {
    if (static_cast<double>(trace_clock_ns()) - gpu.reference_ns < 1e9) continue;
    const EventLease next = gpu.pool->get();
    float passed_ms = 0;
    if (!next || cudaSetDevice(cuda_index) != cudaSuccess || cudaEventRecord(next.get(), gpu.stream) != cudaSuccess ||
        cudaEventSynchronize(next.get()) != cudaSuccess ||
        cudaEventElapsedTime(&passed_ms, gpu.reference.get(), next.get()) != cudaSuccess) {
      cudaGetLastError();
      continue;
    }
    gpu.reference = next;
    gpu.reference_ns += 1e6 * static_cast<double>(passed_ms);
  }
}

void GpuTrace::add_stream(int stream, std::string name, int device, int cuda_index) {
  streams_[stream] = {std::move(name), device, cuda_index};
}

EventLease GpuTrace::event(int stream) {
  return gpus_.at(streams_.at(stream).cuda_index).pool->get();
}

void GpuTrace::collect() {
  if (pending_.empty()) return;
  move_references();
  std::set<int> waiting;  // within a stream, nothing behind what is not done
  std::deque<TimedSpan> rest;
  for (TimedSpan& span : pending_) {
    if (!waiting.contains(span.stream) && query(span.end.get()) == cudaSuccess) {
      take(span);
    } else {
      waiting.insert(span.stream);
      rest.push_back(std::move(span));
    }
  }
  pending_ = std::move(rest);
}

void GpuTrace::collect(const std::vector<TimedSpan>& spans) {
  move_references();
  for (const TimedSpan& span : spans) take(span);
}

void GpuTrace::take(const TimedSpan& span) {
  const StreamInfo& stream = streams_.at(span.stream);
  Gpu& gpu = gpus_.at(stream.cuda_index);
  float start_ms = 0, length_ms = 0;
  if (cudaEventElapsedTime(&start_ms, gpu.reference.get(), span.start.get()) != cudaSuccess ||
      cudaEventElapsedTime(&length_ms, span.start.get(), span.end.get()) != cudaSuccess) {
    cudaGetLastError();
    return;
  }
  const double start_ns = gpu.reference_ns + 1e6 * static_cast<double>(start_ms);
  const double end_ns = start_ns + 1e6 * static_cast<double>(length_ms);
  {
    const std::lock_guard lock(mutex_);
    entries_.push_back({span.name, span.stream, stream.name, stream.device, static_cast<std::int64_t>(start_ns),
                        static_cast<std::int64_t>(end_ns), span.copied_bytes});
  }
}

void GpuTrace::clear() {
  pending_.clear();
  const std::lock_guard lock(mutex_);
  entries_.clear();
}

void GpuTrace::add_host(TraceEntry entry) {
  const std::lock_guard lock(mutex_);
  entries_.push_back(std::move(entry));
}

std::vector<TraceEntry> GpuTrace::entries() const {
  const std::lock_guard lock(mutex_);
  auto sorted = entries_;
  std::ranges::stable_sort(sorted, {}, &TraceEntry::start_ns);
  return sorted;
}

}  // namespace krasis::cuda
