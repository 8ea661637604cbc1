#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "results_db/database.h"

namespace krasis::results {

/// A folder that is gone with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "krasis-results-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
    ::chmod(name.c_str(), 0755);
  }
  ~TemporaryFolder() {
    std::error_code error;
    std::filesystem::permissions(path_, std::filesystem::perms::owner_all, error);
    std::filesystem::remove_all(path_, error);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// SQLite without the code under test.
class RawSqlite {
 public:
  explicit RawSqlite(const std::filesystem::path& path) { sqlite3_open(path.c_str(), &handle_); }
  ~RawSqlite() { sqlite3_close(handle_); }
  RawSqlite(const RawSqlite&) = delete;
  RawSqlite& operator=(const RawSqlite&) = delete;
  /// The result code.
  int exec(const std::string& sql) { return sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr); }
  /// How SQLite would answer a query, a line for each step.
  std::string plan(const std::string& sql) {
    std::string steps;
    sqlite3_exec(
        handle_, ("EXPLAIN QUERY PLAN " + sql).c_str(),
        [](void* out, int count, char** values, char**) {
          *static_cast<std::string*>(out) += std::string(values[count - 1]) + "\n";
          return 0;
        },
        &steps, nullptr);
    return steps;
  }
  /// First column of the first row, as text.
  std::string get(const std::string& sql) {
    std::string result;
    sqlite3_exec(
        handle_, sql.c_str(),
        [](void* out, int, char** values, char**) {
          if (values[0] != nullptr) *static_cast<std::string*>(out) = values[0];
          return 0;
        },
        &result, nullptr);
    return result;
  }

 private:
  sqlite3* handle_ = nullptr;
};

inline std::string read_all(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

inline void write_all(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline NewRun example_run(const std::string& sweep = "first-sweep") {
  NewRun run;
  run.sweep = sweep;
  run.model = {"sha256:abc", "Tiny-MoE", "qwen3_moe", "5 layers, hidden 256, 16 experts, top 4", false};
  run.parameters.lgs = 2;
  run.parameters.prompt_tokens = 512;
  run.parameters.decode_tokens = 4;
  run.parameters.repetitions = 3;
  run.configuration_json = R"({"lgs":2})";
  return run;
}

inline Repetition example_repetition(int index, double prefill_s = 0.5, double decode_s = 0.4) {
  Repetition r;
  r.index = index;
  r.prefill_tokens = 512;
  r.prefill_s = prefill_s;
  r.ttft_s = prefill_s + 0.01;
  r.decode_tokens = 4;
  r.decode_s = decode_s;
  r.decode_token_s = {decode_s / 4, decode_s / 4, decode_s / 4, decode_s / 4};
  r.output_text = "Once upon a time";
  return r;
}

inline EnvironmentRecord example_environment() {
  EnvironmentRecord e;
  e.machine = "Desk";
  e.cpu = "Some CPU";
  e.memory_bytes = std::int64_t{64} << 30;
  e.kernel = "Linux 6.1";
  e.build = "b1";
  e.facts_json = R"({"cores":8})";
  return e;
}

/// The value, or a failed test with the error's message.
template <class T>
T must(Expected<T> result) {
  if (!result) throw std::runtime_error(result.error().message());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace krasis::results
