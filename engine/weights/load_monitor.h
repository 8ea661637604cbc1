#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "engine/weights/packed_model.h"

namespace krasis {

/// What the parallel parts of loading share: whether to go on, how far they are, and the first error.
class LoadMonitor {
 public:
  LoadMonitor(std::function<void(const LoadProgress&)> progress, std::stop_token stop)
      : progress_(std::move(progress)), stop_(std::move(stop)) {}

  /// A new stage of `total` units of work; reports 0.
  void begin_stage(std::string stage, std::size_t total) {
    stage_ = std::move(stage);
    total_ = total;
    done_ = 0;
    reported_ = 0;
    if (progress_) progress_({stage_, 0.0});
  }
  /// Reports 1.
  void end_stage() {
    if (progress_) progress_({stage_, 1.0});
  }
  /// Any thread. Reports at most 100 times a stage, one thread at a time, rising.
  void add(std::size_t units) {
    const std::size_t done = done_ += units;
    if (!progress_ || total_ == 0 || done * 100 / total_ == reported_) return;
    const std::unique_lock lock(progress_mutex_, std::try_to_lock);
    const std::size_t percent = done_ * 100 / total_;
    if (!lock || percent <= reported_) return;
    reported_ = percent;
    progress_({stage_, static_cast<double>(percent) / 100.0});
  }

  /// Any thread: work should end, since the user or an error says so.
  bool halted() const { return failed_ || stop_.stop_requested(); }
  /// Any thread. Keeps the first error.
  void fail_with(Error error) {
    const std::lock_guard lock(error_mutex_);
    if (!error_) error_ = std::move(error);
    failed_ = true;
  }
  /// The error, or Cancelled if a stop was asked for. Call after the parallel part.
  Expected<void> outcome() const {
    if (error_) return tl::unexpected(*error_);
    if (stop_.stop_requested()) return fail(ErrorCode::Cancelled, "Loading was cancelled.");
    return {};
  }

 private:
  std::function<void(const LoadProgress&)> progress_;
  std::stop_token stop_;
  std::string stage_;
  std::size_t total_ = 0;
  std::atomic<std::size_t> done_ = 0;
  std::atomic<std::size_t> reported_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex progress_mutex_;
  std::mutex error_mutex_;
  std::optional<Error> error_;
};

}  // namespace krasis
