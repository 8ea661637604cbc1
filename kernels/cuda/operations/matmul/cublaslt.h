#pragma once

#include <driver_types.h>

#include <memory>

#include "base/error.h"
#include "kernels/operations.h"

namespace krasis::cuda {

/// Dense BF16 products by cuBLASLt, which is loaded when it is asked for: it is 500 MB and need not be installed. One
/// object serves one stream at a time, because its products share `workspace`.
class DenseProducts {
 public:
  /// Memory that cuBLASLt wants for its fastest kernels on Hopper (its documentation, cublasSetWorkspace).
  static constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

  /// For the current device. `workspace`: device memory, kWorkspaceBytes or less, 256-byte aligned; the caller keeps it
  /// as long as the object. Fails with Unsupported where the library is missing or does not load, naming what was
  /// tried.
  static Expected<std::unique_ptr<DenseProducts>> load(View<std::byte> workspace);

  virtual ~DenseProducts() = default;
  /// Enqueues the product; false (and nothing is done) for weights other than BF16 or where cuBLASLt has no kernel.
  virtual bool multiply(cudaStream_t stream, const MatmulArgs& args) = 0;
};

/// For one logical device: loads cuBLASLt at the first product that it could take, and goes on without it where that
/// fails. Takes no workspace, so that nothing comes on top of the device's budget.
std::shared_ptr<DenseProducts> open_dense_products();

}  // namespace krasis::cuda
