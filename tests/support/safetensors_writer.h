#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/bf16.h"

namespace krasis::test {

/// A tensor as a test wants it in a file; `bytes` need not fit `shape`.
struct TensorData {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;
};
using TensorMap = std::map<std::string, TensorData>;

template <class T>
TensorData tensor_of(std::string dtype, std::vector<std::int64_t> shape, std::span<const T> values) {
  TensorData tensor{std::move(dtype), std::move(shape), std::vector<std::byte>(values.size_bytes())};
  if (!values.empty()) std::memcpy(tensor.bytes.data(), values.data(), values.size_bytes());
  return tensor;
}

inline TensorData bf16_tensor(std::vector<std::int64_t> shape, const std::vector<float>& values) {
  std::vector<bf16> rounded;
  for (const float value : values) rounded.push_back(bf16(value));
  return tensor_of<bf16>("BF16", std::move(shape), rounded);
}

inline void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// A file of this header text, whatever it says, and this data; the header's length is true.
inline std::string safetensors_bytes(const std::string& header, const std::string& data) {
  std::string file;
  for (int i = 0; i < 8; ++i) file.push_back(static_cast<char>(header.size() >> (8 * i) & 0xff));
  return file + header + data;
}

/// A valid safetensors file of these tensors, the header padded to 8 bytes.
inline void write_safetensors(const std::filesystem::path& path, const TensorMap& tensors) {
  std::string header = "{";
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    if (header.size() > 1) header += ",";
    header += "\"" + name + "\":{\"dtype\":\"" + tensor.dtype + "\",\"shape\":[";
    for (std::size_t i = 0; i < tensor.shape.size(); ++i)
      header += (i > 0 ? "," : "") + std::to_string(tensor.shape[i]);
    const std::size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
    header += "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(data.size()) + "]}";
  }
  header += "}";
  while (header.size() % 8 != 0) header += " ";
  write_file(path, safetensors_bytes(header, data));
}

}  // namespace krasis::test
