#include "kernels/host/operations/scalar.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/host/operations/experts/workspace.h"

namespace krasis::scalar {
namespace {

/// Does a rank before b? NaN ranks last.
bool ranks_before(float a, float b) {
  return a > b || (std::isnan(b) && !std::isnan(a));
}

/// The best expert that is not among the first `picked` of `ids`; -1 if there is none.
std::int32_t next_best(const float* logits, int experts, const std::int32_t* ids, int picked) {
  std::int32_t best = -1;
  for (std::int32_t e = 0; e < experts; ++e) {
    if (std::find(ids, ids + picked, e) != ids + picked) continue;
    if (best < 0 || ranks_before(logits[e], logits[best])) best = e;
  }
  return best;
}

void route(const RouterArgs& args, const float* logits, std::int32_t* ids, float* weights) {
  float maximum = -std::numeric_limits<float>::infinity();
  for (int e = 0; e < args.experts; ++e) maximum = std::max(maximum, logits[e]);
  float total = 0.0f;
  for (int e = 0; e < args.experts; ++e) total += std::exp(logits[e] - maximum);
  float kept = 0.0f;
  for (int j = 0; j < args.top_k; ++j) {
    ids[j] = next_best(logits, args.experts, ids, j);
    weights[j] = ids[j] < 0 ? 0.0f : std::exp(logits[ids[j]] - maximum) / total;
    kept += weights[j];
  }
  if (!args.renormalize) return;
  for (int j = 0; j < args.top_k; ++j) weights[j] /= kept;
}

}  // namespace

template <>
void run(const RouterArgs& args) {
  const std::size_t tokens = args.logits.size / static_cast<std::size_t>(args.experts);
  for (std::size_t t = 0; t < tokens; ++t) {
    const std::size_t at = t * static_cast<std::size_t>(args.top_k);
    route(args, args.logits.data + t * static_cast<std::size_t>(args.experts), args.ids.data + at,
          args.weights.data + at);
  }
}

template <>
void run(const ExpertsArgs& args) {
  const std::int64_t hidden = args.layout.hidden();
  const auto width = static_cast<std::size_t>(args.layout.width());
  const ExpertsWorkspace work = experts_workspace(args);
  for (std::size_t pair = 0; pair < args.ids.size; pair += static_cast<std::size_t>(args.top_k)) {
    const std::int64_t t = static_cast<std::int64_t>(pair) / args.top_k;
    const View<const bf16> x = args.x.sub(static_cast<std::size_t>(t * hidden), static_cast<std::size_t>(hidden));
    float* out = args.out.data + t * hidden;
    for (std::size_t j = pair; j < pair + static_cast<std::size_t>(args.top_k); ++j) {
      const std::byte* block = expert_block(args, args.ids.data[j]);
      if (!block) continue;
      const ExpertMatrices expert = expert_matrices(args.layout, block);
      run(MatmulArgs{.x = x, .weight = expert.gate, .out_f32 = {work.gate, width}, .tokens = 1});
      run(MatmulArgs{.x = x, .weight = expert.up, .out_f32 = {work.up, width}, .tokens = 1});
      run(SwiGluArgs{{work.gate, width}, {work.up, width}, {work.activated, width}, args.glu});
      run(MatmulArgs{.x = View<const bf16>{work.activated, width},
                     .weight = expert.down,
                     .out_f32 = {work.down, static_cast<std::size_t>(hidden)},
                     .tokens = 1});
      for (std::int64_t o = 0; o < hidden; ++o) out[o] += args.weights.data[j] * work.down[o];
    }
  }
}

template <>
void run(const CountExpertsArgs& args) {
  for (std::size_t i = 0; i < args.ids.size; ++i) {
    const std::int32_t id = args.ids.data[i];
    if (id >= 0 && static_cast<std::size_t>(id) < args.counts.size) ++args.counts.data[id];
  }
}

template <>
void run(const GatherExpertsArgs& args) {
  std::vector<bool> done(args.offsets.size);
  for (std::size_t i = 0; i < args.ids.size; ++i) {
    const auto e = static_cast<std::size_t>(args.ids.data[i]);  // a negative one lies outside, too
    if (e >= done.size() || done[e] || args.offsets.data[e] < 0) continue;
    done[e] = true;
    std::memcpy(args.to.data + args.offsets.data[e], args.from.data + e * args.block_bytes, args.block_bytes);
    ++*args.copied.data;
  }
}

}  // namespace krasis::scalar
