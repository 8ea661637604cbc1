#include "kernels/host/operations/operations.h"
#include "kernels/host/operations/scalar.h"

namespace krasis {

const HostOperations& scalar_operations() {
  static constexpr HostOperations operations = {
      .embedding = scalar::embedding,
      .rms_norm = scalar::rms_norm,
      .head_norm = scalar::head_norm,
      .matmul = scalar::matmul,
      .swiglu = scalar::swiglu,
      .rotary = scalar::rotary,
      .kv_append = scalar::kv_append,
      .attention = scalar::attention,
      .router = scalar::router,
      .experts = scalar::experts,
      .add = scalar::add,
      .fill = scalar::fill,
      .count_experts = scalar::count_experts,
      .gather_experts = scalar::gather_experts,
      .sample = scalar::sample,
      .advance = scalar::advance,
  };
  return operations;
}

}  // namespace krasis
