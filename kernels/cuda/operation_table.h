#pragma once

#include <memory>

#include "kernels/cuda/operations/operations.h"
#include "kernels/operation_list.h"

namespace krasis {

/// A function of the table launches kernels on a stream and returns.
template <class Args>
using CudaFunction = void (*)(const cuda::Launch&, const Args&);

/// The arithmetic of a CUDA platform. Null: a block is expanded, another operation cannot be used.
struct CudaOperations : OperationTable<CudaFunction> {
  /// Gives an operation another function.
  template <class Args>
  void set(CudaFunction<Args> function) {
    of<Args>() = function;
  }
  /// The library for large dense products; one for each logical device. Null = own kernels alone.
  std::shared_ptr<cuda::DenseProducts> (*open_dense_products)() = nullptr;
};

/// The operations of kernels/cuda/operations.
const CudaOperations& cuda_operations();

}  // namespace krasis
