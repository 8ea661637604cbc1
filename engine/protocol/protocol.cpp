#include "engine/protocol/protocol.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

#include "engine/config/configuration_io.h"
#include "engine/protocol/protocol_fields.h"

namespace krasis::protocol {
namespace {

using Json = nlohmann::ordered_json;

class FieldWriter {
 public:
  explicit FieldWriter(Json& object) : object_(object) {}

  void name(const char* key, const std::string& value) { object_[key] = value; }
  void text(const char* key, const std::string& value) { object_[key] = value; }
  template <std::size_t N>
  void word(const char* key, const std::string& value, const std::array<std::string_view, N>&) {
    object_[key] = value;
  }
  void boolean(const char* key, bool value) { object_[key] = value; }
  void count(const char* key, std::int64_t value, double, double) { object_[key] = value; }
  void real(const char* key, double value, double, double) { object_[key] = value; }
  void optional_number(const char* key, const std::optional<double>& value) {
    object_[key] = value ? Json(*value) : Json(nullptr);
  }
  void reals(const char* key, const std::vector<double>& values, double, double) { object_[key] = values; }
  void texts(const char* key, const std::vector<std::string>& values) { object_[key] = values; }
  void json(const char* key, const std::string& text) {
    Json value = Json::parse(text, nullptr, false);
    object_[key] = value.is_object() ? std::move(value) : Json::object();
  }
  void optional_count(const char* key, std::int64_t value, double, double) {
    if (value != 0) object_[key] = value;
  }
  void optional_real(const char* key, double value, double, double) {
    if (value != 0) object_[key] = value;
  }
  void optional_text(const char* key, const std::string& value) {
    if (!value.empty()) object_[key] = value;
  }
  void optional_json(const char* key, const std::string& text) {
    if (text != "{}") json(key, text);
  }
  void configuration(const char* key, const RunConfiguration& value) { object_[key] = to_json_value(value); }
  template <class T>
  void object(const char* key, T& value) {
    Json inner = Json::object();
    FieldWriter writer(inner);
    visit(writer, value);
    object_[key] = std::move(inner);
  }
  template <class T>
  void objects(const char* key, std::vector<T>& values) {
    Json array = Json::array();
    for (T& value : values) {
      Json inner = Json::object();
      FieldWriter writer(inner);
      visit(writer, value);
      array.push_back(std::move(inner));
    }
    object_[key] = std::move(array);
  }

 private:
  Json& object_;
};

/// Keeps the first complaint; after it every call does nothing.
class FieldReader {
 public:
  FieldReader(const Json& object, std::string path) : object_(object), path_(std::move(path)) {}
  const std::string& complaint() const { return complaint_; }

  void name(const char* key, std::string& value) { string(key, value, kMaxName); }
  void text(const char* key, std::string& value) { string(key, value, kMaxLineBytes); }
  template <std::size_t N>
  void word(const char* key, std::string& value, const std::array<std::string_view, N>& words) {
    name(key, value);
    if (complaint_.empty() && std::find(words.begin(), words.end(), value) == words.end())
      complain(key, "is an unknown word");
  }
  void boolean(const char* key, bool& value) {
    const Json* field = find(key);
    if (field == nullptr) return;
    if (!field->is_boolean()) return complain(key, "must be true or false");
    value = field->get<bool>();
  }
  void count(const char* key, std::int64_t& value, double minimum, double maximum) {
    const Json* field = find(key);
    if (field == nullptr) return;
    if (!field->is_number_integer()) return complain(key, "must be a whole number");
    const double number = field->get<double>();
    if (!(number >= minimum && number <= maximum)) return complain(key, "is out of range");
    value = field->get<std::int64_t>();
  }
  void real(const char* key, double& value, double minimum, double maximum) {
    const Json* field = find(key);
    if (field != nullptr) number(key, *field, value, minimum, maximum);
  }
  void optional_number(const char* key, std::optional<double>& value) {
    const Json* field = find(key);
    if (field == nullptr || field->is_null()) return;
    double read = 0;
    number(key, *field, read, -1e300, 1e300);
    value = read;
  }
  void reals(const char* key, std::vector<double>& values, double minimum, double maximum) {
    const Json* field = find_array(key);
    if (field == nullptr) return;
    values.clear();
    for (const Json& element : *field) {
      double value = 0;
      number(key, element, value, minimum, maximum);
      if (!complaint_.empty()) return;
      values.push_back(value);
    }
  }
  void texts(const char* key, std::vector<std::string>& values) {
    const Json* field = find_array(key);
    if (field == nullptr) return;
    values.clear();
    for (const Json& element : *field) {
      if (!element.is_string()) return complain(key, "must hold texts");
      values.push_back(element.get<std::string>());
    }
  }
  void json(const char* key, std::string& text) {
    const Json* field = find(key);
    if (field == nullptr) return;
    if (!field->is_object()) return complain(key, "must be an object");
    text = field->dump();
  }
  void optional_count(const char* key, std::int64_t& value, double minimum, double maximum) {
    if (object_.contains(key)) count(key, value, minimum, maximum);
  }
  void optional_real(const char* key, double& value, double minimum, double maximum) {
    if (object_.contains(key)) real(key, value, minimum, maximum);
  }
  void optional_text(const char* key, std::string& value) {
    if (object_.contains(key)) text(key, value);
  }
  void optional_json(const char* key, std::string& text) {
    if (object_.contains(key)) json(key, text);
  }
  void configuration(const char* key, RunConfiguration& value) {
    const Json* field = find(key);
    if (field == nullptr) return;
    auto read = configuration_from_json_value(*field);
    if (!read) return complain(key, "is refused: " + read.error().message());
    value = *read;
  }
  template <class T>
  void object(const char* key, T& value) {
    const Json* field = find(key);
    if (field != nullptr) inner(key, *field, value);
  }
  template <class T>
  void objects(const char* key, std::vector<T>& values) {
    const Json* field = find_array(key);
    if (field == nullptr) return;
    values.clear();
    for (const Json& element : *field) {
      inner(key, element, values.emplace_back());
      if (!complaint_.empty()) return;
    }
  }

 private:
  const Json* find(const char* key) {
    if (!complaint_.empty()) return nullptr;
    const auto found = object_.find(key);
    if (found != object_.end()) return &*found;
    complain(key, "is missing");
    return nullptr;
  }
  const Json* find_array(const char* key) {
    const Json* field = find(key);
    if (field == nullptr || field->is_array()) return field;
    complain(key, "must be an array");
    return nullptr;
  }
  void string(const char* key, std::string& value, std::size_t limit) {
    const Json* field = find(key);
    if (field == nullptr) return;
    if (!field->is_string()) return complain(key, "must be a text");
    value = field->get<std::string>();
    if (value.size() > limit) complain(key, "is too long");
  }
  void number(const char* key, const Json& field, double& value, double minimum, double maximum) {
    if (!field.is_number()) return complain(key, "must be a number");
    value = field.get<double>();
    if (!(value >= minimum && value <= maximum)) complain(key, "is out of range");
  }
  template <class T>
  void inner(const char* key, const Json& field, T& value) {
    if (!field.is_object()) return complain(key, "must be an object");
    FieldReader reader(field, path_ + key + ".");
    visit(reader, value);
    complaint_ = reader.complaint();
  }
  void complain(const char* key, std::string_view what) {
    if (complaint_.empty()) complaint_ = fmt::format("\"{}{}\" {}", path_, key, what);
  }

  const Json& object_;
  std::string path_, complaint_;
};

template <class Variant, std::size_t N>
std::string encode_as(const Variant& message, const std::array<std::string_view, N>& types) {
  Json object = Json::object();
  object["v"] = kVersion;
  object["type"] = types[message.index()];
  std::visit(
      [&](auto copy) {
        FieldWriter writer(object);
        visit(writer, copy);
      },
      message);
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

tl::unexpected<Error> corrupt(std::string cause) {
  return fail(ErrorCode::Corrupt, std::move(cause), "The other side may be another program or version; see the log.");
}

/// Depth of brackets outside of texts: checked before parsing, so that no later walk over the value can run deep.
bool too_deep(std::string_view line) {
  int depth = 0;
  bool in_text = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (in_text) {
      if (c == '\\') ++i;
      if (c == '"') in_text = false;
    } else if (c == '"') {
      in_text = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

/// Makes alternative `index` of the variant and reads it.
template <class Variant, std::size_t I = 0>
Expected<Variant> read_alternative(std::size_t index, const Json& object) {
  if constexpr (I < std::variant_size_v<Variant>) {
    if (index != I) return read_alternative<Variant, I + 1>(index, object);
    std::variant_alternative_t<I, Variant> message;
    FieldReader reader(object, "");
    visit(reader, message);
    if (!reader.complaint().empty()) {
      return corrupt(
          fmt::format("A message of type \"{}\": {}.", object["type"].template get<std::string>(), reader.complaint()));
    }
    return Variant(std::move(message));
  } else {
    return corrupt("A message of no type.");
  }
}

template <class Variant, std::size_t N>
Expected<Variant> decode_as(std::string_view line, const std::array<std::string_view, N>& types) {
  if (line.size() > kMaxLineBytes) return corrupt("A line is longer than 16 MiB.");
  if (too_deep(line)) return corrupt(fmt::format("A message is nested more than {} deep.", kMaxDepth));
  const Json object = Json::parse(line.begin(), line.end(), nullptr, false);
  if (!object.is_object()) {
    return corrupt(fmt::format("A line is no JSON object in UTF-8 ({} bytes).", line.size()));
  }
  const auto version = object.find("v");
  if (version == object.end() || !version->is_number_integer()) return corrupt("A message has no version \"v\".");
  if (*version != kVersion) {
    return fail(ErrorCode::Unsupported,
                fmt::format("A message has protocol version {}, but this program speaks {}.",
                            version->dump().substr(0, 24), kVersion),
                "Use the same version of krasis on both sides.");
  }
  const auto type = object.find("type");
  if (type == object.end() || !type->is_string()) return corrupt("A message has no \"type\".");
  const auto name = type->template get<std::string>();
  const auto found = std::find(types.begin(), types.end(), name);
  if (found == types.end()) return corrupt(fmt::format("A message has the unknown type \"{}\".", name.substr(0, 40)));
  return read_alternative<Variant>(static_cast<std::size_t>(found - types.begin()), object);
}

constexpr std::array<std::pair<ErrorCode, std::string_view>, 10> kCodes{{
    {ErrorCode::InvalidArgument, "invalid_argument"},
    {ErrorCode::InvalidShape, "invalid_shape"},
    {ErrorCode::Corrupt, "corrupt"},
    {ErrorCode::NotFound, "not_found"},
    {ErrorCode::Unsupported, "unsupported"},
    {ErrorCode::OutOfMemory, "out_of_memory"},
    {ErrorCode::Io, "io"},
    {ErrorCode::Conflict, "conflict"},
    {ErrorCode::Cancelled, "cancelled"},
    {ErrorCode::Internal, "internal"},
}};

}  // namespace

std::string encode(const Request& request) {
  return encode_as(request, kRequestTypes);
}
std::string encode(const Event& event) {
  return encode_as(event, kEventTypes);
}

Expected<Request> decode_request(std::string_view line) {
  auto request = decode_as<Request>(line, kRequestTypes);
  if (const auto* generate = request ? std::get_if<Generate>(&*request) : nullptr) {
    if (generate->messages.empty() == generate->prompt.empty()) {
      return corrupt("A message of type \"generate\" needs either \"messages\" or a \"prompt\".");
    }
  }
  return request;
}

Expected<Event> decode_event(std::string_view line) {
  auto event = decode_as<Event>(line, kEventTypes);
  if (const auto* sample = event ? std::get_if<Sample>(&*event) : nullptr) {
    if (!sample->decode_token_s.empty() &&
        sample->decode_token_s.size() != static_cast<std::size_t>(sample->decode_tokens)) {
      return corrupt("A message of type \"sample\": \"decode_token_s\" and \"decode_tokens\" contradict each other.");
    }
  }
  return event;
}

std::string_view code_name(ErrorCode code) {
  for (const auto& [value, name] : kCodes) {
    if (value == code) return name;
  }
  return "internal";
}

ErrorCode error_code(std::string_view wanted) {
  for (const auto& [value, name] : kCodes) {
    if (name == wanted) return value;
  }
  return ErrorCode::Internal;
}

Failed failed(const Error& error, std::string id, std::string stage) {
  return {std::move(id), std::string(code_name(error.code)), error.cause, error.remedy, std::move(stage)};
}

std::vector<Expected<std::string>> LineSplitter::append(std::string_view bytes) {
  std::vector<Expected<std::string>> lines;
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::string_view piece = bytes.substr(0, end);
    if (!dropping_) {
      if (rest_.size() + piece.size() > kMaxLineBytes) {
        lines.emplace_back(corrupt("A line is longer than 16 MiB."));
        rest_.clear();
        dropping_ = true;
      } else {
        rest_ += piece;
      }
    }
    if (end == std::string_view::npos) break;
    bytes.remove_prefix(end + 1);
    if (!dropping_) lines.emplace_back(std::move(rest_));
    rest_.clear();
    dropping_ = false;
  }
  return lines;
}

}  // namespace krasis::protocol
