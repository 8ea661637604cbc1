#include <cooperative_groups.h>

#include "kernels/cuda/operations/overlap.cuh"
#include "kernels/cuda/operations/sampling/cluster.h"
#include "kernels/cuda/operations/sampling/rank.cuh"
#include "kernels/host/operations/sampling/sampling.h"

/// The next token (kernels/host/operations/sampling/sampling.h) by a cluster of 16 multiprocessors, which hold all
/// logits in registers and meet in each other's shared memory.
///
/// Weights are summed in fixed point (44 bits behind the point: rounding moves a sum by less than 2^-28 of the largest
/// weight), so no sum depends on an order and equal seeds give equal tokens. top-k and top-p look for the candidate at
/// which a running count or sum reaches a bound: a histogram over the distance from the largest logit leaves some
/// hundred candidates of one bin, which one block compares with each other; should more than kListed share a bin, bins
/// by the digits of their rank follow.
namespace krasis::cuda {
namespace {

namespace cg = cooperative_groups;
using Fixed = unsigned long long;

constexpr unsigned kBlocks = 16;  ///< 8 is what every GPU offers; more must be allowed (sample_cluster)
constexpr int kThreads = 1024;

// Older GPUs have no clusters: for them the kernel is empty, and sample_cluster() does not choose it.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

constexpr int kWarps = kThreads / kWarp;
constexpr int kBins = 512;
constexpr int kDigitBits = 9;
constexpr int kListed = 1024;
static_assert(kRankBits % kDigitBits == 0 && 1 << kDigitBits == kBins);
constexpr float kBinsPerUnit = 16.0f;
constexpr float kOne = 17592186044416.0f;  // 2^44

struct Shared {
  Fixed exchange[2][kBlocks];
  Fixed warp_values[kWarps];
  uint4 bins[kBins];  ///< count; the sum of weights by 16 bits each, since 64 bits have no fast atomic addition here
  int warp_counts[kWarps];
  // Of the list, in block 0
  Rank listed_rank[kListed];
  Fixed listed_weight[kListed];
  int listed;
  // What a search found, the same in all blocks
  int bin, count_before, count_in;
  Fixed sum_before;
  Rank lowest;
  Fixed kept_sum;
  // Of the draw
  int entry;
  Fixed before_entry;
  unsigned seen[16 * kThreads / 32];
};

template <class T>
__device__ T warp_inclusive(T value) {
#pragma unroll
  for (int step = 1; step < kWarp; step *= 2) {
    const T other = __shfl_up_sync(kAllLanes, value, step);
    if (lane_id() >= step) value += other;
  }
  return value;
}

/// kEach: logits of a thread. Its ids are first_id + i * kThreads.
template <int kEach>
struct Sampler {
  cg::cluster_group cluster;
  Shared& shared;
  int first_id;
  int phase = 0;
  float logit[kEach];  ///< penalized, then divided by the temperature; NaN where there is none
  float largest = 0.0f;

  __device__ int id_at(int i) const { return first_id + i * kThreads; }
  __device__ Fixed fixed(float weight) const { return __float2ull_rn(weight * kOne); }
  __device__ int bin_at(int i) const { return min(kBins - 1, static_cast<int>((largest - logit[i]) * kBinsPerUnit)); }

  /// The blocks' values in their order, in every thread of every block.
  __device__ const Fixed* exchange(Fixed value) {
    Fixed* slots = shared.exchange[phase];
    phase ^= 1;
    if (threadIdx.x < kBlocks) *cluster.map_shared_rank(slots + cluster.block_rank(), threadIdx.x) = value;
    cluster.sync();
    return slots;
  }

  __device__ Rank best_rank() {
    Rank best = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const Rank rank = isnan(logit[i]) ? 0 : rank_of(logit[i], id_at(i));
      best = rank > best ? rank : best;
    }
    const Fixed* all = exchange(block_max(best, shared.warp_values));
    for (unsigned b = 0; b < kBlocks; ++b) best = all[b] > best ? all[b] : best;
    return best;
  }

  /// A bin of the histogram after the running sums of all before it; threads 0 .. kBins - 1 have one.
  struct Bin {
    int count = 0, count_after = 0;
    Fixed sum = 0, sum_after = 0;
  };
  /// The histogram of the members by `bin(i)`, of which 0 ranks first.
  template <class IsMember, class BinOf>
  __device__ Bin histogram(IsMember is_member, BinOf bin_of) {
    const int thread = static_cast<int>(threadIdx.x);
    if (thread < kBins) shared.bins[thread] = make_uint4(0, 0, 0, 0);
    if (thread == 0) shared.listed = 0;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      if (!is_candidate(logit[i]) || !is_member(i)) continue;
      uint4& bin = shared.bins[bin_of(i)];
      const Fixed weight = fixed(weight_of(logit[i], largest));
      atomicAdd(&bin.x, 1u);
      if (weight == 0) continue;
      atomicAdd(&bin.y, static_cast<unsigned>(weight) & 0xffffu);
      atomicAdd(&bin.z, static_cast<unsigned>(weight >> 16) & 0xffffu);
      atomicAdd(&bin.w, static_cast<unsigned>(weight >> 32));
    }
    cluster.sync();
    Bin bin;
    if (thread < kBins) {
#pragma unroll
      for (unsigned b = 0; b < kBlocks; ++b) {
        const uint4 part = *cluster.map_shared_rank(&shared.bins[thread], b);
        bin.count += static_cast<int>(part.x);
        bin.sum += part.y + (static_cast<Fixed>(part.z) << 16) + (static_cast<Fixed>(part.w) << 32);
      }
    }
    bin.count_after = warp_inclusive(bin.count);
    bin.sum_after = warp_inclusive(bin.sum);
    if (lane_id() == kWarp - 1) {
      shared.warp_counts[warp_id()] = bin.count_after;
      shared.warp_values[warp_id()] = bin.sum_after;
    }
    cluster.sync();  // also: nobody reads these bins any longer
    for (int w = 0; w < kWarps; ++w) {
      if (w >= warp_id()) break;
      bin.count_after += shared.warp_counts[w];
      bin.sum_after += shared.warp_values[w];
    }
    return bin;
  }

  /// Notes the bin in which the running count (by_count) or sum reaches `wanted`, counted on from what came before.
  __device__ void locate(const Bin& bin, bool by_count, Fixed wanted, int count_base, Fixed sum_base) {
    const Fixed after = by_count ? static_cast<Fixed>(count_base + bin.count_after) : sum_base + bin.sum_after;
    const Fixed before = after - (by_count ? static_cast<Fixed>(bin.count) : bin.sum);
    __syncthreads();
    if (threadIdx.x < kBins && bin.count > 0 && before < wanted && after >= wanted) {
      shared.bin = static_cast<int>(threadIdx.x);
      shared.count_in = bin.count;
      shared.count_before = count_base + bin.count_after - bin.count;
      shared.sum_before = sum_base + bin.sum_after - bin.sum;
    }
    __syncthreads();
  }

  /// The rank at which the running count or sum reaches `wanted`, which it does; also notes the sum up to there.
  /// `first`: the histogram of all candidates by their distance from the largest.
  __device__ Rank reaching(const Bin& first, bool by_count, Fixed wanted) {
    locate(first, by_count, wanted, 0, 0);
    const int outer = shared.bin;
    Rank prefix = 0;
    int shift = kRankBits;
    const auto is_member = [&](int i) {
      return bin_at(i) == outer && (shift == kRankBits || rank_of(logit[i], id_at(i)) >> shift == prefix);
    };
    while (shared.count_in > kListed) {
      const int count_base = shared.count_before;
      const Fixed sum_base = shared.sum_before;
      const Bin bin = histogram(is_member, [&](int i) {
        const Rank digit = rank_of(logit[i], id_at(i)) >> (shift - kDigitBits);
        return kBins - 1 - static_cast<int>(digit & (kBins - 1));
      });
      locate(bin, by_count, wanted, count_base, sum_base);
      shift -= kDigitBits;
      prefix = prefix << kDigitBits | static_cast<Rank>(kBins - 1 - shared.bin);
    }
    // The members to block 0's list, in any order.
    if (threadIdx.x == 0 && cluster.block_rank() == 0) shared.listed = 0;
    cluster.sync();
    int* listed = cluster.map_shared_rank(&shared.listed, 0);
    Rank* ranks = cluster.map_shared_rank(shared.listed_rank, 0);
    Fixed* weights = cluster.map_shared_rank(shared.listed_weight, 0);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      if (!is_candidate(logit[i]) || !is_member(i)) continue;
      const int at = atomicAdd(listed, 1);
      ranks[at] = rank_of(logit[i], id_at(i));
      weights[at] = fixed(weight_of(logit[i], largest));
    }
    cluster.sync();
    if (cluster.block_rank() == 0 && static_cast<int>(threadIdx.x) < shared.count_in) {
      const Rank own = shared.listed_rank[threadIdx.x];
      const Fixed weight = shared.listed_weight[threadIdx.x];
      Fixed count = static_cast<Fixed>(shared.count_before), sum = shared.sum_before;
      for (int k = 0; k < shared.count_in; ++k) {
        if (shared.listed_rank[k] <= own) continue;
        ++count;
        sum += shared.listed_weight[k];
      }
      const Fixed before = by_count ? count : sum;
      const Fixed after = by_count ? count + 1 : sum + weight;
      if (before < wanted && after >= wanted) {
        for (unsigned b = 0; b < kBlocks; ++b) {
          *cluster.map_shared_rank(&shared.lowest, b) = own;
          *cluster.map_shared_rank(&shared.kept_sum, b) = sum + weight;
        }
      }
    }
    cluster.sync();
    return shared.lowest;
  }

  /// The token that u in [0, 1) draws among those of rank >= lowest and weight >= min_weight; -1 in all threads but one
  /// of the cluster.
  __device__ int draw(Rank lowest, float min_weight, double u) {
    Fixed kept[kEach];
    Fixed sum = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      kept[i] = 0;
      if (!is_candidate(logit[i]) || rank_of(logit[i], id_at(i)) < lowest) continue;
      const float weight = weight_of(logit[i], largest);
      if (!(weight < min_weight)) kept[i] = fixed(weight);
      sum += kept[i];
    }
    const Fixed* sums = exchange(block_sum(sum, shared.warp_values));
    Fixed total = 0, before = 0;
    for (unsigned b = 0; b < kBlocks; ++b) {
      if (b == cluster.block_rank()) before = total;
      total += sums[b];
    }
    // The running sum, an integer, exceeds u * total where it exceeds the integer below.
    Fixed target = static_cast<Fixed>(u * static_cast<double>(total));
    target = target < total ? target : total - 1;
    if (target < before || target - before >= sums[cluster.block_rank()]) return -1;  // the whole block
    target -= before;

    // In the order of the ids: entries of 32 neighbouring ids, i outside and warps inside.
    Fixed* entries = shared.listed_weight;
    static_assert(kEach * kWarps <= kListed);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const Fixed of_warp = warp_sum(kept[i]);
      if (lane_id() == 0) entries[i * kWarps + warp_id()] = of_warp;
    }
    __syncthreads();
    const int thread = static_cast<int>(threadIdx.x);
    const Fixed own = thread < kEach * kWarps ? entries[thread] : 0;
    Fixed after = warp_inclusive(own);
    if (lane_id() == kWarp - 1) shared.warp_values[warp_id()] = after;
    __syncthreads();
    for (int w = 0; w < kWarps; ++w) {
      if (w >= warp_id()) break;
      after += shared.warp_values[w];
    }
    if (after > target && after - own <= target) {
      shared.entry = thread;
      shared.before_entry = after - own;
    }
    __syncthreads();
    if (warp_id() != shared.entry % kWarps) return -1;
    Fixed weight = 0;
    int id = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      if (i == shared.entry / kWarps) weight = kept[i], id = id_at(i);
    }
    const Fixed running = shared.before_entry + warp_inclusive(weight);
    return running > target && running - weight <= target ? id : -1;
  }
};

#endif

template <int kEach>
__global__ void __launch_bounds__(kThreads, 1)
    sample_cluster_kernel(const float* given, int vocabulary, SamplingState* state_at, std::int32_t* history,
                          int history_size, std::int32_t* token_at) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  __shared__ Shared shared;
  const cg::cluster_group cluster = cg::this_cluster();
  const int first = static_cast<int>(cluster.block_rank()) * (kEach * kThreads);
  Sampler<kEach> sampler{cluster, shared, first + static_cast<int>(threadIdx.x)};
  wait_for_predecessor();
  const SamplingState state = *state_at;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int id = sampler.id_at(i);
    sampler.logit[i] = id < vocabulary ? given[id] : NAN;
  }
  if (state.repetition_penalty != 1.0f) {
    for (int i = static_cast<int>(threadIdx.x); i < kEach * kThreads / 32; i += kThreads) shared.seen[i] = 0;
    __syncthreads();
    const int length = min(max(state.length, 0), history_size);
    for (int i = static_cast<int>(threadIdx.x); i < length; i += kThreads) {
      const int at = history[i] - first;
      if (history[i] >= 0 && at >= 0 && at < kEach * kThreads) atomicOr(&shared.seen[at / 32], 1u << (at % 32));
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int at = sampler.id_at(i) - first;
      float& logit = sampler.logit[i];
      if (!(shared.seen[at / 32] >> (at % 32) & 1u)) continue;
      logit = logit > 0.0f ? logit / state.repetition_penalty : logit * state.repetition_penalty;
    }
  }
  // All blocks have read the state by the end of the exchange.
  const Rank best = sampler.best_rank();
  int token = -1;
  bool greedy = !(state.temperature > 0.0f) || state.top_k == 1 || best == 0;
  if (!greedy) {
    const unsigned bits = static_cast<unsigned>(best >> kIdBits);
    sampler.largest = __uint_as_float(bits & 0x80000000u ? bits ^ 0x80000000u : ~bits) / state.temperature;
    greedy = !is_candidate(sampler.largest);
  }
  if (greedy) {
    if (cluster.block_rank() == 0 && threadIdx.x == 0) token = id_of(best);
  } else {
#pragma unroll
    for (int i = 0; i < kEach; ++i) sampler.logit[i] /= state.temperature;
    Rank lowest = 0;
    if ((state.top_k > 0 && state.top_k < vocabulary) || state.top_p < 1.0f) {
      const auto bins = sampler.histogram([](int) { return true; }, [&](int i) { return sampler.bin_at(i); });
      if (threadIdx.x == kBins - 1) {
        shared.count_in = bins.count_after;
        shared.kept_sum = bins.sum_after;
      }
      __syncthreads();
      const int candidates = shared.count_in;
      __syncthreads();
      if (state.top_k > 0 && state.top_k < candidates) {
        lowest = sampler.reaching(bins, true, static_cast<Fixed>(state.top_k));
      }
      if (state.top_p < 1.0f) {
        const double wanted = ceil(static_cast<double>(state.top_p) * static_cast<double>(shared.kept_sum));
        const Fixed at_most = shared.kept_sum;
        Fixed sum = wanted > 1.0 ? static_cast<Fixed>(wanted) : 1;
        sum = sum < at_most ? sum : at_most;
        __syncthreads();
        const Rank reached = sampler.reaching(bins, false, sum);
        lowest = reached > lowest ? reached : lowest;
      }
    }
    token = sampler.draw(lowest, fminf(state.min_p, 1.0f),
                         uniform_draw(state.seed, static_cast<std::uint64_t>(state.length)));
  }
  if (token < 0) return;
  *token_at = token;
  if (state.length >= 0 && state.length < history_size) history[state.length] = token;
  state_at->length = state.length + 1;
#endif
}

}  // namespace

bool sample_cluster(const Launch& launch, const SampleArgs& args) {
  const auto vocabulary = static_cast<std::int64_t>(args.logits.size);
  constexpr std::int64_t kPerLogit = std::int64_t{kBlocks} * kThreads;
  if (launch.compute_major < 9 || vocabulary > 16 * kPerLogit) return false;
  const auto kernel = vocabulary <= 10 * kPerLogit ? sample_cluster_kernel<10> : sample_cluster_kernel<16>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim.x = kBlocks;
  attributes[0].val.clusterDim.y = attributes[0].val.clusterDim.z = 1;
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(kBlocks);
  config.blockDim = dim3(kThreads);
  config.stream = launch.stream;
  config.attrs = attributes;
  config.numAttrs = 2;
  (void)cudaLaunchKernelEx(&config, kernel, args.logits.data, static_cast<int>(vocabulary), args.state.data,
                           args.history.data, static_cast<int>(args.history.size), args.token.data);
  return true;
}

}  // namespace krasis::cuda
