// memory_process MODEL CACHE
// Loads a model, as a process of its own, with two threads; prints the bytes of its packed weights, the most that the
// process had in memory at once, and "cache" or "packed", where the weights came from.
#include <oneapi/tbb/global_control.h>

#include <cstdio>

#include "engine/system/resident_memory.h"
#include "engine/weights/packed_model.h"

int main(int argc, char** argv) {
  using namespace krasis;
  if (argc != 3) return 2;
  const tbb::global_control two_threads(tbb::global_control::max_allowed_parallelism, 2);
  LoadOptions options;
  options.cache_directory = argv[2];
  options.cache_synthetic = true;
  const auto model = load_packed_model(argv[1], Precision{}, options);
  if (!model) {
    std::printf("error %s\n", model.error().message().c_str());
    return 1;
  }
  std::printf("%zu %zu %s\n", model->dense.bytes() + model->gpu_experts.bytes() + model->cpu_experts.bytes(),
              static_cast<std::size_t>(peak_resident_bytes().value_or(0)), model->cache_reading ? "cache" : "packed");
  return 0;
}
