#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "base/error.h"

namespace krasis {

/// What a copy between page-locked host memory and a GPU reaches, one direction at a time.
struct CopyCeiling {
  std::size_t bytes = 0;  ///< of one copy
  double h2d_gb_per_s = 0.0;
  double d2h_gb_per_s = 0.0;
};

/// What the hardware reaches here and now: medians, with GB = 1e9 bytes. Limits of runs are told against these.
struct CudaCeilings {
  std::vector<CopyCeiling> copies;          ///< from small to large
  double device_read_gb_per_s = 0.0;        ///< of the GPU's memory, far more than its L2 cache holds
  std::optional<double> dense_bf16_tflops;  ///< of CeilingOptions::dense_bf16_tflops
};

struct CeilingOptions {
  std::vector<std::size_t> copy_bytes = {std::size_t{16} << 20, std::size_t{64} << 20, std::size_t{256} << 20};
  std::size_t read_bytes = std::size_t{4} << 30;  ///< less where the GPU has less free
  int repetitions = 11;                           ///< of each measurement, after one that does not count
  /// Measures a dense BF16 product on the GPU with this CUDA index; none = not measured.
  std::function<Expected<double>(int cuda_index)> dense_bf16_tflops;
};

/// Measures one GPU, which should be idle: a second or two. Takes the largest copy in page-locked memory and up to half
/// of the GPU's free memory for that time. The thread's current device changes. Fails with OutOfMemory or Io.
Expected<CudaCeilings> measure_ceilings(int cuda_index, const CeilingOptions& options = {});

/// TFLOP/s of a BF16 product of 8192 x 8192 x 8192 on random data, the median of a few: by cuBLASLt where it can be
/// loaded, else by the program's own kernel. Takes 0.6 GB. Fails with OutOfMemory or Io.
Expected<double> dense_bf16_tflops(int cuda_index);

}  // namespace krasis
