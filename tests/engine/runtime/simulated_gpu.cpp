// A GPU for the engine's tests where none is: the CUDA platform on the runtime that threads simulate
// (tests/kernels/cuda/simulated_runtime.cpp), with the host's operations in the place of kernels. It proves what the
// platform and the pipelines do together: streams, events, signals, graphs.
#include "engine/runtime/platform.h"
#include "kernels/host/operations/operations.h"
#include "tests/engine/runtime/test_engine.h"
#include "tests/kernels/cuda/simulated_streams.h"

namespace krasis {
namespace {

template <class Args>
void on_stream(const cuda::Launch& launch, const Args& args) {
  simulated::enqueue_locked(launch.stream, [args] { simd_operations().run(args); });
}

}  // namespace

const CudaOperations& test::gpu_operations() {
  static const CudaOperations table = [] {
    CudaOperations set;
    Operations::for_each([&]<class Args>() {
      if constexpr (!Block<Args>) set.set<Args>(on_stream<Args>);
    });
    return set;
  }();
  return table;
}

// The engine's own way to a platform leads to real GPUs, which are not linked here.
Expected<std::unique_ptr<Platform>> Platform::open(const RunConfiguration&, const EngineOptions&, const HostCompute&) {
  return fail(ErrorCode::Unsupported, "Only simulated GPUs are linked.", "Use make_engine.");
}

}  // namespace krasis
