#pragma once

#include <vector>

#include "engine/weights/load_monitor.h"
#include "engine/weights/packed_cache.h"
#include "engine/weights/packed_layout.h"
#include "engine/weights/weight_source.h"

namespace krasis {

/// Reads every part from `source` and packs it into the regions of `model`, which are allocated and zero. Runs on all
/// cores, a block of rows at a time and in the order of the regions, so that beside these only some MiB are used; the
/// result does not depend on the number of threads. Stops within milliseconds when `monitor` says so.
///
/// With `cache`, blocks that it has taken over are not packed again, and it is told of the others. Errors: the
/// source's; Cancelled. The cache's stay there.
Expected<void> pack_parts(const std::vector<PackedPart>& parts, const WeightSource& source, const PackedModel& model,
                          LoadMonitor& monitor, PackedCacheWriter* cache = nullptr);

}  // namespace krasis
