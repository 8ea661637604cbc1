#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <thread>
#include <vector>

namespace krasis {

/// A fixed team of threads for the short parallel sections of decode: hundreds a token, some of 20 us. A section is
/// handed out by one write that spinning members see. Each member has a share of neighbouring indices and a counter of
/// its own, which other members write only after they have finished their own shares; a flag of each member says that
/// it is done. So members do not contend for memory. Idle members spin, then give way, then sleep.
/// docs/performance/cpu.md#parallel-sections has what this and oneTBB cost for each section.
///
/// One section at a time: run() of a second thread waits for its turn. Members that do not come in time (other programs
/// use their cores) are not waited for.
class ThreadTeam {
 public:
  /// `threads` members, the caller of run() included; 0 = as many as this process may use. At least 1. With `cpus`,
  /// member i stays on CPU cpus[i]; cpus[0] is left to the caller. A CPU that the system refuses is not an error: the
  /// member then runs anywhere (pinned() counts those that stay). `nodes`: member m is on NUMA node number
  /// m * nodes / threads, and operations give it what lies there, where they can.
  explicit ThreadTeam(int threads, std::span<const int> cpus = {}, int nodes = 1);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return size_; }
  int pinned() const { return pinned_; }
  int nodes() const { return nodes_; }

  /// Calls body(i) once for every i in [0, count), on the caller and the members, in pieces of neighbours; returns when
  /// all are done. Exceptions of `body` end the program. Within `body` no team is current, so that a section in a
  /// section does not wait for itself.
  template <class Body>
  void run(std::int64_t count, const Body& body) {
    run_ranges(count, [&body](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) body(i);
    });
  }
  /// The same by calls body(begin, end) for ranges that together are [0, count): for work that is better done for
  /// several neighbours at once.
  template <class Body>
  void run_ranges(std::int64_t count, const Body& body) {
    run({step(count, body), {}});
  }

  /// Two steps in one section: no second(begin, end) begins before every first(begin, end) is done. Whoever waits for
  /// that calls ahead(begin, end) for ranges of its own share of the second step, `ahead_most` indices at most: what
  /// they need may be fetched meanwhile, and memory is not idle.
  template <class First, class Second, class Ahead>
  void run_two(std::int64_t first_count, const First& first, std::int64_t second_count, const Second& second,
               const Ahead& ahead, std::int64_t ahead_most) {
    run({step(first_count, first), step(second_count, second), call_of<Ahead>, &ahead, ahead_most});
  }

  /// Bytes that one core may fetch ahead: half of its second-level cache.
  static std::size_t ahead_bytes();

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
  using Call = void (*)(const void* body, std::int64_t begin, std::int64_t end) noexcept;
  template <class Body>
  static void call_of(const void* body, std::int64_t begin, std::int64_t end) noexcept {
    (*static_cast<const Body*>(body))(begin, end);
  }
  struct Step {
    Call call = nullptr;
    const void* body = nullptr;
    std::int64_t count = 0;
    std::int64_t piece = 1;  ///< indices that are handed out together
    std::int64_t pieces = 0;
    std::int64_t share = 0;   ///< pieces of each member,
    std::int64_t longer = 0;  ///< the number of first members that have one piece more
  };
  struct Section {
    Step first, second;  ///< the second may have nothing
    Call ahead = nullptr;
    const void* ahead_body = nullptr;
    std::int64_t ahead_most = 0;
  };
  template <class Body>
  static Step step(std::int64_t count, const Body& body) {
    return {.call = call_of<Body>, .body = &body, .count = count};
  }
  /// A member's own cache lines.
  struct Place {
    /// State of the section << 32 | pieces taken of the share of each step.
    alignas(64) std::atomic<std::uint64_t> taken[2] = {};
    alignas(64) std::atomic<std::uint32_t> inside{0};  ///< state of the section that the member works at; 0 = none
  };
  struct Range {
    std::int64_t begin = 0, end = 0;
  };

  void run(Section section);
  void divide(Step& step) const;
  std::int64_t share_begin(const Step& step, int owner) const;
  std::int64_t share_size(const Step& step, int owner) const;
  Range take(const Step& step, std::atomic<std::uint64_t>& taken, int owner, bool own, std::uint32_t state);
  std::int64_t work_at(int which, int me, std::uint32_t state);
  void work(int me, std::uint32_t state);
  void wait_for_first(int me, std::uint32_t state);
  void idle(std::uint32_t state) const;
  void member(const std::stop_token& stop, int me);

  std::mutex busy_;
  const int size_;
  const int spins_;
  const int nodes_;
  std::unique_ptr<Place[]> places_;
  int pinned_ = 0;
  alignas(64) std::atomic<std::uint32_t> state_{0};   ///< odd while a section is open; what idle members watch
  Section section_;                                   ///< only those inside read it
  alignas(64) std::atomic<std::int64_t> done_{0};     ///< pieces of the first of two steps
  alignas(64) std::atomic<std::uint32_t> passed_{0};  ///< state of the section whose first step is done
  std::vector<std::jthread> members_;
};

}  // namespace krasis
