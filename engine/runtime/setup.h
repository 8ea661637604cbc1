#pragma once

#include <filesystem>
#include <string>

#include "engine/config/run_configuration.h"
#include "engine/placement/plan.h"
#include "engine/weights/packed_model.h"

namespace krasis {

/// This machine as the host device sees it: the memory that this process can still get (engine/system/memory.h), with
/// `held_bytes` that it has already and will use, and up to 16 pretended devices. Rates are left at 0 = unknown.
Hardware host_hardware(std::size_t held_bytes = 0);

/// The folder whose config.json describes `model` ("embedded", a folder, or "synthetic:...").
std::filesystem::path model_folder(const std::string& model, const std::filesystem::path& embedded_model);

}  // namespace krasis
