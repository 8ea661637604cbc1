#include "kernels/cuda/hopper/attention/flash_kernel.cuh"
#include "kernels/cuda/hopper/attention/hopper_attention.h"
#include "kernels/cuda/hopper/attention/widen.cuh"

namespace krasis::cuda::hopper {
namespace {

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

void attention(const Launch& launch, const AttentionArgs& args) {
  AttentionArgs wide = args;
  if (args.cache.element == KvElement::Fp8) wide.cache = widen(launch, args);
  const auto run = wide.cache.head_dim == 64    ? flash::run_head_64
                   : wide.cache.head_dim == 128 ? flash::run_head_128
                                                : flash::run_head_256;
  run(launch, wide);
}

}  // namespace krasis::cuda::hopper
