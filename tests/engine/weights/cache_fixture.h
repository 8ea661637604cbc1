#pragma once

#include <gmock/gmock.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "engine/weights/packed_cache.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_checkpoint.h"

namespace krasis::test {

inline constexpr Precision kTwoCopies{Element::Int8, Element::Int4, Element::Int8, Element::Int8, Element::Int8, 32};

inline bool same_bytes(const HostRegion& a, const HostRegion& b) {
  return a.bytes() == b.bytes() && (a.bytes() == 0 || std::memcmp(a.data(), b.data(), a.bytes()) == 0);
}
inline bool same_weights(const PackedModel& a, const PackedModel& b) {
  return same_bytes(a.dense, b.dense) && same_bytes(a.gpu_experts, b.gpu_experts) &&
         same_bytes(a.cpu_experts, b.cpu_experts);
}

/// A command whose output is collected.
class Process {
 public:
  struct Output {
    int status = 0;
    std::vector<std::string> lines;
  };
  explicit Process(const std::string& command) : pipe_(popen(command.c_str(), "r")) {}
  Output finish() {
    Output output;
    std::string line;
    for (int c = std::fgetc(pipe_); c != EOF; c = std::fgetc(pipe_)) {
      if (c != '\n') {
        line.push_back(static_cast<char>(c));
        continue;
      }
      output.lines.push_back(line);
      line.clear();
    }
    output.status = pclose(pipe_);
    return output;
  }

 private:
  FILE* pipe_;
};

class CacheTest : public testing::Test {
 protected:
  void SetUp() override { TinyCheckpoint().write(model_path()); }
  std::filesystem::path model_path() const { return directory_.path() / "model"; }
  std::filesystem::path cache_path() const { return directory_.path() / "cache"; }
  Expected<PackedModel> load(const std::filesystem::path& cache, const Precision& precision = kTwoCopies) {
    LoadOptions options;
    options.cache_directory = cache;
    stages_.clear();
    options.progress = [this](const LoadProgress& progress) {
      if (stages_.empty() || stages_.back() != progress.stage) stages_.push_back(progress.stage);
    };
    return load_packed_model(model_path().string(), precision, options);
  }
  /// Another process that loads the model; see load_process.cpp.
  Process start_process(int rounds, int file_limit, int die_at_percent = 0) const {
    return Process("exec " + std::string(KRASIS_LOAD_PROCESS) + " " + model_path().string() + " " +
                   cache_path().string() + " " + std::to_string(rounds) + " " + std::to_string(file_limit) + " " +
                   std::to_string(die_at_percent));
  }
  std::filesystem::path packed_file(const PackedModel& model) const {
    return packed_cache_path(cache_path(), model.fingerprint, model.precision);
  }
  test::TemporaryDirectory directory_;
  std::vector<std::string> stages_;
};

}  // namespace krasis::test
