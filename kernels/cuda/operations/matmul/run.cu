#include "kernels/cuda/operations/matmul/cublaslt.h"
#include "kernels/cuda/operations/matmul/decode.h"
#include "kernels/cuda/operations/matmul/prefill.h"
#ifdef KRASIS_HAVE_HOPPER_PRODUCTS
#include "kernels/cuda/hopper/products/hopper_products.h"
#endif

namespace krasis::cuda {

template <>
void run(const Launch& launch, const MatmulArgs& args) {
  Target target = target_of(launch);
  auto path = choose_matmul(target, args);
  if (path == MatmulPath::Library) {
    if (launch.dense->multiply(launch.stream, args)) return;
    target.dense_library = false;
    path = choose_matmul(target, args);
  }
  switch (path.value()) {
    case MatmulPath::Rows: {
      const ProductOutput out = output_of(args);
      return matmul_rows(launch, args.x.data, args.tokens, {&args.weight, 1}, {&out, 1});
    }
    case MatmulPath::Library:
      return;
    case MatmulPath::Hopper:
#ifdef KRASIS_HAVE_HOPPER_PRODUCTS
      return hopper::matmul(launch, args);
#else
      return;
#endif
    case MatmulPath::Tiles:
      return matmul_tiles(launch, args);
    case MatmulPath::Fallback:
      return matmul_fallback(launch, args);
  }
}

}  // namespace krasis::cuda
