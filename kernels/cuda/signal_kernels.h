#pragma once

#include <driver_types.h>

#include <cstddef>
#include <cstdint>

#include "kernels/operations.h"

namespace krasis::cuda {

struct Launch;

/// What the two lanes of a signal share: one line of page-locked host memory, so that a poll is one read over the link.
/// Counters wrap; "reached" compares their difference, so at most 2^31 raises may be outstanding.
struct alignas(64) SignalLine {
  std::uint32_t raised = 0;  ///< written by the raising lane alone
  std::uint32_t stop = 0;    ///< not 0: nobody waits any longer, the platform ends
  std::uint32_t padding[14] = {};
};
constexpr bool reached(std::uint32_t raised, std::uint32_t wanted) {
  return static_cast<std::int32_t>(raised - wanted) >= 0;
}

// Kernels of one thread (of several: the copy). They can be captured into a graph: which raise or await it is, the
// kernel counts in the GPU's memory when it runs, so a replay needs no new numbers.

/// line->raised = ++*count, after everything that the stream did before is visible to the host and to other GPUs.
void launch_raise(cudaStream_t stream, std::uint32_t* count, SignalLine* line);
/// n = ++*count; goes on when line->raised has reached n.
void launch_await(cudaStream_t stream, std::uint32_t* count, const SignalLine* line);
/// Goes on when line->raised has reached `wanted`.
void launch_await_value(cudaStream_t stream, const SignalLine* line, std::uint32_t wanted);
/// Copies between memories that the stream's GPU can address, page-locked host memory included. For the few kilobytes
/// of a decode step this starts faster than a copy engine; see kSmallCopyBytes.
void launch_small_copy(cudaStream_t stream, std::byte* to, const std::byte* from, std::size_t bytes);

/// Several small copies; addresses and sizes are multiples of 4 bytes.
struct SmallCopies {
  static constexpr int kMost = 3;
  int count = 0;
  std::uint32_t* to[kMost] = {};
  const std::uint32_t* from[kMost] = {};
  std::uint32_t words[kMost] = {};
};
/// The copies, then launch_raise(), as one kernel: a layer's hand-over to the CPU is on the way of every token.
void launch_copy_and_raise(const Launch& launch, const SmallCopies& copies, std::uint32_t* count, SignalLine* line);
/// launch_await(), then out += x, where x is page-locked host memory.
void launch_await_and_add(const Launch& launch, std::uint32_t* count, const SignalLine* line, const AddArgs& sum);

/// Copies on a compute lane up to this size are done by a kernel: a copy engine takes some 2 us more to start and to
/// hand back, which is what 64 KiB take over PCIe 4 or 5.
constexpr std::size_t kSmallCopyBytes = std::size_t{64} << 10;

/// Loads these kernels onto the current device now. With CUDA's lazy loading the first use would load them, which may
/// wait for all running kernels, so for an await whose raise comes later.
cudaError_t load_signal_kernels();

}  // namespace krasis::cuda
