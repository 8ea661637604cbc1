#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/device.h"

namespace krasis {

/// An event is a point in a stream: its `sequence`-th record, counted from 1. The stream and the sequence are the
/// event's id, so a long run needs no table of events. Events recorded inside a recording are templates: the platform
/// maps them to the real events of the last replay.
namespace event_id {
constexpr int kSequenceBits = 44;
constexpr std::uint64_t kTemplateBit = std::uint64_t{1} << 63;
constexpr Event make(int stream, std::uint64_t sequence) {
  return {(static_cast<std::uint64_t>(stream) << kSequenceBits) | sequence};
}
constexpr int stream(Event event) {
  return static_cast<int>(event.id >> kSequenceBits);
}
constexpr std::uint64_t sequence(Event event) {
  return event.id & ((std::uint64_t{1} << kSequenceBits) - 1);
}
constexpr Event make_template(std::uint64_t number) {
  return {kTemplateBit | number};
}
constexpr bool is_template(Event event) {
  return (event.id & kTemplateBit) != 0;
}
}  // namespace event_id

/// What an operation needs of the memory that it touches.
enum class Toucher : std::uint8_t {
  Kernel,  ///< runs on the device: its own memory, pinned and registered host memory
  Copy,    ///< any memory, also host memory that nobody registered
  Host,    ///< host code: any memory but a device's
};

/// An operation, ready to run: shared by a recording and its replays.
struct Operation {
  std::string name;
  Toucher toucher = Toucher::Kernel;
  std::vector<Access> reads, writes;
  const std::vector<View<const std::byte>>* later_reads = nullptr;  ///< as they are when the operation is enqueued
  std::size_t copied_bytes = 0;  ///< of a copy
  std::function<void()> run;
};

/// One entry of a stream.
struct Command {
  enum class Kind : std::uint8_t { Run, Record, Wait, Raise, Await };
  Kind kind = Kind::Run;
  int stream = -1;
  Event event;              ///< Record, Wait
  int signal = -1;          ///< Raise, Await
  std::uint64_t count = 0;  ///< Raise, Await: the number of this raise or await of its signal, from 1
  std::shared_ptr<const Operation> operation;
  std::string why;  ///< Wait, Await
};

}  // namespace krasis
