#pragma once

#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "kernels/host/command.h"
#include "kernels/host/shadow_memory.h"

namespace krasis {

/// A defect of the caller's order or use of memory.
struct Violation {
  enum class Kind : std::uint8_t {
    Unordered,        ///< two operations, at least one of which writes, and nothing orders them
    FreedWhileInUse,  ///< memory freed or unregistered, and nothing orders that behind an operation on it
    NotAllocated,     ///< an operation on memory that is freed, unknown or beyond the end of its buffer
    WrongMemory,      ///< host code on device memory, or an operation on another device's memory that is no copy
    NeverWritten,     ///< device memory is read of which no byte was ever written
    UnorderedRaises,  ///< raises of one signal that nothing orders, so an await cannot tell which one it saw
  };
  Kind kind = Kind::Unordered;
  std::string first;         ///< the operation met first; empty where there is only one
  std::string first_stream;  ///< "host" is the thread that enqueues
  std::string second;
  std::string second_stream;
  std::string place;      ///< of the memory, or the signal's name
  std::size_t begin = 0;  ///< bytes [begin, end) of the place's buffer; addresses for unknown memory
  std::size_t end = 0;
  std::uint64_t count = 1;  ///< how often the same pair was met (a loop meets it many times)

  std::string message() const;
};

/// A piece of memory that operations may use.
struct MemoryRegion {
  std::string place;
  int device = 0;
  bool on_device = false;  ///< MemorySpace::Device, or else host memory
  const std::byte* data = nullptr;
  std::size_t bytes = 0;
};

/// Finds conflicting accesses that no event, signal or synchronization orders, with vector clocks (Lamport 1978,
/// Mattern 1988): one entry for each stream and one for the host thread that enqueues. The verdict follows from what
/// was enqueued and is the same for every schedule that could have run.
///
/// Commands are judged in an order that events and signals allow: a stream whose wait or await has no partner yet is
/// held back until the partner is enqueued. Cost: about linear in the accesses, with logarithmic look-ups. Not
/// thread-safe.
class OrderChecker {
 public:
  OrderChecker();

  /// Streams and signals number from 0 in order of these calls.
  void add_stream(std::string_view name, int device);
  void add_signal(std::string_view name);

  /// Memory counts as written from the start unless it is on a device.
  void add_memory(MemoryRegion region);
  /// The host frees or unregisters. False if an operation may still use it (a violation).
  bool remove_memory(const std::byte* data);

  void enqueue(const Command& command);
  /// The host thread has waited for `event`: what happened before it happened before what the host does from now on.
  void synchronize(Event event);
  void host_access(std::string_view name, std::span<const Access> reads, std::span<const Access> writes);

  const std::vector<Violation>& violations() const { return violations_; }
  void clear_violations();

 private:
  using Clock = std::vector<std::uint64_t>;  ///< [threads]; a missing entry is 0
  struct Region : MemoryRegion {
    ShadowMemory shadow;
    bool alive = true;
    int held_back = 0;  ///< accesses that wait in held-back streams
  };
  struct RegionAccess {
    std::shared_ptr<Region> region;
    std::size_t begin = 0, end = 0;
    bool write = false;
  };
  struct Pending {
    Command::Kind kind = Command::Kind::Run;
    Event event;
    int signal = -1;
    std::uint64_t count = 0;
    std::uint32_t name = 0;
    std::shared_ptr<const Clock> host;  ///< the host's clock when it enqueued
    std::vector<RegionAccess> accesses;
  };
  struct RecordedEvent {
    std::uint64_t sequence = 0;
    Clock clock;
  };
  struct Thread {
    std::string name;
    int device = -1;
    Clock clock;
    std::deque<Pending> queue;
    std::uint64_t recorded = 0;
    std::deque<RecordedEvent> events;  ///< those that may still tell somebody something
  };
  struct SignalState {
    std::string name;
    std::map<std::uint64_t, Clock> raises;  ///< that nobody awaited yet
    Epoch last_raise;
  };

  static void join(Clock& into, const Clock& from);
  static std::uint64_t time_of(const Clock& clock, std::size_t thread) {
    return thread < clock.size() ? clock[thread] : 0;
  }
  std::uint64_t tick(std::size_t thread);
  std::uint32_t name_number(std::string_view name);

  std::shared_ptr<Region> find_region(const std::byte* data) const;
  std::vector<RegionAccess> resolve(std::size_t thread, std::uint32_t name, Toucher toucher,
                                    std::span<const Access> reads, std::span<const Access> writes);
  void resolve_one(std::size_t thread, std::uint32_t name, Toucher toucher, Access access, bool write,
                   std::vector<RegionAccess>& into);

  bool can_judge(const Pending& pending) const;
  void judge_all();
  void judge(std::size_t thread, const Pending& pending);
  void judge_accesses(std::size_t thread, std::uint32_t name, std::span<const RegionAccess> accesses);
  void join_event(Clock& clock, Event event) const;
  void raise(std::size_t thread, const Pending& pending);
  void forget_events();
  void report(Violation::Kind kind, Epoch first, Epoch second, std::string_view place, std::size_t begin,
              std::size_t end);

  std::vector<Thread> threads_;  ///< [0] is the host, [1 + s] is stream s
  std::vector<SignalState> signals_;
  std::shared_ptr<const Clock> host_snapshot_;  ///< null after the host's clock changed
  std::map<const std::byte*, std::shared_ptr<Region>> regions_;
  std::shared_ptr<Region> unregistered_;  ///< host memory that copies and host code use, by address
  std::vector<std::string> names_;
  std::unordered_map<std::string, std::uint32_t> name_numbers_;
  std::vector<Violation> violations_;
  std::map<std::tuple<Violation::Kind, std::uint64_t, std::uint64_t, std::string>, std::size_t> violation_numbers_;
};

}  // namespace krasis
