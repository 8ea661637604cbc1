#pragma once

#include <cstdint>

namespace krasis {

/// How far a benchmark is, as a share of its time: what its parts have taken so far says what those to come will take.
/// All times are seconds since it began; pure, so that a test can tell any story.
class RunProgress {
 public:
  /// @param verdict_s  how long the verdict is expected to take, as well as it is known before
  RunProgress(int warmups, int repetitions, std::int64_t decode_tokens, double verdict_s);

  // What is done now. Each begins a new part.
  void begin_generation(double now_s);  ///< the next warm-up or repetition
  void begin_trace(double now_s);       ///< the prompt once more and a few tokens
  void begin_parts(double now_s);       ///< the parts of decode
  void begin_verdict(double now_s);

  // How far that is.
  void prompt_done(double share, double now_s);  ///< of the prompt, above 0, up to 1
  void tokens_done(std::int64_t tokens, double now_s);  ///< behind the first one
  void verdict_done(double share, double now_s);  ///< of what it computes, above 0, up to 1

  /// Seconds to the end; negative while nothing is known to judge by.
  double left_s(double now_s) const;
  /// 0 to 1; 0 while left_s is not known. Goes back where something takes longer than was expected.
  double share(double now_s) const;

 private:
  enum class Part { None, Generation, Trace, Parts, Verdict };
  double generation_s() const { return prompt_s_ + static_cast<double>(decode_tokens_) * token_s_; }
  double left_of_part_s(double now_s) const;

  std::int64_t decode_tokens_;
  double verdict_s_;
  Part part_ = Part::None;
  double part_began_s_ = 0;
  int generations_left_;             ///< behind the current part
  bool measured_ahead_;              ///< trace and parts are to come
  double prompt_s_ = -1;             ///< a prompt, as the last one or the current one so far says; negative: not known
  double token_s_ = -1;
  double prompt_share_ = 0;          ///< of the current generation
  double decode_began_s_ = 0;
  std::int64_t tokens_ = 0;          ///< of the current generation
  double verdict_share_ = 0;
};

}  // namespace krasis
