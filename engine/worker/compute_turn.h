#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include "engine/system/compute_lock.h"
#include "engine/system/other_workers.h"

namespace krasis {

/// A worker's turns to compute: one worker at a time on a machine, and who did not keep to that.
class ComputeTurns {
 public:
  explicit ComputeTurns(std::filesystem::path lock) : lock_(std::move(lock)) {}

  /// Ends the turn, and the watch, when a request ends, however it ends.
  class Turn {
   public:
    explicit Turn(ComputeTurns& turns) : turns_(turns) {}
    ~Turn() { turns_.end(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    ComputeTurns& turns_;
  };

  /// Returns when no other worker of this machine computes: two at once would slow each other down and take twice the
  /// memory. Fails with Cancelled when it is stopped meanwhile. With a lock that cannot be used it returns at once.
  /// @param what        what the turn is for, as the others are told: "a benchmark"
  /// @param on_waiting  told whom it waits for, at first and whenever that changes
  Expected<void> wait(const std::string& what, const std::stop_token& stop,
                      const std::function<void(const std::string&)>& on_waiting);
  /// Why the lock cannot be used, a sentence; empty if it can be.
  const std::string& lock_unusable_because() const { return unusable_because_; }

  /// From here to the turn's end others are watched.
  void watch();
  /// Looks once more, if it watches; from any thread.
  void look();
  /// Who else computed since watch(), in sentences; empty if nobody did.
  std::string disturbance();

 private:
  void end();

  ComputeLock lock_;
  std::string unusable_because_;
  std::mutex mutex_;
  std::unique_ptr<OtherWorkers> others_;  ///< while it watches
};

}  // namespace krasis
