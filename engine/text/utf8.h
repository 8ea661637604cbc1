#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace krasis {

/// One step through a byte string that is meant to be UTF-8 (Unicode 15, table 3-7: no surrogates, no overlong forms).
struct Utf8Step {
  enum class Kind : std::uint8_t {
    Character,  ///< `bytes` bytes form one code point
    Invalid,    ///< `bytes` bytes (1 to 3) are a maximal ill-formed part; it stands for one U+FFFD
    Incomplete  ///< the text ends inside a character that may still become valid
  };
  Kind kind = Kind::Character;
  std::size_t bytes = 0;
  char32_t code_point = 0;
};

/// Reads what stands at the start of `text`, which must not be empty.
Utf8Step next_utf8(std::string_view text);

/// Offset of the first byte that is not valid UTF-8, or nothing.
std::optional<std::size_t> find_invalid_utf8(std::string_view text);

/// `text` with each maximal ill-formed part replaced by U+FFFD, as Unicode recommends (and Rust and Python do).
std::string replace_invalid_utf8(std::string_view text);

void append_utf8(std::string& out, char32_t code_point);

/// Code points of valid UTF-8; ill-formed parts become U+FFFD.
std::u32string to_utf32(std::string_view text);
std::string to_utf8(std::u32string_view text);

/// Normalization form C of valid UTF-8. Takes O(n log n), also for long runs of combining marks.
std::string normalize_nfc(std::string_view text);

}  // namespace krasis
