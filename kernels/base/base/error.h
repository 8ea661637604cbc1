#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace krasis {

enum class ErrorCode {
  InvalidArgument,  ///< a parameter or a combination of parameters that cannot be
  InvalidShape,     ///< tensors that do not fit together
  Corrupt,          ///< a file or message that contradicts itself
  NotFound,         ///< a file, tensor, row or device that is not there
  Unsupported,      ///< well-formed, but nothing here can do it
  OutOfMemory,      ///< a budget or the machine's memory does not suffice
  Io,               ///< the operating system refused
  Conflict,         ///< two unordered accesses to one place, or a locked database
  Cancelled,        ///< asked for by the user
  Internal,         ///< a defect of this program
};

/// What went wrong and what the user can do about it. Both are whole sentences, shown as they are.
struct Error {
  ErrorCode code = ErrorCode::Internal;
  std::string cause;
  std::string remedy;

  std::string message() const { return remedy.empty() ? cause : cause + " " + remedy; }
};

/// A value or an Error. Exceptions stop at the borders to libraries that throw.
template <class T = void>
using Expected = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(ErrorCode code, std::string cause, std::string remedy = {}) {
  return tl::unexpected<Error>(Error{code, std::move(cause), std::move(remedy)});
}

}  // namespace krasis

#define KRASIS_CONCAT_(a, b) a##b
#define KRASIS_CONCAT(a, b) KRASIS_CONCAT_(a, b)

/// `KRASIS_TRY(auto file, open(path));` declares `file`, or returns the error of `open` from the enclosing function.
#define KRASIS_TRY(declaration, expression) KRASIS_TRY_(KRASIS_CONCAT(try_result_, __LINE__), declaration, expression)
#define KRASIS_TRY_(result, declaration, expression)               \
  auto result = (expression);                                      \
  if (!result) return tl::unexpected(std::move(result).error());   \
  declaration = std::move(*result)

/// `KRASIS_CHECK(write(file));` returns the error of `write`, if any, from the enclosing function.
#define KRASIS_CHECK(expression)                                                    \
  do {                                                                              \
    if (auto check_result = (expression); !check_result)                            \
      return tl::unexpected(std::move(check_result).error());                       \
  } while (false)
