#include "kernels/cuda/hopper/attention/flash_kernel.cuh"
#include "kernels/cuda/hopper/attention/hopper_attention.h"

namespace krasis::cuda::hopper {
namespace {

/// (token, head) rows of a cache head from which on this pays: fewer leave most of a tile empty or most of the device
/// idle, and the other kernels share out the keys of few tokens.
constexpr std::int64_t kFewestRows = 512;

}  // namespace

bool attention(const Launch& launch, const AttentionArgs& args) {
  const KvCache& cache = args.cache;
  const std::int64_t rows = static_cast<std::int64_t>(args.batch.tokens) * (args.heads / cache.heads);
  if (launch.compute_major != 9 || rows < kFewestRows || !(args.scale > 0.0f) || !is_aligned(args.q.data, 16) ||
      !is_aligned(args.out.data, 16) || !is_aligned(cache.keys.values.data, 16) ||
      !is_aligned(cache.values.values.data, 16)) {
    return false;
  }
  switch (cache.head_dim) {
    case 64:
      flash::run_head_64(launch, args);
      return true;
    case 128:
      flash::run_head_128(launch, args);
      return true;
    case 256:
      flash::run_head_256(launch, args);
      return true;
    default:
      return false;
  }
}

}  // namespace krasis::cuda::hopper
