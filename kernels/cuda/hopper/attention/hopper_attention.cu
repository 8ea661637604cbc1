#include "kernels/cuda/hopper/attention/flash_kernel.cuh"
#include "kernels/cuda/hopper/attention/hopper_attention.h"
#include "kernels/cuda/hopper/attention/widen.cuh"

namespace krasis::cuda::hopper {
namespace {

/// (token, head) rows of a cache head from which on this pays: fewer leave most of a tile empty or most of the device
/// idle, and the other kernels share out the keys of few tokens.
constexpr std::int64_t kFewestRows = 512;

/// The cache as BF16 in the workspace, which is large enough.
KvCache widen(const Launch& launch, const AttentionArgs& args) {
  KvCache out = args.cache;
  const std::size_t bytes = static_cast<std::size_t>(out.rows) * static_cast<std::size_t>(out.heads * out.head_dim) * 2;
  out.element = KvElement::Bf16;
  out.keys = {args.workspace.sub(0, bytes), {}};
  out.values = {args.workspace.sub(bytes, bytes), {}};
  const auto blocks = static_cast<unsigned>(4 * launch.multiprocessors);
  flash::widen_kernel<<<blocks, 256, 0, launch.stream>>>(pointers_of(args.cache), pointers_of(args.batch),
                                                         reinterpret_cast<__nv_bfloat16*>(out.keys.values.data),
                                                         reinterpret_cast<__nv_bfloat16*>(out.values.values.data));
  return out;
}

}  // namespace

bool attention(const Launch& launch, const AttentionArgs& args) {
  const KvCache& cache = args.cache;
  const std::int64_t rows = static_cast<std::int64_t>(args.batch.tokens) * (args.heads / cache.heads);
  if (launch.compute_major != 9 || rows < kFewestRows || !(args.scale > 0.0f) || !is_aligned(args.q.data, 16) ||
      !is_aligned(args.out.data, 16) || !is_aligned(cache.keys.values.data, 16) ||
      !is_aligned(cache.values.values.data, 16)) {
    return false;
  }
  const auto run = cache.head_dim == 64    ? flash::run_head_64
                   : cache.head_dim == 128 ? flash::run_head_128
                   : cache.head_dim == 256 ? flash::run_head_256
                                           : nullptr;
  if (run == nullptr) return false;
  AttentionArgs wide = args;
  if (cache.element == KvElement::Fp8) {
    const std::size_t bytes = widened_cache_bytes(cache.rows, cache.heads, cache.head_dim);
    if (args.workspace.bytes() < bytes || !is_aligned(args.workspace.data, 16)) return false;
    wide.cache = widen(launch, args);
  }
  run(launch, wide);
  return true;
}

}  // namespace krasis::cuda::hopper
