#ifdef KRASIS_HAVE_AVX2
#include <cpuid.h>
#endif
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/host/operations/cache/fp8.h"
#include "kernels/host/operations/matmul/tiles.h"
#include "kernels/host/operations/operations.h"
#include "kernels/host/operations/scalar.h"
#include "kernels/host/operations/threads/parallel.h"
#include "kernels/host/operations/vectorized_features.h"

namespace krasis {
namespace simd {

namespace {

/// Elements of an elementwise operation that one unit of work has.
constexpr std::int64_t kChunk = 16384;

/// Runs body(begin, count) for chunks of [0, size).
template <class Body>
void parallel_chunks(std::size_t size, const Body& body) {
  const auto total = static_cast<std::int64_t>(size);
  parallel_units(tiles(total, kChunk), total,
                 [&](std::int64_t chunk) { body(chunk * kChunk, std::min(kChunk, total - chunk * kChunk)); });
}

void rms_norm(const Kernels& k, const RmsNormArgs& args) {
  const auto size = static_cast<std::int64_t>(args.x.size);
  parallel_units(size / args.width, size, [&](std::int64_t t) {
    k.rms_norm(args.x.data + t * args.width, args.weight.data, args.width, args.epsilon,
               args.out.data + t * args.width);
  });
}

void head_norm(const Kernels& k, const HeadNormArgs& args) {
  const auto size = static_cast<std::int64_t>(args.x.size);
  parallel_units(size / args.head_dim, size, [&](std::int64_t row) {
    k.head_norm(args.x.data + row * args.head_dim, args.weight.data, args.head_dim, args.epsilon);
  });
}

void gated_norm(const Kernels& k, const GatedNormArgs& args) {
  const auto size = static_cast<std::int64_t>(args.x.size);
  parallel_units(size / args.width, size, [&](std::int64_t row) {
    const std::int64_t at = row * args.width;
    k.gated_norm(args.x.data + at, args.gate.data + at, args.weight.data, args.width, args.epsilon, args.out.data + at);
  });
}

void swiglu(const Kernels& k, const SwiGluArgs& args) {
  const auto glu = args.glu == Glu::SwiGlu ? k.swiglu : k.clamped_swiglu;
  parallel_chunks(args.out.size, [&](std::int64_t begin, std::int64_t count) {
    glu(args.gate.data + begin, args.up.data + begin, count, args.out.data + begin);
  });
}

/// Cosines, then sines, of position * inverse_frequency [half]. Kept: q and k of all layers need those of one token.
const float* angles_of(std::int32_t position, const float* inverse_frequency, int half) {
  struct Kept {
    std::int32_t position = 0;
    std::vector<float> inverse_frequency, angles;
  };
  thread_local Kept kept;
  const bool same = kept.position == position && kept.inverse_frequency.size() == static_cast<std::size_t>(half) &&
                    std::equal(inverse_frequency, inverse_frequency + half, kept.inverse_frequency.begin());
  if (same) return kept.angles.data();
  kept.position = position;
  kept.inverse_frequency.assign(inverse_frequency, inverse_frequency + half);
  kept.angles.resize(static_cast<std::size_t>(2 * half));
  for (int i = 0; i < half; ++i) {
    const float angle = static_cast<float>(position) * inverse_frequency[i];
    kept.angles[static_cast<std::size_t>(i)] = std::cos(angle);
    kept.angles[static_cast<std::size_t>(half + i)] = std::sin(angle);
  }
  return kept.angles.data();
}

void rotary(const Kernels& k, const RotaryArgs& args) {
  const std::int64_t token_size = static_cast<std::int64_t>(args.heads) * args.head_dim;
  const int half = args.head_dim / 2;
  parallel_units(args.batch.tokens, token_size * args.batch.tokens, [&](std::int64_t t) {
    const float* angles = angles_of(args.batch.positions.data[t], args.inverse_frequency.data, half);
    for (int h = 0; h < args.heads; ++h) {
      k.rotate(args.x.data + t * token_size + static_cast<std::int64_t>(h) * args.head_dim, angles, angles + half,
               half);
    }
  });
}

/// One token's picks: as the reference, but in one pass over the logits.
void route(const Kernels& k, const RouterArgs& args, const float* logits, std::int32_t* ids, float* weights) {
  const auto ranks_before = [&](std::int32_t a, std::int32_t b) {  // NaN last, of equals the first
    if (std::isnan(logits[a]) != std::isnan(logits[b])) return std::isnan(logits[b]);
    return logits[a] != logits[b] && !std::isnan(logits[a]) ? logits[a] > logits[b] : a < b;
  };
  const int picks = std::min(args.top_k, args.experts);
  for (int e = 0; e < args.experts; ++e) {
    int j = std::min(e, picks);
    if (j == picks) {
      if (logits[e] <= logits[ids[--j]] || !ranks_before(e, ids[j])) continue;
    }
    for (; j > 0 && ranks_before(e, ids[j - 1]); --j) ids[j] = ids[j - 1];
    ids[j] = e;
  }
  thread_local std::vector<float> scores;
  scores.assign(logits, logits + args.experts);
  float maximum = logits[ids[0]], total = 0.0f, kept = 0.0f;
  k.softmax_step(scores.data(), args.experts, 1.0f, &maximum, &total);
  for (int j = 0; j < args.top_k; ++j) {
    if (j >= picks) ids[j] = -1;
    weights[j] = j < picks ? scores[static_cast<std::size_t>(ids[j])] / total : 0.0f;
    kept += weights[j];
  }
  if (!args.renormalize) return;
  for (int j = 0; j < args.top_k; ++j) weights[j] /= kept;
}

void router(const Kernels& k, const RouterArgs& args) {
  const auto tokens = static_cast<std::int64_t>(args.logits.size) / args.experts;
  parallel_units(tokens, tokens * args.experts * 8, [&](std::int64_t t) {
    route(k, args, args.logits.data + t * args.experts, args.ids.data + t * args.top_k,
          args.weights.data + t * args.top_k);
  });
}

#ifdef KRASIS_HAVE_AVX2
void write_head(const KvCache& cache, KvPart part, std::int64_t row, int head, const bf16* from) {
  if (cache.element != KvElement::Fp8) return scalar::write_head(cache, part, row, head, from);
  thread_local std::vector<std::uint8_t> codes;
  codes.resize(static_cast<std::size_t>(cache.head_dim));
  plane_of(cache, part).scales.data[kv_scale(cache, row, head)] = narrow_fp8_avx2(from, cache.head_dim, codes.data());
  kv_write(cache, part, row, head, codes.data());
}
#endif

void add(const Kernels& k, const AddArgs& args) {
  parallel_chunks(args.out.size, [&](std::int64_t begin, std::int64_t count) {
    k.add(args.x.data + begin, count, args.out.data + begin);
  });
}

#ifdef KRASIS_HAVE_AVX2

/// Only products with few tokens gain from AVX-512: the rest waits for memory or is too little to matter.
template <const RowKernels& (*rows)()>
const Kernels& kernels_with() {
  static const Kernels table = [] {
    Kernels k = avx2_kernels();
    k.level = rows().level;
    k.rows = &rows();
    if (rows == amx_rows) k.attend = attend_amx;
    return k;
  }();
  return table;
}

/// The operations with one table of kernels.
template <const Kernels& (*table)()>
HostOperations operations_with() {
  HostOperations set = scalar_operations();  // what only moves data, and sampling, stays
  if (table().attend) {
    set.kv_layout = [](int heads, int kv_heads, int head_dim) {
      return HeadKeys::fits(heads, kv_heads, head_dim) ? KvLayout::Tiles : KvLayout::Rows;
    };
  }
  set.set<RmsNormArgs>([](const RmsNormArgs& args) { rms_norm(table(), args); });
  set.set<HeadNormArgs>([](const HeadNormArgs& args) { head_norm(table(), args); });
  set.set<MatmulArgs>([](const MatmulArgs& args) { is_vectorized(args) ? matmul(table(), args) : scalar::run(args); });
  set.set<MatmulsArgs>([](const MatmulsArgs& args) {
    if (std::ranges::all_of(args.all(), is_vectorized<MatmulArgs>)) return matmuls(table(), args.all());
    args.expand([](const MatmulArgs& product) { scalar::run(product); });
  });
  set.set<GatedNormArgs>([](const GatedNormArgs& args) { gated_norm(table(), args); });
  set.set<SwiGluArgs>([](const SwiGluArgs& args) { swiglu(table(), args); });
  set.set<RotaryArgs>([](const RotaryArgs& args) { rotary(table(), args); });
  set.set<KvAppendArgs>([](const KvAppendArgs& args) { scalar::kv_append(args, write_head); });
  set.set<AttentionArgs>(
      [](const AttentionArgs& args) { is_vectorized(args) ? attention(table(), args) : scalar::run(args); });
  set.set<RouterArgs>([](const RouterArgs& args) { is_vectorized(args) ? router(table(), args) : scalar::run(args); });
  set.set<ExpertsArgs>(
      [](const ExpertsArgs& args) { is_vectorized(args) ? experts(table(), args) : scalar::run(args); });
  set.set<AddArgs>([](const AddArgs& args) { add(table(), args); });
  return set;
}

#endif

}  // namespace
}  // namespace simd

const HostOperations& scalar_operations() {
  static const HostOperations operations = [] {
    HostOperations set;
    Operations::for_each([&]<class Args>() {
      if constexpr (!Block<Args>) set.set<Args>(scalar::run<Args>);
    });
    return set;
  }();
  return operations;
}

#ifdef KRASIS_HAVE_AVX2
namespace {

/// CPUID leaf 7 names AMX-BF16, AMX-TILE and AMX-INT8 (EDX bits 22, 24, 25); XCR0 bits 17 and 18 say that the system
/// saves tiles; Linux from 5.16 on gives their memory only to processes that ask.
bool ask_for_amx() {
#ifdef __linux__
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kFeatures = 1u << 22 | 1u << 24 | 1u << 25;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kFeatures) != kFeatures) return false;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & bit_OSXSAVE) == 0) return false;
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned kTiles = 1u << 17 | 1u << 18;
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return (low & kTiles) == kTiles && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

}  // namespace
#endif

bool has_simd(SimdLevel level) {
#ifdef KRASIS_HAVE_AVX2
  static const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  static const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                             __builtin_cpu_supports("avx512vnni");
  static const bool amx = avx512 && ask_for_amx();
  return level == SimdLevel::Avx2 ? avx2 : level == SimdLevel::Avx512 ? avx512 : amx;
#else
  (void)level;
  return false;
#endif
}

const HostOperations& simd_operations(SimdLevel level) {
#ifdef KRASIS_HAVE_AVX2
  static const HostOperations avx2 = simd::operations_with<simd::avx2_kernels>();
  static const HostOperations avx512 = simd::operations_with<simd::kernels_with<simd::avx512_rows>>();
  static const HostOperations amx = simd::operations_with<simd::kernels_with<simd::amx_rows>>();
  if (level >= SimdLevel::Amx && has_simd(SimdLevel::Amx)) return amx;
  if (level >= SimdLevel::Avx512 && has_simd(SimdLevel::Avx512)) return avx512;
  if (has_simd(SimdLevel::Avx2)) return avx2;
#else
  (void)level;
#endif
  return scalar_operations();
}

const HostOperations& simd_operations() {
  return simd_operations(SimdLevel::Amx);
}

std::string_view simd_level() {
  if (has_simd(SimdLevel::Amx)) return "AMX";
  return has_simd(SimdLevel::Avx512) ? "AVX-512" : has_simd(SimdLevel::Avx2) ? "AVX2" : "none";
}

}  // namespace krasis
