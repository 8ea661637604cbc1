#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/runtime/engine.h"
#include "engine/worker/protocol.h"

namespace krasis {

/// Judges text that a timed run wrote, by the scalar reference pass on the same packed weights.
///
/// The figure is the worst regret, in nats, over the generated tokens: log p(the reference's best token) - log p(the token
/// that was written), given everything before it. Greedy decoding through correct kernels picks the reference's best
/// token, or one that ties with it up to rounding; text from corrupted memory or wrong experts costs several nats at once.
class Judge {
 public:
  /// Where two candidates are close, BF16 activations and near ties in a router decide between them: seen are thousandths
  /// of a nat, allowed some tenths. A wrong expert or a stale buffer costs nats.
  static constexpr double kWorstRegretNats = 0.2;
  /// A reference pass that would take longer is not made on the whole run.
  static constexpr double kLongestReferenceSeconds = 20;

  /// `repetitions`: the tokens that each repetition generated after `prompt`. Under greedy decoding all must be equal.
  Expected<protocol::VerdictFacts> judge(Engine& engine, std::span<const std::int32_t> prompt,
                                         std::span<const std::vector<std::int32_t>> repetitions);

 private:
  Expected<protocol::VerdictFacts> judge_tokens(const Engine& engine, PrefillPath path, std::span<const std::int32_t> prompt,
                                                std::span<const std::int32_t> generated, std::string note);
  /// Regret of each generated token.
  Expected<std::vector<double>> regrets(const Engine& engine, PrefillPath path, std::span<const std::int32_t> prompt,
                                        std::span<const std::int32_t> generated);

  /// Runs that differ in placement alone have one reference: by everything that it depends on.
  std::map<std::string, std::vector<double>> known_;
};

}  // namespace krasis
