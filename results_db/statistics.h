#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace krasis::results {

/// Fewer repetitions than this are marked "n too small": a spread of two values says little.
inline constexpr std::size_t kMinimumRepetitions = 3;

struct Interval {
  double low = 0;
  double high = 0;
  bool operator==(const Interval&) const = default;
};

/// Of a sample; everything but n is 0 or empty when n is 0.
struct Statistics {
  std::size_t n = 0;
  double mean = 0;
  double median = 0;
  double min = 0;
  double max = 0;
  std::optional<double> stddev;          ///< of the sample (n - 1); from n = 2
  std::optional<Interval> confidence95;  ///< of the mean, Student's t; from n = 2
  std::optional<double> variation;       ///< coefficient of variation, stddev / |mean|; unless the mean is 0
  bool first_is_outlier = false;         ///< see first_is_outlier()
  bool n_too_small() const { return n < kMinimumRepetitions; }
  bool operator==(const Statistics&) const = default;
};

/// All of the above. Values are finite.
Statistics statistics_of(std::span<const double> values);

/// Arithmetic mean; 0 for no values.
double mean(std::span<const double> values);
/// Middle value, or the mean of the two middle ones; 0 for no values.
double median(std::span<const double> values);
/// Standard deviation of a sample, sqrt(sum (x - mean)^2 / (n - 1)); nothing below two values.
std::optional<double> stddev(std::span<const double> values);
/// stddev / |mean|; nothing below two values or for mean 0.
std::optional<double> coefficient_of_variation(std::span<const double> values);
/// Student's interval of the mean: mean +- t(1 - (1 - confidence) / 2, n - 1) * stddev / sqrt(n); nothing below two
/// values. @param confidence in (0, 1)
std::optional<Interval> t_interval(std::span<const double> values, double confidence = 0.95);

/// True when the first value lies far from the others, as a cold cache or a slow clock makes it: farther from their
/// median than 5 * 1.4826 * MAD and than 5 % of that median. False below four values.
bool first_is_outlier(std::span<const double> values);

/// 1 / each value, for rates that are judged by their times. Values are not 0.
std::vector<double> reciprocals(std::span<const double> values);

/// Two-sided p value of Welch's t-test (unequal variances, degrees of freedom by Welch-Satterthwaite) that both samples
/// have one mean. Nothing below two values on a side or when neither side varies.
/// Source: B. L. Welch, Biometrika 34 (1947), 28-35.
std::optional<double> welch_p_value(std::span<const double> a, std::span<const double> b);

/// Regularized incomplete beta function I_x(a, b), a, b > 0, x in [0, 1], by Lentz's continued fraction.
/// Source: NIST DLMF 8.17.22.
double incomplete_beta(double a, double b, double x);
/// P(T <= t) of Student's distribution with `freedom` > 0 degrees of freedom.
double student_t_cdf(double t, double freedom);
/// The t with P(T <= t) = probability, probability in (0, 1).
double student_t_quantile(double probability, double freedom);

}  // namespace krasis::results
