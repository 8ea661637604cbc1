#pragma once

#include <memory>

#include "kernels/cuda/operations/blocks.h"

namespace krasis {

/// The arithmetic of a CUDA platform: one function for each primitive of kernels/operations.h, which launches kernels
/// on a stream and returns. A null entry is an operation that cannot be used.
struct CudaOperations {
  void (*embedding)(const cuda::Launch&, const EmbeddingArgs&) = nullptr;
  void (*rms_norm)(const cuda::Launch&, const RmsNormArgs&) = nullptr;
  void (*head_norm)(const cuda::Launch&, const HeadNormArgs&) = nullptr;
  void (*matmul)(const cuda::Launch&, const MatmulArgs&) = nullptr;
  void (*swiglu)(const cuda::Launch&, const SwiGluArgs&) = nullptr;
  void (*rotary)(const cuda::Launch&, const RotaryArgs&) = nullptr;
  void (*kv_append)(const cuda::Launch&, const KvAppendArgs&) = nullptr;
  void (*attention)(const cuda::Launch&, const AttentionArgs&) = nullptr;
  void (*router)(const cuda::Launch&, const RouterArgs&) = nullptr;
  void (*experts)(const cuda::Launch&, const ExpertsArgs&) = nullptr;
  void (*add)(const cuda::Launch&, const AddArgs&) = nullptr;
  void (*fill)(const cuda::Launch&, const FillArgs&) = nullptr;
  void (*count_experts)(const cuda::Launch&, const CountExpertsArgs&) = nullptr;
  void (*gather_experts)(const cuda::Launch&, const GatherExpertsArgs&) = nullptr;
  void (*sample)(const cuda::Launch&, const SampleArgs&) = nullptr;
  void (*advance)(const cuda::Launch&, const AdvanceArgs&) = nullptr;
  // Blocks; a null entry composes primitives.
  void (*attention_block)(const cuda::Launch&, const AttentionBlock&) = nullptr;
  void (*mlp_block)(const cuda::Launch&, const MlpBlock&) = nullptr;
  void (*router_block)(const cuda::Launch&, const RouterBlock&) = nullptr;
  void (*head_block)(const cuda::Launch&, const HeadBlock&) = nullptr;
  /// The library for large dense products; one for each logical device. Null = own kernels alone.
  std::shared_ptr<cuda::DenseProducts> (*open_dense_products)() = nullptr;
};

/// The operations of kernels/cuda/operations.
const CudaOperations& cuda_operations();

}  // namespace krasis
