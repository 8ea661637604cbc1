#include "engine/config/parameter_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "engine/config/parameters.h"

namespace krasis {
namespace {

TEST(ParameterPage, TheCommittedPageIsWhatTheTableGives) {
  const std::ifstream file(KRASIS_SOURCE_DIR "/docs/configuration.md", std::ios::binary);
  std::stringstream committed;
  committed << file.rdbuf();
  EXPECT_TRUE(committed.str() == parameter_page()) << "Make it anew: krasis parameters > docs/configuration.md";
}

TEST(ParameterPage, EachParameterIsOneRowOfSixCells) {
  const std::string page = parameter_page();
  for (const Parameter& parameter : parameters()) {
    EXPECT_THAT(page, testing::HasSubstr("\n| `" + std::string(parameter.name) + "` | "));
  }
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with('|')) continue;
    EXPECT_EQ(std::count(line.begin(), line.end(), '|'), 7) << line;
  }
}

}  // namespace
}  // namespace krasis
