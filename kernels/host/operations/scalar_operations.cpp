#include "kernels/host/operations/operations.h"
#include "kernels/host/operations/scalar.h"

namespace krasis {

const HostOperations& scalar_operations() {
  static const HostOperations operations = [] {
    HostOperations set;
    Operations::for_each([&]<class Args>() {
      if constexpr (!Block<Args>) set.set<Args>(scalar::run<Args>);
    });
    return set;
  }();
  return operations;
}

}  // namespace krasis
