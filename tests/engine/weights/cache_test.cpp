// The fingerprint and the packed copy on disk.
#include <gmock/gmock.h>

#include <chrono>
#include <cstdio>
#include <random>

#include "engine/weights/packed_cache.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_checkpoint.h"

namespace krasis {
namespace {

using test::TinyCheckpoint;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr Precision kTwoCopies{Element::Int8, Element::Int4, Element::Int8, Element::Int8, Element::Int8, 32};

bool same_bytes(const HostRegion& a, const HostRegion& b) {
  return a.bytes() == b.bytes() && (a.bytes() == 0 || std::memcmp(a.data(), b.data(), a.bytes()) == 0);
}
bool same_weights(const PackedModel& a, const PackedModel& b) {
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

class Cache : public testing::Test {
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
  Process start_process(int rounds, int file_limit) const {
    return Process(std::string(KRASIS_LOAD_PROCESS) + " " + model_path().string() + " " + cache_path().string() + " " +
                   std::to_string(rounds) + " " + std::to_string(file_limit));
  }
  std::filesystem::path packed_file(const PackedModel& model) const {
    return packed_cache_path(cache_path(), model.fingerprint, model.precision);
  }
  test::TemporaryDirectory directory_;
  std::vector<std::string> stages_;
};

TEST_F(Cache, TheSecondLoadReadsWhatTheFirstOnePacked) {
  const auto first = load(cache_path());
  ASSERT_TRUE(first) << first.error().message();
  EXPECT_THAT(stages_, ElementsAre("hash", "quantize", "write cache"));
  EXPECT_THAT(first->notes, IsEmpty());
  const auto second = load(cache_path());
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_THAT(stages_, ElementsAre("read cache"));
  EXPECT_THAT(second->notes, ElementsAre(HasSubstr("were read from the packed copy")));
  EXPECT_TRUE(same_weights(*first, *second));
  EXPECT_EQ(first->fingerprint, second->fingerprint);
  const auto without = load({});
  ASSERT_TRUE(without);
  EXPECT_TRUE(same_weights(*first, *without));
  EXPECT_EQ(without->fingerprint, first->fingerprint);
}

TEST_F(Cache, EachPrecisionHasItsOwnCopy) {
  ASSERT_TRUE(load(cache_path()));
  Precision other = kTwoCopies;
  other.group_size = 64;
  ASSERT_TRUE(load(cache_path(), other));
  EXPECT_THAT(stages_, ElementsAre("quantize", "write cache"));  // the fingerprint is remembered, the copy is another
}

TEST_F(Cache, TheFingerprintFollowsTheContent) {
  const auto original = load(cache_path())->fingerprint;
  EXPECT_EQ(original.size(), 32u);
  TinyCheckpoint checkpoint;
  auto& bytes = checkpoint.tensors["model.norm.weight"].bytes;
  bytes[0] ^= std::byte{1};  // one bit of one weight
  checkpoint.write(model_path());
  const auto changed = load(cache_path());
  ASSERT_TRUE(changed);
  EXPECT_NE(changed->fingerprint, original);
  EXPECT_THAT(stages_, ElementsAre("hash", "quantize", "write cache"));

  TinyCheckpoint other_config;
  other_config.config.insert(1, "\"rope_theta\": 20000.0, ");
  other_config.write(model_path());
  EXPECT_NE(load({})->fingerprint, original);

  // The same tensors in two shards are the same weights.
  const TinyCheckpoint again;
  again.write(model_path());
  std::filesystem::remove(model_path() / "model.safetensors");
  test::TensorMap halves[2];
  std::string map;
  for (const auto& [name, tensor] : again.tensors) {
    const int shard = name.size() % 2 == 0 ? 0 : 1;
    halves[shard][name] = tensor;
    map += (map.empty() ? "\"" : ",\"") + name + "\":\"" + std::to_string(shard) + ".safetensors\"";
  }
  for (int shard : {0, 1}) {
    test::write_safetensors(model_path() / (std::to_string(shard) + ".safetensors"), halves[shard]);
  }
  test::write_file(model_path() / "model.safetensors.index.json", "{\"weight_map\":{" + map + "}}");
  const auto sharded = load({});
  ASSERT_TRUE(sharded) << sharded.error().message();
  EXPECT_EQ(sharded->fingerprint, original);
}

TEST_F(Cache, DamageAtAnyByteIsFoundAndRepaired) {
  const auto original = load(cache_path());
  ASSERT_TRUE(original);
  const auto path = packed_file(*original);
  const std::string whole = test::read_file(path);
  std::size_t data_bytes = 0;
  for (const HostRegion* region : {&original->dense, &original->gpu_experts, &original->cpu_experts}) {
    data_bytes += round_up(region->bytes(), 4096);
  }
  const std::size_t data_begin = whole.size() - data_bytes;
  const std::size_t header_end = whole.find('\0', 64);  // JSON has no zero byte, the padding behind it is zeros
  std::vector<std::size_t> places{0,
                                  15,
                                  16,
                                  23,
                                  24,
                                  55,
                                  56,
                                  header_end - 1,
                                  data_begin,
                                  data_begin + original->dense.bytes() - 1,
                                  whole.size() - data_bytes + round_up(original->dense.bytes(), 4096)};
  std::mt19937 random(3);
  for (int i = 0; i < 20; ++i) places.push_back(random() % header_end);
  for (int i = 0; i < 20; ++i) places.push_back(data_begin + random() % original->dense.bytes());
  for (const std::size_t at : places) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << (random() % 8)));
    test::write_file(path, damaged);
    const auto model = load(cache_path());
    ASSERT_TRUE(model) << model.error().message();
    ASSERT_THAT(model->notes, ElementsAre(testing::AllOf(HasSubstr("is damaged: "), HasSubstr("made again")))) << at;
    EXPECT_TRUE(same_weights(*model, *original)) << at;
    EXPECT_EQ(test::read_file(path), whole) << "not repaired, byte " << at;
  }
}

TEST_F(Cache, TruncatedCopiesAreFoundAndRepaired) {
  const auto original = load(cache_path());
  ASSERT_TRUE(original);
  const auto path = packed_file(*original);
  const std::string whole = test::read_file(path);
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{10}, std::size_t{60}, whole.size() / 2, whole.size() - 1}) {
    test::write_file(path, whole.substr(0, size));
    const auto model = load(cache_path());
    ASSERT_TRUE(model) << model.error().message();
    EXPECT_THAT(model->notes, ElementsAre(HasSubstr("is damaged: ")));
    EXPECT_TRUE(same_weights(*model, *original));
  }
}

TEST_F(Cache, ADamagedMemoryOfFingerprintsOnlyCostsTime) {
  const auto original = load(cache_path());
  ASSERT_TRUE(original);
  for (const auto& file : std::filesystem::directory_iterator(cache_path() / "fingerprints")) {
    for (const char* text : {"", "{", "[1]", R"({"files": 3, "fingerprint": "../../x"})"}) {
      test::write_file(file.path(), text);
      const auto model = load(cache_path());
      ASSERT_TRUE(model) << model.error().message();
      EXPECT_THAT(stages_, ElementsAre("hash", "read cache"));
      EXPECT_EQ(model->fingerprint, original->fingerprint);
    }
  }
}

TEST_F(Cache, AFolderThatCannotBeWrittenOnlyCostsANote) {
  test::write_file(directory_.path() / "file", "in the way");
  const auto model = load(directory_.path() / "file" / "cache");
  ASSERT_TRUE(model) << model.error().message();
  EXPECT_THAT(model->notes, testing::Contains(HasSubstr("The packed copy was not kept: ")));
}

TEST_F(Cache, AFullDiskOnlyCostsANote) {
  // A limit on the size of files stands for the disk.
  const auto output = start_process(1, 100'000).finish();
  EXPECT_EQ(output.status, 0);
  EXPECT_THAT(output.lines,
              ElementsAre(HasSubstr("weights "),
                          testing::AllOf(HasSubstr("The packed copy was not kept: "), HasSubstr("File too large"))));
  for (const auto& file : std::filesystem::directory_iterator(cache_path())) {
    EXPECT_TRUE(file.is_directory()) << "left behind: " << file.path();
  }
}

TEST_F(Cache, ProcessesThatLoadTheSameModelDoNotDisturbEachOther) {
  const auto alone = start_process(1, 0).finish();
  ASSERT_EQ(alone.status, 0);
  ASSERT_THAT(alone.lines, testing::Contains(testing::StartsWith("weights ")));
  std::vector<Process> processes;
  for (int i = 0; i < 4; ++i) processes.push_back(start_process(5, 0));
  for (Process& process : processes) {
    const auto output = process.finish();
    EXPECT_EQ(output.status, 0);
    for (const auto& line : output.lines) {
      EXPECT_THAT(line, testing::Not(HasSubstr("damaged")));
      if (line.starts_with("weights ")) {
        EXPECT_EQ(line, alone.lines[0]);
      }
    }
  }
}

TEST_F(Cache, TemporariesOfLongAgoAreRemoved) {
  const auto model = load(cache_path());
  ASSERT_TRUE(model);
  const auto path = packed_file(*model);
  std::filesystem::remove(path);
  const auto old_one = path.string() + ".tmp-aaaaaa";
  const auto new_one = path.string() + ".tmp-bbbbbb";
  test::write_file(old_one, "x");
  test::write_file(new_one, "x");
  std::filesystem::last_write_time(old_one, std::filesystem::file_time_type::clock::now() - std::chrono::hours(48));
  ASSERT_TRUE(load(cache_path()));
  EXPECT_FALSE(std::filesystem::exists(old_one));
  EXPECT_TRUE(std::filesystem::exists(new_one));  // another process may be writing it
}

}  // namespace
}  // namespace krasis
