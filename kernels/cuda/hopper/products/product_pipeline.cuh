#pragma once

#include <type_traits>

#include "kernels/cuda/hopper/products/packed_rows.cuh"

/// A block's pipeline through shared memory: one warpgroup copies the steps of its items (tokens and packed weights),
/// two others multiply them. The steps of all items form one sequence, so that copies run ahead across items.
namespace krasis::cuda::hopper {

constexpr int kBlockThreads = 3 * kGroupThreads;
constexpr int kMostTileTokens = 128;

template <class Rows>
struct Pipeline {
  static constexpr int kTokenBytes = kMostTileTokens * kStepColumns * 2;
  static constexpr int kStageBytes = kTokenBytes + Rows::kBytes + Rows::kScaleBytes;
  static constexpr int kStages = 220 * 1024 / kStageBytes;
  /// Steps that are started before one is announced. With kStages - 2 no step would wait for the products, and neither
  /// warpgroup could be a step ahead of the other.
  static constexpr int kAhead = kStages > 4 ? kStages - 3 : 1;
  static_assert(kStages >= 3);
  static constexpr int kSharedBytes = 1024 + kStages * kStageBytes + 2 * kStages * 8;

  std::uint8_t* tokens_;
  std::uint8_t* weights_;
  std::uint8_t* scales_;
  std::uint64_t* filled_;
  std::uint64_t* emptied_;

  __device__ explicit Pipeline(std::uint8_t* shared) {
    tokens_ = shared + (1024 - shared_address(shared) % 1024) % 1024;
    weights_ = tokens_ + kStages * kTokenBytes;
    scales_ = weights_ + kStages * Rows::kBytes;
    filled_ = reinterpret_cast<std::uint64_t*>(scales_ + kStages * Rows::kScaleBytes);
    emptied_ = filled_ + kStages;
  }
  /// By one thread, before a barrier of the block.
  __device__ void init() {
    for (int i = 0; i < kStages; ++i) {
      barrier_init(filled_ + i, kGroupThreads);
      barrier_init(emptied_ + i, 2 * kGroupThreads);
    }
    barriers_made();
  }
  __device__ std::uint8_t* tokens(int slot) const { return tokens_ + slot * kTokenBytes; }
  __device__ std::uint8_t* weights(int slot) const { return weights_ + slot * Rows::kBytes; }
  __device__ std::uint16_t* scales(int slot) const {
    return reinterpret_cast<std::uint16_t*>(scales_ + slot * Rows::kScaleBytes);
  }
};

/// A place in the sequence of steps.
template <int kStages>
struct Turn {
  int slot = 0;
  int parity = 0;
  __device__ void next() {
    if (++slot == kStages) {
      slot = 0;
      parity ^= 1;
    }
  }
};

/// The scales of one row of weights, those of a step requested a step ahead. A group has 2^shift times the columns of
/// a scale here.
template <Element kElement, int kCount>
struct ScaleRow {
  const std::uint8_t* scales;
  int groups;
  int shift;
  std::uint32_t ahead[kCount];

  __device__ ScaleRow(const std::uint8_t* from, int count, int by) : scales(from), groups(count), shift(by) {
    request(0);
  }
  __device__ void request(int step) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int group = (step * kCount + i) >> shift;
      ahead[i] = 0;
      if (group >= groups) continue;
      ahead[i] = kElement == Element::Mxfp4 ? __ldg(scales + group)
                                            : __ldg(reinterpret_cast<const std::uint16_t*>(scales) + group);
    }
  }
  /// In BF16.
  __device__ std::uint16_t bits(int i) const {
    const std::uint32_t scale = ahead[i];
    // 2^(e - 127): 2^-127 is a subnormal number, 255 is NaN.
    if constexpr (kElement != Element::Mxfp4) return static_cast<std::uint16_t>(scale);
    return static_cast<std::uint16_t>(scale == 255 ? 0x7fc0 : scale == 0 ? 0x0040 : scale << 7);
  }
};

/// The copying warpgroup. All its threads must call every function.
template <class Rows>
class Copier {
 public:
  using Pipe = Pipeline<Rows>;
  __device__ Copier(const Pipe& pipe) : pipe_(pipe), thread_(static_cast<int>(threadIdx.x) % kGroupThreads) {}

  /// Starts the copies of all steps of an item. item.x(r) and item.weights(r): where row r begins; item.tokens rows of
  /// activations; the others keep what was in shared memory.
  template <class Item>
  __device__ void copy(const Item& item, const WeightShape& shape) {
    const auto* x = reinterpret_cast<const std::uint8_t*>(item.x());
    const std::uint8_t* matrix = item.matrix();
    // Offsets to them stay 32 bits of 16 bytes each.
    asm volatile("" : "+l"(x), "+l"(matrix));
    const int token = thread_ / 16;
    const std::uint32_t row_units = static_cast<std::uint32_t>(shape.columns) / kPiece;
    std::uint32_t x_at[kTokenLoads];
#pragma unroll
    for (int i = 0; i < kTokenLoads; ++i) {
      // Rows after the last one of a started 8 are copies of it.
      x_at[i] = 8 * i < item.tokens ? item.x_row(min(token + 8 * i, item.tokens - 1)) * row_units : 0;
    }
    const int row = thread_ / Rows::kRowChunks;
    std::uint32_t weights_at[Rows::kRowChunks];
#pragma unroll
    for (int i = 0; i < Rows::kRowChunks; ++i) weights_at[i] = item.weight_row(row + kRowsAtOnce * i);
    const int chunk = thread_ % Rows::kRowChunks;
    const int x_chunk = thread_ % 16;
    const int token_to = x_chunk / 8 * (kMostTileTokens * 128) + token * 128 + (x_chunk % 8 ^ token) * 16;
    // Rows loaded at once are a multiple of the 8 after which places repeat.
    const int weights_to = row * Rows::kRowBytes + Rows::chunk_place(row, chunk) * 16;
    ScaleRow<Rows::kFormat, Rows::kScales == 0 ? 1 : Rows::kScales> scales(
        item.scales(thread_), Rows::kScales == 0 ? 0 : shape.groups, Rows::scale_shift(shape));

    const int steps = ceil_div(shape.padded_columns, kStepColumns);
    for (int step = 0; step < steps; ++step) {
      barrier_wait(pipe_.emptied_ + turn_.slot, turn_.parity ^ 1);
      if constexpr (Rows::kScales > 0) {
        std::uint16_t* to = pipe_.scales(turn_.slot) + thread_;
#pragma unroll
        for (int i = 0; i < Rows::kScales; ++i) to[i * kStepRows] = scales.bits(i);
        scales.request(step + 1);
      }
      const bool in_row = step * Rows::kRowBytes + chunk * 16 < shape.row_bytes;
      copy_rows<Rows::kRowChunks, kRowsAtOnce * Rows::kRowBytes>(
          pipe_.weights(turn_.slot) + weights_to, matrix, weights_at,
          in_row ? static_cast<std::uint32_t>(step * Rows::kRowChunks + chunk) : 0, in_row, Rows::kRowChunks);
      const bool in_x = step * kStepColumns + x_chunk * kPiece < shape.columns;
      const std::uint32_t column = in_x ? static_cast<std::uint32_t>(step * 16 + x_chunk) : 0;
      std::uint8_t* tokens = pipe_.tokens(turn_.slot) + token_to;
      if (item.tokens > kMostTileTokens - 8) {
        copy_rows<kTokenLoads, 1024>(tokens, x, x_at, column, in_x, kTokenLoads);
      } else {
        copy_rows<kTokenLoads, 1024>(tokens, x, x_at, column, in_x, ceil_div(item.tokens, 8));
      }
      copy_async_commit();
      turn_.next();
      if (++started_ > Pipe::kAhead) {
        copy_async_wait<Pipe::kAhead>();
        announce();
      }
    }
  }
  /// After the last item.
  __device__ void finish() {
    copy_async_wait<0>();
    for (int i = started_ < Pipe::kAhead ? started_ : Pipe::kAhead; i > 0; --i) announce();
  }

 private:
  static constexpr int kTokenLoads = kMostTileTokens * 16 / kGroupThreads;
  static constexpr int kRowsAtOnce = kGroupThreads / Rows::kRowChunks;

  /// `count` of kMost copies of 16 bytes, kStride bytes from each other; `valid` as for copy_async_16.
  template <int kMost, int kStride>
  __device__ static void copy_rows(std::uint8_t* to, const std::uint8_t* from, const std::uint32_t (&at)[kMost],
                                   std::uint32_t column, bool valid, int count) {
#pragma unroll
    for (int i = 0; i < kMost; ++i) {
      if (i < count) copy_async_16(to + i * kStride, from + std::uint64_t{at[i] + column} * 16, valid);
    }
  }
  /// The oldest step that was not announced is there.
  __device__ void announce() {
    fence_for_products();
    arrive(pipe_.filled_ + announced_.slot);
    announced_.next();
  }
  const Pipe& pipe_;
  int thread_;
  int started_ = 0;
  Turn<Pipe::kStages> turn_, announced_;
};

/// One of the multiplying warpgroups.
template <class Rows>
class Multiplier {
 public:
  using Pipe = Pipeline<Rows>;
  __device__ Multiplier(const Pipe& pipe)
      : pipe_(pipe), row_(static_cast<int>(threadIdx.x) / kWarp * 16 + lane_id() / 4), lane_(lane_id()) {
    // Registers hold them: read anew, or derived from each other, in each step they would cost more.
    asm volatile("" : "+r"(row_), "+r"(lane_));
  }

  /// sums = weights * tokens over `steps` steps, at least one: the lane's row is row(), as in Wgmma.
  template <int kTokens>
  __device__ void multiply(float (&sums)[kTokens / 2], int steps) {
    float group[Rows::kScalesSums ? kTokens / 2 : 1];
#pragma unroll
    for (int i = 0; i < kTokens / 2; ++i) sums[i] = 0.0f;
    typename Rows::Fragments a[2];
    barrier_wait(pipe_.filled_ + turn_.slot, turn_.parity);
    Rows::template unpack<0>(a[0], pipe_.weights(turn_.slot), pipe_.scales(turn_.slot), row_, lane_);
    for (int step = 0; step < steps; ++step) {
      Turn<Pipe::kStages> next = turn_;
      if (step + 1 < steps) next.next();
      parts<kTokens>(sums, group, a, next, std::integral_constant<int, 0>{});
      arrive(pipe_.emptied_ + turn_.slot);
      turn_ = next;
    }
    turn_.next();
  }
  /// Of the block's 128 rows of weights: of the sums d[4j] and d[4j+1]; the others are of row() + 8.
  __device__ int row() const {
    return row_;
  }

 private:
  /// The products of part kAt of a step and those after it, while the next part is unpacked.
  template <int kTokens, int kAt, class Sums, class Group>
  __device__ void parts(Sums& sums, Group& group, typename Rows::Fragments (&a)[2], const Turn<Pipe::kStages>& next,
                        std::integral_constant<int, kAt>) {
    constexpr bool kLast = kAt + 1 == Rows::kParts;
    constexpr int kGroupParts = Rows::kScalesSums ? Rows::kParts / Rows::kScales : Rows::kParts;
    constexpr bool kBegins = Rows::kScalesSums && kAt % kGroupParts == 0;
    constexpr bool kEnds = kAt % kGroupParts == kGroupParts - 1;
    auto& own = a[kAt % 2];
    auto& other = a[(kAt + 1) % 2];
    const std::uint32_t tokens = shared_address(pipe_.tokens(turn_.slot));
    products_fence();
#pragma unroll
    for (int p = 0; p < Rows::kProducts; ++p) {
      const int column = kAt * Rows::kPart + p * 16;
      const std::uint64_t b = operand(tokens + column / 64 * (kMostTileTokens * 128) + column % 64 * 2, 0);
      if constexpr (Rows::kScalesSums) {
        Wgmma<kTokens>::template registers<false>(group, own[p], b, kBegins && p == 0 ? 0 : 1);
      } else {
        Wgmma<kTokens>::template registers<false>(sums, own[p], b, 1);
      }
    }
    products_commit();
    std::uint16_t scale[2] = {};
    if constexpr (Rows::kScalesSums && kEnds) {
      const std::uint16_t* scales = pipe_.scales(turn_.slot) + kAt / kGroupParts * kStepRows + row_;
      scale[0] = scales[0];
      scale[1] = scales[8];
    }
    // The part before is done, so its registers are free.
    products_wait<1>();
    keep_here(other);
    if constexpr (kLast) {
      barrier_wait(pipe_.filled_ + next.slot, next.parity);
      Rows::template unpack<0>(other, pipe_.weights(next.slot), pipe_.scales(next.slot), row_, lane_);
    } else {
      Rows::template unpack<kAt + 1>(other, pipe_.weights(turn_.slot), pipe_.scales(turn_.slot), row_, lane_);
    }
    keep_here(other);  // unpacked before the wait, not after it
    if constexpr (kEnds) {
      products_wait<0>();
      keep_here(own);
      if constexpr (Rows::kScalesSums) {
        keep_here(group);
        const float first = __uint_as_float(static_cast<std::uint32_t>(scale[0]) << 16);
        const float second = __uint_as_float(static_cast<std::uint32_t>(scale[1]) << 16);
#pragma unroll
        for (int i = 0; i < kTokens / 2; ++i) sums[i] += (i % 4 < 2 ? first : second) * group[i];
      } else {
        keep_here(sums);
      }
    }
    if constexpr (!kLast) parts<kTokens>(sums, group, a, next, std::integral_constant<int, kAt + 1>{});
  }

  const Pipe& pipe_;
  int row_;
  int lane_;
  Turn<Pipe::kStages> turn_;
};

}  // namespace krasis::cuda::hopper
