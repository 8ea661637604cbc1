#include "kernels/host/operations/thread_team.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace krasis {
namespace {

constexpr std::uint32_t kOpen = 0x80000000u;
/// Looks at the epoch before a member sleeps: some 100 us, longer than what lies between two sections of a layer.
constexpr int kSpins = 4000;
/// Pieces for each member: small enough that a member which starts late leaves little to wait for.
constexpr std::int64_t kPieces = 4;

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

ThreadTeam::ThreadTeam(int threads, std::span<const int> cpus) {
  if (threads <= 0) threads = allowed_threads();
  for (int i = 1; i < threads; ++i) {
    members_.emplace_back([this](const std::stop_token& stop) { member(stop); });
    const auto at = static_cast<std::size_t>(i);
    if (at < cpus.size() && pin(members_.back(), cpus[at])) ++pinned_;
  }
}

ThreadTeam::~ThreadTeam() {
  for (std::jthread& thread : members_) thread.request_stop();
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
}

void ThreadTeam::run(std::int64_t count, Call call, const void* body) {
  const std::lock_guard lock(busy_);
  const Scope scope(nullptr);
  section_ = {call, body, count, std::max<std::int64_t>(1, count / (size() * kPieces))};
  next_.store(0, std::memory_order_relaxed);
  gate_.store(kOpen, std::memory_order_release);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  work();
  // Closed: whoever comes now stays outside, and what was taken is finished by those inside.
  gate_.fetch_and(~kOpen, std::memory_order_acq_rel);
  for (int spins = 0; gate_.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < kSpins) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadTeam::work() {
  const Section section = section_;
  for (;;) {
    const std::int64_t begin = next_.fetch_add(section.piece, std::memory_order_relaxed);
    if (begin >= section.count) return;
    const std::int64_t end = std::min(begin + section.piece, section.count);
    for (std::int64_t i = begin; i < end; ++i) section.call(section.body, i);
  }
}

void ThreadTeam::member(const std::stop_token& stop) {
  std::uint32_t seen = 0;
  while (!stop.stop_requested()) {
    std::uint32_t epoch = epoch_.load(std::memory_order_acquire);
    for (int spins = 0; epoch == seen && spins < kSpins; ++spins) {
      pause();
      epoch = epoch_.load(std::memory_order_acquire);
    }
    if (epoch == seen) {
      epoch_.wait(seen, std::memory_order_acquire);
      continue;
    }
    seen = epoch;
    std::uint32_t gate = gate_.load(std::memory_order_relaxed);
    while ((gate & kOpen) != 0 && !gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acquire)) {
    }
    if ((gate & kOpen) == 0) continue;
    work();
    gate_.fetch_sub(1, std::memory_order_release);
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
