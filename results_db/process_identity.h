#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace krasis::results {

/// Which process it is, for a reader of the same file later or elsewhere. A process id says little alone: it counts
/// within one PID namespace of one boot of one machine, and is given again after a while.
struct ProcessIdentity {
  std::string host;           ///< name of the machine, for people
  std::string boot;           ///< id of the machine's boot
  std::string pid_namespace;  ///< "pid:[4026531836]"; empty: not known
  std::int64_t pid = 0;
  std::string started;  ///< in ticks after boot
  bool operator==(const ProcessIdentity&) const = default;

  /// "boot:namespace:pid:started", what the database stores as the owner of a run. No part holds a colon but the
  /// namespace.
  std::string owner() const;
};

ProcessIdentity this_process();

enum class ProcessLife : std::uint8_t {
  Alive,
  Gone,
  Unknown,  ///< it belongs to another boot, host or PID namespace: from here nobody can tell
};

/// Whether the process whose ProcessIdentity::owner() this is lives, as seen from `here`. Owners of programs before
/// schema 8 ("boot:pid:started") are taken for processes of this namespace. Any other text is of a process that is
/// gone.
ProcessLife life_of(std::string_view owner, const ProcessIdentity& here);

}  // namespace krasis::results
