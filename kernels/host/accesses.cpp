#include "kernels/host/accesses.h"

namespace krasis {
namespace {

/// Collects views; empty ones do not count.
class Collector {
 public:
  template <class... Views>
  Collector& reads(Views... views) {
    (add(accesses_.reads, views), ...);
    return *this;
  }
  template <class... Views>
  Collector& writes(Views... views) {
    (add(accesses_.writes, views), ...);
    return *this;
  }
  template <class... Views>
  Collector& updates(Views... views) {
    return reads(views...).writes(views...);
  }
  Collector& reads_batch(const Batch& batch) { return reads(batch.positions, batch.sequences); }
  operator Accesses() { return std::move(accesses_); }

 private:
  template <class T>
  static void add(std::vector<Access>& list, View<T> view) {
    if (view.data && !view.empty()) list.push_back(Access::of(view));
  }
  Accesses accesses_;
};

}  // namespace

Accesses accesses_of(const EmbeddingArgs& args) {
  return Collector().reads(args.table.range(), args.ids).writes(args.out);
}

Accesses accesses_of(const RmsNormArgs& args) {
  return Collector().reads(args.x, args.weight).writes(args.out);
}

Accesses accesses_of(const HeadNormArgs& args) {
  return Collector().reads(args.weight).updates(args.x);
}

Accesses accesses_of(const MatmulArgs& args) {
  return Collector().reads(args.x, args.weight.range()).writes(args.out_bf16, args.out_f32).updates(args.accumulate);
}

Accesses accesses_of(std::span<const MatmulArgs> products) {
  Collector all;
  const bf16* x = nullptr;
  for (const MatmulArgs& args : products) {
    if (args.x.data != x) all.reads(args.x);  // once where all share it
    x = args.x.data;
    all.reads(args.weight.range()).writes(args.out_bf16, args.out_f32).updates(args.accumulate);
  }
  return all;
}

Accesses accesses_of(const SwiGluArgs& args) {
  return Collector().reads(args.gate, args.up).writes(args.out);
}

Accesses accesses_of(const RotaryArgs& args) {
  return Collector().reads(args.inverse_frequency).reads_batch(args.batch).updates(args.x);
}

Accesses accesses_of(const KvAppendArgs& args) {
  const KvCache& cache = args.cache;
  return Collector()
      .reads(args.k, args.v)
      .reads_batch(args.batch)
      .writes(cache.keys.values, cache.keys.scales, cache.values.values, cache.values.scales);
}

Accesses accesses_of(const AttentionArgs& args) {
  const KvCache& cache = args.cache;
  return Collector()
      .reads(args.q, cache.keys.values, cache.keys.scales, cache.values.values, cache.values.scales)
      .reads_batch(args.batch)
      .writes(args.out, args.workspace);
}

Accesses accesses_of(const RouterArgs& args) {
  return Collector().reads(args.logits).writes(args.ids, args.weights);
}

Accesses accesses_of(const ExpertsArgs& args) {
  return Collector()
      .reads(args.x, args.ids, args.weights, args.blocks ? View<const std::byte>{} : args.pool, args.offsets)
      .updates(args.out)
      .writes(args.workspace);
}

Accesses accesses_of(const AddArgs& args) {
  return Collector().reads(args.x).updates(args.out);
}

Accesses accesses_of(const FillArgs& args) {
  return Collector().writes(args.out);
}

Accesses accesses_of(const CountExpertsArgs& args) {
  return Collector().reads(args.ids).updates(args.counts);
}

Accesses accesses_of(const GatherExpertsArgs& args) {
  return Collector().reads(args.ids, args.offsets, args.from).writes(args.to).updates(args.copied);
}

Accesses accesses_of(const SampleArgs& args) {
  return Collector().reads(args.logits).updates(args.state, args.history).writes(args.token);
}

Accesses accesses_of(const AdvanceArgs& args) {
  return Collector().reads(args.token).writes(args.id).updates(args.position);
}

}  // namespace krasis
