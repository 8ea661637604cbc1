#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "kernels/cuda/signal_kernels.h"

namespace krasis::cuda {

/// One direction between two lanes: the n-th await goes on after the n-th raise.
///
/// Why the n-th pairs with the n-th, also over replays: one lane alone raises and one lane alone awaits. A lane runs
/// its commands in order (replays of a graph run one after the other, too), so the k-th raise to run publishes k and
/// the k-th await to run waits for k; nobody resets anything that another lane could still need. A flag that the await
/// clears (cuStreamWaitValue32 and a write of 0) would lose a raise that comes before the await of the one before; a
/// fixed number for each command of a graph would have to be set anew for each replay.
struct SignalState {
  std::string name;
  SignalLine* line = nullptr;
  int raiser = -1, awaiter = -1;  ///< streams; -1 = not known yet
  // Exactly one of each pair counts, depending on the lane. Counts of GPUs live in their memory.
  std::uint32_t* gpu_raises = nullptr;
  std::uint32_t* gpu_awaits = nullptr;
  std::uint32_t host_raises = 0;  ///< touched by the raising lane's thread alone
  std::uint32_t host_awaits = 0;  ///< touched by the awaiting lane's thread alone

  std::uint32_t enqueued_awaits = 0;  ///< by the enqueuing thread; for messages
  std::string why;                    ///< of the last await
};

std::uint32_t load_acquire(const std::uint32_t& word);
void store_release(std::uint32_t& word, std::uint32_t value);

/// Makes signals: their lines in page-locked memory, their counts in the memory of GPUs. Called by one thread.
class Signals {
 public:
  Signals() = default;
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  /// No lane uses a signal any more.
  ~Signals();

  /// A line of its own, all zero. Fails with OutOfMemory or Io.
  Expected<SignalLine*> make_line();
  /// A counter in the memory of a GPU, zero.
  Expected<std::uint32_t*> make_count(int cuda_index);
  /// Nobody waits any longer, on whatever line.
  void stop_all();

 private:
  struct Counts {
    std::vector<std::uint32_t*> blocks;
    std::size_t used = 0;
  };
  std::vector<SignalLine*> blocks_;
  std::size_t used_ = 0;
  std::map<int, Counts> counts_;
};

}  // namespace krasis::cuda
