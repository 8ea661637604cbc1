#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace krasis {

/// How often each expert was picked of late: a count of picks whose weight falls by 1 / e over kWindow tokens, so both
/// frequency and recency count. An expert that a share r of the tokens pick ends at r * kWindow.
class PickScores {
 public:
  static constexpr double kWindow = 128;  ///< tokens

  /// Begins with what the heatmap expects: `heatmap` [experts] holds the picks of `tokens` tokens.
  void begin(std::span<const std::int64_t> heatmap, double tokens);
  /// `tokens` more have been decoded, which picked `picks` [experts].
  void add(std::span<const std::int32_t> picks, double tokens);
  const std::vector<double>& all() const { return scores_; }

 private:
  std::vector<double> scores_;
};

/// An expert that comes into the cache, and the one that makes room for it.
struct Admission {
  std::int64_t expert = -1;
  std::int64_t victim = -1;  ///< -1: there is room
};

/// What decode would gain most by: the `room` best of `outside` come in without a victim, then up to `swaps` more for the
/// worst of `inside`, as long as each is better by a margin: what picks scatter by should not move experts to and fro.
/// Equal scores: the smaller index. `outside` and `inside` are indices into `scores`, in any order, and are reordered.
std::vector<Admission> choose_admissions(const std::vector<double>& scores, std::vector<std::int64_t>& outside,
                                         std::vector<std::int64_t>& inside, std::size_t room, std::size_t swaps);

}  // namespace krasis
