#include "tests/compare/records.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

namespace krasis::compare {
namespace {

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "compare_probe: %s\n", why.c_str());
  std::exit(2);
}

struct Record {
  Kind kind = Kind::Text;
  std::uint64_t count = 0;
  std::vector<char> bytes;
};
struct File {
  std::vector<std::string> names;  ///< in order
  std::map<std::string, Record> records;
};

std::size_t size_of(Kind kind) {
  return kind == Kind::Text ? 1 : kind == Kind::Float32 || kind == Kind::Int32 ? 4 : 8;
}

File read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) give_up("cannot read " + path.string());
  File file;
  std::uint64_t length = 0;
  while (in.read(reinterpret_cast<char*>(&length), sizeof length)) {
    std::string name(length, '\0');
    Record record;
    in.read(name.data(), static_cast<std::streamsize>(length));
    in.read(reinterpret_cast<char*>(&record.kind), 1);
    in.read(reinterpret_cast<char*>(&record.count), sizeof record.count);
    record.bytes.resize(record.count * size_of(record.kind));
    if (!in.read(record.bytes.data(), static_cast<std::streamsize>(record.bytes.size())) && !record.bytes.empty()) {
      give_up(path.string() + " ends inside " + name);
    }
    file.names.push_back(name);
    if (!file.records.emplace(name, std::move(record)).second) give_up(path.string() + " has twice " + name);
  }
  return file;
}

template <class T>
T value(const Record& record, std::uint64_t index) {
  T result;
  std::memcpy(&result, record.bytes.data() + index * sizeof(T), sizeof(T));
  return result;
}

std::string text_of(const Record& record, std::uint64_t index) {
  char text[64];
  switch (record.kind) {
    case Kind::Text:
      return "\"" + std::string(record.bytes.begin(), record.bytes.end()) + "\"";
    case Kind::Float32:
      std::snprintf(text, sizeof text, "%.9g (0x%08x)", static_cast<double>(value<float>(record, index)),
                    value<std::uint32_t>(record, index));
      return text;
    case Kind::Int32:
      return std::to_string(value<std::int32_t>(record, index));
    case Kind::Int64:
      return std::to_string(value<std::int64_t>(record, index));
    case Kind::Hash:
      std::snprintf(text, sizeof text, "hash %016" PRIx64, value<std::uint64_t>(record, index));
      return text;
  }
  return "";
}

/// Where the two first differ; empty if they do not.
std::string difference(const Record& a, const Record& b) {
  if (a.kind != b.kind) return "another kind of value";
  if (a.kind != Kind::Text && a.count != b.count) {
    return std::to_string(a.count) + " values, now " + std::to_string(b.count);
  }
  const auto [at, other] = std::ranges::mismatch(a.bytes, b.bytes);
  if (at == a.bytes.end() && other == b.bytes.end()) return "";
  const std::uint64_t index = static_cast<std::uint64_t>(at - a.bytes.begin()) / size_of(a.kind);
  const std::string where = a.kind == Kind::Hash   ? "bytes from " + std::to_string(index * 4096)
                            : a.kind == Kind::Text ? ""
                                                   : "[" + std::to_string(index) + "]";
  return where + (where.empty() ? "" : ": ") + text_of(a, index) + ", now " + text_of(b, index);
}

struct Row {
  std::size_t records = 0, different = 0;
  std::uint64_t values = 0;
  std::string first;
};

/// The name without its configuration, and that alone.
std::pair<std::string, std::string> split(const std::string& name) {
  const auto second = name.find('|', name.find('|') + 1), third = name.find('|', second + 1);
  return {name.substr(0, second) + name.substr(third), name.substr(second + 1, third - second - 1)};
}

void note(Row& row, const std::string& configuration, const std::string& what) {
  if (what.empty()) return;
  if (row.different++ == 0) row.first = configuration + ": " + what;
}

void print(const std::vector<std::string>& order, const std::map<std::string, Row>& rows) {
  std::printf("%-16s %-16s %-18s %8s %11s  %s\n", "model", "operations", "what", "records", "values", "result");
  for (const std::string& key : order) {
    const Row& row = rows.at(key);
    const auto bar = key.find('|'), next = key.find('|', bar + 1);
    const std::string model = key.substr(0, bar), operations = key.substr(bar + 1, next - bar - 1);
    std::printf("%-16s %-16s %-18s %8zu %11" PRIu64 "  ", model.c_str(), operations.c_str(),
                key.substr(next + 1).c_str(), row.records, row.values);
    if (row.different == 0) {
      std::printf("equal\n");
    } else {
      std::printf("%zu DIFFER, first %s\n", row.different, row.first.c_str());
    }
  }
}

}  // namespace

Recorder::Recorder(const std::filesystem::path& file) : out_(file, std::ios::binary) {
  if (!out_) give_up("cannot write " + file.string());
}

void Recorder::write(Kind kind, const std::string& name, const void* data, std::uint64_t count, std::size_t size) {
  const std::uint64_t length = name.size();
  out_.write(reinterpret_cast<const char*>(&length), sizeof length);
  out_.write(name.data(), static_cast<std::streamsize>(length));
  out_.write(reinterpret_cast<const char*>(&kind), 1);
  out_.write(reinterpret_cast<const char*>(&count), sizeof count);
  out_.write(static_cast<const char*>(data), static_cast<std::streamsize>(count * size));
}

void Recorder::add(const std::string& name, std::span<const float> values) {
  write(Kind::Float32, name, values.data(), values.size(), 4);
}
void Recorder::add(const std::string& name, std::span<const std::int32_t> values) {
  write(Kind::Int32, name, values.data(), values.size(), 4);
}
void Recorder::add(const std::string& name, std::span<const std::int64_t> values) {
  write(Kind::Int64, name, values.data(), values.size(), 8);
}
void Recorder::add(const std::string& name, std::string_view text) {
  write(Kind::Text, name, text.data(), text.size(), 1);
}

void Recorder::add_hashes(const std::string& name, const std::byte* data, std::size_t bytes) {
  std::vector<std::uint64_t> hashes;
  for (std::size_t begin = 0; begin < bytes; begin += 4096) {
    std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
    for (std::size_t i = begin; i < std::min(bytes, begin + 4096); ++i) {
      hash = (hash ^ static_cast<std::uint64_t>(data[i])) * 0x100000001b3;
    }
    hashes.push_back(hash);
  }
  hashes.push_back(bytes);
  write(Kind::Hash, name, hashes.data(), hashes.size(), 8);
}

void Recorder::finish() {
  out_.close();
  if (!out_) give_up("the records could not be written");
}

bool compare_files(const std::filesystem::path& old_file, const std::filesystem::path& new_file) {
  const File before = read(old_file), now = read(new_file);
  std::vector<std::string> order;
  std::map<std::string, Row> rows;
  const auto row_of = [&](const std::string& name) -> Row& {
    const auto [row, is_new] = rows.try_emplace(split(name).first);
    if (is_new) order.push_back(row->first);
    return row->second;
  };
  for (const std::string& name : before.names) {
    Row& row = row_of(name);
    const Record& record = before.records.at(name);
    const auto found = now.records.find(name);
    ++row.records;
    row.values += record.kind == Kind::Text ? 1 : record.count;
    note(row, split(name).second, found == now.records.end() ? "is not there now" : difference(record, found->second));
  }
  for (const std::string& name : now.names) {
    if (!before.records.contains(name)) note(row_of(name), split(name).second, "was not there before");
  }
  print(order, rows);
  const auto equal = [](const auto& row) { return row.second.different == 0; };
  const bool same = !rows.empty() && std::ranges::all_of(rows, equal);
  const char* result = rows.empty() ? "NOTHING COMPARED" : same ? "equal to the bit" : "DIFFERENT";
  std::printf("%zu records: %s\n", before.names.size(), result);
  return same;
}

}  // namespace krasis::compare
