#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bf16.h"
#include "base/error.h"
#include "engine/weights/mapped_file.h"

namespace krasis {

/// Bytes of one element of a safetensors dtype ("BF16", "F32", ...), 0 if the name is unknown here.
std::size_t safetensors_dtype_bytes(std::string_view dtype);
/// "[4096, 2048]"
std::string shape_text(std::span<const std::int64_t> shape);

/// One tensor of a file; its bytes are the mapped file's.
struct SafetensorsTensor {
  std::string name;
  std::string dtype;  ///< as in the file; may be one that nothing here reads
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

/// One safetensors file, mapped and checked (https://huggingface.co/docs/safetensors): 8 bytes little-endian length, a
/// JSON header of that length (100 MB at most), the data.
///
/// Errors of open: NotFound, Io; Corrupt for a header that is truncated, too long, no JSON, has a name twice, or whose
/// tensors lie outside the data, overlap, leave holes, are misaligned for their dtype, or have another size than their
/// shape says. Each names the file, and the tensor where there is one. A tensor of an unknown dtype is no error until
/// somebody reads it.
class SafetensorsFile {
 public:
  static Expected<SafetensorsFile> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  /// Sorted by name. The pointers and spans live as long as this object; moving it keeps them.
  const std::vector<SafetensorsTensor>& tensors() const { return tensors_; }
  const SafetensorsTensor* find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// The elements of a tensor whose dtype is T's: float (F32), std::int32_t (I32), std::int64_t (I64), bf16 (BF16).
  /// Errors: NotFound, Unsupported for another dtype.
  template <class T>
  Expected<std::span<const T>> values(std::string_view name) const {
    KRASIS_TRY(const std::span<const std::byte> bytes, checked_bytes(name, dtype_of(static_cast<T*>(nullptr))));
    return std::span<const T>(reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T));
  }

 private:
  explicit SafetensorsFile(std::filesystem::path path, MappedFile file)
      : path_(std::move(path)), file_(std::move(file)) {}
  static constexpr std::string_view dtype_of(const float*) { return "F32"; }
  static constexpr std::string_view dtype_of(const std::int32_t*) { return "I32"; }
  static constexpr std::string_view dtype_of(const std::int64_t*) { return "I64"; }
  static constexpr std::string_view dtype_of(const bf16*) { return "BF16"; }
  Expected<std::span<const std::byte>> checked_bytes(std::string_view name, std::string_view dtype) const;

  std::filesystem::path path_;
  MappedFile file_;
  std::vector<SafetensorsTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace krasis
