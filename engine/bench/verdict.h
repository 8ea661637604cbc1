#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/runtime/engine.h"
#include "engine/protocol/protocol.h"

namespace krasis {

/// Who wants to know how far a verdict is, and may stop it.
struct VerdictWatcher {
  /// Of `all` positions `done` were recomputed, which is `share` of the arithmetic: attention grows with each.
  std::function<void(std::int64_t done, std::int64_t all, double share)> on_position = {};
  std::stop_token stop = {};
};

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
  /// Cancelled if the watcher has stopped it.
  Expected<protocol::VerdictFacts> judge(Engine& engine, std::span<const std::int32_t> prompt,
                                         std::span<const std::vector<std::int32_t>> repetitions,
                                         const VerdictWatcher& watcher = {});

  /// Seconds that judge() will take for this prompt and `generated` tokens: by the speed of the last pass or,
  /// before there was one, of the first tokens of `prompt`, which are computed now if that is a matter of a moment.
  double expected_s(const Engine& engine, std::span<const std::int32_t> prompt, std::size_t generated);

 private:
  Expected<protocol::VerdictFacts> judge_tokens(const Engine& engine, PrefillPath path, std::span<const std::int32_t> prompt,
                                                std::span<const std::int32_t> generated, std::string note,
                                                const VerdictWatcher& watcher);
  /// Regret of each generated token.
  Expected<std::vector<double>> regrets(const Engine& engine, PrefillPath path, std::span<const std::int32_t> prompt,
                                        std::span<const std::int32_t> generated, const VerdictWatcher& watcher);
  /// reference_logits, timed.
  Expected<std::vector<float>> reference(const Engine& engine, std::span<const std::int32_t> tokens,
                                         std::span<const std::int32_t> positions,
                                         const std::function<bool(int, int, int)>& on_gpu,
                                         const VerdictWatcher& watcher);

  /// Runs that differ in placement alone have one reference: by everything that it depends on.
  std::map<std::string, std::vector<double>> known_;
  double seconds_per_flop_ = 0;  ///< of the last reference pass; 0 = there was none
};

}  // namespace krasis
