#include "kernels/cuda/operations/dense_products.h"
#include "kernels/cuda/operations/matmul_few.h"
#include "kernels/cuda/operations/matmul_many.h"
#ifdef KRASIS_HAVE_HOPPER_EXPERTS
#include "kernels/cuda/hopper/experts/hopper_products.h"
#endif

namespace krasis::cuda {
namespace {

/// From so many tokens on a dense product is worth a library's call.
constexpr std::int64_t kDenseTokens = 64;

}  // namespace

void matmul(const Launch& launch, const MatmulArgs& args) {
  const Matrix& weight = args.weight;
  if (few_tokens_support(weight.layout, weight.data, args.x.data, args.tokens)) {
    const ProductOutput out = output_of(args);
    return matmul_few(launch, args.x.data, args.tokens, {&weight, 1}, {&out, 1});
  }
  if (!many_tokens_support(weight.layout, weight.data, args.x.data)) return matmul_any(launch, args);
  if (launch.dense && args.tokens >= kDenseTokens && launch.dense->multiply(launch.stream, args)) return;
#ifdef KRASIS_HAVE_HOPPER_EXPERTS
  if (hopper::supports(launch, weight.layout)) return hopper::matmul(launch, args);
#endif
  matmul_many(launch, args);
}

}  // namespace krasis::cuda
