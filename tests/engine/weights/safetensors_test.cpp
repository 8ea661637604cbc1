#include "engine/weights/safetensors.h"

#include <gmock/gmock.h>

#include "engine/weights/checkpoint.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temporary_directory.h"

namespace krasis {
namespace {

using test::safetensors_bytes;
using testing::HasSubstr;

class Safetensors : public testing::Test {
 protected:
  Expected<SafetensorsFile> open_bytes(const std::string& bytes) {
    test::write_file(path_, bytes);
    return SafetensorsFile::open(path_);
  }
  void expect_corrupt(const std::string& bytes, const std::string& part) {
    const auto file = open_bytes(bytes);
    ASSERT_FALSE(file) << "accepted: " << part;
    EXPECT_EQ(file.error().code, ErrorCode::Corrupt);
    EXPECT_THAT(file.error().message(), HasSubstr(part));
    EXPECT_THAT(file.error().message(), HasSubstr(path_.string()));
  }
  test::TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_.path() / "model.safetensors";
};

/// A header padded to 8 bytes, as every writer does.
std::string padded(std::string header) {
  while (header.size() % 8 != 0) header += " ";
  return header;
}
std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

TEST_F(Safetensors, ReadsTensorsAndMetadata) {
  const std::vector<float> floats{1.5f, -2.0f, 0.25f, 4.0f};
  const std::vector<std::int32_t> integers{7, -8};
  const std::string header =
      padded(R"({"__metadata__":{"format":"pt"},)" + entry("f", "F32", "[2,2]", "[0,16]") + "," +
             entry("i", "I32", "[2]", "[16,24]") + "," + entry("e", "F32", "[0]", "[24,24]") + "}");
  std::string data(reinterpret_cast<const char*>(floats.data()), 16);
  data.append(reinterpret_cast<const char*>(integers.data()), 8);
  const auto file = open_bytes(safetensors_bytes(header, data));
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_THAT(file->values<float>("f").value(), testing::ElementsAreArray(floats));
  EXPECT_THAT(file->values<std::int32_t>("i").value(), testing::ElementsAreArray(integers));
  EXPECT_TRUE(file->values<float>("e").value().empty());
  EXPECT_THAT(file->find("f")->shape, testing::ElementsAre(2, 2));
  EXPECT_EQ(file->metadata().at("format"), "pt");
  EXPECT_THAT(file->values<float>("i").error().message(), HasSubstr("tensor i has dtype I32, but F32 is expected"));
  EXPECT_THAT(file->values<float>("x").error().message(), HasSubstr("has no tensor x"));
}

TEST_F(Safetensors, RefusesTruncatedFiles) {
  expect_corrupt("", "the file is truncated, it has 0 bytes");
  expect_corrupt("1234567", "the file is truncated, it has 7 bytes");
  const std::string whole =
      safetensors_bytes(padded("{" + entry("f", "F32", "[4]", "[0,16]") + "}"), std::string(16, 'x'));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    expect_corrupt(whole.substr(0, length), "the file is truncated");
  }
}

TEST_F(Safetensors, RefusesOversizedHeaders) {
  expect_corrupt(std::string(8, '\xff') + "{}", "more than the format allows");
  std::string claims = safetensors_bytes("{}      ", "");
  claims[0] = 9;
  expect_corrupt(claims, "the header claims 9 bytes, but only 8 follow");
}

TEST_F(Safetensors, RefusesHeadersThatAreNoHeaders) {
  expect_corrupt(safetensors_bytes("", ""), "not a valid JSON object");
  expect_corrupt(safetensors_bytes("[]      ", ""), "not a valid JSON object");
  expect_corrupt(safetensors_bytes("{\"a\": {  ", ""), "not a valid JSON object");
  expect_corrupt(safetensors_bytes(std::string(1 << 20, '['), ""), "not a valid JSON object");
  expect_corrupt(safetensors_bytes(R"({"a":17}        )", ""), "tensor a lacks a dtype");
  expect_corrupt(safetensors_bytes(R"({"__metadata__":{"a":1}})", ""), "__metadata__ holds something");
  expect_corrupt(safetensors_bytes(R"({"__metadata__":[]}     )", ""), "__metadata__ is not an object");
}

TEST_F(Safetensors, RefusesLyingHeaders) {
  const auto lies = [&](const std::string& entries, const std::string& part) {
    expect_corrupt(safetensors_bytes(padded("{" + entries + "}"), std::string(16, 'x')), part);
  };
  lies(entry("f", "F32", "[5]", "[0,16]"),
       "tensor f of shape [5] and dtype F32 needs 20 bytes, but its data_offsets give 16");
  lies(entry("f", "F32", "[4]", "[0,20]"), "tensor f ends at byte 20 of the data, which has 16");
  lies(entry("f", "F32", "[4]", "[16,0]"), "tensor f has data_offsets that are no range");
  lies(entry("f", "F32", "[4]", "[-16,0]"), "tensor f has data_offsets that are no range");
  lies(entry("f", "F32", "[4]", "[0,18446744073709551615]"), "tensor f has data_offsets that are no range");
  lies(entry("f", "F32", "[-4]", "[0,16]"), "tensor f has a shape that is not made of whole numbers");
  lies(entry("f", "F32", "[1.5]", "[0,16]"), "tensor f has a shape that is not made of whole numbers");
  lies(entry("f", "F32", "[4611686018427387904,4,4]", "[0,16]"), "tensor f has a shape beyond all memory");
  lies(entry("f", "F32", "[2]", "[0,8]") + "," + entry("g", "F32", "[3]", "[4,16]"), "tensor g overlaps another one");
  lies(entry("f", "F32", "[1]", "[0,4]") + "," + entry("g", "F32", "[2]", "[8,16]"), "there is a hole before tensor g");
  lies(entry("f", "F32", "[2]", "[0,8]"), "there are bytes after the last tensor");
  lies(entry("f", "F32", "[2]", "[0,8]") + "," + entry("f", "F32", "[2]", "[8,16]"), "tensor f occurs twice");
}

TEST_F(Safetensors, RefusesMisalignedTensors) {
  const std::string data(16, 'x');
  expect_corrupt(
      safetensors_bytes(padded("{" + entry("b", "U8", "[2]", "[0,2]") + "," + entry("f", "F32", "[3]", "[2,14]") + "," +
                               entry("z", "U8", "[2]", "[14,16]") + "}"),
                        data),
      "tensor f is misaligned for its dtype F32");
  const std::string header = padded("{" + entry("f", "F32", "[4]", "[0,16]") + "}") + " ";  // data begin at an odd byte
  expect_corrupt(safetensors_bytes(header, data), "tensor f is misaligned for its dtype F32");
}

TEST_F(Safetensors, AnUnknownDtypeOnlyMattersToItsReader) {
  const auto file = open_bytes(safetensors_bytes(padded("{" + entry("q", "F4", "[9]", "[0,5]") + "}"), "abcde"));
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_THAT(file->values<float>("q").error().message(), HasSubstr("tensor q has dtype F4, but F32 is expected"));
}

TEST_F(Safetensors, SurvivesRandomDamage) {
  const std::string whole = safetensors_bytes(
      padded("{" + entry("f", "F32", "[2]", "[0,8]") + "," + entry("g", "BF16", "[4]", "[8,16]") + "}"),
      std::string(16, 'x'));
  for (std::size_t at = 0; at < whole.size() - 16; ++at) {
    for (const char byte : {'\0', '\xff', '9', '"', '}', '['}) {
      std::string damaged = whole;
      damaged[at] = byte;
      const auto file = open_bytes(damaged);  // whatever it says, it stays within the file (the sanitizer watches)
      if (!file) {
        EXPECT_EQ(file.error().code, ErrorCode::Corrupt);
        continue;
      }
      for (const auto& tensor : file->tensors()) EXPECT_LE(tensor.bytes.size(), 16u);
    }
  }
}

TEST_F(Safetensors, SaysWhenThereIsNoFile) {
  const auto missing = SafetensorsFile::open(directory_.path() / "none.safetensors");
  EXPECT_EQ(missing.error().code, ErrorCode::NotFound);
  EXPECT_THAT(missing.error().message(), HasSubstr("none.safetensors cannot be opened: No such file"));
  EXPECT_THAT(SafetensorsFile::open(directory_.path()).error().message(), HasSubstr("Is a directory"));
}

class ShardedCheckpoint : public testing::Test {
 protected:
  void SetUp() override {
    test::write_safetensors(path() / "one.safetensors", {{"a", test::bf16_tensor({1}, {1})}});
    test::write_safetensors(path() / "two.safetensors", {{"b", test::bf16_tensor({1}, {2})}});
  }
  void expect_error(const std::string& index, ErrorCode code, const std::string& part) {
    test::write_file(path() / "model.safetensors.index.json", index);
    const auto checkpoint = Checkpoint::open(path());
    ASSERT_FALSE(checkpoint) << "accepted: " << part;
    EXPECT_EQ(checkpoint.error().code, code) << checkpoint.error().message();
    EXPECT_THAT(checkpoint.error().message(), HasSubstr(part));
  }
  const std::filesystem::path& path() const { return directory_.path(); }
  test::TemporaryDirectory directory_;
};

TEST_F(ShardedCheckpoint, FindsTensorsInAllShards) {
  test::write_file(path() / "model.safetensors.index.json",
                   R"({"metadata":{"total_size":4},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  const auto checkpoint = Checkpoint::open(path());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message();
  ASSERT_EQ(checkpoint->entries().size(), 2u);
  EXPECT_EQ(checkpoint->find("b")->file->path(), path() / "two.safetensors");
  EXPECT_EQ(checkpoint->find("c"), nullptr);
}

TEST_F(ShardedCheckpoint, RefusesBrokenIndexes) {
  expect_error("{", ErrorCode::Corrupt, "the index is not a valid JSON object");
  expect_error(std::string(100000, '['), ErrorCode::Corrupt, "the index is not a valid JSON object");
  expect_error("{}", ErrorCode::Corrupt, "the index has no weight_map");
  expect_error(R"({"weight_map":{}})", ErrorCode::Corrupt, "the index has no weight_map");
  expect_error(R"({"weight_map":{"a":7}})", ErrorCode::Corrupt, "tensor a is mapped to something that is no file name");
  expect_error(R"({"weight_map":{"a":"three.safetensors"}})", ErrorCode::NotFound,
               "three.safetensors, which the index");
  expect_error(R"({"weight_map":{"b":"one.safetensors"}})", ErrorCode::Corrupt,
               "has no tensor b, though the index says so");
}

TEST_F(ShardedCheckpoint, RefusesShardsOutsideOfItsFolder) {
  for (const char* name : {"../one.safetensors", "/etc/passwd", "sub/one.safetensors", "..", ".", "", "..\\\\one"}) {
    expect_error(std::string(R"({"weight_map":{"a":")") + name + "\"}}", ErrorCode::Corrupt,
                 "which is not a file name in this folder");
  }
}

TEST_F(ShardedCheckpoint, RefusesATensorInTwoShards) {
  test::write_safetensors(path() / "two.safetensors",
                          {{"a", test::bf16_tensor({1}, {1})}, {"b", test::bf16_tensor({1}, {2})}});
  expect_error(R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})", ErrorCode::Corrupt,
               "Tensor a is in two shards");
}

TEST_F(ShardedCheckpoint, SaysWhenThereAreNoWeights) {
  const test::TemporaryDirectory empty;
  const auto checkpoint = Checkpoint::open(empty.path());
  EXPECT_EQ(checkpoint.error().code, ErrorCode::NotFound);
  EXPECT_THAT(checkpoint.error().message(), HasSubstr("neither model.safetensors nor model.safetensors.index.json"));
}

}  // namespace
}  // namespace krasis
