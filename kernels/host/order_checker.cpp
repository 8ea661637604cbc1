#include "kernels/host/order_checker.h"

#include <algorithm>
#include <limits>

namespace krasis {
namespace {
constexpr std::size_t kHost = 0;
constexpr std::size_t thread_of(int stream) {
  return static_cast<std::size_t>(stream) + 1;
}
}  // namespace

OrderChecker::OrderChecker() : unregistered_(std::make_shared<Region>()) {
  names_.push_back("");  // name 0: none
  threads_.push_back({});
  threads_[kHost].name = "host";
  unregistered_->place = "unregistered host memory";
  unregistered_->bytes = std::numeric_limits<std::size_t>::max();
}

void OrderChecker::add_stream(std::string_view name, int device) {
  threads_.push_back({});
  threads_.back().name = name;
  threads_.back().device = device;
}

void OrderChecker::add_signal(std::string_view name) {
  signals_.push_back({});
  signals_.back().name = name;
}

void OrderChecker::join(Clock& into, const Clock& from) {
  if (into.size() < from.size()) into.resize(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) into[i] = std::max(into[i], from[i]);
}

std::uint64_t OrderChecker::tick(std::size_t thread) {
  Clock& clock = threads_[thread].clock;
  if (clock.size() <= thread) clock.resize(thread + 1);
  if (thread == kHost) host_snapshot_ = nullptr;
  return ++clock[thread];
}

std::uint32_t OrderChecker::name_number(std::string_view name) {
  const auto [entry, is_new] = name_numbers_.try_emplace(std::string(name), static_cast<std::uint32_t>(names_.size()));
  if (is_new) names_.emplace_back(name);
  return entry->second;
}

// Memory ------------------------------------------------------------------------------------------------------------

void OrderChecker::add_memory(MemoryRegion memory) {
  auto region = std::make_shared<Region>();
  static_cast<MemoryRegion&>(*region) = std::move(memory);
  regions_[region->data] = std::move(region);
}

bool OrderChecker::remove_memory(const std::byte* data) {
  const auto found = regions_.find(data);
  if (found == regions_.end()) return true;
  Region& region = *found->second;
  const Epoch free{kHost, name_number("free"), tick(kHost)};
  bool ordered = region.held_back == 0;  // each held-back access is reported when it is judged
  region.shadow.visit_all([&](const Epoch& older, std::size_t begin, std::size_t end) {
    if (older.time <= time_of(threads_[kHost].clock, older.thread)) return;
    report(Violation::Kind::FreedWhileInUse, older, free, region.place, begin, end);
    ordered = false;
  });
  region.alive = false;
  regions_.erase(found);
  return ordered;
}

std::shared_ptr<OrderChecker::Region> OrderChecker::find_region(const std::byte* data) const {
  auto above = regions_.upper_bound(data);
  if (above == regions_.begin()) return nullptr;
  const auto& region = std::prev(above)->second;
  return data < region->data + region->bytes ? region : nullptr;
}

std::vector<OrderChecker::RegionAccess> OrderChecker::resolve(std::size_t thread, std::uint32_t name, Toucher toucher,
                                                              std::span<const Access> reads,
                                                              std::span<const Access> writes) {
  std::vector<RegionAccess> accesses;
  accesses.reserve(reads.size() + writes.size());
  for (const Access& read : reads) resolve_one(thread, name, toucher, read, false, accesses);
  for (const Access& write : writes) resolve_one(thread, name, toucher, write, true, accesses);
  return accesses;
}

void OrderChecker::resolve_one(std::size_t thread, std::uint32_t name, Toucher toucher, Access access, bool write,
                               std::vector<RegionAccess>& into) {
  if (access.bytes == 0) return;
  const Epoch self{static_cast<std::uint32_t>(thread), name, 0};
  auto region = find_region(access.data);
  const auto address = reinterpret_cast<std::size_t>(access.data);
  if (!region) {
    if (toucher == Toucher::Kernel) {
      report(Violation::Kind::NotAllocated, {}, self, "unknown memory", address, address + access.bytes);
      return;
    }
    into.push_back({unregistered_, address, address + access.bytes, write});
    return;
  }
  const auto begin = static_cast<std::size_t>(access.data - region->data);
  if (access.bytes > region->bytes - begin) {
    report(Violation::Kind::NotAllocated, {}, self, region->place, region->bytes, begin + access.bytes);
    access.bytes = region->bytes - begin;
  }
  const std::size_t end = begin + access.bytes;
  const bool foreign = toucher == Toucher::Kernel && region->device != threads_[thread].device;
  if (region->on_device && (toucher == Toucher::Host || foreign)) {
    report(Violation::Kind::WrongMemory, {}, self, region->place, begin, end);
  }
  into.push_back({std::move(region), begin, end, write});
}

// Order -------------------------------------------------------------------------------------------------------------

void OrderChecker::enqueue(const Command& command) {
  const std::size_t thread = thread_of(command.stream);
  if (!host_snapshot_) host_snapshot_ = std::make_shared<const Clock>(threads_[kHost].clock);
  Pending pending{command.kind, command.event, command.signal, command.count, 0, host_snapshot_, {}};
  if (command.kind == Command::Kind::Run) {
    const Operation& operation = *command.operation;
    pending.name = name_number(operation.name);
    pending.accesses = resolve(thread, pending.name, operation.toucher, operation.reads, operation.writes);
    if (operation.later_reads) {
      for (const auto& view : *operation.later_reads) {
        resolve_one(thread, pending.name, operation.toucher, Access::of(view), false, pending.accesses);
      }
    }
  }
  auto& queue = threads_[thread].queue;
  if (queue.empty() && can_judge(pending)) {
    judge(thread, pending);
    const bool helps_others = pending.kind == Command::Kind::Record || pending.kind == Command::Kind::Raise;
    if (helps_others) judge_all();
    return;
  }
  for (const RegionAccess& access : pending.accesses) ++access.region->held_back;
  queue.push_back(std::move(pending));
}

bool OrderChecker::can_judge(const Pending& pending) const {
  switch (pending.kind) {
    case Command::Kind::Wait:
      return threads_[thread_of(event_id::stream(pending.event))].recorded >= event_id::sequence(pending.event);
    case Command::Kind::Await:
      return signals_[static_cast<std::size_t>(pending.signal)].raises.contains(pending.count);
    default:
      return true;
  }
}

void OrderChecker::judge_all() {
  for (bool progress = true; progress;) {
    progress = false;
    for (std::size_t thread = 1; thread < threads_.size(); ++thread) {
      auto& queue = threads_[thread].queue;
      while (!queue.empty() && can_judge(queue.front())) {
        const Pending pending = std::move(queue.front());
        queue.pop_front();
        for (const RegionAccess& access : pending.accesses) --access.region->held_back;
        judge(thread, pending);
        progress = true;
      }
    }
  }
}

void OrderChecker::judge(std::size_t thread, const Pending& pending) {
  Thread& self = threads_[thread];
  join(self.clock, *pending.host);
  switch (pending.kind) {
    case Command::Kind::Run:
      judge_accesses(thread, pending.name, pending.accesses);
      break;
    case Command::Kind::Record:
      tick(thread);  // so that the event's time stands for all that was joined until here
      self.events.push_back({++self.recorded, self.clock});
      break;
    case Command::Kind::Wait:
      join_event(self.clock, pending.event);
      break;
    case Command::Kind::Raise:
      raise(thread, pending);
      break;
    case Command::Kind::Await: {
      auto raised = signals_[static_cast<std::size_t>(pending.signal)].raises.extract(pending.count);
      join(self.clock, raised.mapped());
      break;
    }
  }
}

void OrderChecker::judge_accesses(std::size_t thread, std::uint32_t name, std::span<const RegionAccess> accesses) {
  const Epoch self{static_cast<std::uint32_t>(thread), name, tick(thread)};
  const Clock& clock = threads_[thread].clock;
  for (const RegionAccess& access : accesses) {
    Region& region = *access.region;
    if (!region.alive) {
      report(Violation::Kind::NotAllocated, {}, self, region.place, access.begin, access.end);
      continue;
    }
    if (!access.write && region.on_device && !region.shadow.any_written(access.begin, access.end)) {
      report(Violation::Kind::NeverWritten, {}, self, region.place, access.begin, access.end);
    }
    const auto conflict = [&](const Epoch& older, std::size_t begin, std::size_t end) {
      if (older.time <= time_of(clock, older.thread)) return;
      report(Violation::Kind::Unordered, older, self, region.place, std::max(begin, access.begin),
             std::min(end, access.end));
    };
    if (access.write) {
      region.shadow.write(access.begin, access.end, self, conflict);
    } else {
      region.shadow.read(access.begin, access.end, self, conflict);
    }
  }
}

void OrderChecker::join_event(Clock& clock, Event event) const {
  const auto& events = threads_[thread_of(event_id::stream(event))].events;
  const auto found = std::ranges::lower_bound(events, event_id::sequence(event), {}, &RecordedEvent::sequence);
  // A forgotten event is one that everybody's clock contains already.
  if (found != events.end() && found->sequence == event_id::sequence(event)) join(clock, found->clock);
}

void OrderChecker::raise(std::size_t thread, const Pending& pending) {
  SignalState& signal = signals_[static_cast<std::size_t>(pending.signal)];
  const Epoch self{static_cast<std::uint32_t>(thread), name_number("raise"), tick(thread)};
  const Clock& clock = threads_[thread].clock;
  if (signal.last_raise.time > time_of(clock, signal.last_raise.thread)) {
    report(Violation::Kind::UnorderedRaises, signal.last_raise, self, signal.name, 0, 0);
  }
  signal.last_raise = self;
  signal.raises.emplace(pending.count, clock);
}

void OrderChecker::synchronize(Event event) {
  if (!event) return;
  join_event(threads_[kHost].clock, event);
  host_snapshot_ = nullptr;
  forget_events();
}

void OrderChecker::host_access(std::string_view name, std::span<const Access> reads, std::span<const Access> writes) {
  const std::uint32_t number = name_number(name);
  judge_accesses(kHost, number, resolve(kHost, number, Toucher::Host, reads, writes));
}

/// Drops the events whose clock the host's contains: every later command starts from the host's clock, so a wait for
/// such an event adds nothing. Commands that are held back started from an older host clock, so their streams count by
/// themselves.
void OrderChecker::forget_events() {
  for (std::size_t thread = 1; thread < threads_.size(); ++thread) {
    std::uint64_t known = time_of(threads_[kHost].clock, thread);
    for (const Thread& other : threads_) {
      if (!other.queue.empty()) known = std::min(known, time_of(other.clock, thread));
    }
    auto& events = threads_[thread].events;
    while (!events.empty() && time_of(events.front().clock, thread) <= known) events.pop_front();
  }
}

// Reports -----------------------------------------------------------------------------------------------------------

void OrderChecker::report(Violation::Kind kind, Epoch first, Epoch second, std::string_view place, std::size_t begin,
                          std::size_t end) {
  const auto key = [](Epoch epoch) { return (std::uint64_t{epoch.thread} << 32) | epoch.name; };
  const auto [entry, is_new] =
      violation_numbers_.try_emplace({kind, key(first), key(second), std::string(place)}, violations_.size());
  if (!is_new) {
    ++violations_[entry->second].count;
    return;
  }
  violations_.push_back({kind, names_[first.name], first.name == 0 ? "" : threads_[first.thread].name,
                         names_[second.name], threads_[second.thread].name, std::string(place), begin, end});
}

void OrderChecker::clear_violations() {
  violations_.clear();
  violation_numbers_.clear();
}

std::string Violation::message() const {
  const std::string one = "'" + first + "' on stream '" + first_stream + "'";
  const std::string two = "'" + second + "' on stream '" + second_stream + "'";
  const std::string bytes = "bytes [" + std::to_string(begin) + ", " + std::to_string(end) + ") of '" + place + "'";
  switch (kind) {
    case Kind::Unordered:
      return one + " and " + two + " both use " + bytes + ", at least one writes, and nothing orders them.";
    case Kind::FreedWhileInUse:
      return bytes + " are freed, and nothing orders that behind " + one + ".";
    case Kind::NotAllocated:
      return two + " uses " + bytes + ", which are not allocated.";
    case Kind::WrongMemory:
      return two + " uses " + bytes + ", which only operations of its own device and copies may use.";
    case Kind::NeverWritten:
      return two + " reads " + bytes + ", of which nothing was ever written.";
    case Kind::UnorderedRaises:
      return "Two raises of signal '" + place + "', on stream '" + first_stream + "' and on stream '" + second_stream +
             "', are not ordered.";
  }
  return {};
}

}  // namespace krasis
