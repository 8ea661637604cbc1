#include "engine/config/configuration_io.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "engine/config/parameters.h"

namespace krasis {
namespace {

using testing::HasSubstr;

RunConfiguration random_configuration(std::mt19937_64& random) {
  RunConfiguration configuration;
  for (const Parameter& parameter : parameters()) {
    std::string text;
    if (!parameter.choices.empty()) {
      text = parameter.choices[random() % parameter.choices.size()].value;
    } else if (parameter.type == ParameterType::Text) {
      text = "synthetic:/päth \"with\\quotes\" # and = signs " + std::to_string(random());
    } else if (parameter.type == ParameterType::Int) {
      text = std::to_string(static_cast<std::int64_t>(
          std::uniform_real_distribution<double>(parameter.minimum, parameter.maximum)(random)));
    } else {
      std::ostringstream number;
      number << std::uniform_real_distribution<double>(parameter.minimum, parameter.maximum)(random);
      text = number.str();
    }
    if (auto set = parameter.set(configuration, text); !set) ADD_FAILURE() << set.error().message();
  }
  return configuration;
}

TEST(ConfigurationIo, RoundTripsThroughTomlAndJson) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 200; ++i) {
    const RunConfiguration configuration = random_configuration(random);
    const auto from_toml = configuration_from_toml(to_toml(configuration));
    ASSERT_TRUE(from_toml) << from_toml.error().message();
    EXPECT_EQ(*from_toml, configuration) << to_toml(configuration);
    const auto from_json = configuration_from_json(to_json(configuration));
    ASSERT_TRUE(from_json) << from_json.error().message();
    EXPECT_EQ(*from_json, configuration) << to_json(configuration);
  }
}

TEST(ConfigurationIo, MissingNamesComeFromTheBase) {
  RunConfiguration base;
  base.lgs = 7;
  base.gpu_format = "int8";
  const auto read = configuration_from_toml("lgs = 3\nhcs = \"on\"\n", base);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->lgs, 3);
  EXPECT_EQ(read->gpu_format, "int8");
  EXPECT_EQ(read->hcs, HotCache::On);
}

TEST(ConfigurationIo, JsonHasNumbersAsNumbers) {
  RunConfiguration r;
  r.hcs_share = 0.25;
  const auto json = nlohmann::json::parse(to_json(r));
  EXPECT_EQ(json["gpu_format"], "int4");
  EXPECT_EQ(json["lgs"], 2);
  EXPECT_EQ(json["hcs_share"], 0.25);
  EXPECT_EQ(json["hcs"], "off");
  EXPECT_EQ(json.size(), parameters().size());
}

/// A configuration as programs wrote it while precisions were numbers of bits.
constexpr const char* kOldToml =
    "lgs = 3\ngpu_bits = 8\ncpu_bits = 4\nattention_bits = 16\ndense_mlp_bits = 8\nlm_head_bits = 4\n";
constexpr const char* kOldJson =
    R"({"lgs":3,"gpu_bits":8,"cpu_bits":4,"attention_bits":16,"dense_mlp_bits":8,"lm_head_bits":4})";

TEST(ConfigurationIo, NumbersOfBitsAreReadAsTheFormatsThatTheyMeant) {
  for (const auto& read : {configuration_from_toml(kOldToml), configuration_from_json(kOldJson)}) {
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_EQ(read->lgs, 3);
    EXPECT_EQ(read->gpu_format, "int8");
    EXPECT_EQ(read->cpu_format, "int4");
    EXPECT_EQ(read->attention_format, "bf16");
    EXPECT_EQ(read->dense_mlp_format, "int8");
    EXPECT_EQ(read->lm_head_format, "int4");
    EXPECT_THAT(to_toml(*read), HasSubstr("gpu_format = \"int8\""));
    EXPECT_THAT(to_toml(*read) + to_json(*read), testing::Not(HasSubstr("bits")));
  }
}

TEST(ConfigurationIo, RefusesWithACause) {
  for (const auto& [text, cause] : {std::pair{"lgs = ", "Line 1"},
                                    {"lgs = 2\nlgs = 3", "Line 2"},
                                    {"gpu_bit = 4", "gpu_bit"},
                                    {"lgs = true", "neither a number nor a text"},
                                    {"lgs = [1, 2]", "neither"},
                                    {"lgs = \"2\"", "lgs is a number"},
                                    {"hcs = 1", "hcs is a text"},
                                    {"hcs_share = nan", "hcs_share cannot be"},
                                    {"lgs = 9223372036854775808", "Line"},
                                    {"gpu_bits = 5", "gpu_format cannot be \"5\""},
                                    {"gpu_format = 4", "gpu_format is a text"},
                                    {"gpu_format = \"4\"", "gpu_format cannot be \"4\""},
                                    {"gpu_format = \"mxfp4\"", "gpu_format cannot be \"mxfp4\""},
                                    {"gpu-format = \"int4\"", "gpu-format"},
                                    {"x-y = 1", "x-y"}}) {
    const auto read = configuration_from_toml(text);
    ASSERT_FALSE(read) << text;
    EXPECT_THAT(read.error().cause, HasSubstr(cause)) << text;
  }
  EXPECT_THAT(configuration_from_toml("gpu_bit = 4").error().remedy, HasSubstr("gpu_format"));
  EXPECT_FALSE(configuration_from_toml("a = " + std::string(100000, '[')));
  for (const char* text : {"", "[]", "3", "{\"lgs\": null}", "{\"lgs\": 18446744073709551615}", "{\"lgs\": {}}",
                           "{\"hyperdrive\": 1}", "{\"lgs\": 2", "{\"model\": \"\xff\"}"}) {
    EXPECT_FALSE(configuration_from_json(text)) << text;
  }
}

}  // namespace
}  // namespace krasis
