// The worker's loop, with pipes in place of standard input and output.
#include "engine/worker/worker.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <deque>
#include <thread>

#include "engine/protocol/protocol.h"
#include "tests/support/temporary_directory.h"

namespace krasis {
namespace {

using namespace protocol;
using testing::HasSubstr;

/// A run of the embedded model that takes no time.
RunConfiguration small(int repetitions = 1) {
  RunConfiguration r;
  r.model = "embedded";
  r.prompt_tokens = 16;
  r.decode_tokens = 4;
  r.max_context = 64;
  r.chunk_tokens = 16;
  r.warmups = 0;
  r.repetitions = repetitions;
  r.threads = 1;
  return r;
}

/// A worker on a thread, and the client's ends of its pipes.
class Running {
 public:
  /// @param lock  the file that keeps workers apart; empty: one of its own
  explicit Running(std::filesystem::path lock = {}) {
    if (lock.empty()) lock = folder_.path() / "lock";
    if (::pipe(in_) != 0 || ::pipe(out_) != 0) throw std::runtime_error("pipe");
    thread_ = std::thread([this, lock] {
      WorkerOptions options;
      options.compute_lock = lock;
      options.resources = {KRASIS_SOURCE_DIR "/resources"};
      options.input = in_[0];
      options.output = out_[1];
      code_ = run_worker(options);
      ::close(out_[1]);
    });
  }
  ~Running() {
    close_input();
    if (thread_.joinable()) thread_.join();
    ::close(in_[0]);
    ::close(out_[0]);
  }
  void write(std::string_view text) {
    ASSERT_EQ(::write(in_[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void send(const Request& request) { write(encode(request) + "\n"); }
  void close_input() {
    if (in_[1] >= 0) ::close(std::exchange(in_[1], -1));
  }
  int wait_for_end() {
    thread_.join();
    return code_;
  }
  /// The next event of a type, others dropped; nothing at the end of the output or after ten seconds.
  template <class T>
  std::optional<T> next() {
    const auto begin = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - begin < std::chrono::seconds(10)) {
      while (!lines_.empty()) {
        auto event = decode_event(lines_.front());
        lines_.pop_front();
        if (!event) throw std::runtime_error(event.error().message());
        if (auto* one = std::get_if<T>(&*event)) return std::move(*one);
      }
      std::array<char, 4096> buffer;
      const ssize_t count = ::read(out_[0], buffer.data(), buffer.size());
      if (count <= 0) return std::nullopt;
      for (auto& line : splitter_.append({buffer.data(), static_cast<std::size_t>(count)})) lines_.push_back(*line);
    }
    return std::nullopt;
  }

 private:
  test::TemporaryDirectory folder_;
  int in_[2], out_[2];
  int code_ = -1;
  std::thread thread_;
  LineSplitter splitter_;
  std::deque<std::string> lines_;
};

TEST(Worker, SaysReadyAndAnswersInOrder) {
  Running worker;
  EXPECT_TRUE(worker.next<Ready>());
  worker.send(Load{"l", small()});
  const auto loaded = worker.next<Loaded>();
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->id, "l");
  EXPECT_FALSE(loaded->model.synthetic);
  worker.send(Generate{"g", small(), {}, "Once upon a", 3});
  EXPECT_EQ(worker.next<Token>()->text, " time");
  const auto finished = worker.next<Finished>();
  EXPECT_EQ(finished->id, "g");
  EXPECT_EQ(finished->tokens, 3);
  EXPECT_EQ(finished->stop_reason, "length");
  worker.send(Hello{});
  EXPECT_TRUE(worker.next<Ready>());
  worker.send(Shutdown{});
  EXPECT_EQ(worker.wait_for_end(), 0);
}

TEST(Worker, OneComputesAtATimeAndTheOtherSaysForWhomItWaits) {
  const test::TemporaryDirectory folder;
  Running first(folder.path() / "lock"), second(folder.path() / "lock");
  first.send(Benchmark{"b", small(1000)});
  ASSERT_TRUE(first.next<Sample>());
  second.send(Generate{"g", small(), {}, "Once upon a", 3});
  const auto waiting = second.next<Loading>();
  ASSERT_TRUE(waiting);
  EXPECT_EQ(waiting->id, "g");
  EXPECT_EQ(waiting->stage.find(std::string(kWaitingFor) + "a benchmark of process "), 0u) << waiting->stage;
  second.send(Cancel{"g"});  // is heard while it waits
  const auto cancelled = second.next<Finished>();
  ASSERT_TRUE(cancelled);
  EXPECT_TRUE(cancelled->cancelled);

  second.send(Generate{"h", small(), {}, "Once upon a", 3});
  ASSERT_TRUE(second.next<Loading>());
  first.send(Cancel{"b"});
  ASSERT_TRUE(first.next<Finished>());
  const auto answered = second.next<Finished>();  // its turn comes
  ASSERT_TRUE(answered);
  EXPECT_EQ(answered->id, "h");
  EXPECT_EQ(answered->tokens, 3);
  first.send(Benchmark{"c", small(1)});  // and a turn ends with its request
  const auto finished = first.next<Finished>();
  ASSERT_TRUE(finished);
  EXPECT_FALSE(finished->cancelled);
}

TEST(Worker, ALockThatCannotBeUsedIsNoted) {
  Running worker("/no/such/folder/lock");
  worker.send(Load{"l", small()});
  const auto loaded = worker.next<Loaded>();
  ASSERT_TRUE(loaded);
  ASSERT_FALSE(loaded->notes.empty());
  EXPECT_NE(loaded->notes.back().find("/no/such/folder/lock cannot be locked"), std::string::npos)
      << loaded->notes.back();
}

TEST(Worker, ErrorsEndTheRequestNotTheWorker) {
  Running worker;
  RunConfiguration r = small();
  r.model = "/nowhere/model";
  worker.send(Load{"a", r});
  const auto missing = worker.next<Failed>();
  ASSERT_TRUE(missing);
  EXPECT_EQ(missing->id, "a");
  EXPECT_EQ(missing->stage, "load");
  EXPECT_THAT(missing->cause, HasSubstr("/nowhere/model"));
  r = small();
  r.vram_budget_mib = 1;
  worker.send(Benchmark{"b", r});
  const auto too_big = worker.next<Failed>();
  ASSERT_TRUE(too_big);
  EXPECT_EQ(too_big->id, "b");
  EXPECT_EQ(too_big->code, "out_of_memory");
  worker.write("what?\n\n{\"v\":1}\n");
  EXPECT_EQ(worker.next<Failed>()->id, "");
  EXPECT_THAT(worker.next<Failed>()->cause, HasSubstr("type"));
  worker.send(Load{"c", small()});
  EXPECT_EQ(worker.next<Loaded>()->id, "c");
}

TEST(Worker, CancelReachesTheRunningRequestAndHeartbeatsNameItsStage) {
  Running worker;
  worker.send(Benchmark{"b", small(1000)});
  EXPECT_TRUE(worker.next<Sample>());
  std::string stage;
  for (int i = 0; i < 5 && stage != "repetition"; ++i) stage = worker.next<Heartbeat>().value_or(Heartbeat{}).stage;
  EXPECT_EQ(stage, "repetition");
  worker.send(Cancel{"another"});
  EXPECT_TRUE(worker.next<Sample>());
  worker.send(Cancel{"b"});
  const auto finished = worker.next<Finished>();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->id, "b");
  EXPECT_TRUE(finished->cancelled);
}

TEST(Worker, CancelReachesAWaitingRequest) {
  Running worker;
  worker.send(Benchmark{"first", small(1000)});
  worker.send(Benchmark{"second", small()});
  EXPECT_TRUE(worker.next<Sample>());
  worker.send(Cancel{"second"});
  EXPECT_EQ(worker.next<Finished>()->id, "second");
  worker.send(Cancel{"first"});
  EXPECT_EQ(worker.next<Finished>()->id, "first");
}

TEST(Worker, EndOfInputStopsARunningRequest) {
  Running worker;
  worker.send(Benchmark{"b", small(1000)});
  EXPECT_TRUE(worker.next<Sample>());
  worker.close_input();
  EXPECT_TRUE(worker.next<Finished>()->cancelled);
  EXPECT_EQ(worker.wait_for_end(), 0);
}

}  // namespace
}  // namespace krasis
