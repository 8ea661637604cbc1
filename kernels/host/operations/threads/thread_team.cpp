#include "kernels/host/operations/threads/thread_team.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace krasis {
namespace {

/// Looks at the state before a member sleeps: some 100 to 200 us, longer than what lies between two sections of a
/// layer.
constexpr int kSpins = 4000;
/// Of these the first, some 20 to 50 us, keep the CPU; then every so often the member offers it to other threads.
constexpr int kQuickSpins = 1000;
constexpr int kSpinsForYield = 32;
/// Pieces of a share at most.
constexpr std::int64_t kPieces = 64;

thread_local ThreadTeam* current_team = nullptr;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

int allowed_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return static_cast<int>(std::thread::hardware_concurrency());
  return CPU_COUNT(&set);
}

bool pin(std::jthread& thread, int cpu) {
  if (cpu < 0 || cpu >= CPU_SETSIZE) return false;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  return pthread_setaffinity_np(thread.native_handle(), sizeof set, &set) == 0;
}

}  // namespace

ThreadTeam::ThreadTeam(int threads, std::span<const int> cpus, int nodes)
    : size_(std::max(1, threads > 0 ? threads : allowed_threads())),
      spins_(size_ > allowed_threads() ? 0 : kSpins),  // more threads than CPUs: who spins takes the time of who works
      nodes_(nodes),
      places_(std::make_unique<Place[]>(static_cast<std::size_t>(size_))) {
  for (int i = 1; i < size_; ++i) {
    members_.emplace_back([this, i](const std::stop_token& stop) { member(stop, i); });
    const auto at = static_cast<std::size_t>(i);
    if (at < cpus.size() && pin(members_.back(), cpus[at])) ++pinned_;
  }
}

ThreadTeam::~ThreadTeam() {
  for (std::jthread& thread : members_) thread.request_stop();
  state_.fetch_add(2, std::memory_order_release);
  state_.notify_all();
}

void ThreadTeam::divide(Step& step) const {
  step.piece = std::max<std::int64_t>(1, step.count / (size_ * kPieces));
  step.pieces = (step.count + step.piece - 1) / step.piece;
  step.share = step.pieces / size_;
  step.longer = step.pieces % size_;
}

void ThreadTeam::run(Section section) {
  if (section.first.count <= 0) std::swap(section.first, section.second);
  if (section.first.count <= 0) return;
  const std::lock_guard lock(busy_);
  const Scope scope(nullptr);
  if (size_ == 1 || std::max(section.first.count, section.second.count) == 1) {
    section.first.call(section.first.body, 0, section.first.count);
    if (section.second.count > 0) section.second.call(section.second.body, 0, section.second.count);
    return;
  }
  divide(section.first);
  divide(section.second);
  section_ = section;
  done_.store(0, std::memory_order_relaxed);
  const std::uint32_t open = state_.load(std::memory_order_relaxed) + 1;
  state_.store(open, std::memory_order_seq_cst);
  state_.notify_all();
  work(0, open);
  // Closed: who enters now sees it and leaves; whoever did not see it, we see inside (both are sequentially
  // consistent).
  state_.store(open + 1, std::memory_order_seq_cst);
  for (int m = 1; m < size_; ++m) {
    const auto& inside = places_[static_cast<std::size_t>(m)].inside;
    for (int spins = 0; inside.load(std::memory_order_seq_cst) == open; ++spins) {
      if (spins >= spins_) {
        std::this_thread::yield();
      } else {
        pause();
      }
    }
  }
}

std::int64_t ThreadTeam::share_begin(const Step& step, int owner) const {
  return step.share * owner + std::min<std::int64_t>(owner, step.longer);
}
std::int64_t ThreadTeam::share_size(const Step& step, int owner) const {
  return step.share + (owner < step.longer ? 1 : 0);
}

/// From its own share a member takes half of what is left, so that it streams through neighbours; from another's, one
/// piece.
ThreadTeam::Range ThreadTeam::take(const Step& step, std::atomic<std::uint64_t>& taken, int owner, bool own,
                                   std::uint32_t state) {
  const std::int64_t begin = share_begin(step, owner);
  const std::int64_t size = share_size(step, owner);
  std::uint64_t before = taken.load(std::memory_order_relaxed);
  for (;;) {
    // What another section has left means that of this one nothing is taken yet.
    const std::int64_t done = before >> 32 == state ? static_cast<std::int64_t>(before & 0xffffffffu) : 0;
    if (done >= size) return {};
    const std::int64_t end = own ? done + std::max<std::int64_t>(1, (size - done) / 2) : done + 1;
    const std::uint64_t after = std::uint64_t{state} << 32 | static_cast<std::uint64_t>(end);
    if (taken.compare_exchange_weak(before, after, std::memory_order_relaxed)) return {begin + done, begin + end};
  }
}

/// Returns the pieces that this member has done.
std::int64_t ThreadTeam::work_at(int which, int me, std::uint32_t state) {
  const Step& step = which == 0 ? section_.first : section_.second;
  std::int64_t done = 0;
  for (int n = 0; n < size_; ++n) {
    if (n == 1) {  // what the others have taken lies in their caches: ask for all of it at once
      for (int m = 0; m < size_; ++m) __builtin_prefetch(&places_[static_cast<std::size_t>(m)].taken);
    }
    const int owner = me + n < size_ ? me + n : me + n - size_;
    auto& taken = places_[static_cast<std::size_t>(owner)].taken[which];
    for (Range r = take(step, taken, owner, n == 0, state); r.begin < r.end;
         r = take(step, taken, owner, n == 0, state)) {
      step.call(step.body, r.begin * step.piece, std::min(r.end * step.piece, step.count));
      done += r.end - r.begin;
    }
  }
  return done;
}

void ThreadTeam::work(int me, std::uint32_t state) {
  const std::int64_t done = work_at(0, me, state);
  if (section_.second.count <= 0) return;
  // Whoever has nothing left to take adds what it has done; the last one opens the second step.
  if (done > 0 && done_.fetch_add(done, std::memory_order_acq_rel) + done == section_.first.pieces) {
    passed_.store(state, std::memory_order_release);
  }
  wait_for_first(me, state);
  work_at(1, me, state);
}

void ThreadTeam::wait_for_first(int me, std::uint32_t state) {
  const Step& step = section_.second;
  const std::int64_t begin = share_begin(step, me) * step.piece;
  const std::int64_t size = std::min(share_size(step, me) * step.piece, section_.ahead_most);
  const std::int64_t end = std::min(begin + size, step.count);
  std::int64_t at = begin;
  for (int spins = 0; passed_.load(std::memory_order_acquire) != state; ++spins) {
    if (at < end) {
      section_.ahead(section_.ahead_body, at, at + 1);
      ++at;
    } else if (spins < spins_) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

std::size_t ThreadTeam::ahead_bytes() {
  static const std::size_t bytes = [] {
    long cache = -1;
#ifdef _SC_LEVEL2_CACHE_SIZE
    cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    return cache > 0 ? static_cast<std::size_t>(cache) / 2 : std::size_t{256} << 10;
  }();
  return bytes;
}

/// Returns when the state may be another one.
void ThreadTeam::idle(std::uint32_t state) const {
  for (int spins = 0; spins < spins_; ++spins) {
    if (state_.load(std::memory_order_relaxed) != state) return;
    if (spins >= kQuickSpins && spins % kSpinsForYield == 0) {
      std::this_thread::yield();
    } else {
      pause();
    }
  }
  state_.wait(state, std::memory_order_acquire);
}

void ThreadTeam::member(const std::stop_token& stop, int me) {
  auto& inside = places_[static_cast<std::size_t>(me)].inside;
  std::uint32_t seen = 0;
  while (!stop.stop_requested()) {
    const std::uint32_t state = state_.load(std::memory_order_acquire);
    if (state % 2 == 0 || state == seen) {
      idle(state);
      continue;
    }
    seen = state;
    inside.store(state, std::memory_order_seq_cst);
    if (state_.load(std::memory_order_seq_cst) == state) work(me, state);
    inside.store(0, std::memory_order_release);
  }
}

ThreadTeam* ThreadTeam::current() {
  return current_team;
}

ThreadTeam::Scope::Scope(ThreadTeam* team) : before_(current_team) {
  current_team = team;
}
ThreadTeam::Scope::~Scope() {
  current_team = before_;
}

}  // namespace krasis
