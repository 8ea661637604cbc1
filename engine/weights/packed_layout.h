#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/weights/packed_model.h"

namespace krasis {

/// Must grow whenever packed_layout.cpp, base/format.h or the quantizers change what the same weights look like, or
/// packed_file.h what the file looks like.
inline constexpr int kPackedLayoutVersion = 2;

enum class TensorKind : std::uint8_t {
  Embedding,
  LmHead,
  FinalNorm,
  InputNorm,
  PostAttentionNorm,
  QNorm,
  KNorm,
  QProj,
  KProj,
  VProj,
  OProj,
  Router,
  DenseGate,
  DenseUp,
  DenseDown,
  ExpertGate,
  ExpertUp,
  ExpertDown,
};

/// One weight tensor of a model; `layer` and `expert` are -1 where there is none.
struct TensorId {
  TensorKind kind = TensorKind::Embedding;
  int layer = -1;
  int expert = -1;

  std::string hub_name() const;  ///< "model.layers.3.mlp.experts.7.up_proj.weight"
  bool is_vector() const;        ///< norms: [columns] in a file; all others [rows, columns]
};

enum class Region : std::uint8_t { Dense, GpuExperts, CpuExperts };

/// A place where a tensor goes, in a precision.
struct PackedTarget {
  Region region = Region::Dense;
  std::size_t offset = 0;  ///< bytes from the region's start, a multiple of 64
  MatrixLayout layout;
};

/// A tensor that is read once and packed to one or two places (experts in two precisions; a tied LM head).
struct PackedPart {
  TensorId id;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::array<PackedTarget, 2> targets;
  int target_count = 0;
};

/// Every tensor of the model, in the order of their places. A tied LM head has no part of its own: its target stands
/// with the embedding, or is the embedding itself when it is BF16.
std::vector<PackedPart> packed_parts(const ModelConfig& config, const Precision& precision);

/// Sets config, precision, expert layouts and every view and matrix of `model`, whose regions are allocated already.
void bind_packed_model(PackedModel& model, const std::vector<PackedPart>& parts);

std::byte* region_data(const PackedModel& model, Region region);

}  // namespace krasis
