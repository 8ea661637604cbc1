#include "kernels/host/operations/scalar.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "kernels/host/operations/sampling/sampling.h"

namespace krasis::scalar {
namespace {

struct Candidate {
  float logit = 0.0f;
  float weight = 0.0f;
  std::int32_t id = 0;
};

bool ranks_before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

/// Logits and candidates of one call. Kept from call to call, so that a step allocates nothing after the first.
struct Scratch {
  std::vector<float> logits;
  std::vector<Candidate> candidates;
};

void penalize(const SamplingState& state, const SampleArgs& args, std::vector<float>& logits) {
  if (state.repetition_penalty == 1.0f) return;
  const auto length = std::min(static_cast<std::size_t>(std::max(state.length, 0)), args.history.size);
  for (std::size_t i = 0; i < length; ++i) {
    const std::int32_t id = args.history.data[i];
    if (id < 0 || static_cast<std::size_t>(id) >= logits.size()) continue;
    // From the given logit, so that a token seen twice is not penalized twice.
    const float given = args.logits.data[id];
    logits[static_cast<std::size_t>(id)] =
        given > 0.0f ? given / state.repetition_penalty : given * state.repetition_penalty;
  }
}

/// The largest first, by lanes that the compiler makes vectors of (a NaN is not larger), then where it is.
std::int32_t greedy(std::span<const float> logits) {
  constexpr std::size_t kLanes = 16;
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, -std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (std::size_t l = 0; l < kLanes; ++l) lanes[l] = logits[i + l] > lanes[l] ? logits[i + l] : lanes[l];
  }
  float largest = *std::max_element(lanes, lanes + kLanes);
  for (; i < logits.size(); ++i) largest = logits[i] > largest ? logits[i] : largest;
  const auto found = std::find(logits.begin(), logits.end(), largest);
  return found == logits.end() ? 0 : static_cast<std::int32_t>(found - logits.begin());
}

void collect(const std::vector<float>& logits, float temperature, std::vector<Candidate>& candidates) {
  candidates.clear();
  float largest = -std::numeric_limits<float>::infinity();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float logit = logits[i] / temperature;
    if (!(logit > -std::numeric_limits<float>::infinity())) continue;
    largest = std::max(largest, logit);
    candidates.push_back({logit, 0.0f, static_cast<std::int32_t>(i)});
  }
  // Equality first: infinity - infinity is NaN.
  for (Candidate& c : candidates) c.weight = c.logit == largest ? 1.0f : std::exp(c.logit - largest);
}

void keep_top_k(std::vector<Candidate>& candidates, std::int32_t top_k) {
  if (top_k <= 0 || static_cast<std::size_t>(top_k) >= candidates.size()) return;
  std::nth_element(candidates.begin(), candidates.begin() + (top_k - 1), candidates.end(), ranks_before);
  candidates.resize(static_cast<std::size_t>(top_k));
}

void keep_top_p(std::vector<Candidate>& candidates, float top_p) {
  if (top_p >= 1.0f) return;
  double total = 0.0;
  for (const Candidate& c : candidates) total += static_cast<double>(c.weight);
  const double wanted = static_cast<double>(top_p) * total;
  double sum = 0.0;
  // Sorted piece by piece: the nucleus is mostly a few dozen tokens of a vocabulary of 150,000.
  constexpr std::size_t kPiece = 512;
  for (std::size_t begin = 0; begin < candidates.size(); begin += kPiece) {
    const std::size_t end = std::min(begin + kPiece, candidates.size());
    std::partial_sort(candidates.begin() + static_cast<std::ptrdiff_t>(begin),
                      candidates.begin() + static_cast<std::ptrdiff_t>(end), candidates.end(), ranks_before);
    for (std::size_t i = begin; i < end; ++i) {
      sum += static_cast<double>(candidates[i].weight);
      if (sum >= wanted) return candidates.resize(i + 1);
    }
  }
}

void keep_min_p(std::vector<Candidate>& candidates, float min_p) {
  std::erase_if(candidates, [min_p](const Candidate& c) { return c.weight < min_p; });
}

std::int32_t draw(std::vector<Candidate>& candidates, const SamplingState& state) {
  const auto by_id = [](const Candidate& a, const Candidate& b) { return a.id < b.id; };
  if (!std::is_sorted(candidates.begin(), candidates.end(), by_id)) {
    std::sort(candidates.begin(), candidates.end(), by_id);
  }
  double total = 0.0;
  for (const Candidate& c : candidates) total += static_cast<double>(c.weight);
  const double target = uniform_draw(state.seed, static_cast<std::uint64_t>(state.length)) * total;
  double sum = 0.0;
  for (const Candidate& c : candidates) {
    sum += static_cast<double>(c.weight);
    if (sum > target) return c.id;
  }
  return candidates.back().id;
}

std::int32_t choose(const SampleArgs& args, const SamplingState& state) {
  const bool is_greedy = !(state.temperature > 0.0f) || state.top_k == 1;
  if (is_greedy && state.repetition_penalty == 1.0f) return greedy({args.logits.data, args.logits.size});
  thread_local Scratch scratch;
  scratch.logits.assign(args.logits.data, args.logits.data + args.logits.size);
  penalize(state, args, scratch.logits);
  if (is_greedy) return greedy(scratch.logits);
  collect(scratch.logits, state.temperature, scratch.candidates);
  if (scratch.candidates.empty()) return greedy(scratch.logits);
  keep_top_k(scratch.candidates, state.top_k);
  keep_top_p(scratch.candidates, state.top_p);
  keep_min_p(scratch.candidates, std::min(state.min_p, 1.0f));
  return draw(scratch.candidates, state);
}

}  // namespace

template <>
void run(const SampleArgs& args) {
  SamplingState& state = *args.state.data;
  const std::int32_t token = choose(args, state);
  args.token.data[0] = token;
  if (state.length >= 0 && static_cast<std::size_t>(state.length) < args.history.size) {
    args.history.data[state.length] = token;
  }
  ++state.length;
}

}  // namespace krasis::scalar
