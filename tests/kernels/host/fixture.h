#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/host/host_platform.h"

namespace krasis::testing_support {

/// Integer-valued arithmetic that is enough to see orders; the real operations have tests of their own.
inline const HostOperations& fake_operations() {
  static const HostOperations table = [] {
    HostOperations fake;
    fake.set<FillArgs>([](const FillArgs& a) {
      for (std::size_t i = 0; i < a.out.size; ++i) a.out.data[i] = a.value;
    });
    fake.set<AddArgs>([](const AddArgs& a) {
      for (std::size_t i = 0; i < a.out.size; ++i) a.out.data[i] += a.x.data[i];
    });
    return fake;
  }();
  return table;
}

inline std::unique_ptr<HostPlatform> make_platform(HostPlatformOptions options) {
  auto platform = HostPlatform::create(options, fake_operations());
  EXPECT_TRUE(platform) << platform.error().message();
  return std::move(*platform);
}

inline Buffer make_buffer(Device& device, std::size_t floats, MemorySpace space = MemorySpace::Device,
                          std::string_view place = "buffer") {
  auto buffer = device.allocate(place, floats * sizeof(float), space);
  EXPECT_TRUE(buffer) << buffer.error().message();
  return std::move(*buffer);
}

/// All violations as text, for messages of failing tests.
inline std::vector<std::string> messages(const std::vector<Violation>& violations) {
  std::vector<std::string> texts;
  for (const Violation& violation : violations) texts.push_back(violation.message());
  return texts;
}

}  // namespace krasis::testing_support
