#include "results_db/number_text.h"

#include <array>
#include <charconv>
#include <cmath>

namespace krasis::results {

namespace {
template <class... Format>
std::string to_text(double value, Format... format) {
  std::array<char, 400> buffer;  // the largest double has 309 digits before the point
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format...);
  return std::string(buffer.data(), end.ptr);
}
}  // namespace

std::string fixed(double value, int decimals) {
  return to_text(value, std::chars_format::fixed, decimals);
}
std::string exact(double value) {
  return to_text(value);
}
std::string significant(double value, int digits) {
  return to_text(value, std::chars_format::general, digits);
}

}  // namespace krasis::results
