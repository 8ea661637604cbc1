#pragma once

#include "engine/model/architecture.h"

namespace krasis {

/// "no layer of this model has experts": what check_model_spec says, too.
tl::unexpected<Error> no_experts();

// One file each; architectures() lists them.
extern const Architecture kQwen3Moe;

}  // namespace krasis
