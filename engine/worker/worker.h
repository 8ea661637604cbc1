#pragma once

#include <filesystem>

#include "engine/bench/session.h"

namespace krasis {

struct WorkerOptions {
  Resources resources;
  std::filesystem::path cache_directory;  ///< of packed weights; empty = none
  std::filesystem::path compute_lock = {};  ///< file that keeps workers apart; empty = ComputeLock::default_path()
  int input = 0;                          ///< file descriptors of the conversation
  int output = 1;
};

/// The engine's process: answers the protocol's requests (protocol.h, docs/worker-protocol.md) until `shutdown` or the
/// end of the input. One thread reads requests, so that `cancel` works during a run; one sends heartbeats; the calling
/// thread loads and computes. Returns the process's exit code.
int run_worker(const WorkerOptions& options);

}  // namespace krasis
