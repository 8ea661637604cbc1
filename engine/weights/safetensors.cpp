#include "engine/weights/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

namespace krasis {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // as the reference implementation
constexpr const char* kRemedy = "Download the file again.";

tl::unexpected<Error> corrupt(const std::filesystem::path& path, const std::string& what) {
  return fail(ErrorCode::Corrupt, path.string() + ": " + what + ".", kRemedy);
}

Expected<std::string_view> header_text(const std::filesystem::path& path, std::span<const std::byte> file) {
  if (file.size() < 8) {
    return corrupt(path, "the file is truncated, it has " + std::to_string(file.size()) + " bytes");
  }
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<std::uint64_t>(file[static_cast<std::size_t>(i)]);
  if (length > kMaxHeaderBytes) {
    return corrupt(path, "the header claims " + std::to_string(length) + " bytes, more than the format allows");
  }
  if (length > file.size() - 8) {
    return corrupt(path, "the header claims " + std::to_string(length) + " bytes, but only " +
                             std::to_string(file.size() - 8) + " follow; the file is truncated");
  }
  return std::string_view(reinterpret_cast<const char*>(file.data()) + 8, static_cast<std::size_t>(length));
}

Expected<Json> parse_header(const std::filesystem::path& path, std::string_view text) {
  constexpr int kDeepest = 4;  // header, tensor, shape
  bool too_deep = false;
  std::set<std::string> names;
  std::string twice;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    too_deep = too_deep || depth > kDeepest;
    if (event == Json::parse_event_t::key && depth == 1) {
      const auto& name = parsed.get_ref<const std::string&>();
      if (!names.insert(name).second && twice.empty()) twice = name;
    }
    return !too_deep;
  };
  Json header = Json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
  if (too_deep || header.is_discarded() || !header.is_object()) {
    return corrupt(path, "the header is not a valid JSON object");
  }
  if (!twice.empty()) return corrupt(path, "tensor " + twice + " occurs twice in the header");
  return header;
}

/// A non-negative integer of the header, or nothing.
bool read_size(const Json& value, std::uint64_t& out) {
  if (!value.is_number_unsigned()) return false;
  out = value.get<std::uint64_t>();
  return out <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
}

Expected<SafetensorsTensor> parse_tensor(const std::filesystem::path& path, const std::string& name, const Json& entry,
                                         std::span<const std::byte> data) {
  const auto wrong = [&](const std::string& what) { return corrupt(path, "tensor " + name + " " + what); };
  if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() || !entry.contains("shape") ||
      !entry["shape"].is_array() || !entry.contains("data_offsets") || !entry["data_offsets"].is_array() ||
      entry["data_offsets"].size() != 2) {
    return wrong("lacks a dtype, a shape or two data_offsets");
  }
  SafetensorsTensor tensor{name, entry["dtype"].get<std::string>(), {}, {}};
  const std::uint64_t element_bytes = safetensors_dtype_bytes(tensor.dtype);
  std::uint64_t expected_bytes = element_bytes;
  for (const auto& dimension : entry["shape"]) {
    std::uint64_t size = 0;
    if (!read_size(dimension, size)) return wrong("has a shape that is not made of whole numbers");
    if (__builtin_mul_overflow(expected_bytes, size, &expected_bytes)) return wrong("has a shape beyond all memory");
    tensor.shape.push_back(static_cast<std::int64_t>(size));
  }
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  if (!read_size(entry["data_offsets"][0], begin) || !read_size(entry["data_offsets"][1], end) || begin > end) {
    return wrong("has data_offsets that are no range");
  }
  if (end > data.size()) {
    return wrong("ends at byte " + std::to_string(end) + " of the data, which has " + std::to_string(data.size()) +
                 "; the file is truncated");
  }
  tensor.bytes = data.subspan(begin, end - begin);
  if (element_bytes == 0) return tensor;  // an unknown dtype: its size cannot be checked
  if (expected_bytes != end - begin) {
    return wrong("of shape " + shape_text(tensor.shape) + " and dtype " + tensor.dtype + " needs " +
                 std::to_string(expected_bytes) + " bytes, but its data_offsets give " + std::to_string(end - begin));
  }
  if (reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % std::min<std::uint64_t>(element_bytes, 8) != 0) {
    return wrong("is misaligned for its dtype " + tensor.dtype);
  }
  return tensor;
}

/// The format asks that tensors cover the data without overlaps or holes.
Expected<void> check_coverage(const std::filesystem::path& path, std::span<const std::byte> data,
                              const std::vector<SafetensorsTensor>& tensors) {
  std::vector<const SafetensorsTensor*> order;
  for (const auto& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->bytes.data(), a->bytes.size()) < std::pair(b->bytes.data(), b->bytes.size());
  });
  const std::byte* covered = data.data();
  for (const auto* tensor : order) {
    if (tensor->bytes.data() < covered) return corrupt(path, "tensor " + tensor->name + " overlaps another one");
    if (tensor->bytes.data() > covered) return corrupt(path, "there is a hole before tensor " + tensor->name);
    covered += tensor->bytes.size();
  }
  if (covered != data.data() + data.size()) return corrupt(path, "there are bytes after the last tensor");
  return {};
}

}  // namespace

std::size_t safetensors_dtype_bytes(std::string_view dtype) {
  static constexpr std::array<std::pair<std::string_view, std::size_t>, 14> kDtypes{{{"BF16", 2},
                                                                                     {"F16", 2},
                                                                                     {"F32", 4},
                                                                                     {"F64", 8},
                                                                                     {"F8_E4M3", 1},
                                                                                     {"F8_E5M2", 1},
                                                                                     {"BOOL", 1},
                                                                                     {"I8", 1},
                                                                                     {"U8", 1},
                                                                                     {"I16", 2},
                                                                                     {"U16", 2},
                                                                                     {"I32", 4},
                                                                                     {"U32", 4},
                                                                                     {"I64", 8}}};
  for (const auto& [name, bytes] : kDtypes) {
    if (name == dtype) return bytes;
  }
  return dtype == "U64" ? 8 : 0;
}

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (const std::int64_t dimension : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(dimension);
  return text + "]";
}

Expected<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  KRASIS_TRY(MappedFile mapped, MappedFile::open(path));
  SafetensorsFile file(path, std::move(mapped));
  KRASIS_TRY(const std::string_view text, header_text(path, file.file_.bytes()));
  KRASIS_TRY(const Json header, parse_header(path, text));
  const auto data = file.file_.bytes().subspan(8 + text.size());
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") {
      KRASIS_TRY(auto tensor, parse_tensor(path, name, entry, data));
      file.tensors_.push_back(std::move(tensor));
      continue;
    }
    if (!entry.is_object()) return corrupt(path, "__metadata__ is not an object");
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) return corrupt(path, "__metadata__ holds something that is not a text");
      file.metadata_[key] = value.get<std::string>();
    }
  }
  KRASIS_CHECK(check_coverage(path, data, file.tensors_));
  return file;
}

const SafetensorsTensor* SafetensorsFile::find(std::string_view name) const {
  const auto at =
      std::lower_bound(tensors_.begin(), tensors_.end(), name,
                       [](const SafetensorsTensor& tensor, std::string_view key) { return tensor.name < key; });
  return at != tensors_.end() && at->name == name ? &*at : nullptr;
}

Expected<std::span<const std::byte>> SafetensorsFile::checked_bytes(std::string_view name,
                                                                    std::string_view dtype) const {
  const auto* tensor = find(name);
  if (tensor == nullptr) {
    return fail(ErrorCode::NotFound, path_.string() + " has no tensor " + std::string(name) + ".", kRemedy);
  }
  if (tensor->dtype != dtype) {
    return fail(ErrorCode::Unsupported, path_.string() + ": tensor " + tensor->name + " has dtype " + tensor->dtype +
                                            ", but " + std::string(dtype) + " is expected.");
  }
  return tensor->bytes;
}

}  // namespace krasis
