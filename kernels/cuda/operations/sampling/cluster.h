#pragma once

#include "kernels/cuda/operations/operations.h"

namespace krasis::cuda {

/// sample() by a cluster of multiprocessors; false, and nothing is done, where the GPU has none or the vocabulary is
/// larger than they hold.
bool sample_cluster(const Launch& launch, const SampleArgs& args);

}  // namespace krasis::cuda
