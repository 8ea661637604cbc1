#include "kernels/cuda/operations/sampling/cluster.h"
#include "kernels/cuda/operations/sampling/rank.cuh"
#include "kernels/host/operations/sampling/sampling.h"

/// The next token, chosen as kernels/host/operations/sampling/sampling.h says, by one block, on any GPU and for any
/// vocabulary; cluster.cu is faster. Nothing needs memory of its own. Sums run in an order that the number of threads
/// fixes, so equal seeds give equal tokens.
namespace krasis::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarp;
constexpr int kDigitBits = 3;
constexpr int kDigits = 1 << kDigitBits;

struct Shared {
  double sums[kWarps][kDigits];
  int counts[kWarps][kDigits];
  double totals[kWarps];
  Rank ranks[kWarps];
  int last[kWarps];
  int token;
};

/// What is read of the logits: penalized, and divided by the temperature where `temperature` is given.
struct Logits {
  const float* given;
  int count;
  const unsigned* seen;  ///< one bit for each token of the vocabulary; null = no penalty
  float penalty;
  float temperature;

  __device__ float penalized(int id) const {
    const float logit = given[id];
    if (!seen || !(seen[id / 32] >> (id % 32) & 1u)) return logit;
    return logit > 0.0f ? logit / penalty : logit * penalty;
  }
  __device__ float tempered(int id) const { return penalized(id) / temperature; }
};

/// The largest rank over all ids for which `value` is a number; 0 if there is none.
template <class Value>
__device__ Rank best_rank(int count, Value value, Shared& shared) {
  Rank best = 0;
  for (int id = static_cast<int>(threadIdx.x); id < count; id += kThreads) {
    const float v = value(id);
    const Rank rank = isnan(v) ? 0 : rank_of(v, id);
    best = rank > best ? rank : best;
  }
  return block_max(best, shared.ranks);
}

/// A rank that separates the first candidates, going down the ranking, until the sum of what `amount` says of the
/// candidates so far reaches `wanted` (at least one), from the rest: theirs are at or above it; 0 if it never does.
/// `amount` is negative for ids that do not count.
///
/// Digit by digit from the top: the candidates that share the digits found so far are summed by their next digit, and
/// the digit is the one at which the running sum reaches `wanted`.
template <class RankOf, class Amount>
__device__ Rank rank_reaching(double wanted, int count, RankOf rank, Amount amount, Shared& shared) {
  Rank prefix = 0;
  double above = 0.0;  // the sum of all candidates that rank before those with this prefix
  for (int shift = kRankBits - kDigitBits; shift >= 0; shift -= kDigitBits) {
    double sums[kDigits] = {};
    int counts[kDigits] = {};
    for (int id = static_cast<int>(threadIdx.x); id < count; id += kThreads) {
      const Rank r = rank(id);
      if (r >> (shift + kDigitBits) != prefix) continue;
      const double a = amount(id);
      if (a < 0.0) continue;
      const int digit = static_cast<int>(r >> shift) & (kDigits - 1);
#pragma unroll
      for (int d = 0; d < kDigits; ++d) {
        sums[d] += digit == d ? a : 0.0;
        counts[d] += digit == d ? 1 : 0;
      }
    }
#pragma unroll
    for (int d = 0; d < kDigits; ++d) {
      const double sum = warp_sum(sums[d]);
      const int n = warp_sum(counts[d]);
      if (lane_id() == 0) {
        shared.sums[warp_id()][d] = sum;
        shared.counts[warp_id()][d] = n;
      }
    }
    __syncthreads();
    int found = -1;
    int found_count = 0;
    for (int d = kDigits - 1; d >= 0; --d) {
      double sum = 0.0;
      int n = 0;
      for (int w = 0; w < kWarps; ++w) {
        sum += shared.sums[w][d];
        n += shared.counts[w][d];
      }
      if (n == 0) continue;
      if (above + sum >= wanted) {
        found = d;
        found_count = n;
        break;
      }
      above += sum;
    }
    __syncthreads();  // the next digit overwrites the sums
    if (found < 0) return 0;
    prefix = prefix << kDigitBits | static_cast<Rank>(found);
    if (found_count == 1) return prefix << shift;  // nobody else shares it, so the lower digits do not matter
  }
  return prefix;
}
static_assert(kRankBits % kDigitBits == 0);

/// Which candidates are still in: rank >= lowest and weight >= min_weight.
struct Kept {
  Logits logits;
  float largest;
  Rank lowest = 0;
  float min_weight = 0.0f;

  /// The weight, or -1 for what is out.
  __device__ float weight(int id) const {
    const float logit = logits.tempered(id);
    if (!is_candidate(logit) || rank_of(logit, id) < lowest) return -1.0f;
    const float w = weight_of(logit, largest);
    return w < min_weight ? -1.0f : w;
  }
};

/// Ids in contiguous pieces, one for each warp, so that running sums go in the order of the ids.
struct Piece {
  int begin, end;
  __device__ explicit Piece(int count) {
    const int each = ceil_div(ceil_div(count, kWarps), kWarp) * kWarp;
    begin = min(count, warp_id() * each);
    end = min(count, begin + each);
  }
};

/// The sums of lanes 0..lane.
__device__ double inclusive_scan(double value) {
#pragma unroll
  for (int step = 1; step < kWarp; step *= 2) {
    const double other = __shfl_up_sync(kAllLanes, value, step);
    if (lane_id() >= step) value += other;
  }
  return value;
}

/// The first id whose running sum of weights exceeds u times the total; should rounding leave none, the last kept one.
__device__ int draw(const Kept& kept, double u, Shared& shared) {
  const Piece piece(kept.logits.count);
  double running = 0.0;
  int last = -1;
  for (int begin = piece.begin; begin < piece.end; begin += kWarp) {
    const int id = begin + lane_id();
    const float weight = id < piece.end ? kept.weight(id) : -1.0f;
    const double scan = inclusive_scan(weight < 0.0f ? 0.0 : static_cast<double>(weight));
    running += __shfl_sync(kAllLanes, scan, kWarp - 1);
    if (weight >= 0.0f) last = id;
  }
  last = warp_max(last);
  if (lane_id() == 0) {
    shared.totals[warp_id()] = running;
    shared.last[warp_id()] = last;
  }
  if (threadIdx.x == 0) shared.token = -1;
  __syncthreads();
  double total = 0.0;
  for (int w = 0; w < kWarps; ++w) total += shared.totals[w];
  const double target = u * total;
  double base = 0.0;
  int owner = 0;  // the warp in whose piece the running sum exceeds the target
  while (owner < kWarps && !(base + shared.totals[owner] > target)) base += shared.totals[owner++];
  if (owner == warp_id()) {
    running = 0.0;
    for (int begin = piece.begin; begin < piece.end; begin += kWarp) {
      const int id = begin + lane_id();
      const float weight = id < piece.end ? kept.weight(id) : -1.0f;
      const double scan = inclusive_scan(weight < 0.0f ? 0.0 : static_cast<double>(weight));
      const unsigned hits = __ballot_sync(kAllLanes, weight >= 0.0f && base + (running + scan) > target);
      if (hits != 0) {
        if (lane_id() == 0) shared.token = begin + __ffs(static_cast<int>(hits)) - 1;
        break;
      }
      running += __shfl_sync(kAllLanes, scan, kWarp - 1);
    }
  }
  __syncthreads();
  int token = shared.token;
  for (int w = kWarps - 1; token < 0 && w >= 0; --w) token = shared.last[w];
  return token;
}

__device__ int choose(const Logits& logits, const SamplingState& state, Shared& shared) {
  const auto greedy = [&] {
    return id_of(best_rank(
        logits.count, [&](int id) { return logits.penalized(id); }, shared));
  };
  if (!(state.temperature > 0.0f) || state.top_k == 1) return greedy();
  const Rank first = best_rank(
      logits.count, [&](int id) { return logits.tempered(id); }, shared);
  const float largest = first == 0 ? -INFINITY : logits.tempered(id_of(first));
  if (!is_candidate(largest)) return greedy();
  Kept kept{logits, largest};
  const auto rank = [&](int id) { return rank_of(logits.tempered(id), id); };
  if (state.top_k > 0 && state.top_k < logits.count) {
    const auto one = [&](int id) { return is_candidate(logits.tempered(id)) ? 1.0 : -1.0; };
    // 0, that is all, where there are fewer candidates.
    kept.lowest = rank_reaching(static_cast<double>(state.top_k), logits.count, rank, one, shared);
  }
  if (state.top_p < 1.0f) {
    const auto weight = [&](int id) { return static_cast<double>(kept.weight(id)); };
    double sum = 0.0;
    for (int id = static_cast<int>(threadIdx.x); id < logits.count; id += kThreads) sum += fmax(weight(id), 0.0);
    const double total = block_sum(sum, shared.totals);
    const Rank lowest = rank_reaching(static_cast<double>(state.top_p) * total, logits.count, rank, weight, shared);
    kept.lowest = lowest > kept.lowest ? lowest : kept.lowest;
  }
  kept.min_weight = fminf(state.min_p, 1.0f);
  return draw(kept, uniform_draw(state.seed, static_cast<std::uint64_t>(state.length)), shared);
}

/// `seen` (dynamic shared memory): a bit for each token of the vocabulary.
__global__ void __launch_bounds__(kThreads)
    sample_kernel(const float* given, int vocabulary, SamplingState* state_at, std::int32_t* history, int history_size,
                  std::int32_t* token_at) {
  extern __shared__ unsigned seen[];
  __shared__ Shared shared;
  const SamplingState state = *state_at;
  const bool penalize = state.repetition_penalty != 1.0f;
  if (penalize) {
    for (int i = static_cast<int>(threadIdx.x); i < ceil_div(vocabulary, 32); i += kThreads) seen[i] = 0;
    __syncthreads();
    const int length = min(max(state.length, 0), history_size);
    for (int i = static_cast<int>(threadIdx.x); i < length; i += kThreads) {
      const std::int32_t id = history[i];
      if (id >= 0 && id < vocabulary) atomicOr(&seen[id / 32], 1u << (id % 32));
    }
  }
  __syncthreads();  // also: every thread has read the state before it is changed
  const Logits logits{given, vocabulary, penalize ? seen : nullptr, state.repetition_penalty, state.temperature};
  const int token = choose(logits, state, shared);
  if (threadIdx.x == 0) {
    *token_at = token;
    if (state.length >= 0 && state.length < history_size) history[state.length] = token;
    state_at->length = state.length + 1;
  }
}

}  // namespace

template <>
void run(const Launch& launch, const SampleArgs& args) {
  if (sample_cluster(launch, args)) return;
  const auto vocabulary = static_cast<int>(args.logits.size);
  const auto bytes = static_cast<int>(ceil_div(vocabulary, 32) * sizeof(unsigned));
  if (bytes > 32 << 10) cudaFuncSetAttribute(sample_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  sample_kernel<<<1, kThreads, static_cast<std::size_t>(bytes), launch.stream>>>(
      args.logits.data, vocabulary, args.state.data, args.history.data, static_cast<int>(args.history.size),
      args.token.data);
}

}  // namespace krasis::cuda
