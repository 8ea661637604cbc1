#include "engine/bench/reference_key.h"

#include <fmt/format.h>
#include <xxhash.h>

#include "engine/weights/packed_file.h"

namespace krasis {

std::string reference_key(const ReferenceInputs& inputs) {
  XXH3_state_t* state = XXH3_createState();
  XXH3_128bits_reset(state);
  XXH3_128bits_update(state, inputs.prompt.data(), inputs.prompt.size_bytes());
  XXH3_128bits_update(state, inputs.generated.data(), inputs.generated.size_bytes());
  if (inputs.precision.gpu_experts != inputs.precision.cpu_experts) {
    // Only then does it matter who computed an expert; on which device never does.
    for (const int device : inputs.cached) {
      const char cached = device >= 0;
      XXH3_128bits_update(state, &cached, 1);
    }
    for (const CacheChange& change : inputs.changes) {
      const std::int64_t fields[]{change.step, change.expert, change.cached};
      XXH3_128bits_update(state, fields, sizeof fields);
    }
    XXH3_128bits_update(state, &inputs.path, sizeof inputs.path);
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(state);
  XXH3_freeState(state);
  return fmt::format("{}/{}/{}/{}/{:016x}{:016x}", inputs.fingerprint, inputs.prompt.size(),
                     precision_text(inputs.precision), inputs.kv_cache, hash.high64, hash.low64);
}

}  // namespace krasis
