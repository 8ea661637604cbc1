// One table of everything that a worker can do to a request, and how the request then ends for every client.
#include "engine/protocol/request_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace krasis {
namespace {

using namespace std::chrono_literals;
using Kind = RequestEnd::Kind;
using testing::HasSubstr;

/// A watch of the request "mine" and a simulated clock.
struct Client {
  RequestWatch::Time now{};
  RequestWatch watch{"mine", false, now, {.first_word = 60s, .silence = 30s, .cancel = 5s, .whole = 1000s}};
  std::optional<RequestEnd> end;

  void hear(const protocol::Event& event) {
    if (!end) end = watch.hear(event);
  }
  void pass(std::chrono::milliseconds time) {
    for (const auto until = now + time; now < until && !end;) end = watch.tick(now += 250ms);
  }
};

using Step = std::function<void(Client&)>;

Step says(protocol::Event event) {
  return [event](Client& client) { client.hear(event); };
}
Step nonsense(ErrorCode code) {
  return [code](Client& client) {
    if (!client.end) client.end = client.watch.hear_nonsense({code, "It is not JSON.", ""});
  };
}
Step writes(const char* line) {
  return [line](Client& client) { client.watch.remember(line); };
}
Step silence(std::chrono::milliseconds time) {
  return [time](Client& client) { client.pass(time); };
}
Step beats(int seconds, const char* stage) {
  return [=](Client& client) {
    for (int i = 0; i < seconds; ++i) {
      client.pass(1s);
      client.hear(protocol::Heartbeat{static_cast<double>(i), stage});
    }
  };
}
/// Worker and client stand still; the client's clock goes on.
Step frozen(std::chrono::seconds time) {
  return [time](Client& client) {
    if (!client.end) client.end = client.watch.tick(client.now += time);
  };
}
Step exits(int code, int signal = 0) {
  return [=](Client& client) {
    if (!client.end) client.end = client.watch.worker_ended(code, signal);
  };
}
const Step cancels = [](Client& client) { client.watch.cancel(); };
const Step is_not_there = [](Client& client) {
  client.end = client.watch.never_started({ErrorCode::NotFound, "There is no such program.", ""});
};

const Step ready = says(protocol::Ready{});
const Step loading = says(protocol::Loading{"mine", "quantize", 0.5});
const Step waiting = says(protocol::Loading{"mine", "waiting for a benchmark of process 7, since today", 0});
const Step repetition = says(protocol::Stage{"mine", "repetition", 0, 3});

Step failed(const char* id, const char* code) {
  return says(protocol::Failed{id, code, "It broke.", "Mend it.", "load"});
}
Step finished(const char* id, bool cancelled) {
  protocol::Finished event;
  event.id = id;
  event.cancelled = cancelled;
  event.verdict.verdict = "pass";
  return says(event);
}

struct Case {
  const char* name;
  std::vector<Step> steps;
  std::optional<Kind> kind;  ///< nothing: the request goes on
  const char* cause = "";
  const char* stage = "";
  int signal = 0;
  bool lost = false;
  bool never_ready = false;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"Finished", {ready, repetition, finished("mine", false)}, Kind::Done},
      {"FinishedAsCancelled", {ready, cancels, finished("mine", true)}, Kind::Cancelled},
      {"FinishedOfAnotherRequest", {ready, finished("other", false)}, {}},
      {"Failed", {ready, failed("mine", "internal")}, Kind::Failed, "It broke.", "load"},
      {"FailedOutOfMemory", {ready, failed("mine", "out_of_memory")}, Kind::OutOfMemory, "It broke.", "load"},
      {"FailedAsCancelled", {ready, failed("mine", "cancelled")}, Kind::Cancelled, "", "load"},
      {"FailedOfAnotherRequest", {ready, failed("other", "internal")}, {}},
      {"AnErrorWithoutIdAnswersNoRequest", {ready, loading, failed("", "corrupt"), beats(300, "idle")}, {}},
      {"AnErrorWithoutIdWhileItComputes", {ready, failed("", "corrupt"), beats(300, "load")}, {}},
      {"AnErrorWithoutIdThenTheEnd", {ready, repetition, failed("", "corrupt"), finished("mine", false)}, Kind::Done},
      {"TheRequestItselfWasRefused",
       {ready, failed("", "unsupported"), beats(2, "idle")},
       Kind::Failed,
       "took the request for no request: It broke.",
       "load"},
      {"ABannerBeforeReady", {nonsense(ErrorCode::Corrupt), ready, finished("mine", false)}, Kind::Done},
      {"AnotherVersion",
       {nonsense(ErrorCode::Unsupported)},
       Kind::Crashed,
       "no message: It is not JSON.",
       "start",
       0,
       true,
       true},
      {"NonsenseAfterReady",
       {ready, loading, nonsense(ErrorCode::Corrupt)},
       Kind::Crashed,
       "no message",
       "load",
       0,
       true},
      {"TheProgramIsNotThere", {is_not_there}, Kind::Crashed, "There is no such program.", "start", 0, true, true},
      {"ExitBeforeReady",
       {writes("a library is missing"), exits(127)},
       Kind::Crashed,
       "code 127 before it was ready. Its last lines: a library is missing",
       "start",
       0,
       true,
       true},
      {"ExitInTheRun",
       {ready, repetition, exits(0)},
       Kind::Crashed,
       "code 0 before the run did",
       "repetition",
       0,
       true},
      {"Signal",
       {ready, repetition, writes("a"), writes("b"), writes("c"), writes("d"), exits(0, 11)},
       Kind::Crashed,
       "signal 11 before the run did. Its last lines: b | c | d",
       "repetition",
       11,
       true},
      {"SignalThroughAShell", {ready, exits(128 + 9)}, Kind::Crashed, "signal 9", "start", 9, true},
      {"ExitAfterCancel", {ready, repetition, cancels, exits(1)}, Kind::Cancelled, "", "repetition", 0, true},
      {"SlowToStart", {silence(59s)}, {}},
      {"SilentFromTheStart", {silence(60s)}, Kind::Crashed, "silent for 60 s", "start", 0, true, true},
      {"SilentForAWhile", {ready, repetition, silence(28s), beats(1, ""), silence(29s)}, {}},
      {"Silent", {ready, repetition, silence(30s)}, Kind::Crashed, "silent for 30 s", "repetition", 0, true},
      {"TheClientStoodStill", {ready, repetition, frozen(3600s), silence(25s)}, {}},
      {"DoesNotListenToCancel", {ready, repetition, cancels, beats(5, "")}, Kind::Cancelled, "", "repetition", 0, true},
      {"CancelledWhileItStarts", {cancels, silence(5s)}, Kind::Cancelled, "", "start", 0, true, true},
      {"BusyBeyondTheLimit",
       {ready, repetition, beats(1000, "")},
       Kind::Crashed,
       "longer than 1000 s",
       "repetition",
       0,
       true},
      {"WaitingForAnotherWorkerIsNotItsTime", {ready, waiting, beats(5000, "wait"), loading, beats(900, "")}, {}},
      {"BusyAfterItWaited",
       {ready, waiting, beats(5000, "wait"), repetition, beats(1000, "")},
       Kind::Crashed,
       "longer than 1000 s",
       "repetition",
       0,
       true},
  };
  return all;
}

class RequestWatchTable : public testing::TestWithParam<Case> {};

TEST_P(RequestWatchTable, EndsTheRequestInOneWay) {
  const Case& expected = GetParam();
  Client client;
  for (const Step& step : expected.steps) step(client);
  ASSERT_EQ(client.end.has_value(), expected.kind.has_value());
  if (!client.end) return;
  EXPECT_EQ(client.end->kind, *expected.kind);
  EXPECT_THAT(client.end->cause, HasSubstr(expected.cause));
  EXPECT_EQ(client.end->cause.empty(), *expected.cause == 0);
  EXPECT_EQ(client.end->remedy.empty(), *expected.cause == 0);
  EXPECT_EQ(client.end->stage, expected.stage);
  EXPECT_EQ(client.end->signal, expected.signal);
  EXPECT_EQ(client.end->worker_lost, expected.lost);
  EXPECT_EQ(client.end->never_ready, expected.never_ready);
  EXPECT_EQ(client.end->verdict.verdict, *expected.kind == Kind::Done ? "pass" : "none");
}

INSTANTIATE_TEST_SUITE_P(Cases, RequestWatchTable, testing::ValuesIn(cases()),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace krasis
