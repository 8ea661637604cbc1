#include "kernels/host/trace_summary.h"

#include <algorithm>
#include <map>
#include <utility>

namespace krasis {
namespace {

/// Moments, as intervals: added in any order, then made disjoint and sorted.
class Moments {
 public:
  void add(std::int64_t start, std::int64_t end) {
    if (end > start) intervals_.emplace_back(start, end);
  }
  void unite() {
    std::ranges::sort(intervals_);
    std::vector<Interval> united;
    for (const auto& [start, end] : intervals_) {
      if (!united.empty() && start <= united.back().second) {
        united.back().second = std::max(united.back().second, end);
      } else {
        united.emplace_back(start, end);
      }
    }
    intervals_ = std::move(united);
  }
  std::int64_t length() const {
    std::int64_t sum = 0;
    for (const auto& [start, end] : intervals_) sum += end - start;
    return sum;
  }
  /// The time in both; both are united.
  std::int64_t common(const Moments& other) const {
    std::int64_t sum = 0;
    auto a = intervals_.begin();
    auto b = other.intervals_.begin();
    while (a != intervals_.end() && b != other.intervals_.end()) {
      sum += std::max<std::int64_t>(0, std::min(a->second, b->second) - std::max(a->first, b->first));
      ++(a->second < b->second ? a : b);
    }
    return sum;
  }

 private:
  using Interval = std::pair<std::int64_t, std::int64_t>;
  std::vector<Interval> intervals_;
};

struct Activity {
  Moments copies, others, all;
  std::size_t copied_bytes = 0;
  std::string name;

  void add(const TraceEntry& entry) {
    (entry.copied_bytes > 0 ? copies : others).add(entry.start_ns, entry.end_ns);
    all.add(entry.start_ns, entry.end_ns);
    copied_bytes += entry.copied_bytes;
    name = entry.stream_name;
  }
  void unite() {
    copies.unite();
    others.unite();
    all.unite();
  }
};

}  // namespace

TraceSummary summarize(std::span<const TraceEntry> entries) {
  TraceSummary summary;
  if (entries.empty()) return summary;
  std::map<std::pair<int, int>, Activity> streams;
  std::map<int, Activity> devices;
  std::int64_t first = entries.front().start_ns, last = entries.front().end_ns;
  for (const TraceEntry& entry : entries) {
    first = std::min(first, entry.start_ns);
    last = std::max(last, entry.end_ns);
    streams[{entry.device, entry.stream}].add(entry);
    devices[entry.device].add(entry);
  }
  summary.length_ns = last - first;
  for (auto& [key, activity] : streams) {
    activity.unite();
    summary.streams.push_back({.device = key.first,
                               .stream = key.second,
                               .name = activity.name,
                               .busy_ns = activity.all.length(),
                               .idle_ns = summary.length_ns - activity.all.length(),
                               .copy_ns = activity.copies.length(),
                               .copied_bytes = activity.copied_bytes});
  }
  for (auto& [device, activity] : devices) {
    activity.unite();
    summary.devices.push_back({.device = device,
                               .copy_ns = activity.copies.length(),
                               .compute_ns = activity.others.length(),
                               .overlap_ns = activity.copies.common(activity.others),
                               .idle_ns = summary.length_ns - activity.all.length(),
                               .copied_bytes = activity.copied_bytes});
  }
  return summary;
}

}  // namespace krasis
