#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/temporary_directory.h"

namespace krasis::test {

/// How a program ended and what it wrote.
struct Output {
  int exit_code = -1;  ///< -1: by a signal
  int signal = 0;
  std::string out, err;
};

/// The `krasis` program, run in a temporary folder with a cache of its own.
class Program {
 public:
  const std::filesystem::path& folder() const { return directory_.path(); }
  std::filesystem::path file(const std::string& name) const { return folder() / name; }
  /// Writes a file into the folder and returns its path.
  std::string write(const std::string& name, const std::string& text) const;

  Output run(const std::vector<std::string>& arguments);
  /// Starts it without waiting; finish() waits.
  pid_t start(const std::vector<std::string>& arguments);
  Output finish(pid_t pid) const;

  /// The folder of what the user's programs share while they run ($XDG_RUNTIME_DIR): its own unless another is given.
  void share_runtime_folder(const Program& other) { runtime_folder_ = other.runtime_folder_; }

 private:
  TemporaryDirectory directory_;
  std::filesystem::path runtime_folder_ = directory_.path();
};

std::string read_bytes(const std::filesystem::path& path);

}  // namespace krasis::test
