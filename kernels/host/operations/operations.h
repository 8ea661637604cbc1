#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/operation_list.h"

namespace krasis {

/// One implementation of every primitive operation on the CPU. kernels/operations.h gives formulas, shapes and rounding
/// points; kernels/host/accesses.h says which bytes each one may read and write. A function runs to its end on the
/// thread that calls it, keeps no state between calls and may run on several streams at the same time. It trusts its
/// arguments: shapes are validated when a plan is made, not once more for each operation. An exception that leaves it
/// becomes the Error of the next synchronize().
template <class Args>
using HostFunction = void (*)(const Args&);
struct HostOperations : OperationTable<HostFunction> {
  /// How a KV cache should lie for `attention`; every set reads and appends to all layouts.
  KvLayout (*kv_layout)(int heads, int kv_heads, int head_dim) = [](int, int, int) { return KvLayout::Rows; };
  /// The parts of a block that the set does not have run one after another.
  template <class Args>
  void run(const Args& args) const {
    if constexpr (Block<Args>) {
      if (!of<Args>()) return args.expand([this](const auto& part) { run(part); });
    }
    of<Args>()(args);
  }
  /// Gives an operation another function.
  template <class Args>
  void set(void (*function)(const Args&)) {
    of<Args>() = function;
  }
};

/// The reference: plain loops in the order of the formulas.
const HostOperations& scalar_operations();
/// Vectorized; agrees with the reference within the tolerances that its tests derive, never by its own word.
/// Heavy operations use the calling thread's TBB arena; results do not depend on its number of threads. On a CPU
/// without AVX2, FMA and F16C, and on other architectures, these are the scalar operations.
const HostOperations& simd_operations();

/// Instruction sets that vectorized operations are written for, each a superset of the one before.
enum class SimdLevel : std::uint8_t { Avx2, Avx512, Amx };
/// Whether this CPU has it: AVX2 with FMA and F16C; AVX-512 F, BW, DQ, VL and VNNI; AMX tiles for INT8 and BF16, which
/// the system must let the process use (asked for here, once).
bool has_simd(SimdLevel level);
/// The operations with at most that level, to compare levels on one CPU.
const HostOperations& simd_operations(SimdLevel level);
/// What simd_operations() uses on this CPU: "AMX", "AVX-512", "AVX2", or "none" for the scalar operations.
std::string_view simd_level();

}  // namespace krasis
