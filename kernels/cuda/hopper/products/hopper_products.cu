#include "kernels/cuda/hopper/products/hopper_products.h"
#include "kernels/cuda/hopper/products/product_kernels.cuh"

namespace krasis::cuda::hopper {

// Each in its own file.
extern template struct Products<Element::Int4, 32>;
extern template struct Products<Element::Int4, 64>;
extern template struct Products<Element::Int4, 128>;
extern template struct Products<Element::Int8, 32>;
extern template struct Products<Element::Int8, 64>;
extern template struct Products<Element::Int8, 128>;
extern template struct Products<Element::Mxfp4, 32>;
extern template struct Products<Element::Bf16, 128>;

namespace {

template <Element kElement, class F>
void with_group(int group_size, F f) {
  if (group_size == 32) return f(Products<kElement, 32>{});
  if (group_size == 64) return f(Products<kElement, 64>{});
  f(Products<kElement, 128>{});
}
/// Calls f with the Products for a format that tiles_support().
template <class F>
void with_products(const WeightFormat& format, F f) {
  switch (format.element) {
    case Element::Int4:
      return with_group<Element::Int4>(format.group_size, f);
    case Element::Int8:
      return with_group<Element::Int8>(format.group_size, f);
    case Element::Mxfp4:
      return f(Products<Element::Mxfp4, 32>{});
    case Element::Bf16:
      return f(Products<Element::Bf16, 128>{});
  }
}

}  // namespace

void activate_experts(const Launch& launch, const ExpertsArgs& args, const ExpertTiles& tiles) {
  const int row_tiles = static_cast<int>(ceil_div<std::int64_t>(args.layout.width(), 64));
  const ActivateJob job{pool_of(args), tiles,    device_bf16(args.x.data), scratch_of(args).activated,
                        args.top_k,    row_tiles};
  with_products(args.layout.gate.format,
                [&](auto products) { products.activate(launch, job, tiles.most * row_tiles); });
}

void down_experts(const Launch& launch, const ExpertsArgs& args, const ExpertTiles& tiles) {
  const int row_tiles = static_cast<int>(ceil_div<std::int64_t>(args.layout.hidden(), kStepRows));
  const ExpertsScratch scratch = scratch_of(args);
  const DownJob job{pool_of(args), tiles, scratch.activated, scratch.down, row_tiles};
  with_products(args.layout.down.format, [&](auto products) { products.down(launch, job, tiles.most * row_tiles); });
}

void matmul(const Launch& launch, const MatmulArgs& args) {
  const WeightShape shape = shape_of(args.weight.layout);
  const int row_tiles = ceil_div(shape.rows, kStepRows);
  const MatrixJob job{shape,           bytes_of(args.weight.data),    device_bf16(args.x.data),
                      output_of(args), static_cast<int>(args.tokens), row_tiles};
  const std::int64_t items = ceil_div<std::int64_t>(args.tokens, kTileTokens) * row_tiles;
  if (items == 0) return;
  with_products(args.weight.layout.format, [&](auto products) { products.matrix(launch, job, items); });
}

}  // namespace krasis::cuda::hopper
