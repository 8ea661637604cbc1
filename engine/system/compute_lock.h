#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/error.h"

namespace krasis {

/// The right to compute on this machine: of all workers and chats of a user, whatever database or program they belong
/// to, one has it. It is a lock (flock) on a file, so the kernel takes it back when its holder dies.
///
/// Other users, and containers with a /tmp of their own, have other files: OtherWorkers finds them afterwards.
class ComputeLock {
 public:
  /// "krasis-compute.lock" in $XDG_RUNTIME_DIR, else in /run/user/UID, else "/tmp/krasis-UID.lock".
  static std::filesystem::path default_path();

  explicit ComputeLock(std::filesystem::path path = default_path());
  ~ComputeLock();
  ComputeLock(const ComputeLock&) = delete;
  ComputeLock& operator=(const ComputeLock&) = delete;

  /// True when it has the lock (again), false while another has it. Never waits.
  /// Fails with Io when the file cannot be made or locked, or is not a file of this user.
  /// @param what  what it is for, as others are told: "a benchmark"
  Expected<bool> take(const std::string& what);
  void give_back();

  /// Who has it, in words: "a benchmark of process 4711, since 2026-02-22 10:11:12 UTC". From the file, so it may be
  /// gone already; empty if the file does not say, as between taking the lock and writing who took it.
  std::string holder() const;

 private:
  Expected<void> open();

  std::filesystem::path path_;
  int file_ = -1;
};

}  // namespace krasis
