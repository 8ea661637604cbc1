#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <stop_token>
#include <thread>
#include <vector>

namespace krasis {

/// A fixed team of threads for the short parallel sections of decode: hundreds a token, some of 20 us. A section is
/// handed out by one write that spinning members see, and joined by a counter; idle members sleep after a while.
/// docs/performance.md has what this and oneTBB cost for each section.
///
/// One section at a time: run() of a second thread waits for its turn. Members that do not come in time (other programs
/// use their cores) are not waited for.
class ThreadTeam {
 public:
  /// `threads` members, the caller of run() included; 0 = as many as this process may use. At least 1. With `cpus`,
  /// member i stays on CPU cpus[i]; cpus[0] is left to the caller. A CPU that the system refuses is not an error: the
  /// member then runs anywhere (pinned() counts those that stay).
  explicit ThreadTeam(int threads, std::span<const int> cpus = {});
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return static_cast<int>(members_.size()) + 1; }
  int pinned() const { return pinned_; }

  /// Calls body(i) once for every i in [0, count), on the caller and the members, in pieces of neighbours; returns when
  /// all are done. Exceptions of `body` end the program. Within `body` no team is current, so that a section in a
  /// section does not wait for itself.
  template <class Body>
  void run(std::int64_t count, const Body& body) {
    run(count, [](const void* b, std::int64_t i) noexcept { (*static_cast<const Body*>(b))(i); }, &body);
  }

  /// The team that operations of this thread use; null = none.
  static ThreadTeam* current();

  /// Makes a team current for this thread while it lives.
  class Scope {
   public:
    explicit Scope(ThreadTeam* team);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    ThreadTeam* before_;
  };

 private:
  using Call = void (*)(const void* body, std::int64_t index) noexcept;
  struct Section {
    Call call = nullptr;
    const void* body = nullptr;
    std::int64_t count = 0;
    std::int64_t piece = 1;
  };

  void run(std::int64_t count, Call call, const void* body);
  void work();
  void member(const std::stop_token& stop);

  std::mutex busy_;
  Section section_;
  alignas(64) std::atomic<std::uint32_t> epoch_{0};  ///< counts sections: what idle members watch
  alignas(64) std::atomic<std::uint32_t> gate_{0};   ///< open bit, and how many members are inside
  alignas(64) std::atomic<std::int64_t> next_{0};    ///< the first index that nobody has taken
  int pinned_ = 0;
  std::vector<std::jthread> members_;
};

}  // namespace krasis
