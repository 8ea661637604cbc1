#include "engine/bench/run_progress.h"

#include <algorithm>

namespace krasis {
namespace {

constexpr double kTracedTokens = 8;
constexpr double kPartsTokens = 50;        // Engine::decode_parts: as long as some 30 to 70 tokens
constexpr double kShareToJudgeBy = 0.005;  // of a prompt or a verdict: below it a rate says nothing

}  // namespace

RunProgress::RunProgress(int warmups, int repetitions, std::int64_t decode_tokens, double verdict_s)
    : decode_tokens_(decode_tokens),
      verdict_s_(verdict_s),
      generations_left_(warmups + repetitions),
      measured_ahead_(repetitions > 0) {}

void RunProgress::begin_generation(double now_s) {
  part_ = Part::Generation;
  part_began_s_ = now_s;
  --generations_left_;
  prompt_share_ = 0;
  tokens_ = 0;
}

void RunProgress::begin_trace(double now_s) {
  part_ = Part::Trace;
  part_began_s_ = now_s;
  measured_ahead_ = false;  // the parts of decode count as this part's
}

void RunProgress::begin_parts(double now_s) {
  part_ = Part::Parts;
  part_began_s_ = now_s;
}

void RunProgress::begin_verdict(double now_s) {
  part_ = Part::Verdict;
  part_began_s_ = now_s;
}

void RunProgress::prompt_done(double share, double now_s) {
  prompt_share_ = share;
  if (share >= kShareToJudgeBy) prompt_s_ = (now_s - part_began_s_) / share;
  if (share >= 1) decode_began_s_ = now_s;
}

void RunProgress::tokens_done(std::int64_t tokens, double now_s) {
  tokens_ = tokens;
  if (tokens > 0) token_s_ = (now_s - decode_began_s_) / static_cast<double>(tokens);
}

void RunProgress::verdict_done(double share, double now_s) {
  verdict_share_ = share;
  if (share >= kShareToJudgeBy) verdict_s_ = (now_s - part_began_s_) / share;
}

double RunProgress::left_of_part_s(double now_s) const {
  const double gone_s = now_s - part_began_s_;
  const auto without_progress = [&](double expected_s) { return std::max(0.0, expected_s - gone_s); };
  switch (part_) {
    case Part::None:
      return 0;
    case Part::Generation:
      if (prompt_share_ < 1) {
        const double done_s = std::max(prompt_share_ * prompt_s_, std::min(gone_s, prompt_s_));
        return generation_s() - done_s;
      }
      return static_cast<double>(decode_tokens_ - tokens_) * token_s_;
    case Part::Trace:
      return without_progress(prompt_s_ + kTracedTokens * token_s_) + kPartsTokens * token_s_;
    case Part::Parts:
      return without_progress(kPartsTokens * token_s_);
    case Part::Verdict:
      return verdict_share_ > 0 ? (1 - verdict_share_) * verdict_s_ : without_progress(verdict_s_);
  }
  return 0;
}

double RunProgress::left_s(double now_s) const {
  const bool known = prompt_s_ >= 0 && (token_s_ >= 0 || decode_tokens_ == 0);
  if (!known && part_ != Part::Verdict) return -1;
  double left = left_of_part_s(now_s);
  if (part_ == Part::Verdict) return left;
  left += generations_left_ * generation_s() + verdict_s_;
  if (measured_ahead_) left += prompt_s_ + (kTracedTokens + kPartsTokens) * token_s_;
  return left;
}

double RunProgress::share(double now_s) const {
  const double left = left_s(now_s);
  return left < 0 || now_s <= 0 ? 0 : now_s / (now_s + left);
}

}  // namespace krasis
