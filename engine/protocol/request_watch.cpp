#include "engine/protocol/request_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <utility>

namespace krasis {
namespace {

using protocol::Event;
using Kind = RequestEnd::Kind;

constexpr std::size_t kLastLines = 3;
constexpr int kIdleBeats = 2;  ///< one may have been on its way when the request arrived
constexpr const char* kRetry = "Retry the run; if it happens again, copy the report.";

RequestEnd ended(const protocol::Finished& finished) {
  RequestEnd end;
  end.kind = finished.cancelled ? Kind::Cancelled : Kind::Done;
  if (!finished.cancelled) end.verdict = finished.verdict;
  return end;
}

RequestEnd ended(const protocol::Failed& failed) {
  const ErrorCode code = protocol::error_code(failed.code);
  RequestEnd end;
  end.kind = code == ErrorCode::OutOfMemory ? Kind::OutOfMemory
             : code == ErrorCode::Cancelled ? Kind::Cancelled
                                            : Kind::Failed;
  end.stage = failed.stage;
  if (end.kind == Kind::Cancelled) return end;
  end.cause = failed.cause;
  end.remedy = failed.remedy;
  return end;
}

}  // namespace

const std::string* request_of(const Event& event) {
  return std::visit(
      [](const auto& e) -> const std::string* {
        if constexpr (requires { e.id; }) return e.id.empty() ? nullptr : &e.id;
        return nullptr;
      },
      event);
}

RequestWatch::RequestWatch(std::string id, bool ready, Time now, const Patience& patience)
    : id_(std::move(id)), patience_(patience), ready_(ready), last_tick_(now) {}

void RequestWatch::remember(std::string line) {
  if (line.empty()) return;
  last_lines_.push_back(std::move(line));
  if (last_lines_.size() > kLastLines) last_lines_.pop_front();
}

std::optional<RequestEnd> RequestWatch::hear(const Event& event) {
  silent_ = {};
  if (std::holds_alternative<protocol::Ready>(event)) ready_ = true;
  if (const auto* log = std::get_if<protocol::Log>(&event)) remember(log->text);
  if (const auto* beat = std::get_if<protocol::Heartbeat>(&event)) return refused(*beat);
  const auto* failed = std::get_if<protocol::Failed>(&event);
  if (failed && failed->id.empty()) {
    remember(failed->cause);
    stray_ = *failed;
    idle_beats_ = 0;
    return std::nullopt;
  }
  const std::string* request = request_of(event);
  if (!request || *request != id_) return std::nullopt;
  taken_ = true;
  if (failed) return ended(*failed);
  if (const auto* finished = std::get_if<protocol::Finished>(&event)) return ended(*finished);
  if (const auto* loading = std::get_if<protocol::Loading>(&event)) {
    // While another worker computes, the request has not begun: its time is not its own.
    waits_ = loading->stage.starts_with(protocol::kWaitingFor);
    stage_ = waits_ ? "wait" : "load";
  } else {
    waits_ = false;
  }
  if (std::holds_alternative<protocol::Token>(event)) stage_ = "generate";
  if (const auto* stage = std::get_if<protocol::Stage>(&event)) stage_ = stage->stage;
  return std::nullopt;
}

std::optional<RequestEnd> RequestWatch::refused(const protocol::Heartbeat& beat) {
  if (!stray_ || taken_ || beat.stage != "idle" || ++idle_beats_ < kIdleBeats) return std::nullopt;
  RequestEnd end = ended(*stray_);
  end.cause = "The worker took the request for no request: " + stray_->cause;
  return end;
}

std::optional<RequestEnd> RequestWatch::hear_nonsense(const Error& error) {
  silent_ = {};
  if (!ready_ && error.code == ErrorCode::Corrupt) return std::nullopt;
  return crashed("The worker sent something that is no message: " + error.cause,
                 "Check that the worker is of the same version as this program.");
}

std::optional<RequestEnd> RequestWatch::tick(Time now) {
  const Patience::Seconds step = std::clamp<Patience::Seconds>(now - last_tick_, Patience::Seconds(0), kLongestStep);
  last_tick_ = now;
  silent_ += step;
  if (!waits_) whole_ += step;
  if (cancelling_) cancelling_for_ += step;
  if (cancelling_ && cancelling_for_ >= patience_.cancel) return crashed({}, {});
  const auto patience = ready_ ? patience_.silence : patience_.first_word;
  if (silent_ >= patience) {
    return crashed(fmt::format("The worker has been silent for {:g} s.", patience.count()), kRetry);
  }
  if (patience_.whole.count() > 0 && whole_ >= patience_.whole) {
    return crashed(fmt::format("The run took longer than {:g} s.", patience_.whole.count()),
                   "Raise timeout_s in the sweep.");
  }
  return std::nullopt;
}

RequestEnd RequestWatch::worker_ended(int exit_code, int signal) const {
  if (signal == 0 && exit_code > 128 && exit_code < 128 + 65) signal = exit_code - 128;
  const char* when = ready_ ? "before the run did" : "before it was ready";
  const std::string cause = signal != 0 ? fmt::format("The worker died of signal {} {}.", signal, when)
                                        : fmt::format("The worker ended with code {} {}.", exit_code, when);
  const char* memory = "The system may have run out of memory: choose a smaller context, fewer bits or a smaller LGS.";
  return crashed(cause, signal == SIGKILL ? memory : kRetry, signal);
}

RequestEnd RequestWatch::never_started(const Error& error) const {
  return crashed(error.cause, error.remedy);
}

RequestEnd RequestWatch::crashed(std::string cause, std::string remedy, int signal) const {
  RequestEnd end;
  end.worker_lost = true;
  end.never_ready = !ready_;
  end.stage = stage_;
  end.kind = cancelling_ ? Kind::Cancelled : Kind::Crashed;
  if (cancelling_) return end;
  end.signal = signal;
  end.cause = std::move(cause);
  const char* before = " Its last lines: ";
  for (const std::string& line : last_lines_) end.cause += std::exchange(before, " | ") + line;
  end.remedy = ready_ ? std::move(remedy) : "Check the worker command; run it in a terminal to see what it says.";
  return end;
}

}  // namespace krasis
