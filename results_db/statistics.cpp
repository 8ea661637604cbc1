#include "results_db/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace krasis::results {

namespace {

/// Continued fraction of the incomplete beta function (DLMF 8.17.22), modified Lentz.
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  constexpr int kMaxTerms = 100000;
  const auto nonzero = [](double value) { return std::abs(value) < kTiny ? kTiny : value; };
  double c = 1.0;
  double d = 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0));
  double result = d;
  for (int m = 1; m <= kMaxTerms; ++m) {
    const double even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
    d = 1.0 / nonzero(1.0 + even * d);
    c = nonzero(1.0 + even / c);
    result *= d * c;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
    d = 1.0 / nonzero(1.0 + odd * d);
    c = nonzero(1.0 + odd / c);
    const double step = d * c;
    result *= step;
    if (std::abs(step - 1.0) < 1e-15) break;
  }
  return result;
}

/// lgamma() writes the global `signgam`; this one may be called from several threads.
double log_gamma(double x) {
  int sign = 0;
  return ::lgamma_r(x, &sign);
}

}  // namespace

double mean(std::span<const double> values) {
  if (values.empty()) return 0;
  // Halving before summing is not needed: values are seconds and rates, far from the largest double.
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double median(std::span<const double> values) {
  if (values.empty()) return 0;
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const std::size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : 0.5 * (sorted[middle - 1] + sorted[middle]);
}

std::optional<double> stddev(std::span<const double> values) {
  if (values.size() < 2) return std::nullopt;
  const double centre = mean(values);
  double sum = 0;
  for (const double value : values) sum += (value - centre) * (value - centre);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

std::optional<double> coefficient_of_variation(std::span<const double> values) {
  const auto deviation = stddev(values);
  const double centre = mean(values);
  if (!deviation || centre == 0) return std::nullopt;
  return *deviation / std::abs(centre);
}

std::optional<Interval> t_interval(std::span<const double> values, double confidence) {
  const auto deviation = stddev(values);
  if (!deviation) return std::nullopt;
  const auto n = static_cast<double>(values.size());
  const double half = student_t_quantile(0.5 + 0.5 * confidence, n - 1) * *deviation / std::sqrt(n);
  const double centre = mean(values);
  return Interval{centre - half, centre + half};
}

bool first_is_outlier(std::span<const double> values) {
  if (values.size() < 4) return false;
  const auto others = values.subspan(1);
  const double centre = median(others);
  std::vector<double> distances;
  for (const double value : others) distances.push_back(std::abs(value - centre));
  const double scale = 1.4826 * median(distances);
  const double distance = std::abs(values[0] - centre);
  return distance > 5 * scale && distance > 0.05 * std::abs(centre);
}

std::vector<double> reciprocals(std::span<const double> values) {
  std::vector<double> result;
  for (const double value : values) result.push_back(1 / value);
  return result;
}

Statistics statistics_of(std::span<const double> values) {
  Statistics result;
  result.n = values.size();
  if (values.empty()) return result;
  result.mean = mean(values);
  result.median = median(values);
  result.min = *std::min_element(values.begin(), values.end());
  result.max = *std::max_element(values.begin(), values.end());
  result.stddev = stddev(values);
  result.confidence95 = t_interval(values);
  result.variation = coefficient_of_variation(values);
  result.first_is_outlier = first_is_outlier(values);
  return result;
}

double incomplete_beta(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const double front = std::exp(a * std::log(x) + b * std::log1p(-x) + log_gamma(a + b) - log_gamma(a) - log_gamma(b));
  // The fraction converges quickly below the mean of the distribution; above it the symmetric one does.
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double student_t_cdf(double t, double freedom) {
  const double tail = 0.5 * incomplete_beta(0.5 * freedom, 0.5, freedom / (freedom + t * t));
  return t > 0 ? 1 - tail : tail;
}

double student_t_quantile(double probability, double freedom) {
  if (probability == 0.5) return 0;
  if (probability < 0.5) return -student_t_quantile(1 - probability, freedom);
  double high = 1;
  while (student_t_cdf(high, freedom) < probability && high < 1e300) high *= 2;
  double low = 0;
  for (int i = 0; i < 200 && high - low > 4 * std::numeric_limits<double>::epsilon() * high; ++i) {
    const double middle = 0.5 * (low + high);
    (student_t_cdf(middle, freedom) < probability ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

std::optional<double> welch_p_value(std::span<const double> a, std::span<const double> b) {
  const auto deviation_a = stddev(a), deviation_b = stddev(b);
  if (!deviation_a || !deviation_b) return std::nullopt;
  const auto n_a = static_cast<double>(a.size()), n_b = static_cast<double>(b.size());
  const double error_a = *deviation_a * *deviation_a / n_a, error_b = *deviation_b * *deviation_b / n_b;
  const double error = error_a + error_b;
  if (!(error > 0)) return std::nullopt;
  const double difference = mean(a) - mean(b);
  // Shares of the error, so that tiny variances do not underflow when squared.
  const double share_a = error_a / error, share_b = error_b / error;
  const double freedom = 1 / (share_a * share_a / (n_a - 1) + share_b * share_b / (n_b - 1));
  const double t_squared = difference * difference / error;
  return incomplete_beta(0.5 * freedom, 0.5, freedom / (freedom + t_squared));
}

}  // namespace krasis::results
