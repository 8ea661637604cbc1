#include "kernels/host/executor.h"

namespace krasis {

bool StreamProgress::ready(const Command& command) const {
  switch (command.kind) {
    case Command::Kind::Wait:
      return done(command.event);
    case Command::Kind::Await:
      return signals[static_cast<std::size_t>(command.signal)].raised >= command.count;
    default:
      return true;
  }
}

void StreamProgress::note(const Command& command) {
  if (command.kind == Command::Kind::Record) ++streams[static_cast<std::size_t>(command.stream)].recorded;
  if (command.kind == Command::Kind::Raise) ++signals[static_cast<std::size_t>(command.signal)].raised;
}

std::string StreamProgress::describe_wait(const Command& command) const {
  std::string text = "stream '" + streams[static_cast<std::size_t>(command.stream)].name + "' waits for ";
  if (command.kind == Command::Kind::Wait) {
    const Stream& other = streams[static_cast<std::size_t>(event_id::stream(command.event))];
    text += "event " + std::to_string(event_id::sequence(command.event)) + " of stream '" + other.name + "'";
  } else {
    const Signal& signal = signals[static_cast<std::size_t>(command.signal)];
    text += "raise " + std::to_string(command.count) + " of signal '" + signal.name + "', which was raised " +
            std::to_string(signal.raised) + " times";
  }
  return text + " (" + command.why + ")";
}

}  // namespace krasis
