// Which node the rows of matrices and the pages beneath them belong on.
#include "engine/weights/shards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace krasis {
namespace {

using testing::ElementsAre;

constexpr std::size_t kPage = 4096;

/// The node of a byte by the words: which part of the rows, or of the scales, of its matrix.
std::size_t node_of(const ExpertLayout& layout, std::size_t nodes, std::size_t offset) {
  std::size_t at = offset % layout.bytes();
  for (const MatrixLayout& m : {layout.gate, layout.up, layout.down}) {
    if (at >= m.bytes()) {
      at -= m.bytes();
      continue;
    }
    const bool scale = at >= m.scales_offset();
    const std::size_t row = scale ? (at - m.scales_offset()) / m.scale_row_bytes() : at / m.row_bytes();
    for (std::size_t k = 0; k < nodes; ++k) {
      const auto rows = static_cast<std::size_t>(m.rows);
      if (row < (k + 1) * rows / nodes) return k;
    }
    return nodes - 1;  // behind the last row
  }
  return 0;
}

TEST(ExpertShards, DivideTheRowsAndScalesOfEachMatrix) {
  for (const Element element : {Element::Int4, Element::Int8, Element::Bf16, Element::Mxfp4}) {
    for (const auto& [hidden, width] : {std::pair{256, 96}, std::pair{320, 37}, std::pair{64, 1}}) {
      if (element == Element::Mxfp4 && width % 32 != 0) continue;
      const ExpertLayout layout = expert_layout(element, 32, hidden, width);
      for (const std::size_t n : {2, 3, 8}) {
        const Shards shards = expert_shards(layout, std::vector<int>(n, 5));
        SCOPED_TRACE(std::to_string(hidden) + " x " + std::to_string(width) + " on " + std::to_string(n));
        std::size_t at = 0;
        while (at < 2 * layout.bytes()) {
          const Shards::Range range = shards.at(at);
          ASSERT_GT(range.end, at);
          for (const std::size_t inside : {at, (at + range.end) / 2, range.end - 1}) {
            EXPECT_EQ(range.node, node_of(layout, n, inside)) << inside;
            EXPECT_EQ(shards.at(inside).end, range.end) << inside;
          }
          at = range.end;
        }
        EXPECT_EQ(at, 2 * layout.bytes());
      }
    }
  }
}

TEST(ExpertShards, FewerThanTwoNodesDivideNothing) {
  const ExpertLayout layout = expert_layout(Element::Int4, 32, 64, 64);
  EXPECT_FALSE(expert_shards(layout, {}));
  EXPECT_FALSE(expert_shards(layout, {3}));
  EXPECT_TRUE(expert_shards(layout, {3, 1}));
}

TEST(EqualShards, AreEqual) {
  const Shards shards = equal_shards(10, {0, 1, 2});
  std::vector<std::size_t> nodes;
  for (std::size_t at = 0; at < 12; ++at) nodes.push_back(shards.at(at).node);
  EXPECT_THAT(nodes, ElementsAre(0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2));
  EXPECT_EQ(shards.at(4).end, 6u);
  EXPECT_FALSE(equal_shards(0, {}));
  EXPECT_EQ(equal_shards(1, {0, 1, 2}).at(0).node, 0u) << "less than a byte for each";
}

/// Three pages and a bit, of which the border at 40 % lies in the second page's first half.
TEST(PageRuns, APageGoesWhereItsMiddleBelongs) {
  const auto two = [](std::size_t border) {
    Shards shards = equal_shards(1, {0, 1});
    shards.at = [border](std::size_t at) {
      return at < border ? Shards::Range{0, border} : Shards::Range{1, SIZE_MAX};
    };
    return shards;
  };
  EXPECT_THAT(page_runs(two(kPage + 100), 0, 3 * kPage, kPage),
              ElementsAre(PageRun{0, kPage, 0}, PageRun{kPage, 3 * kPage, 1}));
  EXPECT_THAT(page_runs(two(kPage + kPage / 2), 0, 3 * kPage, kPage),
              ElementsAre(PageRun{0, kPage, 0}, PageRun{kPage, 3 * kPage, 1}));
  EXPECT_THAT(page_runs(two(kPage + kPage / 2 + 1), 0, 3 * kPage, kPage),
              ElementsAre(PageRun{0, 2 * kPage, 0}, PageRun{2 * kPage, 3 * kPage, 1}));
  EXPECT_THAT(page_runs(two(100), 0, 2 * kPage, kPage), ElementsAre(PageRun{0, 2 * kPage, 1}));
  EXPECT_THAT(page_runs(two(9 * kPage), kPage, 2 * kPage, kPage), ElementsAre(PageRun{kPage, 2 * kPage, 0}));
  EXPECT_TRUE(page_runs(two(1), kPage, kPage, kPage).empty());
}

/// Runs cover the pages in order, neighbours are on different nodes, and each page is where its middle byte belongs,
/// whatever the widths are and wherever a piece begins.
TEST(PageRuns, CoverEachPageOnce) {
  std::mt19937 random(5);
  for (const auto& [hidden, width] : {std::pair{2048, 768}, std::pair{512, 352}, std::pair{192, 40}}) {
    const ExpertLayout layout = expert_layout(Element::Int4, 128, hidden, width);
    const Shards shards = expert_shards(layout, {0, 1, 2});
    for (int round = 0; round < 20; ++round) {
      const std::size_t begin = random() % 500 * kPage, end = begin + random() % 500 * kPage;
      std::size_t next = begin;
      for (const PageRun& run : page_runs(shards, begin, end, kPage)) {
        ASSERT_EQ(run.begin, next);
        ASSERT_GT(run.end, run.begin);
        for (std::size_t at = run.begin; at < run.end; at += kPage) EXPECT_EQ(shards.at(at + kPage / 2).node, run.node);
        EXPECT_TRUE(run.begin == begin || shards.at(run.begin - kPage / 2).node != run.node) << run.begin;
        next = run.end;
      }
      EXPECT_EQ(next, end);
    }
  }
}

/// What is lost by whole pages: of a small model's expert few pages are on the other node.
TEST(PageRuns, MostBytesLieOnTheirNode) {
  const ExpertLayout layout = expert_layout(Element::Int4, 128, 2048, 768);
  const Shards shards = expert_shards(layout, {0, 1});
  std::size_t right = 0;
  const std::size_t end = 4 * layout.bytes() / kPage * kPage;
  for (const PageRun& run : page_runs(shards, 0, end, kPage)) {
    for (std::size_t at = run.begin; at < run.end; at += 64) right += shards.at(at).node == run.node ? 64 : 0;
  }
  EXPECT_GT(static_cast<double>(right) / static_cast<double>(end), 0.99);
}

}  // namespace
}  // namespace krasis
