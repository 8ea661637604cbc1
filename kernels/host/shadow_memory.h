#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace krasis {

/// When an access happened: at `time` of `thread`'s own clock; `name` is the operation's number in the checker's list
/// of names. Time 0 is "never".
struct Epoch {
  std::uint32_t thread = 0;
  std::uint32_t name = 0;
  std::uint64_t time = 0;
};

/// For each byte of a buffer: its last write, and the last read of each thread since then, as maximal ranges
/// (the shadow state of FastTrack, Flanagan and Freund 2009, kept for ranges instead of words).
///
/// That is enough for a happens-before checker: whatever is unordered with an access that was dropped here is also
/// unordered with the later one that replaced it, or that replacement was reported itself. A write merges all ranges
/// that it covers into one, so the ranges are as many as the distinct boundaries of accesses.
class ShadowMemory {
 public:
  /// Calls conflict(older, begin, end) for the last write of each range of [begin, end), then notes the read.
  template <class Conflict>
  void read(std::size_t begin, std::size_t end, Epoch epoch, Conflict conflict) {
    if (begin == end) return;
    split(begin);
    split(end);
    std::size_t at = begin;
    auto range = ranges_.lower_bound(begin);
    while (at < end) {
      if (range == ranges_.end() || range->first > at) {  // a gap: nobody was here
        const std::size_t stop = range == ranges_.end() ? end : std::min(end, range->first);
        ranges_.emplace_hint(range, at, Range{stop, {}, {epoch}});
        at = stop;
        continue;
      }
      if (range->second.write.time > 0) conflict(range->second.write, range->first, range->second.end);
      range->second.note_read(epoch);
      at = range->second.end;
      ++range;
    }
  }

  /// Calls conflict(older, begin, end) for the last write and the reads since then of each range of [begin, end), then
  /// replaces them by this write.
  template <class Conflict>
  void write(std::size_t begin, std::size_t end, Epoch epoch, Conflict conflict) {
    if (begin == end) return;
    split(begin);
    split(end);
    auto range = ranges_.lower_bound(begin);
    while (range != ranges_.end() && range->first < end) {
      range->second.visit(range->first, conflict);
      range = ranges_.erase(range);
    }
    ranges_.emplace_hint(range, begin, Range{end, epoch, {}});
  }

  /// Calls visit(epoch, begin, end) for every access that is still remembered.
  template <class Visit>
  void visit_all(Visit visit) const {
    for (const auto& [begin, range] : ranges_) range.visit(begin, visit);
  }

  /// Whether any byte of [begin, end) was ever written.
  bool any_written(std::size_t begin, std::size_t end) const {
    auto range = ranges_.upper_bound(begin);
    if (range != ranges_.begin()) --range;
    for (; range != ranges_.end() && range->first < end; ++range) {
      if (range->second.end > begin && range->second.write.time > 0) return true;
    }
    return false;
  }

  std::size_t ranges() const { return ranges_.size(); }

 private:
  struct Range {
    std::size_t end = 0;
    Epoch write;
    std::vector<Epoch> reads;  ///< one for each thread, since `write`

    void note_read(Epoch epoch) {
      for (Epoch& read : reads) {
        if (read.thread == epoch.thread) {
          read = epoch;
          return;
        }
      }
      reads.push_back(epoch);
    }
    template <class Visit>
    void visit(std::size_t begin, Visit& visitor) const {
      if (write.time > 0) visitor(write, begin, end);
      for (const Epoch& read : reads) visitor(read, begin, end);
    }
  };

  /// Makes `at` a boundary, if it lies inside a range.
  void split(std::size_t at) {
    auto range = ranges_.upper_bound(at);
    if (range == ranges_.begin()) return;
    --range;
    if (range->first == at || range->second.end <= at) return;
    Range upper = range->second;
    range->second.end = at;
    ranges_.emplace(at, std::move(upper));
  }

  std::map<std::size_t, Range> ranges_;  ///< by first byte; disjoint
};

}  // namespace krasis
