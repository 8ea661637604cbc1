#include "kernels/cuda/operations/operations.h"

namespace krasis::cuda {

Target target_of(const Launch& launch) {
  Target target{.compute_major = launch.compute_major,
                .dense_library = launch.dense != nullptr,
                .counters = launch.counters != nullptr};
#ifdef KRASIS_HAVE_HOPPER_ATTENTION
  target.hopper_attention = true;
#endif
#ifdef KRASIS_HAVE_HOPPER_PRODUCTS
  target.hopper_products = true;
#endif
  return target;
}

}  // namespace krasis::cuda
