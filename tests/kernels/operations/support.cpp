#include "tests/kernels/operations/support.h"

#include <cstdlib>

#include "kernels/host/operations/matmul/tiles.h"
#ifdef KRASIS_HAVE_EMULATION
#include "tests/kernels/operations/emulated_rows.h"
#endif

namespace krasis::test {

std::uint64_t Random::choose_seed() {
  if (const char* given = std::getenv("KRASIS_TEST_SEED")) return std::strtoull(given, nullptr, 10);
  return std::random_device{}();
}

PackedMatrix random_matrix(Random& random, Element element, int group_size, std::int64_t rows, std::int64_t columns,
                           double deviation) {
  PackedMatrix packed{{fit_format(element, group_size, columns), rows, columns}, {}};
  packed.bytes.resize(packed.layout.bytes());
  pack_rows(random.floats(static_cast<std::size_t>(rows * columns), deviation), packed.layout, packed.bytes.data());
  return packed;
}

namespace {
double bf16_at(const std::byte* data) {
  return static_cast<double>(static_cast<float>(bf16::from_bits(
      static_cast<std::uint16_t>(static_cast<unsigned>(data[0]) | static_cast<unsigned>(data[1]) << 8))));
}
}  // namespace

double decode(const Matrix& m, std::int64_t row, std::int64_t column) {
  const MatrixLayout& layout = m.layout;
  const Element element = layout.format.element;
  const std::int64_t padded = (layout.columns + 63) / 64 * 64;
  const int bits = element == Element::Bf16 ? 16 : element == Element::Int8 ? 8 : 4;
  const std::byte* numbers = m.data + row * padded * bits / 8;
  if (bits == 16) return bf16_at(numbers + 2 * column);
  const std::int64_t rows_end = (layout.rows * padded * bits / 8 + 63) / 64 * 64;
  const std::int64_t group = row * (layout.columns / layout.format.group_size) + column / layout.format.group_size;
  const std::int64_t block = column / 64;
  const std::int64_t j = column - block * 64;
  const auto byte = static_cast<int>(numbers[block * 32 + (j < 32 ? j : j - 32)]);
  const int nibble = j < 32 ? byte % 16 : byte / 16;
  if (element == Element::Mxfp4) {
    const double magnitudes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    const auto e = static_cast<int>(m.data[rows_end + group]);
    return (nibble < 8 ? 1 : -1) * magnitudes[nibble % 8] * (e == 255 ? std::nan("") : std::ldexp(1.0, e - 127));
  }
  const double scale = bf16_at(m.data + rows_end + 2 * group);
  return scale * (bits == 8 ? static_cast<std::int8_t>(numbers[column]) : nibble - 8);
}

std::vector<double> decode(const Matrix& m) {
  std::vector<double> values;
  for (std::int64_t r = 0; r < m.layout.rows; ++r)
    for (std::int64_t c = 0; c < m.layout.columns; ++c) values.push_back(decode(m, r, c));
  return values;
}

double e4m3_value(int code) {
  const int exponent = code / 8 % 16;
  const int mantissa = code % 8;
  if (exponent == 15 && mantissa == 7) return std::nan("");
  const double magnitude =
      exponent == 0 ? mantissa / 8.0 * std::pow(2.0, -6) : (1.0 + mantissa / 8.0) * std::pow(2.0, exponent - 7);
  return code >= 128 ? -magnitude : magnitude;
}

namespace {

#ifdef KRASIS_HAVE_EMULATION
/// The AVX2 operations with other kernels for rows.
template <const simd::RowKernels& (*rows)()>
const HostOperations& operations_with_rows() {
  static const simd::Kernels kernels = [] {
    simd::Kernels k = simd::avx2_kernels();
    k.rows = &rows();
    return k;
  }();
  static const HostOperations set = [] {
    HostOperations operations = simd_operations(SimdLevel::Avx2);
    operations.set<MatmulArgs>([](const MatmulArgs& args) { simd::matmul(kernels, args); });
    operations.set<MatmulsArgs>([](const MatmulsArgs& args) { simd::matmuls(kernels, args.all()); });
    operations.set<ExpertsArgs>([](const ExpertsArgs& args) { simd::experts(kernels, args); });
    return operations;
  }();
  return set;
}
#endif

}  // namespace

const HostOperations& operations(Set set) {
  switch (set) {
    case Set::Avx2:
      return simd_operations(SimdLevel::Avx2);
    case Set::Avx512:
      return simd_operations(SimdLevel::Avx512);
    case Set::Amx:
      return simd_operations(SimdLevel::Amx);
#ifdef KRASIS_HAVE_EMULATION
    case Set::EmulatedAvx512:
      return operations_with_rows<simd::emulated_avx512_rows>();
    case Set::EmulatedAmx:
      return operations_with_rows<simd::emulated_amx_rows>();
#endif
    default:
      return scalar_operations();
  }
}

std::string missing(Set set) {
  switch (set) {
    case Set::Scalar:
      return "";
    case Set::Avx512:
      return has_simd(SimdLevel::Avx512) ? "" : "this CPU has no AVX-512 VNNI";
    case Set::Amx:
      return has_simd(SimdLevel::Amx) ? ""
                                      : "this CPU has no AMX for INT8 and BF16, or the system does not let it be used";
    default:
      return has_simd(SimdLevel::Avx2) ? "" : "this CPU has no AVX2";
  }
}

std::string name_of_set(const testing::TestParamInfo<Set>& info) {
  switch (info.param) {
    case Set::Scalar:
      return "scalar";
    case Set::Avx2:
      return "avx2";
    case Set::Avx512:
      return "avx512";
    case Set::Amx:
      return "amx";
    case Set::EmulatedAvx512:
      return "emulated_avx512";
    case Set::EmulatedAmx:
      return "emulated_amx";
  }
  return "";
}

}  // namespace krasis::test
