#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <string>

#include "engine/protocol/protocol.h"

namespace krasis {

/// How a request ended, for its client.
struct RequestEnd {
  enum class Kind { Done, Cancelled, Failed, OutOfMemory, Crashed };
  Kind kind = Kind::Done;
  protocol::VerdictFacts verdict;  ///< of a benchmark that is Done
  std::string cause, remedy;       ///< whole sentences; empty for Done and Cancelled
  std::string stage;               ///< where it failed: "start", "load", "warm-up", "repetition", "verdict", "generate"
  int signal = 0;                  ///< that ended the process; 0 = none
  bool worker_lost = false;        ///< the process is gone, or has to be killed
  bool never_ready = false;        ///< this process has never said Ready: no other request would do better
};

/// The request that an event is about; null for news about the process.
const std::string* request_of(const protocol::Event& event);

/// How long a client waits for a worker.
struct Patience {
  using Seconds = std::chrono::duration<double>;
  Seconds first_word{60};  ///< from the start of the process to Ready: ssh and schedulers take their time
  Seconds silence{30};     ///< between two lines; heartbeats come every second
  Seconds cancel{5};       ///< from Cancel to the request's end
  Seconds whole{0};  ///< for the request, without its waiting for another worker's turn to end; 0: without a limit
};

/// The rules by which every client of a worker judges how its request ends. It is told what the worker says and what
/// time it is, and answers when the request has ended. It owns no process, reads no clock, and expects nothing more
/// after it has answered.
///
///   Finished, Failed with the request's id   end it; Failed with the code `cancelled` is Cancelled
///   Failed without an id                     answers a line that was no request: remembered, the request goes on.
///                                            If the worker then idles twice though it never spoke of the request, the
///                                            line was the request: Failed
///   anything with another id                 is another request's
///   a line that is no event                  before Ready a login banner, afterwards Crashed
///   the end of the process, silence          Crashed; Cancelled once the client has cancelled
///
/// Time is counted in steps of at most kLongestStep: while the client itself stood still (a frozen control group, a
/// debugger), nobody listened, and the worker is not to blame.
class RequestWatch {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kLongestStep{2};

  /// @param id     of the request
  /// @param ready  the process has said Ready already
  RequestWatch(std::string id, bool ready, Time now, const Patience& patience = {});

  /// The client has sent Cancel, or would have if the process were ready.
  void cancel() { cancelling_ = true; }
  bool is_cancelling() const { return cancelling_; }
  bool is_ready() const { return ready_; }
  const std::string& stage() const { return stage_; }
  /// A line of the worker's standard error: a crash's cause repeats the last ones.
  void remember(std::string line);
  /// Part of a long line has arrived: a sign of life.
  void hear_bytes() { silent_ = {}; }
  /// Every event, also those of other requests.
  std::optional<RequestEnd> hear(const protocol::Event& event);
  /// A line that decode_event() or LineSplitter refused with `error`.
  std::optional<RequestEnd> hear_nonsense(const Error& error);
  /// To be called a few times a second, and after events.
  std::optional<RequestEnd> tick(Time now);
  /// The process has ended. A code above 128 is a signal that a shell or ssh in between reports.
  RequestEnd worker_ended(int exit_code, int signal) const;
  /// The command could not be executed.
  RequestEnd never_started(const Error& error) const;

 private:
  RequestEnd crashed(std::string cause, std::string remedy, int signal = 0) const;
  std::optional<RequestEnd> refused(const protocol::Heartbeat& beat);

  std::string id_;
  Patience patience_;
  bool ready_;
  bool cancelling_ = false;
  bool waits_ = false;  ///< for its turn: another worker of the machine computes
  bool taken_ = false;  ///< the worker has spoken of the request
  std::string stage_ = "start";
  std::deque<std::string> last_lines_;
  std::optional<protocol::Failed> stray_;  ///< the last error without an id
  int idle_beats_ = 0;                     ///< since stray_
  Time last_tick_;
  Patience::Seconds silent_{0}, cancelling_for_{0}, whole_{0};
};

}  // namespace krasis
