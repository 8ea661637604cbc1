#include "kernels/host/operations/scalar.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/host/operations/cache/kv_layout.h"

namespace krasis::scalar {
namespace {

float read_kv(const KvCache& cache, KvPart part, std::int64_t row, int head, int i) {
  const KvPlane& plane = plane_of(cache, part);
  const std::byte* at = plane.values.data + kv_offset(cache, part, row, head, i);
  if (cache.element == KvElement::Bf16) return static_cast<float>(*reinterpret_cast<const bf16*>(at));
  return plane.scales.data[kv_scale(cache, row, head)] * static_cast<float>(*reinterpret_cast<const fp8_e4m3*>(at));
}

}  // namespace

void write_head(const KvCache& cache, KvPart part, std::int64_t row, int head, const bf16* from) {
  if (cache.element == KvElement::Bf16) return kv_write(cache, part, row, head, from);
  float largest = 0.0f;
  bool finite = true;
  for (int i = 0; i < cache.head_dim; ++i) {
    const float magnitude = std::fabs(static_cast<float>(from[i]));
    largest = std::max(largest, magnitude);
    finite = finite && std::isfinite(magnitude);
  }
  float scale = largest / 448.0f;
  if (scale == 0.0f) scale = 1.0f;
  if (!finite) scale = std::numeric_limits<float>::quiet_NaN();
  plane_of(cache, part).scales.data[kv_scale(cache, row, head)] = scale;
  std::vector<fp8_e4m3> codes;
  for (int i = 0; i < cache.head_dim; ++i) codes.push_back(fp8_e4m3(static_cast<float>(from[i]) / scale));
  kv_write(cache, part, row, head, codes.data());
}

template <>
void run(const KvAppendArgs& args) {
  kv_append(args, write_head);
}

void kv_append(const KvAppendArgs& args, WriteHead write) {
  const KvCache& cache = args.cache;
  for (std::size_t s = 0; s < args.batch.sequences.size; ++s) {
    const SequenceSpan& span = args.batch.sequences.data[s];
    for (int t = span.query_begin; t < span.query_begin + span.query_count; ++t) {
      const std::int64_t row = static_cast<std::int64_t>(span.first_slot) + args.batch.positions.data[t];
      if (row < 0 || row >= cache.rows) {
        throw std::out_of_range("KV cache: row " + std::to_string(row) + " of " + std::to_string(cache.rows));
      }
      for (int head = 0; head < cache.heads; ++head) {
        const std::int64_t from = (static_cast<std::int64_t>(t) * cache.heads + head) * cache.head_dim;
        write(cache, KvPart::Keys, row, head, args.k.data + from);
        write(cache, KvPart::Values, row, head, args.v.data + from);
      }
    }
  }
}

namespace {

/// One query head over positions 0..position; `sum` [head_dim] is scratch. The running maximum keeps every exponent at
/// or below 0 (Milakov and Gimelshein 2018, online softmax).
void attend(const AttentionArgs& args, const SequenceSpan& span, int t, int head, float* sum) {
  const KvCache& cache = args.cache;
  const int kv_head = head / (args.heads / cache.heads);
  const std::int64_t at = (static_cast<std::int64_t>(t) * args.heads + head) * cache.head_dim;
  const bf16* q = args.q.data + at;
  float maximum = -std::numeric_limits<float>::infinity();
  float total = 0.0f;
  std::fill_n(sum, cache.head_dim, 0.0f);
  for (std::int64_t p = 0; p <= args.batch.positions.data[t]; ++p) {
    const std::int64_t row = span.first_slot + p;
    float dot = 0.0f;
    for (int i = 0; i < cache.head_dim; ++i) {
      dot += static_cast<float>(q[i]) * read_kv(cache, KvPart::Keys, row, kv_head, i);
    }
    const float score = args.scale * dot;
    if (score > maximum) {
      const float shrink = std::exp(maximum - score);
      for (int i = 0; i < cache.head_dim; ++i) sum[i] *= shrink;
      total *= shrink;
      maximum = score;
    }
    const float weight = std::exp(score - maximum);
    total += weight;
    for (int i = 0; i < cache.head_dim; ++i) sum[i] += weight * read_kv(cache, KvPart::Values, row, kv_head, i);
  }
  for (int i = 0; i < cache.head_dim; ++i) args.out.data[at + i] = bf16(sum[i] / total);
}

}  // namespace

template <>
void run(const AttentionArgs& args) {
  std::vector<float> sum(static_cast<std::size_t>(args.cache.head_dim));
  for (std::size_t s = 0; s < args.batch.sequences.size; ++s) {
    const SequenceSpan& span = args.batch.sequences.data[s];
    for (int t = span.query_begin; t < span.query_begin + span.query_count; ++t) {
      for (int head = 0; head < args.heads; ++head) attend(args, span, t, head, sum.data());
    }
  }
}

}  // namespace krasis::scalar
