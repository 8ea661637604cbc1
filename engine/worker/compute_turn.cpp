#include "engine/worker/compute_turn.h"

#include <chrono>
#include <thread>

namespace krasis {

Expected<void> ComputeTurns::wait(const std::string& what, const std::stop_token& stop,
                                  const std::function<void(const std::string&)>& on_waiting) {
  constexpr int kPollsForAName = 10;
  int polls = 0;
  for (std::string told;;) {
    const auto taken = lock_.take(what);
    unusable_because_ = taken ? std::string() : taken.error().cause;
    if (!taken || *taken) return {};
    if (stop.stop_requested()) return fail(ErrorCode::Cancelled, "It was cancelled while another worker computed.");
    // Nameless for a moment only: between taking the lock and writing who took it.
    const std::string name = lock_.holder();
    const std::string holder = !name.empty() ? name : polls++ < kPollsForAName ? told : std::string("another process");
    if (holder != told) {
      on_waiting(holder);
      told = holder;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

void ComputeTurns::watch() {
  auto others = std::make_unique<OtherWorkers>();
  const std::lock_guard lock(mutex_);
  others_ = std::move(others);
}

void ComputeTurns::look() {
  const std::lock_guard lock(mutex_);
  if (others_) others_->look();
}

std::string ComputeTurns::disturbance() {
  const std::lock_guard lock(mutex_);
  if (!others_) return {};
  others_->look();
  return others_->disturbance();
}

void ComputeTurns::end() {
  lock_.give_back();
  const std::lock_guard lock(mutex_);
  others_.reset();
}

}  // namespace krasis
