#pragma once

#include "kernels/cuda/hopper/attention/flash_tile.cuh"

/// A multiplying warpgroup: 64 rows of each tile. While it makes weights from the scores of one key tile, the products
/// of the weights before and their values are under way.
namespace krasis::cuda::flash {

/// 2^x to 2 ulp; what would be below 2^-126 is 0.
__device__ inline float exp2_flushed(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

template <class S>
class Take {
 public:
  using Shared = typename S::Shared;
  using Scores = Wgmma<S::kKeys>;
  using Values = Wgmma<S::kD>;

  __device__ Take(const Job& job, Shared& shared)
      : job_(job),
        shared_(shared),
        // Known to be the same in all lanes, so that operands' places need no registers of lanes.
        group_(__shfl_sync(kAllLanes, static_cast<int>(threadIdx.x) / kGroupThreads - 1, 0)),
        factor_(job.scale * kLog2E) {}

  __device__ void run() {
    if constexpr (S::kInTurn) {
      if (group_ == S::kGroups - 1) announce<2 * kGroupThreads>(1);  // the first one may begin
    }
    Tiles<S> tiles;
    Tile tile;
    while (tiles.next(job_, tile)) attend(tile);
    if constexpr (S::kInTurn) {
      if (group_ == 0) meet<2 * kGroupThreads>(1);
    }
  }

 private:
  __device__ void attend(const Tile& tile) {
    const int g = lane_id() / 4;
    row_ = group_ * 64 + warp_id() % (kGroupThreads / kWarp) * 16 + g;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      // What rows beyond the last one make is not stored.
      const int row = min(row_ + 8 * r, tile.row_count - 1);
      position_[r] = __ldg(job_.batch.positions + tile.token(job_, row));
      maximum_[r] = -INFINITY;
      total_[r] = 0.0f;
    }
#pragma unroll
    for (float& sum : sums_) sum = 0.0f;

    barrier_wait(&shared_.queries_filled, query_parity_);
    query_parity_ ^= 1;
    int slot = wait_for_plane();
    begin_turn();
    multiply_keys(slot);
    end_turn();
    products_wait<0>();
    keep_here(scores_);
    arrive(shared_.emptied + slot);
    if (tile.count == 1) arrive(&shared_.queries_emptied);
    weigh(0, tile.first_hidden < S::kKeys);
    pack();
#pragma unroll 1
    for (int i = 1; i < tile.count; ++i) {
      const int keys = wait_for_plane();
      begin_turn();
      multiply_keys(keys);
      const int values = wait_for_plane();
      multiply_values(values);
      end_turn();
      products_wait<1>();
      keep_here(scores_);
      arrive(shared_.emptied + keys);
      if (i + 1 == tile.count) arrive(&shared_.queries_emptied);
      weigh(i * S::kKeys, (i + 1) * S::kKeys > tile.first_hidden);
      // The assembler would move the wait before the softmax, if nothing that looks at memory depended on all weights.
      if (total_[0] < 0.0f || total_[1] < 0.0f) shared_.never = 1;
      products_wait<0>();
      keep_here(sums_);
      keep_here(weights_);
      arrive(shared_.emptied + values);
      rescale();
      pack();
    }
    slot = wait_for_plane();
    multiply_values(slot);
    products_wait<0>();
    keep_here(sums_);
    arrive(shared_.emptied + slot);
    store(tile);
  }

  __device__ int wait_for_plane() {
    const int slot = turn_.slot;
    barrier_wait(shared_.filled + slot, turn_.parity);
    turn_.next();
    return slot;
  }
  /// Between these, a warpgroup issues products and no other does.
  __device__ void begin_turn() const {
    if constexpr (S::kInTurn) meet<2 * kGroupThreads>(1 + group_);
  }
  __device__ void end_turn() const {
    if constexpr (S::kInTurn) announce<2 * kGroupThreads>(1 + (group_ + 1) % S::kGroups);
  }

  /// scores = queries * keys
  __device__ void multiply_keys(int slot) {
    const std::uint64_t queries = operand(shared_address(shared_.queries) + group_ * (64 * 128), 0);
    const std::uint64_t keys = operand(shared_address(shared_.planes[slot]), 0);
    products_fence();
#pragma unroll
    for (int c = 0; c < S::kD / 16; ++c) {
      Scores::shared(scores_, further(queries, c / 4 * S::kQueryHalfBytes + c % 4 * 32),
                     further(keys, c / 4 * S::kHalfBytes + c % 4 * 32), c > 0);
    }
    products_commit();
  }
  /// sums += weights * values
  __device__ void multiply_values(int slot) {
    const std::uint64_t values = operand(shared_address(shared_.planes[slot]), S::kHalfBytes);
    keep_here(weights_);
    products_fence();
#pragma unroll
    for (int k = 0; k < S::kKeys / 16; ++k)
      Values::template registers<true>(sums_, weights_[k], further(values, k * (16 * 128)), 1);
    products_commit();
  }

  /// scores -> weights, by the running maximum (Milakov and Gimelshein 2018). first: position of the first key.
  /// masked: some row does not see all keys.
  __device__ void weigh(int first, bool masked) {
    const int t = lane_id() % 4;
    if (masked) {
#pragma unroll
      for (int i = 0; i < S::kKeys / 2; ++i) {
        const int last = position_[i / 2 % 2] - first - 2 * t;
        if (i / 4 * 8 + i % 2 > last) scores_[i] = -INFINITY;
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float largest[2] = {maximum_[r], scores_[2 * r]};
#pragma unroll
      for (int j = 0; j < S::kKeys / 8; ++j) {
        largest[0] = fmaxf(largest[0], scores_[4 * j + 2 * r]);
        largest[1] = fmaxf(largest[1], scores_[4 * j + 2 * r + 1]);
      }
      float most = fmaxf(largest[0], largest[1]);
      most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, 1));
      most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, 2));
      const float base = -most * factor_;
      shrink_[r] = exp2_flushed(fmaf(maximum_[r], factor_, base));
      maximum_[r] = most;
      float sum[2] = {total_[r] * shrink_[r], 0.0f};
#pragma unroll
      for (int j = 0; j < S::kKeys / 8; ++j) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = scores_[4 * j + 2 * r + i];
          score = exp2_flushed(fmaf(score, factor_, base));
          sum[i] += score;
        }
      }
      total_[r] = sum[0] + sum[1];
    }
  }
  /// The sums so far at the new maximum; in most tiles it is the old one.
  __device__ void rescale() {
    if (!__any_sync(kAllLanes, shrink_[0] != 1.0f || shrink_[1] != 1.0f)) return;
#pragma unroll
    for (int i = 0; i < S::kD / 2; ++i) sums_[i] *= shrink_[i / 2 % 2];
  }
  /// A weight's place among the scores is its place in the first operand.
  __device__ void pack() {
#pragma unroll
    for (int k = 0; k < S::kKeys / 16; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float first = scores_[8 * k + 2 * i], second = scores_[8 * k + 2 * i + 1];
        weights_[k][i] = to_pair(first, second);
      }
    }
  }

  /// out = sums / total. The 4 lanes of a row exchange pairs, so that each stores 16 bytes.
  __device__ void store(const Tile& tile) {
    const int t = lane_id() % 4;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float total = total_[r];
      total += __shfl_xor_sync(kAllLanes, total, 1);
      total += __shfl_xor_sync(kAllLanes, total, 2);
      const float factor = 1.0f / total;
      const int row = row_ + 8 * r;
      const bool valid = row < tile.row_count;
      __nv_bfloat16* out = job_.out + (valid ? tile.line(job_, row) * S::kD : 0);
#pragma unroll
      for (int c = 0; c < S::kD / 32; ++c) {
        std::uint32_t w[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          w[i] = to_pair(sums_[16 * c + 4 * i + 2 * r] * factor, sums_[16 * c + 4 * i + 2 * r + 1] * factor);
        }
        exchange<1>(w[0], w[1], t & 1);
        exchange<1>(w[2], w[3], t & 1);
        exchange<2>(w[0], w[2], t & 2);
        exchange<2>(w[1], w[3], t & 2);
        if (valid) *reinterpret_cast<uint4*>(out + c * 32 + t * 8) = make_uint4(w[0], w[1], w[2], w[3]);
      }
    }
  }
  /// Lanes whose ids differ in kBit: the lower one gives b for the upper one's a.
  template <int kBit>
  __device__ static void exchange(std::uint32_t& a, std::uint32_t& b, bool upper) {
    const std::uint32_t got = __shfl_xor_sync(kAllLanes, upper ? a : b, kBit);
    (upper ? a : b) = got;
  }

  const Job& job_;
  Shared& shared_;
  int group_;
  float factor_;
  int row_ = 0;
  int query_parity_ = 0;
  Turn<S::kSlots> turn_;
  float sums_[S::kD / 2];
  float scores_[S::kKeys / 2];
  std::uint32_t weights_[S::kKeys / 16][4];
  float maximum_[2], total_[2], shrink_[2];
  int position_[2];
};

}  // namespace krasis::cuda::flash
