#include "engine/weights/synthetic_source.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numeric>

#include "engine/weights/content_hash.h"

namespace krasis {
namespace {

constexpr int kGeneratorVersion = 1;  // part of the fingerprint: grows when the same seed gives other weights
constexpr double kLikeliestPick = 0.98;

/// SplitMix64's output function (Steele, Lea, Flood 2014): a bijection that leaves no pattern of a counter.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

std::uint64_t row_key(std::int64_t seed, const PackedPart& part, std::int64_t row) {
  std::uint64_t key = mix(static_cast<std::uint64_t>(seed));
  for (const std::int64_t number :
       {std::int64_t{part.slot.seed}, std::int64_t{part.layer}, std::int64_t{part.expert}, row}) {
    key = mix(key ^ static_cast<std::uint64_t>(number));
  }
  return key;
}

const std::vector<float>& normal_quantiles() {
  static const std::vector<float> table = [] {
    std::vector<float> values(1 << 16);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(normal_quantile((static_cast<double>(i) + 0.5) / 65536.0));
    }
    return values;
  }();
  return table;
}

/// out[i] = mean + deviation * standard normal
void draw_gaussians(std::uint64_t key, std::int64_t count, float mean, float deviation, float* out) {
  const float* quantile = normal_quantiles().data();
  for (std::int64_t i = 0; i < count; i += 4) {
    std::uint64_t bits = mix(key + static_cast<std::uint64_t>(i));
    for (std::int64_t j = i; j < std::min(i + 4, count); ++j, bits >>= 16) {
      out[j] = mean + deviation * quantile[bits & 0xffffu];
    }
  }
}

/// Bias of each expert of a layer: the quantiles of pick_probabilities, at randomly permuted ranks.
std::vector<float> layer_bias(const std::vector<double>& probabilities, std::int64_t seed, int layer) {
  std::vector<std::size_t> expert_of_rank(probabilities.size());
  std::iota(expert_of_rank.begin(), expert_of_rank.end(), std::size_t{0});
  const std::uint64_t key =
      mix(mix(static_cast<std::uint64_t>(seed) ^ 0x72616e6b73ull) ^ static_cast<std::uint64_t>(layer));
  for (std::size_t i = expert_of_rank.size(); i > 1; --i)
    std::swap(expert_of_rank[i - 1], expert_of_rank[mix(key + i) % i]);
  std::vector<float> bias(probabilities.size());
  for (std::size_t rank = 0; rank < probabilities.size(); ++rank) {
    bias[expert_of_rank[rank]] = static_cast<float>(normal_quantile(probabilities[rank]));
  }
  return bias;
}

}  // namespace

double normal_quantile(double p) {
  static constexpr std::array<double, 6> a{-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                                           1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
  static constexpr std::array<double, 5> b{-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02,
                                           6.680131188771972e+01, -1.328068155288572e+01};
  static constexpr std::array<double, 6> c{-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                                           -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
  static constexpr std::array<double, 4> d{7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00,
                                           3.754408661907416e+00};
  if (p > 0.5) return -normal_quantile(1 - p);
  if (p < 0.02425) {
    const double q = std::sqrt(-2 * std::log(p));
    return (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
           ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
  }
  const double q = p - 0.5;
  const double r = q * q;
  return (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
         (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
}

std::vector<double> pick_probabilities(int experts, int top_k, double skew) {
  std::vector<double> weights;
  for (int rank = 1; rank <= experts; ++rank) weights.push_back(std::pow(rank, -skew));
  const auto sum_with = [&](double c) {
    double sum = 0;
    for (const double weight : weights) sum += std::min(kLikeliestPick, c * weight);
    return sum;
  };
  // sum_with rises in c, up to kLikeliestPick * experts; that may be less than top_k, when all are picked.
  double low = 0;
  double high = 1 / weights.back();
  for (int i = 0; i < 200; ++i) {
    const double middle = (low + high) / 2;
    (sum_with(middle) < top_k ? low : high) = middle;
  }
  for (double& weight : weights) weight = std::min(kLikeliestPick, high * weight);
  return weights;
}

SyntheticSource::SyntheticSource(const ModelSpec& spec, const std::vector<PackedPart>& parts, std::int64_t seed,
                                 double skew)
    : spec_(spec), parts_(&parts), seed_(seed), skew_(skew) {
  const auto probabilities = pick_probabilities(spec.experts(), spec.top_k(), skew);
  for (int layer = 0; layer < static_cast<int>(spec.layer_count()); ++layer) {
    router_bias_.push_back(layer_bias(probabilities, seed, layer));
  }
}

Expected<SyntheticSource> SyntheticSource::create(const ModelSpec& spec, const std::vector<PackedPart>& parts,
                                                  std::int64_t seed, double skew) {
  if (!(skew >= 0 && skew <= 4)) {
    return fail(ErrorCode::InvalidArgument, "The routing skew " + std::to_string(skew) + " is not possible.",
                "Choose a number from 0 (uniform) to 4; 1 is Zipf's law.");
  }
  return SyntheticSource(spec, parts, seed, skew);
}

std::string SyntheticSource::fingerprint(std::string_view config_text) const {
  return content_hash("synthetic " + std::to_string(kGeneratorVersion) + " " + std::to_string(seed_) + " " +
                      std::to_string(std::bit_cast<std::uint64_t>(skew_)) + "\n" + std::string(config_text));
}

void SyntheticSource::draw_row(const PackedPart& part, std::int64_t row, float* out) const {
  const std::uint64_t key = row_key(seed_, part, row);
  const std::int64_t columns = part.slot.columns;
  const float fan_in_deviation = 1.0f / std::sqrt(static_cast<float>(columns));
  const auto draw = [&](float mean, float deviation) { draw_gaussians(key, columns, mean, deviation, out); };
  switch (part.slot.draw) {
    case Draw::Gaussian:
      return draw(0.0f, fan_in_deviation);
    case Draw::ResidualWriter:
      return draw(0.0f, row == 0 ? 0.0f : fan_in_deviation / std::sqrt(2.0f * static_cast<float>(spec_.layer_count())));
    case Draw::Norm:
      return draw(1.0f, 0.1f);
    case Draw::RoutersNorm:
      draw(1.0f, 0.1f);
      out[0] = 1.0f;
      return;
    case Draw::FinalNorm:
      if (!spec_.tied_embeddings) return draw(1.0f, 0.1f);
      draw(0.0f, 1.0f);
      for (std::int64_t i = 0; i < columns; ++i) out[i] = std::copysign(fan_in_deviation, out[i]);
      return;
    case Draw::Embedding:
      draw(0.0f, 1.0f);
      out[0] = 1.0f;
      return;
    case Draw::Router:
      draw(0.0f, fan_in_deviation);
      out[0] = router_bias_[static_cast<std::size_t>(part.layer)][static_cast<std::size_t>(row)];
      return;
  }
}

Expected<void> SyntheticSource::read_rows(std::size_t part, std::int64_t row_begin, std::int64_t row_count,
                                          float* out) const {
  const PackedPart& drawn = (*parts_)[part];
  for (std::int64_t r = 0; r < row_count; ++r) draw_row(drawn, row_begin + r, out + r * drawn.slot.columns);
  return {};
}

}  // namespace krasis
