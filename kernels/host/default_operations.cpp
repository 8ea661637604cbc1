// Apart from host_platform.cpp, so that a platform with other arithmetic links without the operations' library.
#include "kernels/host/host_platform.h"

namespace krasis {

Expected<std::unique_ptr<HostPlatform>> HostPlatform::create(const HostPlatformOptions& options) {
  const bool simd = options.operations == OperationSet::Simd;
  return create(options, simd ? simd_operations() : scalar_operations());
}

}  // namespace krasis
