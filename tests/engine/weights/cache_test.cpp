// The fingerprint and the packed copy on disk.
#include <gmock/gmock.h>

#include <chrono>
#include <random>

#include "tests/engine/weights/cache_fixture.h"

namespace krasis {
namespace {

using test::kTwoCopies;
using test::Process;
using test::same_weights;
using test::TinyCheckpoint;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Cache : public test::CacheTest {};

TEST_F(Cache, TheSecondLoadReadsWhatTheFirstOnePacked) {
  const auto first = load(cache_path());
  ASSERT_TRUE(first) << first.error().message();
  EXPECT_THAT(stages_, ElementsAre("hash", "quantize"));
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
  EXPECT_THAT(stages_, ElementsAre("quantize"));  // the fingerprint is remembered, the copy is another
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
  EXPECT_THAT(stages_, ElementsAre("hash", "quantize"));

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
  ASSERT_TRUE(load(cache_path()));
  const auto memory = std::filesystem::directory_iterator(cache_path() / "fingerprints")->path();
  std::filesystem::remove(memory);
  const auto old_one = memory.string() + ".tmp-aaaaaa";
  const auto new_one = memory.string() + ".tmp-bbbbbb";
  test::write_file(old_one, "x");
  test::write_file(new_one, "x");
  std::filesystem::last_write_time(old_one, std::filesystem::file_time_type::clock::now() - std::chrono::hours(48));
  ASSERT_TRUE(load(cache_path()));
  EXPECT_FALSE(std::filesystem::exists(old_one));
  EXPECT_TRUE(std::filesystem::exists(new_one));  // another process may be writing it
}

}  // namespace
}  // namespace krasis
