#include "tests/engine/runtime/test_engine.h"

const krasis::CudaOperations& krasis::test::gpu_operations() {
  return cuda_operations();
}
