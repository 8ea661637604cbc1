#include "kernels/host/operations/operations.h"

namespace krasis {

const HostOperations& simd_operations() {
  return scalar_operations();
}

}  // namespace krasis
