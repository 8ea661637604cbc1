#pragma once

#include <cstdint>
#include <optional>

namespace krasis {

/// The most bytes of memory that this process had at once: VmHWM of /proc/self/status, which counts mapped files, too,
/// and its explicit huge pages, which VmHWM leaves out, as they are now. Nothing where the system does not say.
std::optional<std::uint64_t> peak_resident_bytes();

/// The peak begins anew from what is resident now; false if the system refuses.
bool reset_peak_resident();

}  // namespace krasis
