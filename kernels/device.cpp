#include "kernels/device.h"

namespace krasis {

void Device::copy_and_raise(Stream stream, std::span<const CopyArgs> copies, Signal signal) {
  for (const CopyArgs& args : copies) copy(stream, args.to, args.from, args.name);
  raise(stream, signal);
}

void Device::await_and_add(Stream stream, Signal signal, std::string_view why, const AddArgs& sum,
                           View<float> arrived) {
  await(stream, signal, why);
  krasis::copy(*this, stream, arrived, sum.x, "sum from the CPU");
  run(stream, AddArgs{arrived, sum.out});
}

Buffer::~Buffer() {
  if (device_ && data_) device_->release(space_, data_, bytes_);
}

}  // namespace krasis
