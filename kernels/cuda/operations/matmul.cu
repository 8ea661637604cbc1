#include "kernels/cuda/operations/matmul_few.h"
#include "kernels/cuda/operations/matmul_many.h"

namespace krasis::cuda {

void matmul(const Launch& launch, const MatmulArgs& args) {
  const Matrix& weight = args.weight;
  if (few_tokens_support(weight.layout, weight.data, args.x.data, args.tokens)) {
    const ProductOutput out = output_of(args);
    return matmul_few(launch, args.x.data, args.tokens, {&weight, 1}, {&out, 1});
  }
  if (many_tokens_support(weight.layout, weight.data, args.x.data)) return matmul_many(launch, args);
  matmul_any(launch, args);
}

}  // namespace krasis::cuda
