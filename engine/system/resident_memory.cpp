#include "engine/system/resident_memory.h"

#include <fstream>

#include "engine/system/system_files.h"

namespace krasis {

std::optional<std::uint64_t> peak_resident_bytes() {
  const auto status = system_files::read_text("/proc/self/status");
  if (!status) return std::nullopt;
  const auto peak = system_files::kib_value_of(*status, "VmHWM");
  if (!peak) return std::nullopt;
  return *peak + system_files::kib_value_of(*status, "HugetlbPages").value_or(0);
}

bool reset_peak_resident() {
  std::ofstream file("/proc/self/clear_refs");
  file << '5' << std::flush;  // proc(5): the peak of the resident set
  return file.good();
}

}  // namespace krasis
