#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/weights/packed_layout.h"
#include "engine/weights/weight_source.h"

namespace krasis {

/// Draws a model's weights at its real shapes, so that speed can be measured without a checkpoint. Each number depends
/// on (seed, tensor, row, column) alone: threads and blocks make no difference.
///
/// Matrices are Gaussian (65,536 quantiles, so at most 4.3 sigma) of standard deviation 1 / sqrt(columns), the
/// embedding of 1; what adds to the residual stream (Draw::ResidualWriter) is divided by sqrt(2 * layers), so the
/// stream's RMS stays between 1 and about 1.1 through all layers; norms are 1 +- 0.1. With tied embeddings the final
/// norm is +-1 / sqrt(hidden) at random: with equal signs each token's own embedding would win and the model repeat its
/// input for ever.
///
/// Routing skew. The router has no bias, so one is built: channel 0 of every embedding is 1, and row 0 of every
/// matrix that writes the stream is 0, so that channel stays 1 in the residual stream; the router's column 0 then is a
/// bias. It is chosen so that the expert of rank r (ranks are permuted at random in each layer) is among the top k with
/// probability
///     p(r) = min(0.98, c / r^skew),   sum of p = top_k,
/// that is bias = quantile(p(r)) of the normal distribution, as the other columns give each expert a logit of standard
/// deviation 1, independent for different tokens. Skew 0 is uniform, 1 is Zipf's law. This is exact for many experts
/// and random tokens; the top k of few experts, the growth of the stream's RMS (which shrinks the bias by up to a
/// tenth) and what attention makes tokens share move real frequencies by some per cent. It says nothing about how any
/// trained model routes.
class SyntheticSource : public WeightSource {
 public:
  /// `parts` must outlive the source. InvalidArgument unless 0 <= skew <= 4.
  static Expected<SyntheticSource> create(const ModelSpec& spec, const std::vector<PackedPart>& parts,
                                          std::int64_t seed, double skew);

  Expected<void> read_rows(std::size_t part, std::int64_t row_begin, std::int64_t row_count, float* out) const override;
  /// Of everything that decides the weights.
  std::string fingerprint(std::string_view config_text) const;

 private:
  SyntheticSource(const ModelSpec& spec, const std::vector<PackedPart>& parts, std::int64_t seed, double skew);
  void draw_row(const PackedPart& part, std::int64_t row, float* out) const;

  ModelSpec spec_;
  const std::vector<PackedPart>* parts_;
  std::int64_t seed_;
  double skew_;
  std::vector<std::vector<float>> router_bias_;  ///< [layers][experts]
};

/// p(r) of rank 0.. experts - 1, as above.
std::vector<double> pick_probabilities(int experts, int top_k, double skew);
/// The quantile function of the standard normal distribution, 0 < p < 1; relative error 1.2e-9 (Acklam 2003).
double normal_quantile(double p);

}  // namespace krasis
