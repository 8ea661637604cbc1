#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace krasis {

/// XXH3, 128 bits, as 32 hexadecimal digits. For identity and damage, not against attackers.
std::string content_hash(std::span<const std::byte> bytes);
std::string content_hash(std::string_view text);

}  // namespace krasis
