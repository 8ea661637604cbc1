#pragma once

#include <algorithm>
#include <vector>

#include "kernels/device.h"

namespace krasis {

/// The bytes that an operation may read and write, as the happens-before checker sees them: a visitor of its arguments
/// (kernels/operations.h). What is updated is both read and written; a workspace is only written. Empty views do not
/// count, and what is named twice (the activations of several products) counts once.
class Accesses {
 public:
  std::vector<Access> reads, writes;
  const std::vector<View<const std::byte>>* later_reads = nullptr;

  template <class... Parts>
  void in(const Parts&... parts) {
    (add(reads, parts), ...);
  }
  template <class... Parts>
  void out(const Parts&... parts) {
    (add(writes, parts), ...);
  }
  template <class... Parts>
  void update(const Parts&... parts) {
    in(parts...);
    out(parts...);
  }
  void scratch(View<std::byte> view) { out(view); }
  void in_later(const std::vector<View<const std::byte>>& views) { later_reads = &views; }

 private:
  using List = std::vector<Access>;
  template <class T>
  static void add(List& list, View<T> view) {
    const Access access = Access::of(view);
    const auto same = [&](const Access& a) { return a.data == access.data && a.bytes == access.bytes; };
    if (view.data && !view.empty() && std::ranges::none_of(list, same)) list.push_back(access);
  }
  static void add(List& list, const Matrix& matrix) { add(list, matrix.range()); }
  static void add(List& list, const Batch& batch) {
    add(list, batch.positions);
    add(list, batch.sequences);
  }
  static void add(List& list, const KvCache& cache) {
    for (const KvPlane& plane : {cache.keys, cache.values}) {
      add(list, plane.values);
      add(list, plane.scales);
    }
  }
};

template <class Args>
Accesses accesses_of(Args args) {
  Accesses accesses;
  args.visit(accesses);
  return accesses;
}

}  // namespace krasis
