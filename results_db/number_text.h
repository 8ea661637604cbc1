#pragma once

#include <string>

namespace krasis::results {

/// `value` with `decimals` decimals and a point, whatever the locale (a window's toolkit sets it): 1018.37 -> "1018.4".
std::string fixed(double value, int decimals);
/// The shortest text that reads back as the same double.
std::string exact(double value);
/// About `digits` significant digits: 0.0312345 -> "0.0312".
std::string significant(double value, int digits = 3);

}  // namespace krasis::results
