#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace krasis {

/// Watches whether other krasis processes of this machine compute, whoever started them: `krasis worker` and `krasis
/// chat` of any user that /proc shows. A process in a PID namespace that is not below this one's cannot be seen.
///
/// A process counts when it used more CPU time than waiting costs: 0.2 s, and 2 % of the time watched.
class OtherWorkers {
 public:
  /// Begins to watch. @param root  "/", or a tree that a test made
  explicit OtherWorkers(std::filesystem::path root = "/");

  /// Looks again, from any thread. A process that begins and ends between two looks is not seen.
  void look();
  /// A sentence for each process that computed since the beginning; empty if there was none.
  std::string disturbance() const;

 private:
  struct Worker {
    std::string command;  ///< "krasis worker"
    unsigned user = 0;    ///< id
    double first_s = 0;   ///< CPU time that does not count: used before it was watched
    double last_s = 0;
  };
  void look_at(const std::filesystem::path& process, const std::string& pid);

  std::filesystem::path root_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  bool watching_ = false;
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, Worker> workers_;  ///< by pid and start time
};

}  // namespace krasis
