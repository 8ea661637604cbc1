#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

namespace krasis::compare {

/// What one value of a record is; decides how a difference is printed, not whether there is one: values are compared
/// by their bits.
enum class Kind : char { Float32 = 'f', Int32 = 'i', Int64 = 'q', Hash = 'h', Text = 't' };

/// Named lists of values in one file, in the order in which they are added. Ends the program if the file cannot be
/// written.
///
/// A name is "model|operations|configuration|what"; records are counted by all but the third.
class Recorder {
 public:
  explicit Recorder(const std::filesystem::path& file);
  void add(const std::string& name, std::span<const float> values);
  void add(const std::string& name, std::span<const std::int32_t> values);
  void add(const std::string& name, std::span<const std::int64_t> values);
  void add(const std::string& name, std::string_view text);
  /// One hash for every 4 KiB, so that a difference has a place.
  void add_hashes(const std::string& name, const std::byte* data, std::size_t bytes);
  /// Ends the program unless everything is on disk.
  void finish();

 private:
  void write(Kind kind, const std::string& name, const void* data, std::uint64_t count, std::size_t size);
  std::ofstream out_;
};

/// Prints a table of what the two files hold and where they first differ.
/// @return whether both hold the same records with the same bits, and more than none
bool compare_files(const std::filesystem::path& old_file, const std::filesystem::path& new_file);

}  // namespace krasis::compare
