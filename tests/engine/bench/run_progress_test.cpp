// How far a benchmark is, by stories whose end is known.
#include <gtest/gtest.h>

#include "engine/bench/run_progress.h"

namespace krasis {
namespace {

/// One warm-up and three repetitions of 10 s of prompt and 20 tokens of 0.5 s each, trace and parts, then the verdict.
class RunProgressTest : public testing::Test {
 protected:
  void generate() {
    progress_.begin_generation(now_);
    for (int part = 1; part <= 4; ++part) progress_.prompt_done(part / 4.0, now_ += 2.5);
    for (int token = 1; token <= 20; ++token) progress_.tokens_done(token, now_ += 0.5);
  }
  void measure_once() {
    progress_.begin_trace(now_);
    now_ += 14;
    progress_.begin_parts(now_);
    now_ += 25;
  }
  RunProgress progress_{1, 3, 20, 100};
  double now_ = 0;
};

TEST_F(RunProgressTest, NothingIsKnownBeforeAPromptHasMoved) {
  EXPECT_LT(progress_.left_s(0), 0);
  progress_.begin_generation(0);
  progress_.prompt_done(0.5, 5);
  EXPECT_LT(progress_.left_s(5), 0) << "no token was decoded yet";
  EXPECT_EQ(progress_.share(5), 0);
}

TEST_F(RunProgressTest, TheFirstTextSaysWhatTheOthersTake) {
  generate();
  const double rest = 3 * 20.0 + 14 + 25 + 100;
  EXPECT_NEAR(progress_.left_s(now_), rest, 1e-9);
  EXPECT_NEAR(progress_.share(now_), 20 / (20 + rest), 1e-9);
  measure_once();
  EXPECT_NEAR(progress_.left_s(now_), 3 * 20.0 + 100, 1e-9);
  for (int repetition = 0; repetition < 3; ++repetition) generate();
  progress_.begin_verdict(now_);
  EXPECT_NEAR(progress_.left_s(now_), 100, 1e-9);
  EXPECT_NEAR(progress_.left_s(now_ + 30), 70, 1e-9) << "nothing was judged yet, but time passes";
}

TEST_F(RunProgressTest, APromptInTheMiddleCountsByItsShare) {
  generate();
  measure_once();
  progress_.begin_generation(now_);
  progress_.prompt_done(0.25, now_ + 2.5);
  EXPECT_NEAR(progress_.left_s(now_ + 2.5), 7.5 + 10 + 2 * 20.0 + 100, 1e-9);
  EXPECT_NEAR(progress_.left_s(now_ + 3.5), 6.5 + 10 + 2 * 20.0 + 100, 1e-9) << "between two parts of it";
}

TEST_F(RunProgressTest, AVerdictThatWasExpectedSoonerMovesTheShareBack) {
  generate();
  progress_.begin_verdict(100);
  EXPECT_NEAR(progress_.share(100), 0.5, 1e-9);
  progress_.verdict_done(0.001, 100.1);
  EXPECT_NEAR(progress_.left_s(100.1), 99.9, 1e-6) << "too little to judge by: what was expected holds";
  progress_.verdict_done(0.01, 110);
  EXPECT_NEAR(progress_.left_s(110), 990, 1e-6);
  EXPECT_NEAR(progress_.share(110), 0.1, 1e-9);
  progress_.verdict_done(0.75, 850);
  EXPECT_NEAR(progress_.left_s(850), 250, 1e-6);
}

}  // namespace
}  // namespace krasis
