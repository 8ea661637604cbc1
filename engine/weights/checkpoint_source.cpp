#include "engine/weights/checkpoint_source.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <set>

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

Expected<void> check_tensor(const PackedPart& part, const Checkpoint::Entry& entry) {
  std::vector<std::int64_t> expected{part.rows, part.columns};
  if (part.id.is_vector()) expected.erase(expected.begin());
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

Expected<CheckpointSource> CheckpointSource::open(const Checkpoint& checkpoint, const std::vector<PackedPart>& parts) {
  CheckpointSource source(parts);
  std::set<std::string> used;
  std::vector<std::string> missing;
  for (const PackedPart& part : parts) {
    std::string name = part.id.hub_name();
    const auto* entry = checkpoint.find(name);
    source.entries_.push_back(entry);
    if (entry == nullptr) {
      missing.push_back(std::move(name));
    } else {
      used.insert(std::move(name));
    }
  }
  if (!missing.empty()) return missing_tensors(checkpoint, missing);
  for (std::size_t i = 0; i < parts.size(); ++i) KRASIS_CHECK(check_tensor(parts[i], *source.entries_[i]));
  for (const auto& entry : checkpoint.entries()) {
    if (!used.contains(entry.tensor->name)) source.extra_.push_back(entry.tensor->name);
  }
  return source;
}

Expected<void> CheckpointSource::read_rows(std::size_t part, std::int64_t row_begin, std::int64_t row_count,
                                           float* out) const {
  const std::int64_t columns = (*parts_)[part].columns;
  const SafetensorsTensor& tensor = *entries_[part]->tensor;
  const auto first = static_cast<std::size_t>(row_begin * columns);
  const auto count = static_cast<std::size_t>(row_count * columns);
  if (tensor.dtype == "F32") {
    std::memcpy(out, tensor.bytes.data() + first * 4, count * 4);
  } else {
    const auto* source = reinterpret_cast<const std::uint16_t*>(tensor.bytes.data()) + first;
    if (tensor.dtype == "BF16") {
      for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<float>(bf16::from_bits(source[i]));
    } else {
      for (std::size_t i = 0; i < count; ++i) out[i] = half_to_float(source[i]);
    }
  }
  const auto* bad = std::find_if(out, out + count, [](float value) { return !(std::fabs(value) <= kLargestBf16); });
  if (bad == out + count) return {};
  return not_a_number(part, row_begin * columns + (bad - out), *bad);
}

Expected<std::optional<std::span<const bf16>>> CheckpointSource::bf16_rows(std::size_t part, std::int64_t row_begin,
                                                                           std::int64_t row_count) const {
  const SafetensorsTensor& tensor = *entries_[part]->tensor;
  if (tensor.dtype != "BF16") return std::nullopt;
  const std::int64_t first = row_begin * (*parts_)[part].columns;
  const auto count = static_cast<std::size_t>(row_count * (*parts_)[part].columns);
  const std::span<const bf16> rows(reinterpret_cast<const bf16*>(tensor.bytes.data()) + first, count);
  if (all_finite(rows)) return rows;
  const auto bad = std::find_if(rows.begin(), rows.end(), [](bf16 v) { return (v.bits & 0x7f80u) == 0x7f80u; });
  return not_a_number(part, first + (bad - rows.begin()), static_cast<float>(*bad));
}

void CheckpointSource::release_rows(std::size_t part, std::int64_t row_begin, std::int64_t row_count) const {
  const SafetensorsTensor& tensor = *entries_[part]->tensor;
  const std::size_t row_bytes = tensor.bytes.size() / static_cast<std::size_t>((*parts_)[part].rows);
  release_pages(tensor.bytes.subspan(static_cast<std::size_t>(row_begin) * row_bytes,
                                     static_cast<std::size_t>(row_count) * row_bytes));
}

/// `element` counts from the tensor's begin.
tl::unexpected<Error> CheckpointSource::not_a_number(std::size_t part, std::int64_t element, float value) const {
  const std::int64_t columns = (*parts_)[part].columns;
  return fail(ErrorCode::Corrupt,
              entries_[part]->file->path().string() + ": tensor " + entries_[part]->tensor->name + " holds " +
                  (std::isnan(value) ? "NaN" : "a number beyond BF16's range") + " in row " +
                  std::to_string(element / columns) + ", column " + std::to_string(element % columns) + ".",
              "Download the file again; if it stays so, the checkpoint itself is broken.");
}

}  // namespace krasis
