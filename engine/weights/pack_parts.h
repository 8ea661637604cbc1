#pragma once

#include <vector>

#include "engine/weights/load_monitor.h"
#include "engine/weights/packed_layout.h"
#include "engine/weights/weight_source.h"

namespace krasis {

/// Reads every part from `source` and packs it into the regions of `model`, which are allocated and zero. Runs on all
/// cores, a block of rows at a time, so that beside the regions only some MiB are used; the result does not depend on
/// the number of threads. Stops within milliseconds when `monitor` says so. Errors: the source's; Cancelled.
Expected<void> pack_parts(const std::vector<PackedPart>& parts, const WeightSource& source, const PackedModel& model,
                          LoadMonitor& monitor);

}  // namespace krasis
