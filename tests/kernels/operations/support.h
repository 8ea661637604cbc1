#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/bf16.h"
#include "kernels/host/operations/operations.h"
#include "kernels/host/operations/packing/pack.h"

/// What the tests of the operations share. References are plain formulas in double; each implementation, scalar and
/// SIMD, is held against them alone. u = 2^-24 is FP32's unit roundoff; a sum of n products in any order errs by at
/// most gamma(n) * sum|products| (Higham 2002, section 3.1); rounding to BF16 (8 bits) by at most 2^-8 of the value.
namespace krasis::test {

constexpr double kU = 0x1.0p-24;
constexpr double kBf16Roundoff = 0x1.0p-8;
inline double gamma(double n) {
  return n * kU / (1 - n * kU);
}
/// The bound for a result that is within `error` of `value` before it is rounded to BF16, whose smallest step is 2^-133.
inline double bf16_bound(double value, double error) {
  return error + std::max(kBf16Roundoff * (std::fabs(value) + error), 0x1p-134);
}

/// Fresh random numbers at each run; the seed is printed with every failure and set by KRASIS_TEST_SEED.
class Random {
 public:
  Random() : seed_(choose_seed()), engine_(seed_) {}
  std::uint64_t seed() const { return seed_; }
  double uniform(double low, double high) { return std::uniform_real_distribution<double>(low, high)(engine_); }
  int integer(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine_); }
  std::vector<float> floats(std::size_t n, double deviation = 1.0) {
    std::normal_distribution<float> normal(0.0f, static_cast<float>(deviation));
    std::vector<float> values(n);
    for (float& v : values) v = normal(engine_);
    return values;
  }
  std::vector<bf16> bf16s(std::size_t n, double deviation = 1.0) {
    std::vector<bf16> values;
    for (float v : floats(n, deviation)) values.push_back(bf16(v));
    return values;
  }
  template <class T>
  void shuffle(std::vector<T>& values) {
    std::shuffle(values.begin(), values.end(), engine_);
  }

 private:
  static std::uint64_t choose_seed();
  std::uint64_t seed_;
  std::mt19937_64 engine_;
};

template <class T>
View<T> view(std::vector<T>& values) {
  return {values.data(), values.size()};
}
template <class T>
View<const T> view(const std::vector<T>& values) {
  return {values.data(), values.size()};
}

/// n values that no operation may leave behind.
inline std::vector<float> poisoned(std::size_t n) {
  return std::vector<float>(n, std::nanf(""));
}
inline std::vector<bf16> poisoned_bf16(std::size_t n) {
  return std::vector<bf16>(n, bf16::from_bits(0x7fc0));
}

/// A packed matrix with its memory.
struct PackedMatrix {
  MatrixLayout layout;
  std::vector<std::byte> bytes;
  Matrix matrix() const { return {layout, bytes.data()}; }
};
PackedMatrix random_matrix(Random& random, Element element, int group_size, std::int64_t rows, std::int64_t columns,
                           double deviation = 1.0);

/// The number that a packed matrix has at [row, column], read from its bytes by the words of base/format.h.
double decode(const Matrix& matrix, std::int64_t row, std::int64_t column);
/// All of it, [rows, columns].
std::vector<double> decode(const Matrix& matrix);

/// |sum| and the sum of |products| of one dot product.
struct Dot {
  double sum = 0;
  double magnitude = 0;
};
template <class A, class B>
Dot dot(const A* a, const B* b, std::int64_t n) {
  Dot d;
  for (std::int64_t i = 0; i < n; ++i) {
    const double product = static_cast<double>(static_cast<float>(a[i])) * static_cast<double>(b[i]);
    d.sum += product;
    d.magnitude += std::fabs(product);
  }
  return d;
}

/// What preparing x may cost a product with a packed row (kernels/host/operations/matmul/row_kernels.h): nothing for
/// BF16 and for groups that the row kernels do not know. Else each x errs by half a step of its block of 128 (and a
/// little, as the step is rounded), and the sums run over scale * (q + offset) * x, whose magnitude is at most that of
/// the group's largest weight; they have at most n / 16 + 24 terms one after another.
inline double preparation_error(const bf16* x, const double* row, std::int64_t n, const WeightFormat& format) {
  const int group = format.group_size;
  if (format.element == Element::Bf16 || (group != 32 && group != 64 && group % 128 != 0)) return 0;
  double error = 0;
  for (std::int64_t begin = 0; begin < n; begin += 128) {
    double largest = 0, weights = 0;
    for (std::int64_t i = begin; i < std::min(n, begin + 128); ++i) {
      largest = std::max(largest, std::fabs(static_cast<double>(static_cast<float>(x[i]))));
      weights += std::fabs(row[i]);
    }
    error += largest * 0.503 / 16256 * weights;
  }
  for (std::int64_t begin = 0; begin < n; begin += group) {
    double largest = 0, values = 0;
    for (std::int64_t i = begin; i < begin + group; ++i) {
      largest = std::max(largest, std::fabs(row[i]));
      values += std::fabs(static_cast<double>(static_cast<float>(x[i])));
    }
    error += gamma(static_cast<double>(n) / 16 + 24) * 2.1 * largest * values;
  }
  return error;
}

/// The value of an E4M3 code by the format's definition (OCP 8-bit floating point, 1.0).
double e4m3_value(int code);

/// An implementation. The emulated ones are the same source as their instruction set's, run by plain loops.
enum class Set { Scalar, Avx2, Avx512, Amx, EmulatedAvx512, EmulatedAmx };
const HostOperations& operations(Set set);
/// Why this CPU cannot run it; empty if it can.
std::string missing(Set set);
std::string name_of_set(const testing::TestParamInfo<Set>& info);

#ifdef KRASIS_TEST_CUDA
// The same tests are built once more for the CUDA device (tests/kernels/cuda/operations), which defines these.
constexpr bool kOnDevice = true;
const HostOperations& device_operations();
std::string missing_device();
#else
constexpr bool kOnDevice = false;
#endif

/// A test that runs with each implementation that this machine can run.
class OperationTest : public testing::TestWithParam<Set> {
 protected:
#ifdef KRASIS_TEST_CUDA
  void SetUp() override {
    if (const std::string why = missing_device(); !why.empty()) GTEST_SKIP() << why;
  }
  const HostOperations& op() const { return device_operations(); }
#else
  void SetUp() override {
    if (const std::string why = missing(GetParam()); !why.empty()) GTEST_SKIP() << why;
  }
  const HostOperations& op() const { return operations(GetParam()); }
#endif
  Random random_;
  testing::ScopedTrace trace_{__FILE__, __LINE__, "KRASIS_TEST_SEED=" + std::to_string(random_.seed())};
};
#ifdef KRASIS_TEST_CUDA
#define KRASIS_ALL_SETS(suite)                                             \
  INSTANTIATE_TEST_SUITE_P(Device, suite, testing::Values(Set::Scalar),    \
                           [](const auto&) { return std::string("cuda"); })
#define KRASIS_ALL_ROW_SETS(suite) KRASIS_ALL_SETS(suite)
#else
#define KRASIS_ALL_SETS(suite) \
  INSTANTIATE_TEST_SUITE_P(Host, suite, testing::Values(Set::Scalar, Set::Avx2, Set::Avx512, Set::Amx), name_of_set)
/// For suites with products of packed rows.
#define KRASIS_ALL_ROW_SETS(suite)                                                                           \
  INSTANTIATE_TEST_SUITE_P(                                                                                  \
      Host, suite,                                                                                           \
      testing::Values(Set::Scalar, Set::Avx2, Set::Avx512, Set::Amx, Set::EmulatedAvx512, Set::EmulatedAmx), \
      name_of_set)
#endif

/// Integer formats with whole, half, quarter and tiny groups, MXFP4 and BF16.
struct FormatCase {
  Element element;
  int group_size;
  /// Whether rows of so many columns can have it.
  bool fits(std::int64_t columns) const { return element != Element::Mxfp4 || columns % 32 == 0; }
};
inline const FormatCase kFormats[] = {{Element::Bf16, 0},  {Element::Int8, 128}, {Element::Int8, 64},
                                      {Element::Int8, 32}, {Element::Int4, 128}, {Element::Int4, 64},
                                      {Element::Int4, 32}, {Element::Int4, 4},   {Element::Mxfp4, 32}};

}  // namespace krasis::test
