#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace krasis {

/// XXH3, 128 bits, as 32 hexadecimal digits. For identity and damage, not against attackers.
std::string content_hash(std::span<const std::byte> bytes);
std::string content_hash(std::string_view text);

/// The same hash of bytes that come in parts.
class ContentHasher {
 public:
  ContentHasher();
  void add(std::span<const std::byte> bytes);
  /// Of all that was added.
  std::string hash() const;

 private:
  struct Free {
    void operator()(void* state) const;
  };
  std::unique_ptr<void, Free> state_;
};

}  // namespace krasis
