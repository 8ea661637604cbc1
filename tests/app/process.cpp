#include "tests/app/process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace krasis::test {

std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string Program::write(const std::string& name, const std::string& text) const {
  std::ofstream(file(name), std::ios::binary) << text;
  return file(name).string();
}

Output Program::run(const std::vector<std::string>& arguments) { return finish(start(arguments)); }

pid_t Program::start(const std::vector<std::string>& arguments) {
  std::vector<std::string> words{KRASIS_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string out = file("stdout"), err = file("stderr"), cache = file("cache");
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  const auto redirect = [](const char* path, int flags, int target) {
    const int opened = ::open(path, flags, 0600);
    if (opened < 0 || ::dup2(opened, target) < 0) ::_exit(126);
    ::close(opened);
  };
  redirect("/dev/null", O_RDONLY, STDIN_FILENO);
  redirect(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
  redirect(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
  ::setenv("XDG_CACHE_HOME", cache.c_str(), 1);
  ::setenv("XDG_RUNTIME_DIR", runtime_folder_.c_str(), 1);
  if (::chdir(folder().c_str()) != 0) ::_exit(126);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

Output Program::finish(pid_t pid) const {
  Output output;
  int status = 0;
  if (::waitpid(pid, &status, 0) == pid) {
    if (WIFEXITED(status)) output.exit_code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) output.signal = WTERMSIG(status);
  }
  output.out = read_bytes(file("stdout"));
  output.err = read_bytes(file("stderr"));
  return output;
}

}  // namespace krasis::test
