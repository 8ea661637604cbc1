#pragma once

#include <QString>

#include "engine/config/run_configuration.h"
#include "engine/protocol/protocol.h"

namespace krasis::ui {

/// How far a benchmark is, as the queue shows it.
struct StageProgress {
  double share = 0;    ///< 0..1 of the benchmark, loading left out
  double left_s = -1;  ///< seconds to its end; negative: not known
  QString text;        ///< "2 of 5, prompt 4,096 of 10,000 tokens, 41 %", in the user's locale
};

/// By the worker's own estimate, or, where it has none, by counting warm-ups and repetitions, with the verdict as one.
StageProgress progress_of(const protocol::Stage& stage, const RunConfiguration& configuration);

}  // namespace krasis::ui
