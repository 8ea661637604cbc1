#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// Reading the kernel's small text files without trusting them: whatever is missing, too long or no such value is nullopt.
namespace krasis::system_files {

/// CPU or node numbers, ascending, each once.
using NumberList = std::vector<int>;
/// Numbers from here on are refused (Linux allows 8192 CPUs).
inline constexpr int kMaxNumber = 16384;

/// The first `limit` bytes of a regular file.
std::optional<std::string> read_text(const std::filesystem::path& path, std::size_t limit = 1 << 16);
/// The file's first line, without blanks around it.
std::optional<std::string> read_line(const std::filesystem::path& path);
/// A line of letters, digits, '-', '_' and '.', at most 64: a governor's or a driver's name.
std::optional<std::string> read_word(const std::filesystem::path& path);
std::optional<std::uint64_t> read_number(const std::filesystem::path& path);
/// "0-3,8": a file as of /sys/devices/system/cpu/online. An empty line is an empty list.
std::optional<NumberList> read_list(const std::filesystem::path& path);

std::string_view trimmed(std::string_view text);
std::vector<std::string_view> split(std::string_view text, char separator);
/// Decimal digits alone, at most 2^64 - 1.
std::optional<std::uint64_t> parse_number(std::string_view text);
std::optional<NumberList> parse_list(std::string_view text);
/// What follows "key:" in a text of such lines; the first one counts.
std::optional<std::string_view> value_of(std::string_view text, std::string_view key);
/// The same for "key: 123 kB", in bytes.
std::optional<std::uint64_t> kib_value_of(std::string_view text, std::string_view key);
/// "0-3,8"; at most 120 characters.
std::string list_text(const NumberList& list);
/// "1.5 GiB", "512 MiB".
std::string bytes_text(std::uint64_t bytes);
NumberList common(const NumberList& a, const NumberList& b);

}  // namespace krasis::system_files
