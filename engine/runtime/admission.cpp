#include "engine/runtime/admission.h"

#include <algorithm>
#include <cmath>

namespace krasis {
namespace {

/// In picks: a newcomer must be better than this. Picks of one window scatter by about the root of their number.
double needed_score(double victim) { return 1.25 * victim + 2.0; }

/// The first `count` of `indices` in the order of `before`, which then lead the rest.
template <class Before>
void bring_to_front(std::vector<std::int64_t>& indices, std::size_t count, Before before) {
  count = std::min(count, indices.size());
  std::partial_sort(indices.begin(), indices.begin() + static_cast<std::ptrdiff_t>(count), indices.end(), before);
}

}  // namespace

void PickScores::begin(std::span<const std::int64_t> heatmap, double tokens) {
  scores_.assign(heatmap.begin(), heatmap.end());
  for (double& score : scores_) score *= kWindow / std::max(tokens, 1.0);
}

void PickScores::add(std::span<const std::int32_t> picks, double tokens) {
  const double kept = std::exp(-tokens / kWindow);
  for (std::size_t i = 0; i < scores_.size(); ++i) scores_[i] = scores_[i] * kept + picks[i];
}

std::vector<Admission> choose_admissions(const std::vector<double>& scores, std::vector<std::int64_t>& outside,
                                         std::vector<std::int64_t>& inside, std::size_t room, std::size_t swaps) {
  const auto score = [&](std::int64_t i) { return scores[static_cast<std::size_t>(i)]; };
  bring_to_front(outside, room + swaps, [&](auto a, auto b) { return score(a) != score(b) ? score(a) > score(b) : a < b; });
  bring_to_front(inside, swaps, [&](auto a, auto b) { return score(a) != score(b) ? score(a) < score(b) : a < b; });
  std::vector<Admission> chosen;
  std::size_t next = 0;
  for (; next < std::min(room, outside.size()) && score(outside[next]) > 0; ++next) chosen.push_back({outside[next], -1});
  for (std::size_t i = 0; i < swaps && i < inside.size() && next < outside.size(); ++i, ++next) {
    if (!(score(outside[next]) > needed_score(score(inside[i])))) break;
    chosen.push_back({outside[next], inside[i]});
  }
  return chosen;
}

}  // namespace krasis
