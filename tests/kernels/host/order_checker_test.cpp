// The checker alone, without threads and without the platform.
#include "kernels/host/order_checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace krasis {
namespace {

using Kind = Violation::Kind;
using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::IsEmpty;
using testing::SizeIs;

/// Two streams of device 0, one of device 1, a buffer of 100 bytes on each, one of host memory.
class OrderCheckerTest : public testing::Test {
 protected:
  OrderCheckerTest() {
    checker_.add_stream("compute", 0);
    checker_.add_stream("copy", 0);
    checker_.add_stream("peer", 1);
    checker_.add_signal("experts done");
    checker_.add_memory({"buffer", 0, true, bytes_, 100});
    checker_.add_memory({"peer buffer", 1, true, bytes_ + 100, 100});
    checker_.add_memory({"weights", 0, false, bytes_ + 200, 100});
  }

  enum Place { kBuffer = 0, kPeerBuffer = 100, kWeights = 200, kElsewhere = 300 };
  Access at(std::size_t begin, std::size_t end) const { return {bytes_ + begin, end - begin}; }

  void run(int stream, std::string name, std::vector<Access> reads, std::vector<Access> writes,
           Toucher toucher = Toucher::Copy) {
    Command command{.kind = Command::Kind::Run, .stream = stream};
    command.operation = std::make_shared<const Operation>(
        Operation{.name = std::move(name), .toucher = toucher, .reads = std::move(reads), .writes = std::move(writes)});
    checker_.enqueue(command);
  }
  Event record(int stream) {
    const Event event = event_id::make(stream, ++recorded_[stream]);
    checker_.enqueue({.kind = Command::Kind::Record, .stream = stream, .event = event});
    return event;
  }
  void wait(int stream, Event event) {
    checker_.enqueue({.kind = Command::Kind::Wait, .stream = stream, .event = event});
  }
  void raise(int stream, std::uint64_t count) {
    checker_.enqueue({.kind = Command::Kind::Raise, .stream = stream, .signal = 0, .count = count});
  }
  void await(int stream, std::uint64_t count) {
    checker_.enqueue({.kind = Command::Kind::Await, .stream = stream, .signal = 0, .count = count});
  }
  static auto pair(Kind kind, std::string first, std::string second) {
    return AllOf(Field(&Violation::kind, kind), Field(&Violation::first, first), Field(&Violation::second, second));
  }

  std::byte bytes_[400] = {};
  std::uint64_t recorded_[3] = {};
  OrderChecker checker_;
};

TEST_F(OrderCheckerTest, ReadAfterWriteOnAnotherStreamNeedsAWait) {
  run(1, "copy in", {}, {at(0, 50)});
  run(0, "matmul", {at(20, 60)}, {});
  ASSERT_THAT(checker_.violations(), ElementsAre(pair(Kind::Unordered, "copy in", "matmul")));
  const Violation& violation = checker_.violations().front();
  EXPECT_EQ(violation.first_stream, "copy");
  EXPECT_EQ(violation.second_stream, "compute");
  EXPECT_EQ(violation.place, "buffer");
  EXPECT_EQ(violation.begin, 20u);
  EXPECT_EQ(violation.end, 50u);
  EXPECT_EQ(violation.message(),
            "'copy in' on stream 'copy' and 'matmul' on stream 'compute' both use bytes [20, 50) of 'buffer', at least "
            "one writes, and nothing orders them.");
}

TEST_F(OrderCheckerTest, WriteAfterReadAndWriteAfterWriteNeedAWait) {
  run(0, "first", {at(200, 210)}, {at(0, 10)});
  run(0, "reader", {at(0, 10)}, {});
  run(1, "writer", {}, {at(5, 6)});
  EXPECT_THAT(checker_.violations(),
              ElementsAre(pair(Kind::Unordered, "first", "writer"), pair(Kind::Unordered, "reader", "writer")));
}

TEST_F(OrderCheckerTest, EventsOrder) {
  run(1, "copy in", {}, {at(0, 50)});
  wait(0, record(1));
  run(0, "matmul", {at(0, 50)}, {});
  wait(1, record(0));
  run(1, "next copy", {}, {at(0, 50)});
  EXPECT_THAT(checker_.violations(), IsEmpty());
}

TEST_F(OrderCheckerTest, AnEventCoversOnlyWhatCameBeforeIt) {
  const Event early = record(1);
  run(1, "copy in", {}, {at(0, 50)});
  wait(0, early);
  run(0, "matmul", {at(0, 50)}, {});
  EXPECT_THAT(checker_.violations(), ElementsAre(pair(Kind::Unordered, "copy in", "matmul")));
}

TEST_F(OrderCheckerTest, OrderIsTransitiveAcrossDevices) {
  run(1, "produce", {}, {at(0, 10)});
  wait(2, record(1));
  run(2, "copy to peer", {at(0, 10)}, {at(kPeerBuffer, kPeerBuffer + 10)});
  wait(0, record(2));
  run(0, "overwrite", {}, {at(0, 10)});
  EXPECT_THAT(checker_.violations(), IsEmpty());
  run(1, "late", {}, {at(kPeerBuffer, kPeerBuffer + 1)});
  EXPECT_THAT(checker_.violations(), ElementsAre(pair(Kind::Unordered, "copy to peer", "late")));
}

TEST_F(OrderCheckerTest, NeighboursAndCommonReadersDoNotConflict) {
  run(0, "left", {at(200, 300)}, {at(0, 50)});
  run(1, "right", {at(200, 300)}, {at(50, 100)});
  EXPECT_THAT(checker_.violations(), IsEmpty());
}

TEST_F(OrderCheckerTest, TheNthAwaitJoinsTheNthRaise) {
  run(1, "first", {}, {at(0, 10)});
  raise(1, 1);
  run(1, "second", {}, {at(10, 20)});
  await(0, 1);
  run(0, "uses first", {at(0, 10)}, {});
  EXPECT_THAT(checker_.violations(), IsEmpty());
  run(0, "uses second", {at(10, 20)}, {});
  EXPECT_THAT(checker_.violations(), ElementsAre(pair(Kind::Unordered, "second", "uses second")));
}

TEST_F(OrderCheckerTest, AnAwaitMayBeEnqueuedBeforeItsRaise) {
  await(0, 1);
  run(0, "uses", {at(0, 10)}, {});
  run(1, "makes", {}, {at(0, 10)});
  raise(1, 1);
  EXPECT_THAT(checker_.violations(), IsEmpty());
}

TEST_F(OrderCheckerTest, RaisesOfOneSignalMustBeOrdered) {
  raise(0, 1);
  raise(1, 2);
  EXPECT_THAT(checker_.violations(), ElementsAre(Field(&Violation::kind, Kind::UnorderedRaises)));
}

TEST_F(OrderCheckerTest, SynchronizeOrdersTheHostAndAllThatItEnqueuesLater) {
  run(1, "copy in", {}, {at(0, 10), at(200, 210)});
  const Event done = record(1);
  checker_.synchronize(done);
  const Access weights[] = {at(200, 210)};
  checker_.host_access("inspect", weights, {});
  run(0, "matmul", {at(0, 10)}, {});
  EXPECT_THAT(checker_.violations(), IsEmpty());
}

TEST_F(OrderCheckerTest, TheHostMustWaitBeforeItReads) {
  run(1, "copy out", {at(0, 1)}, {at(200, 210)});
  checker_.clear_violations();
  const Access weights[] = {at(205, 206)};
  checker_.host_access("inspect", weights, {});
  ASSERT_THAT(checker_.violations(), ElementsAre(pair(Kind::Unordered, "copy out", "inspect")));
  EXPECT_EQ(checker_.violations().front().second_stream, "host");
}

TEST_F(OrderCheckerTest, AHeldBackOperationComesAfterWhatTheHostDidBeforeTheRaise) {
  await(0, 1);
  run(0, "uses", {at(200, 210)}, {});
  const Access weights[] = {at(200, 210)};
  checker_.host_access("refill", {}, weights);
  raise(1, 1);
  EXPECT_THAT(checker_.violations(), IsEmpty());
  checker_.host_access("refill again", {}, weights);
  EXPECT_THAT(checker_.violations(), ElementsAre(pair(Kind::Unordered, "uses", "refill again")));
}

TEST_F(OrderCheckerTest, FreeingNeedsASynchronize) {
  run(0, "write", {}, {at(0, 10)});
  EXPECT_FALSE(checker_.remove_memory(bytes_));
  EXPECT_THAT(checker_.violations(), ElementsAre(pair(Kind::FreedWhileInUse, "write", "free")));
}

TEST_F(OrderCheckerTest, FreeingBehindASynchronizeIsRight) {
  run(0, "write", {}, {at(0, 10)});
  checker_.synchronize(record(0));
  EXPECT_TRUE(checker_.remove_memory(bytes_));
  EXPECT_THAT(checker_.violations(), IsEmpty());
}

TEST_F(OrderCheckerTest, FreedMemoryIsFoundAlsoWhenTheAddressIsInUseAgain) {
  await(0, 1);
  run(0, "stale", {}, {at(0, 10)});
  EXPECT_FALSE(checker_.remove_memory(bytes_));
  checker_.add_memory({"new buffer", 0, true, bytes_, 100});
  raise(1, 1);
  ASSERT_THAT(checker_.violations(), ElementsAre(pair(Kind::NotAllocated, "", "stale")));
  EXPECT_EQ(checker_.violations().front().place, "buffer");
}

TEST_F(OrderCheckerTest, UnknownMemoryIsForCopiesAndHostCode) {
  run(0, "copy", {at(kElsewhere, 310)}, {at(0, 10)}, Toucher::Copy);
  run(0, "task", {at(kElsewhere, 310)}, {}, Toucher::Host);
  EXPECT_THAT(checker_.violations(), IsEmpty());
  run(0, "matmul", {at(kElsewhere, 310)}, {}, Toucher::Kernel);
  EXPECT_THAT(checker_.violations(), ElementsAre(pair(Kind::NotAllocated, "", "matmul")));
}

TEST_F(OrderCheckerTest, UnregisteredMemoryIsOrderedByItsAddress) {
  run(0, "copy out", {at(200, 210)}, {at(kElsewhere, 310)});
  run(1, "copy in", {at(305, 306)}, {at(0, 1)});
  EXPECT_THAT(checker_.violations(), ElementsAre(pair(Kind::Unordered, "copy out", "copy in")));
}

TEST_F(OrderCheckerTest, AccessesMustStayWithinTheirBuffer) {
  run(0, "too long", {}, {at(290, 320)});
  ASSERT_THAT(checker_.violations(), ElementsAre(pair(Kind::NotAllocated, "", "too long")));
  EXPECT_EQ(checker_.violations().front().begin, 100u);
  EXPECT_EQ(checker_.violations().front().end, 120u);
}

TEST_F(OrderCheckerTest, DeviceMemoryIsForItsOwnDeviceAndForCopies) {
  run(2, "peer copy", {at(200, 210)}, {at(0, 10)}, Toucher::Copy);
  EXPECT_THAT(checker_.violations(), IsEmpty());
  run(2, "peer add", {}, {at(0, 10)}, Toucher::Kernel);
  run(2, "peer task", {}, {at(0, 10)}, Toucher::Host);
  EXPECT_THAT(checker_.violations(),
              ElementsAre(pair(Kind::WrongMemory, "", "peer add"), pair(Kind::WrongMemory, "", "peer task")));
}

TEST_F(OrderCheckerTest, ReadingWhatNobodyWroteIsFound) {
  run(0, "read", {at(0, 10)}, {});
  EXPECT_THAT(checker_.violations(), ElementsAre(pair(Kind::NeverWritten, "", "read")));
}

TEST_F(OrderCheckerTest, APairThatIsMetAgainIsCounted) {
  for (int i = 0; i < 3; ++i) {
    run(1, "copy in", {}, {at(0, 10)});
    run(0, "matmul", {at(0, 10)}, {});
  }
  ASSERT_THAT(checker_.violations(), SizeIs(2));  // read after write, and write after read
  EXPECT_EQ(checker_.violations()[0].count, 3u);
  EXPECT_EQ(checker_.violations()[1].count, 2u);
}

/// Events behind which the host already is are forgotten; this must not lose the order that an event carries from a
/// third stream.
TEST_F(OrderCheckerTest, ForgettingEventsKeepsWhatTheyCarry) {
  run(0, "warm-up", {}, {at(0, 1)});
  checker_.synchronize(record(0));
  run(1, "produce", {}, {at(10, 20)});
  wait(0, record(1));
  const Event carried = record(0);  // stream 0 ran nothing since the host waited for it
  checker_.synchronize(event_id::make(0, 1));
  wait(2, carried);
  run(2, "copy", {at(10, 20)}, {at(kPeerBuffer, kPeerBuffer + 10)});
  EXPECT_THAT(checker_.violations(), IsEmpty());
}

}  // namespace
}  // namespace krasis
