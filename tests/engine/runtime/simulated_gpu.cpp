// A GPU for the engine's tests where none is: the CUDA platform on the runtime that threads simulate
// (tests/kernels/cuda/simulated_runtime.cpp), with the host's operations in the place of kernels. It proves what the
// platform and the pipelines do together: streams, events, signals, graphs.
#include "engine/runtime/platform.h"
#include "kernels/host/operations/operations.h"
#include "tests/engine/runtime/test_engine.h"
#include "tests/kernels/cuda/simulated_streams.h"

namespace krasis {
namespace {

template <class Args, void (*HostOperations::*kOperation)(const Args&)>
void on_stream(const cuda::Launch& launch, const Args& args) {
  simulated::enqueue_locked(launch.stream, [args] { (simd_operations().*kOperation)(args); });
}

}  // namespace

const CudaOperations& test::gpu_operations() {
  using H = HostOperations;
  static const CudaOperations table = {
      .embedding = on_stream<EmbeddingArgs, &H::embedding>,
      .rms_norm = on_stream<RmsNormArgs, &H::rms_norm>,
      .head_norm = on_stream<HeadNormArgs, &H::head_norm>,
      .matmul = on_stream<MatmulArgs, &H::matmul>,
      .swiglu = on_stream<SwiGluArgs, &H::swiglu>,
      .rotary = on_stream<RotaryArgs, &H::rotary>,
      .kv_append = on_stream<KvAppendArgs, &H::kv_append>,
      .attention = on_stream<AttentionArgs, &H::attention>,
      .router = on_stream<RouterArgs, &H::router>,
      .experts = on_stream<ExpertsArgs, &H::experts>,
      .add = on_stream<AddArgs, &H::add>,
      .fill = on_stream<FillArgs, &H::fill>,
      .count_experts = on_stream<CountExpertsArgs, &H::count_experts>,
      .gather_experts = on_stream<GatherExpertsArgs, &H::gather_experts>,
      .sample = on_stream<SampleArgs, &H::sample>,
      .advance = on_stream<AdvanceArgs, &H::advance>,
  };
  return table;
}

// The engine's own way to a platform leads to real GPUs, which are not linked here.
Expected<std::unique_ptr<Platform>> Platform::open(const RunConfiguration&, const EngineOptions&, const HostCompute&) {
  return fail(ErrorCode::Unsupported, "Only simulated GPUs are linked.", "Use make_engine.");
}

}  // namespace krasis
