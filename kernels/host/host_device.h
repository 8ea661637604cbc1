#pragma once

#include "kernels/host/host_platform_impl.h"

namespace krasis {

/// One pretended device: turns every operation into an entry of the platform's streams.
class HostDevice final : public Device {
 public:
  HostDevice(HostPlatform::Impl& platform, int index, std::size_t budget_bytes);

  const DeviceInfo& info() const override { return info_; }

  Expected<Buffer> allocate(std::string_view place, std::size_t bytes, MemorySpace space) override;
  std::vector<PlaceUsage> memory_usage() const override;
  Expected<void> register_host(std::string_view place, std::byte* data, std::size_t bytes) override;
  void unregister_host(std::byte* data) override;
  KvLayout kv_layout(int heads, int kv_heads, int head_dim) const override;

  Stream create_stream(std::string_view name, Lane lane) override;
  Signal create_signal(std::string_view name) override;
  Event record(Stream stream) override;
  void wait(Stream stream, Event event, std::string_view why) override;
  void raise(Stream stream, Signal signal) override;
  void await(Stream stream, Signal signal, std::string_view why) override;
  Expected<void> synchronize(Event event, std::string_view why) override;
  void host_access(std::string_view name, std::span<const Access> reads, std::span<const Access> writes) override;

  void begin_recording() override;
  Recording end_recording() override;
  void replay(Recording recording) override;

  void copy(Stream stream, View<std::byte> to, View<const std::byte> from, std::string_view name) override;
  void host_task(Stream stream, std::string_view name, std::span<const Access> reads, std::span<const Access> writes,
                 std::function<void()> task) override;

  void embedding(Stream stream, const EmbeddingArgs& args) override;
  void rms_norm(Stream stream, const RmsNormArgs& args) override;
  void head_norm(Stream stream, const HeadNormArgs& args) override;
  void matmul(Stream stream, const MatmulArgs& args) override;
  void matmuls(Stream stream, std::span<const MatmulArgs> products) override;
  void swiglu(Stream stream, const SwiGluArgs& args) override;
  void rotary(Stream stream, const RotaryArgs& args) override;
  void kv_append(Stream stream, const KvAppendArgs& args) override;
  void attention(Stream stream, const AttentionArgs& args) override;
  void router(Stream stream, const RouterArgs& args) override;
  void experts(Stream stream, const ExpertsArgs& args) override;
  void add(Stream stream, const AddArgs& args) override;
  void fill(Stream stream, const FillArgs& args) override;
  void count_experts(Stream stream, const CountExpertsArgs& args) override;
  void gather_experts(Stream stream, const GatherExpertsArgs& args) override;
  void sample(Stream stream, const SampleArgs& args) override;
  void advance(Stream stream, const AdvanceArgs& args) override;

 protected:
  void release(MemorySpace space, std::byte* data, std::size_t bytes) noexcept override;

 private:
  template <class Args>
  void enqueue(Stream stream, const char* name, void (*operation)(const Args&), const Args& args);

  HostPlatform::Impl& platform_;
  DeviceInfo info_;
};

}  // namespace krasis
