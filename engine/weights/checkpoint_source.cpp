#include "engine/weights/checkpoint_source.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <set>
#include <utility>

namespace krasis {
namespace {

constexpr std::size_t kNamesShown = 5;
constexpr float kLargestBf16 = 0x1.FEp127f;

std::string first_names(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kNamesShown; ++i) text += (i > 0 ? ", " : "") + names[i];
  return text + (names.size() > kNamesShown ? ", ..." : "");
}

tl::unexpected<Error> missing_tensors(const Checkpoint& checkpoint, const std::vector<std::string>& names) {
  const bool fused = std::any_of(
      checkpoint.entries().begin(), checkpoint.entries().end(),
      [](const Checkpoint::Entry& entry) { return entry.tensor->name.ends_with("mlp.experts.gate_up_proj"); });
  return fail(ErrorCode::NotFound,
              std::to_string(names.size()) + (names.size() == 1 ? " tensor is" : " tensors are") +
                  " missing from the checkpoint: " + first_names(names) + ".",
              fused ? "Its experts are stored fused; save it with one tensor per expert, as on the Hugging Face Hub."
                    : "Download the model again; its config.json and its weights must belong together.");
}

/// The shape that the tensor of a weight should have.
std::vector<std::int64_t> expected_shape(const WeightSlot& slot, const TensorSource& source) {
  const std::int64_t rows = source.tensor_rows > 0 ? source.tensor_rows : slot.rows;
  std::vector<std::int64_t> shape{rows, slot.columns};
  if (source.transposed) std::swap(shape[0], shape[1]);
  if (slot.vector) shape.erase(shape.begin());
  if (source.slice >= 0) shape.insert(shape.begin(), source.slices);
  return shape;
}

/// A mistake of the family's, not of the file: rows or a slice that the tensor does not have.
Expected<void> check_source(const WeightSlot& slot, const TensorSource& source) {
  const std::int64_t rows = source.tensor_rows > 0 ? source.tensor_rows : slot.rows;
  const RowMap& map = source.rows;
  const bool rows_fit = map.offset >= 0 && map.run >= 1 && map.stride >= 0 && map(slot.rows - 1) < rows;
  const bool slice_fits = source.slice < 0 || source.slice < source.slices;
  if (!source.tensor.empty() && rows_fit && slice_fits) return {};
  return fail(
      ErrorCode::Internal,
      "The weight " + std::string(slot.name) + " has no place in the checkpoint's tensor \"" + source.tensor + "\".",
      "Report this: the description of this family of models is wrong.");
}

Expected<void> check_tensor(const WeightSlot& slot, const TensorSource& source, const Checkpoint::Entry& entry) {
  const std::vector<std::int64_t> expected = expected_shape(slot, source);
  const SafetensorsTensor& tensor = *entry.tensor;
  const std::string where = entry.file->path().string() + ": tensor " + tensor.name;
  if (tensor.shape != expected) {
    return fail(
        ErrorCode::InvalidShape,
        where + " has shape " + shape_text(tensor.shape) + ", but config.json asks for " + shape_text(expected) + ".",
        "Download the model again; its config.json and its weights must belong together.");
  }
  if (tensor.dtype != "BF16" && tensor.dtype != "F16" && tensor.dtype != "F32") {
    return fail(ErrorCode::Unsupported, where + " has dtype " + tensor.dtype + ", which is not supported.",
                "Use a checkpoint in BF16, F16 or F32.");
  }
  return {};
}

/// Four values at a time: an exponent of all ones, and no other, carries into the sign's place.
bool all_finite(std::span<const bf16> values) {
  constexpr std::uint64_t kExponents = 0x7f807f807f807f80u;
  constexpr std::uint64_t kOnes = 0x0080008000800080u;
  constexpr std::uint64_t kCarries = 0x8000800080008000u;
  std::uint64_t carries = 0;
  std::size_t i = 0;
  for (; i + 4 <= values.size(); i += 4) {
    std::uint64_t four;
    std::memcpy(&four, values.data() + i, sizeof four);
    carries |= (four & kExponents) + kOnes;
  }
  bool finite = (carries & kCarries) == 0;
  for (; i < values.size(); ++i) finite = finite && (values[i].bits & 0x7f80u) != 0x7f80u;
  return finite;
}

}  // namespace

float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fu;
  const std::uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide_exponent = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | wide_exponent << 23 | mantissa << 13);
}

Expected<CheckpointSource> CheckpointSource::open(const Checkpoint& checkpoint, const ModelSpec& spec,
                                                  const std::vector<PackedPart>& parts) {
  CheckpointSource source(parts);
  std::set<std::string> used;
  std::vector<std::string> missing;
  for (const PackedPart& part : parts) {
    TensorSource from = spec.architecture->hub(spec, part.name());
    KRASIS_CHECK(check_source(part.slot, from));
    const auto* entry = checkpoint.find(from.tensor);
    if (entry == nullptr) missing.push_back(from.tensor);
    used.insert(from.tensor);
    const std::int64_t rows = from.tensor_rows > 0 ? from.tensor_rows : part.slot.rows;
    source.tensors_.push_back({entry, std::move(from), rows, part.slot.columns});
  }
  if (!missing.empty()) return missing_tensors(checkpoint, missing);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    KRASIS_CHECK(check_tensor(parts[i].slot, source.tensors_[i].source, *source.tensors_[i].entry));
  }
  for (const auto& entry : checkpoint.entries()) {
    if (!used.contains(entry.tensor->name)) source.extra_.push_back(entry.tensor->name);
  }
  return source;
}

std::int64_t CheckpointSource::Tensor::element(std::int64_t row, std::int64_t column) const {
  const std::int64_t begin = std::max<std::int64_t>(0, source.slice) * rows * columns;
  const std::int64_t at = source.rows(row);
  return begin + (source.transposed ? column * rows + at : at * columns + column);
}

/// Rows of a weight, element by element where the tensor has them in another order.
template <class T, class F>
void CheckpointSource::gather(const Tensor& tensor, std::int64_t row_begin, std::int64_t row_count,
                              std::int64_t columns, float* out, const F& to_float) const {
  const T* const values = reinterpret_cast<const T*>(tensor.entry->tensor->bytes.data());
  const std::int64_t step = tensor.source.transposed ? tensor.rows : 1;
  for (std::int64_t r = 0; r < row_count; ++r) {
    const T* from = values + tensor.element(row_begin + r, 0);
    if (step == 1) {
      out = std::transform(from, from + columns, out, to_float);
      continue;
    }
    for (std::int64_t c = 0; c < columns; ++c) *out++ = to_float(from[c * step]);
  }
}

Expected<void> CheckpointSource::read_rows(std::size_t part, std::int64_t row_begin, std::int64_t row_count,
                                           float* out) const {
  const std::int64_t columns = (*parts_)[part].slot.columns;
  const Tensor& tensor = tensors_[part];
  const std::string& dtype = tensor.entry->tensor->dtype;
  if (dtype == "F32") {
    gather<float>(tensor, row_begin, row_count, columns, out, [](float value) { return value; });
  } else if (dtype == "BF16") {
    const auto widen = [](std::uint16_t bits) { return static_cast<float>(bf16::from_bits(bits)); };
    gather<std::uint16_t>(tensor, row_begin, row_count, columns, out, widen);
  } else {
    gather<std::uint16_t>(tensor, row_begin, row_count, columns, out, half_to_float);
  }
  const auto* end = out + row_count * columns;
  const auto* bad =
      std::find_if(out, out + row_count * columns, [](float value) { return !(std::fabs(value) <= kLargestBf16); });
  if (bad == end) return {};
  const std::int64_t at = bad - out;
  return not_a_number(tensor, tensor.element(row_begin + at / columns, at % columns), *bad);
}

Expected<std::optional<std::span<const bf16>>> CheckpointSource::bf16_rows(std::size_t part, std::int64_t row_begin,
                                                                           std::int64_t row_count) const {
  const Tensor& tensor = tensors_[part];
  if (tensor.entry->tensor->dtype != "BF16" || !tensor.in_order()) return std::nullopt;
  const std::int64_t first = tensor.element(row_begin, 0);
  const auto count = static_cast<std::size_t>(row_count * (*parts_)[part].slot.columns);
  const std::span<const bf16> rows(reinterpret_cast<const bf16*>(tensor.entry->tensor->bytes.data()) + first, count);
  if (all_finite(rows)) return rows;
  const auto bad = std::find_if(rows.begin(), rows.end(), [](bf16 v) { return (v.bits & 0x7f80u) == 0x7f80u; });
  return not_a_number(tensor, first + (bad - rows.begin()), static_cast<float>(*bad));
}

void CheckpointSource::release_rows(std::size_t part, std::int64_t row_begin, std::int64_t row_count) const {
  const Tensor& tensor = tensors_[part];
  if (!tensor.in_order()) return;  // neighbouring rows are another weight's
  const auto& bytes = tensor.entry->tensor->bytes;
  const std::int64_t stack = std::max<std::int64_t>(1, tensor.source.slices);
  const std::size_t element_bytes = bytes.size() / static_cast<std::size_t>(stack * tensor.rows * tensor.columns);
  release_pages(bytes.subspan(static_cast<std::size_t>(tensor.element(row_begin, 0)) * element_bytes,
                              static_cast<std::size_t>(row_count * tensor.columns) * element_bytes));
}

tl::unexpected<Error> CheckpointSource::not_a_number(const Tensor& tensor, std::int64_t element, float value) const {
  const std::int64_t columns = tensor.entry->tensor->shape.back();
  return fail(ErrorCode::Corrupt,
              tensor.entry->file->path().string() + ": tensor " + tensor.entry->tensor->name + " holds " +
                  (std::isnan(value) ? "NaN" : "a number beyond BF16's range") + " in row " +
                  std::to_string(element / columns) + ", column " + std::to_string(element % columns) + ".",
              "Download the file again; if it stays so, the checkpoint itself is broken.");
}

}  // namespace krasis
