#pragma once

#include <chrono>
#include <thread>

namespace krasis::cuda {

/// Waits between polls of something that is expected within microseconds, but may take seconds: spins first, then gives
/// the core to whoever wants it for as long again, then sleeps longer and longer. The kernel adds some 50 us to each sleep.
/// Who waits for a token must not spin for long: the CPU's experts want every core.
class Backoff {
 public:
  /// @param spin  how long to keep the core without pause
  explicit Backoff(std::chrono::microseconds spin) : spin_(spin) {}

  void pause() {
    if (++polls_ % 16 != 0) return relax();
    const auto waited = std::chrono::steady_clock::now() - start_;
    if (waited < spin_) return relax();
    if (waited < 2 * spin_) return std::this_thread::yield();
    --polls_;  // look at the clock each time from now on
    std::this_thread::sleep_for(std::chrono::microseconds(waited < std::chrono::milliseconds(100) ? 20 : 200));
  }
  std::chrono::steady_clock::duration waited() const { return std::chrono::steady_clock::now() - start_; }

 private:
  static void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
  }
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::chrono::microseconds spin_;
  int polls_ = 0;
};

}  // namespace krasis::cuda
