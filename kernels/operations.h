#pragma once

#include <vector>

#include "base/glu.h"
#include "base/workspace.h"
#include "kernels/tensor.h"

/// Arguments of the primitive operations. A device enqueues them on a stream (device.h); host/ implements each as the
/// scalar reference and, where that pays, vectorized; cuda/ as kernels. Rounding points are part of the meaning, so
/// that all devices agree: what is stored as BF16 is rounded there and nowhere else; sums are FP32.
///
/// `kName` is the operation's name in traces, messages and tests. `visit` tells a visitor which memory is used, and
/// how:
///   in(parts...)       is read
///   out(parts...)      is overwritten
///   update(parts...)   is read and written
///   scratch(view)      is written and read back by the operation itself; contents undefined before and after
///   in_later(views)    is read, as the list names it when the operation is enqueued or replayed
/// A part is a View, a Matrix, a KvCache (planes and scales as a whole) or a Batch (positions and sequences). What
/// depends on values in device memory is told as the whole. A visitor may replace the parts; the members are its own
/// copy then.
namespace krasis {

/// out[t, :] = table[ids[t], :].  table BF16 [vocabulary, hidden]; an id outside the vocabulary gives zeros.
struct EmbeddingArgs {
  static constexpr const char* kName = "embedding";
  Matrix table;
  View<const std::int32_t> ids;  ///< [tokens]
  View<float> out;               ///< [tokens, hidden], overwritten

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(table, ids);
    visitor.out(out);
  }
};

/// out[t, i] = x[t, i] / sqrt(mean_i(x[t, i]^2) + epsilon) * weight[i]   (RMSNorm, Zhang and Sennrich 2019)
struct RmsNormArgs {
  static constexpr const char* kName = "rms_norm";
  View<const float> x;       ///< [tokens, width]
  View<const bf16> weight;   ///< [width]
  View<bf16> out;            ///< [tokens, width], overwritten
  std::int64_t width = 0;
  float epsilon = 1e-6f;

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(x, weight);
    visitor.out(out);
  }
};

/// The same for BF16 rows in place: each head of q or k by itself (Qwen3's q_norm and k_norm).
struct HeadNormArgs {
  static constexpr const char* kName = "head_norm";
  View<bf16> x;             ///< [tokens * heads, head_dim], updated
  View<const bf16> weight;  ///< [head_dim]
  std::int64_t head_dim = 0;
  float epsilon = 1e-6f;

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(weight);
    visitor.update(x);
  }
};

/// Norm, then gate, row by row (Qwen3-Next's RMSNormGated, behind its linear attention):
///   out[r, i] = bf16(bf16(weight[i] * bf16(x[r, i] / sqrt(mean_i(x[r, i]^2) + epsilon))) * silu(gate[r, i]))
struct GatedNormArgs {
  static constexpr const char* kName = "gated_norm";
  View<const bf16> x;       ///< [rows, width]
  View<const bf16> gate;    ///< [rows, width]
  View<const bf16> weight;  ///< [width]
  View<bf16> out;           ///< [rows, width], overwritten; may be x or gate
  std::int64_t width = 0;
  float epsilon = 1e-6f;

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(x, gate, weight);
    visitor.out(out);
  }
};

/// out[t, o] = sum_i weight[o, i] * x[t, i].  Exactly one of the outputs is given:
/// `out_bf16` and `out_f32` are overwritten, `accumulate` is added to.
struct MatmulArgs {
  static constexpr const char* kName = "matmul";
  View<const bf16> x;  ///< [tokens, columns of weight]
  Matrix weight;       ///< [out, in]
  View<bf16> out_bf16;
  View<float> out_f32;
  View<float> accumulate;
  std::int64_t tokens = 0;

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(x, weight);
    visitor.out(out_bf16, out_f32);
    visitor.update(accumulate);
  }
};

/// out[t, i] = glu(gate[t, i], up[t, i])
struct SwiGluArgs {
  static constexpr const char* kName = "swiglu";
  View<const float> gate;  ///< [tokens, width]
  View<const float> up;    ///< [tokens, width]
  View<bf16> out;          ///< [tokens, width], overwritten
  Glu glu = Glu::SwiGlu;

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(gate, up);
    visitor.out(out);
  }
};

/// Rotary embedding, "rotate half" form (Su et al. 2021; transformers' apply_rotary_pos_emb), in place:
///   a = x[t,h,i], b = x[t,h,i+d/2], angle = positions[t] * inverse_frequency[i]
///   x[t,h,i] = a cos(angle) - b sin(angle);  x[t,h,i+d/2] = b cos(angle) + a sin(angle)
struct RotaryArgs {
  static constexpr const char* kName = "rotary";
  View<bf16> x;                          ///< [tokens, heads, head_dim], updated
  View<const float> inverse_frequency;   ///< [head_dim / 2]
  Batch batch;
  int heads = 0;
  int head_dim = 0;

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(inverse_frequency, batch);
    visitor.update(x);
  }
};

/// Writes k and v of each token to its row (first_slot + position) of the cache, quantized if the cache is. A row
/// outside the cache is an error on the host; a GPU skips it.
struct KvAppendArgs {
  static constexpr const char* kName = "kv_append";
  View<const bf16> k;  ///< [tokens, heads, head_dim], after rotary
  View<const bf16> v;  ///< [tokens, heads, head_dim]
  KvCache cache;
  Batch batch;

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(k, v, batch);
    visitor.out(cache);
  }
};

/// Causal attention with grouped heads: query head h reads cache head h / (heads / cache.heads).
///   out[t,h,:] = sum_{p <= positions[t]} softmax_p(scale * q[t,h,:] . k[p]) v[p], FP32 inside, a running maximum.
struct AttentionArgs {
  static constexpr const char* kName = "attention";
  View<const bf16> q;  ///< [tokens, heads, head_dim]
  KvCache cache;       ///< holds the keys and values of the batch's own tokens, too
  Batch batch;
  View<bf16> out;  ///< [tokens, heads, head_dim], overwritten
  int heads = 0;
  float scale = 1.0f;
  /// Or empty. With attention_workspace_bytes a device may share out the keys of few tokens; with widened_cache_bytes it
  /// may widen an FP8 cache for many tokens.
  View<std::byte> workspace;

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(q, cache, batch);
    visitor.out(out);
    visitor.scratch(workspace);
  }
};

/// softmax over all experts, the k largest (ties: the smaller index), in falling order; divided by their sum if
/// `renormalize` (Qwen3's norm_topk_prob). Experts are ranked by their logits, whose order is that of the softmax
/// without its rounding. A NaN ranks last; where it enters the softmax the weights are NaN, the ids stay valid. A pick
/// beyond `experts` has id -1 and weight 0.
struct RouterArgs {
  static constexpr const char* kName = "router";
  View<const float> logits;       ///< [tokens, experts]
  View<std::int32_t> ids;         ///< [tokens, top_k], overwritten
  View<float> weights;            ///< [tokens, top_k], overwritten
  int experts = 0;
  int top_k = 0;
  bool renormalize = true;

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(logits);
    visitor.out(ids, weights);
  }
};

/// out[t, :] += sum_j weights[t, j] * expert(ids[t, j])(x[t, :]), j in order, only for experts that are here;
/// expert(x) = down(bf16(glu(gate(x), up(x)))). A token none of whose experts is here is neither read nor written.
struct ExpertsArgs {
  static constexpr const char* kName = "experts";
  View<const bf16> x;                  ///< [tokens, hidden]
  View<const std::int32_t> ids;        ///< [tokens, top_k]; an id outside [0, experts) is skipped
  View<const float> weights;           ///< [tokens, top_k]
  View<const std::byte> pool;          ///< where the blocks lie; other memory may lie between them
  View<const std::int64_t> offsets;    ///< [experts]: of the block in `pool`, -1 = not here (someone else computes it)
  ExpertLayout layout;
  int top_k = 0;
  View<float> out;                     ///< [tokens, hidden], added to
  View<std::byte> workspace;           ///< experts_workspace_bytes(tokens, top_k, layout); contents undefined
  Glu glu = Glu::SwiGlu;
  /// For the order checker alone: the blocks that `offsets` will name when the operation runs, looked at whenever it is
  /// enqueued, also by a replay, so it outlives the last one. Null: the whole pool may be read.
  const std::vector<View<const std::byte>>* blocks = nullptr;

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(x, ids, weights, offsets);
    if (blocks) {
      visitor.in_later(*blocks);
    } else {
      visitor.in(pool);
    }
    visitor.update(out);
    visitor.scratch(workspace);
  }
};

/// out[i] += x[i]
struct AddArgs {
  static constexpr const char* kName = "add";
  View<const float> x;
  View<float> out;

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(x);
    visitor.update(out);
  }
};

/// to = from, of equal size
struct CopyArgs {
  View<std::byte> to;
  View<const std::byte> from;
  const char* name = "";
};

/// out[i] = value
struct FillArgs {
  static constexpr const char* kName = "fill";
  View<float> out;
  float value = 0.0f;

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.out(out);
  }
};

/// counts[ids[i]] += 1 for each id in [0, counts.size): the heatmap of expert use.
struct CountExpertsArgs {
  static constexpr const char* kName = "count_experts";
  View<const std::int32_t> ids;
  View<std::int64_t> counts;  ///< [experts], added to

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(ids);
    visitor.update(counts);
  }
};

/// Copies what a short prompt needs of a layer: the block of each expert in `ids` that has a place in `to`, once.
///   to[offsets[e] ...] = from[e * block_bytes ...]
struct GatherExpertsArgs {
  static constexpr const char* kName = "gather_experts";
  View<const std::int32_t> ids;      ///< picks; an id outside [0, experts) is skipped
  View<const std::int64_t> offsets;  ///< [experts]: of the block in `to`, -1 = not copied
  View<const std::byte> from;        ///< [experts, block_bytes]; page-locked host memory
  View<std::byte> to;
  std::size_t block_bytes = 0;       ///< a multiple of 64, as offsets are
  View<std::int64_t> copied;         ///< [1], the number of copied blocks is added to it

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(ids, offsets, from);
    visitor.out(to);
    visitor.update(copied);
  }
};

/// How the next token is chosen; lives in device memory. temperature 0 is greedy (ties: the smaller id).
/// Order, as in transformers and llama.cpp: repetition penalty, temperature, top-k, top-p, min-p, draw.
struct SamplingState {
  float temperature = 0.0f;
  std::int32_t top_k = 0;            ///< 0 = all
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;   ///< logit > 0 ? logit / p : logit * p for every token already in the sequence
  std::uint64_t seed = 0;
  std::int32_t length = 0;           ///< tokens in `history`; also the draw's counter, so equal seeds give equal text
};

/// token = choice from logits; then history[length] = token and length += 1.
struct SampleArgs {
  static constexpr const char* kName = "sample";
  View<const float> logits;        ///< [vocabulary]
  View<SamplingState> state;       ///< [1], updated
  View<std::int32_t> history;      ///< [maximum context], updated
  View<std::int32_t> token;        ///< [1], overwritten

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(logits);
    visitor.update(state, history);
    visitor.out(token);
  }
};

/// Prepares the batch of the next decode step on the device: ids[0] = token, positions[0] += 1.
struct AdvanceArgs {
  static constexpr const char* kName = "advance";
  View<const std::int32_t> token;     ///< [1]
  View<std::int32_t> id;              ///< [1], overwritten
  View<std::int32_t> position;        ///< [1], increased by one

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(token);
    visitor.out(id);
    visitor.update(position);
  }
};

}  // namespace krasis
