#include "engine/system/system_files.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

namespace krasis::system_files {

std::optional<std::string> read_text(const std::filesystem::path& path, std::size_t limit) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error) || error) return std::nullopt;  // a pipe would block
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::string text(limit, '\0');
  file.read(text.data(), static_cast<std::streamsize>(limit));
  if (file.bad()) return std::nullopt;
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

std::optional<std::string> read_line(const std::filesystem::path& path) {
  const auto text = read_text(path);
  if (!text) return std::nullopt;
  return std::string(trimmed(std::string_view(*text).substr(0, text->find('\n'))));
}

std::optional<std::string> read_word(const std::filesystem::path& path) {
  auto line = read_line(path);
  if (!line || line->empty() || line->size() > 64) return std::nullopt;
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  };
  if (!std::all_of(line->begin(), line->end(), fits)) return std::nullopt;
  return line;
}

std::optional<std::uint64_t> read_number(const std::filesystem::path& path) {
  const auto line = read_line(path);
  return line ? parse_number(*line) : std::nullopt;
}

std::optional<NumberList> read_list(const std::filesystem::path& path) {
  const auto line = read_line(path);
  return line ? parse_list(*line) : std::nullopt;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const auto begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<NumberList> parse_list(std::string_view text) {
  NumberList list;
  text = trimmed(text);
  if (text.empty()) return list;
  for (const std::string_view part : split(text, ',')) {
    const auto dash = part.find('-');
    const auto first = parse_number(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_number(part.substr(dash + 1));
    if (!first || !last || *first > *last || *last >= kMaxNumber) return std::nullopt;
    // Ascending, as the kernel writes them: so overlaps cannot make the list long.
    if (!list.empty() && *first <= static_cast<std::uint64_t>(list.back())) return std::nullopt;
    for (auto n = *first; n <= *last; ++n) list.push_back(static_cast<int>(n));
  }
  return list;
}

std::optional<std::string_view> value_of(std::string_view text, std::string_view key) {
  for (const std::string_view line : split(text, '\n')) {
    const auto colon = line.find(':');
    if (colon != std::string_view::npos && trimmed(line.substr(0, colon)) == key) return trimmed(line.substr(colon + 1));
  }
  return std::nullopt;
}

std::optional<std::uint64_t> kib_value_of(std::string_view text, std::string_view key) {
  const auto value = value_of(text, key);
  if (!value || !value->ends_with("kB")) return std::nullopt;
  const auto kib = parse_number(trimmed(value->substr(0, value->size() - 2)));
  if (!kib || *kib > (std::uint64_t{1} << 53)) return std::nullopt;
  return *kib * 1024;
}

std::string list_text(const NumberList& list) {
  std::string text;
  for (std::size_t i = 0; i < list.size();) {
    std::size_t last = i;
    while (last + 1 < list.size() && list[last + 1] == list[last] + 1) ++last;
    if (text.size() > 108) return text + ",\u2026";
    if (!text.empty()) text += ',';
    text += last == i ? fmt::format("{}", list[i]) : fmt::format("{}-{}", list[i], list[last]);
    i = last + 1;
  }
  return text.empty() ? "none" : text;
}

std::string bytes_text(std::uint64_t bytes) {
  const double mib = static_cast<double>(bytes) / 1048576.0;
  if (mib < 1024) return fmt::format("{:.0f} MiB", mib);
  return fmt::format("{:.1f} GiB", mib / 1024);
}

NumberList common(const NumberList& a, const NumberList& b) {
  NumberList both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  return both;
}

}  // namespace krasis::system_files
