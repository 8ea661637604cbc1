#include "engine/text/utf8.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

namespace krasis {

Utf8Step next_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {Utf8Step::Kind::Character, 1, lead};
  // The second byte's range forbids overlong forms, surrogates and what lies beyond U+10FFFF.
  std::size_t length = 0;
  unsigned char low = 0x80, high = 0xbf;
  char32_t code_point = 0;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2, code_point = lead & 0x1fu;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3, code_point = lead & 0x0fu;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4, code_point = lead & 0x07u;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
  } else {
    return {Utf8Step::Kind::Invalid, 1, 0xfffd};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (i >= text.size()) return {Utf8Step::Kind::Incomplete, i, 0xfffd};
    if (byte(i) < low || byte(i) > high) return {Utf8Step::Kind::Invalid, i, 0xfffd};
    code_point = (code_point << 6) | (byte(i) & 0x3fu);
    low = 0x80, high = 0xbf;
  }
  return {Utf8Step::Kind::Character, length, code_point};
}

std::optional<std::size_t> find_invalid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = next_utf8(text.substr(at));
    if (step.kind != Utf8Step::Kind::Character) return at;
    at += step.bytes;
  }
  return std::nullopt;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = next_utf8(text);
    if (step.kind == Utf8Step::Kind::Character) {
      out.append(text.substr(0, step.bytes));
    } else {
      out += "\xef\xbf\xbd";
    }
    text.remove_prefix(step.bytes);
  }
  return out;
}

void append_utf8(std::string& out, char32_t code_point) {
  const auto put = [&](char32_t bits) { out.push_back(static_cast<char>(static_cast<unsigned char>(bits))); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xc0u | (code_point >> 6)), put(0x80u | (code_point & 0x3fu));
  } else if (code_point < 0x10000) {
    put(0xe0u | (code_point >> 12)), put(0x80u | ((code_point >> 6) & 0x3fu)), put(0x80u | (code_point & 0x3fu));
  } else {
    put(0xf0u | (code_point >> 18)), put(0x80u | ((code_point >> 12) & 0x3fu));
    put(0x80u | ((code_point >> 6) & 0x3fu)), put(0x80u | (code_point & 0x3fu));
  }
}

std::u32string to_utf32(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = next_utf8(text);
    out.push_back(step.code_point);
    text.remove_prefix(step.bytes);
  }
  return out;
}

std::string to_utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) append_utf8(out, c);
  return out;
}

// utf8proc_map orders combining marks by insertion, which is quadratic in the length of a run; so the canonical order
// is made here with a stable sort, and only the tables and the composition are utf8proc's.
std::string normalize_nfc(std::string_view text) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; }))
    return std::string(text);
  struct Mark {
    utf8proc_int32_t code_point;
    utf8proc_propval_t combining_class;
  };
  std::vector<Mark> decomposed;
  decomposed.reserve(text.size());
  std::size_t run = 0;  // start of the current run of marks
  const auto order_run = [&] {
    std::stable_sort(decomposed.begin() + static_cast<std::ptrdiff_t>(run), decomposed.end(),
                     [](const Mark& a, const Mark& b) { return a.combining_class < b.combining_class; });
  };
  while (!text.empty()) {
    const Utf8Step step = next_utf8(text);
    text.remove_prefix(step.bytes);
    std::array<utf8proc_int32_t, 32> parts{};
    int last_boundary = 0;
    const auto count = utf8proc_decompose_char(
        static_cast<utf8proc_int32_t>(step.code_point), parts.data(), static_cast<utf8proc_ssize_t>(parts.size()),
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE), &last_boundary);
    if (count <= 0) {
      parts[0] = static_cast<utf8proc_int32_t>(step.code_point);
    }
    for (std::size_t i = 0; i < static_cast<std::size_t>(std::max<utf8proc_ssize_t>(count, 1)); ++i) {
      const auto combining_class = utf8proc_get_property(parts[i])->combining_class;
      if (combining_class == 0) order_run();
      decomposed.push_back({parts[i], combining_class});
      if (combining_class == 0) run = decomposed.size();
    }
  }
  order_run();
  std::vector<utf8proc_int32_t> code_points(decomposed.size());
  std::transform(decomposed.begin(), decomposed.end(), code_points.begin(), [](const Mark& m) { return m.code_point; });
  const auto length = utf8proc_normalize_utf32(code_points.data(), static_cast<utf8proc_ssize_t>(code_points.size()),
                                               static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  std::string out;
  for (utf8proc_ssize_t i = 0; i < length; ++i)
    append_utf8(out, static_cast<char32_t>(code_points[static_cast<std::size_t>(i)]));
  return out;
}

}  // namespace krasis
