#pragma once

#include <filesystem>
#include <string>

#include "engine/weights/load_monitor.h"
#include "engine/weights/packed_model.h"

namespace krasis {

/// Packed models on disk. One file holds the three regions of one model in one precision; its name says fingerprint,
/// precision and layout version:
///
///   16 bytes magic, 8 bytes length of the header, 32 bytes its hash (hexadecimal), the header (JSON: fingerprint,
///   precision, layout version, per region its bytes and the hash of every 16 MiB), padding to 4 KiB, the regions, each
///   padded to 4 KiB. Integers little endian.
///
/// Files are never changed once they have their name, so any number of processes may read and write at the same time.
std::filesystem::path packed_cache_path(const std::filesystem::path& directory, const std::string& fingerprint,
                                        const Precision& precision);

/// Fills the regions of `model`, which are allocated, from the file of `model.fingerprint` and `model.precision`.
/// Every byte is checked against the hashes. Errors: NotFound if there is none; Corrupt, saying what is wrong, and the
/// regions then hold anything; Cancelled.
Expected<void> read_packed_cache(const std::filesystem::path& directory, const PackedModel& model,
                                 LoadMonitor& monitor);

/// Writes the regions of `model`. Errors: Io (a full disk, a folder that cannot be written); Cancelled.
Expected<void> write_packed_cache(const std::filesystem::path& directory, const PackedModel& model,
                                  LoadMonitor& monitor);

}  // namespace krasis
