// load_process MODEL CACHE ROUNDS FILE_LIMIT_BYTES DIE_AT_PERCENT
// Loads a model again and again, as another process than the test; prints the hash of its weights and its notes.
// Removes the packed copy between rounds, so that each round writes one; files may not grow beyond the limit unless it
// is 0. Kills itself when that much is quantized, unless that is 0. Has two threads.
#include <oneapi/tbb/global_control.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "engine/weights/content_hash.h"
#include "engine/weights/packed_cache.h"

int main(int argc, char** argv) {
  using namespace krasis;
  if (argc != 6) return 2;
  if (const rlim_t limit = std::strtoul(argv[4], nullptr, 10); limit > 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit both{limit, limit};
    if (setrlimit(RLIMIT_FSIZE, &both) != 0) return 2;
  }
  const tbb::global_control two_threads(tbb::global_control::max_allowed_parallelism, 2);
  const int rounds = std::atoi(argv[3]);
  for (int round = 0; round < rounds; ++round) {
    LoadOptions options;
    options.cache_directory = argv[2];
    options.progress = [die_at = std::atoi(argv[5])](const LoadProgress& progress) {
      if (die_at > 0 && progress.stage == "quantize" && progress.done * 100 >= die_at) kill(getpid(), SIGKILL);
    };
    const auto model = load_packed_model(argv[1], Precision{}, options);
    if (!model) {
      std::printf("error %s\n", model.error().message().c_str());
      return 1;
    }
    std::printf(
        "weights %s\n",
        content_hash(content_hash(std::span<const std::byte>(model->dense.data(), model->dense.bytes())) +
                     content_hash(std::span<const std::byte>(model->gpu_experts.data(), model->gpu_experts.bytes())))
            .c_str());
    for (const auto& note : model->notes) std::printf("note %s\n", note.c_str());
    std::error_code ignored;
    if (round + 1 < rounds) {
      std::filesystem::remove(packed_cache_path(argv[2], model->fingerprint, model->precision), ignored);
    }
  }
  return 0;
}
