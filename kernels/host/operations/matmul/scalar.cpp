#include "kernels/host/operations/scalar.h"

#include <vector>

#include "kernels/host/operations/packing/pack.h"
#include "kernels/host/operations/threads/parallel.h"

namespace krasis::scalar {

template <>
void run(const MatmulArgs& args) {
  const std::int64_t rows = args.weight.layout.rows;
  const std::int64_t columns = args.weight.layout.columns;
  // Rows are shared out, for a reference of a real model takes minutes on one core; each row is computed as ever.
  parallel_units(rows, rows * columns * args.tokens, [&](std::int64_t o) {
    thread_local std::vector<float> row;
    row.resize(static_cast<std::size_t>(columns));
    unpack_rows(args.weight, o, 1, row.data());
    for (std::int64_t t = 0; t < args.tokens; ++t) {
      const bf16* x = args.x.data + t * columns;
      float sum = 0.0f;
      for (std::int64_t i = 0; i < columns; ++i) sum += row[static_cast<std::size_t>(i)] * static_cast<float>(x[i]);
      if (!args.out_bf16.empty()) args.out_bf16.data[t * rows + o] = bf16(sum);
      if (!args.out_f32.empty()) args.out_f32.data[t * rows + o] = sum;
      if (!args.accumulate.empty()) args.accumulate.data[t * rows + o] += sum;
    }
  });
}

}  // namespace krasis::scalar
