#include "results_db/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace krasis::results {
namespace {

using Values = std::vector<double>;

TEST(Statistics, BasicsOfASmallSample) {
  const Values values{2, 4, 4, 4, 5, 5, 7, 9};  // mean 5, sum of squares 32
  EXPECT_DOUBLE_EQ(mean(values), 5);
  EXPECT_DOUBLE_EQ(median(values), 4.5);
  EXPECT_DOUBLE_EQ(*stddev(values), std::sqrt(32.0 / 7));
  EXPECT_DOUBLE_EQ(*coefficient_of_variation(values), std::sqrt(32.0 / 7) / 5);
  const Statistics s = statistics_of(values);
  EXPECT_EQ(s.n, 8u);
  EXPECT_EQ(s.min, 2);
  EXPECT_EQ(s.max, 9);
  EXPECT_EQ(median(Values{9, 1, 5}), 5);
}

TEST(Statistics, TooFewValuesHaveNoSpread) {
  EXPECT_EQ(statistics_of({}), Statistics{});
  const Statistics one = statistics_of(Values{3});
  EXPECT_EQ(one.mean, 3);
  EXPECT_FALSE(one.stddev || one.confidence95 || one.variation);
  EXPECT_TRUE(one.n_too_small());
  EXPECT_TRUE(statistics_of(Values{3, 4}).n_too_small());
  EXPECT_FALSE(statistics_of(Values{3, 4, 5}).n_too_small());
  EXPECT_FALSE(coefficient_of_variation(Values{-1, 1}));
}

// Tables of Student's t; the last digits by SciPy 1.x, scipy.stats.t.ppf.
TEST(Statistics, QuantilesOfStudentsDistribution) {
  const struct {
    double probability, freedom, t;
  } cases[] = {{0.975, 1, 12.706204736174694},   {0.975, 2, 4.302652729749462},   {0.975, 4, 2.7764451051977934},
               {0.975, 10, 2.228138851986274},   {0.975, 30, 2.0422724563012378}, {0.995, 7, 3.4994832973504924},
               {0.975, 2.5, 3.5746548420036817}, {0.9, 1e6, 1.281552412129939}};
  for (const auto& c : cases) {
    EXPECT_NEAR(student_t_quantile(c.probability, c.freedom), c.t, 1e-9 * c.t) << c.freedom;
    EXPECT_NEAR(student_t_quantile(1 - c.probability, c.freedom), -c.t, 1e-9 * c.t) << c.freedom;
  }
  EXPECT_EQ(student_t_quantile(0.5, 3), 0);
  EXPECT_NEAR(student_t_cdf(2, 5), 0.9490302605850708, 1e-13);
  EXPECT_NEAR(student_t_cdf(-1.3, 3.7), 0.13433336208631375, 1e-13);
}

TEST(Statistics, IncompleteBeta) {
  EXPECT_NEAR(incomplete_beta(2, 3, 0.4), 6 * 0.16 - 8 * 0.064 + 3 * 0.0256, 1e-15);  // 6x^2 - 8x^3 + 3x^4
  for (const double a : {0.5, 1.0, 7.0, 300.0}) EXPECT_NEAR(incomplete_beta(a, a, 0.5), 0.5, 1e-12) << a;
  EXPECT_NEAR(incomplete_beta(1, 5, 0.2), 1 - std::pow(0.8, 5), 1e-15);
  // scipy.special.betainc
  EXPECT_NEAR(incomplete_beta(0.5, 0.5, 0.3), 0.36901011956554536, 1e-13);
  EXPECT_NEAR(incomplete_beta(10, 0.5, 0.99), 0.6579281751567845, 1e-13);
  EXPECT_NEAR(incomplete_beta(12.5, 0.5, 0.8), 0.01934312756994271, 1e-13);
  EXPECT_NEAR(incomplete_beta(200, 300, 0.4), 0.5024286163199315, 1e-11);
  EXPECT_NEAR(incomplete_beta(0.01, 5, 0.1), 0.9940726309296224, 1e-13);
  EXPECT_EQ(incomplete_beta(2, 3, 0), 0);
  EXPECT_EQ(incomplete_beta(2, 3, 1), 1);
}

TEST(Statistics, ConfidenceIntervalOfTheMean) {
  const Values values{10, 12, 14};  // mean 12, stddev 2
  const Interval interval = *t_interval(values);
  EXPECT_NEAR(interval.low, 12 - 4.302652729749462 * 2 / std::sqrt(3.0), 1e-9);
  EXPECT_NEAR(interval.high, 12 + 4.302652729749462 * 2 / std::sqrt(3.0), 1e-9);
  EXPECT_EQ(statistics_of(values).confidence95, t_interval(values));
}

// The three examples of https://en.wikipedia.org/wiki/Welch%27s_t-test: P = 0.021, 0.149, 0.036; more digits by SciPy.
TEST(Statistics, WelchsTest) {
  const Values a1{27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4};
  const Values a2{27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4};
  EXPECT_NEAR(*welch_p_value(a1, a2), 0.021378001462866992, 1e-12);
  const Values b1{17.2, 20.9, 22.6, 18.1, 21.7, 21.4, 23.5, 24.2, 14.7, 21.8};
  const Values b2{21.5, 22.8, 21.0, 23.0, 21.6, 23.6, 22.5, 20.7, 23.4, 21.8,
                  20.7, 21.7, 21.5, 22.5, 23.6, 21.5, 22.5, 23.5, 21.5, 21.8};
  EXPECT_NEAR(*welch_p_value(b1, b2), 0.14884169660532817, 1e-12);
  const Values c1{19.8, 20.4, 19.6, 17.8, 18.5, 18.9, 18.3, 18.9, 19.5, 22.0};
  const Values c2{28.2, 26.6, 20.1, 23.3, 25.2, 22.1, 17.7, 27.6, 20.6, 13.7,
                  23.2, 17.5, 20.6, 18.0, 23.9, 21.6, 24.3, 20.4, 24.0, 13.2};
  EXPECT_NEAR(*welch_p_value(c1, c2), 0.03597227102979692, 1e-12);
  EXPECT_NEAR(*welch_p_value(Values{10.1, 10.2, 10.3}, Values{20.1, 20.5, 20.2}), 7.823088521590236e-06, 1e-15);
  EXPECT_EQ(welch_p_value(c1, c2), welch_p_value(c2, c1));
  EXPECT_NEAR(*welch_p_value(a1, a1), 1, 1e-12);
}

TEST(Statistics, WelchsTestNeedsSpread) {
  EXPECT_FALSE(welch_p_value(Values{1}, Values{2, 3, 4}));
  EXPECT_FALSE(welch_p_value(Values{1, 1, 1}, Values{2, 2, 2}));
  EXPECT_TRUE(welch_p_value(Values{1, 1, 1}, Values{2, 2, 3}));
}

TEST(Statistics, FirstRepetitionAsOutlier) {
  EXPECT_TRUE(first_is_outlier(Values{5.0, 10.0, 10.1, 9.9}));
  EXPECT_TRUE(first_is_outlier(Values{5.0, 10.0, 10.0, 10.0}));
  EXPECT_FALSE(first_is_outlier(Values{9.8, 10.0, 10.01, 9.99}));  // within 5 %
  EXPECT_FALSE(first_is_outlier(Values{9.0, 10.0, 12.0, 8.0}));    // the others vary as much
  EXPECT_FALSE(first_is_outlier(Values{5.0, 10.0, 10.0}));         // too few to know
}

}  // namespace
}  // namespace krasis::results
