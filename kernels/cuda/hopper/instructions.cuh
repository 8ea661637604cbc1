#pragma once

#include <cstdint>

/// Hopper's instructions that CUDA C++ has no words for: warpgroup products, barriers in shared memory that count
/// phases, registers handed from one warpgroup to another. (PTX ISA, "Asynchronous Warpgroup Level Matrix
/// Instructions", "mbarrier", "setmaxnreg")
namespace krasis::cuda::hopper {

constexpr int kGroupThreads = 128;  ///< of a warpgroup

__device__ inline std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}

/// A barrier whose phase ends when `threads` threads have called arrive(); 8 bytes of shared memory.
__device__ inline void barrier_init(std::uint64_t* barrier, int threads) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(threads) : "memory");
}
/// After the barriers' making, by the thread that made them, before a barrier of the block.
__device__ inline void barriers_made() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
/// What this thread did before is done for those who wait. One lane for its warp, behind __syncwarp, would be right,
/// too, and no faster; but compute-sanitizer's racecheck does not see what that orders.
__device__ inline void arrive(std::uint64_t* barrier) {
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared::cta.b64 state, [%0];\n}\n" ::"r"(shared_address(barrier))
               : "memory");
}
/// Waits for the end of the phase with this parity (the first one has 0); a fresh barrier passes parity 1.
__device__ inline void barrier_wait(std::uint64_t* barrier, int parity) {
  std::uint32_t done;
  do {
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.b32 %0, 1, 0, p;\n}\n"
                 : "=r"(done)
                 : "r"(shared_address(barrier)), "r"(parity)
                 : "memory");
  } while (!done);
}
/// What this thread wrote to shared memory is seen by warpgroup products that start after a later barrier.
__device__ inline void fence_for_products() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/// kThreads threads meet at barrier `id` (1 to 15): some wait, others only say that they came.
template <int kThreads>
__device__ void meet(int id) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "n"(kThreads) : "memory");
}
template <int kThreads>
__device__ void announce(int id) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "n"(kThreads) : "memory");
}

template <int kRegisters>
__device__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

/// An 8 x 8 tile of 16-bit numbers, transposed: of row g (lane / 4) a lane holds columns 2t, 2t+1 (t = lane % 4).
__device__ inline std::uint32_t transpose_tile(std::uint32_t pair) {
  std::uint32_t result;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(pair));
  return result;
}

/// The four 8 x 8 tiles of a 16 x 16 operand a: lane l gives the address of 16 bytes of row l % 16, columns l / 16 * 8.
__device__ inline void load_fragment(std::uint32_t (&a)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
               : "r"(shared_address(shared_row))
               : "memory");
}

/// Registers written before may be read, and sums be updated, by the products that follow.
__device__ inline void products_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ inline void products_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Until at most kPending committed groups of products are under way.
template <int kPending>
__device__ void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
/// Keeps the compiler from moving reads, writes and other uses of registers that products under way have.
template <int kCount>
__device__ void keep_here(float (&values)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(values[i])::"memory");
}
template <int kCount>
__device__ void keep_here(std::uint32_t (&values)[kCount][4]) {
#pragma unroll
  for (int i = 0; i < kCount * 4; ++i) asm volatile("" : "+r"(values[i / 4][i % 4])::"memory");
}

/// Where an operand lies in shared memory: rows of 128 bytes (64 numbers), 8 rows after one another, whose 16-byte
/// chunks lie at chunk ^ (row % 8) (128-byte swizzle); 1024-byte aligned. `next_columns`: bytes from 64 columns to the
/// next 64, which counts only where the rows are what is summed over (values).
__device__ inline std::uint64_t operand(std::uint32_t shared, int next_columns) {
  return static_cast<std::uint64_t>((shared & 0x3ffff) >> 4) |
         static_cast<std::uint64_t>(static_cast<std::uint32_t>(next_columns) >> 4) << 16 | std::uint64_t{64} << 32 |
         std::uint64_t{1} << 62;
}
/// The operand `bytes` further on.
__device__ inline std::uint64_t further(std::uint64_t at, int bytes) {
  return at + static_cast<std::uint64_t>(bytes >> 4);
}

/// Products of 64 rows, 16 columns of them at a time, and kN columns; d = a * b (+ d if `keep`), BF16, sums in FP32.
/// The sums of lane (g = lane / 4, t = lane % 4) of warp w: d[4j], d[4j+1] are row 16w + g, columns 8j + 2t,
/// 8j + 2t + 1; d[4j+2], d[4j+3] are row 16w + g + 8.
///
/// shared: a and b from shared memory, both summed along their rows. registers: a as for mma.m16n8k16, warp w has rows
/// 16w and following; b in shared memory, summed along its rows or, with kAcross, across 16 of them.
template <int kN>
struct Wgmma;

#define KRASIS_SUMS_8(i)                                                                                      \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])
#define KRASIS_SUMS_16(i) KRASIS_SUMS_8(i), KRASIS_SUMS_8(i + 8)
#define KRASIS_SUMS_32(i) KRASIS_SUMS_16(i), KRASIS_SUMS_16(i + 16)
#define KRASIS_SUMS_64(i) KRASIS_SUMS_32(i), KRASIS_SUMS_32(i + 32)
#define KRASIS_SUMS_128(i) KRASIS_SUMS_64(i), KRASIS_SUMS_64(i + 64)
#define KRASIS_NAMES_8 "%0,%1,%2,%3,%4,%5,%6,%7"
#define KRASIS_NAMES_16 KRASIS_NAMES_8 ",%8,%9,%10,%11,%12,%13,%14,%15"
#define KRASIS_NAMES_32 KRASIS_NAMES_16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define KRASIS_NAMES_64                                              \
  KRASIS_NAMES_32                                                    \
  ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47" \
  ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define KRASIS_NAMES_128                                                         \
  KRASIS_NAMES_64                                                                \
  ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"             \
  ",%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"             \
  ",%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111" \
  ",%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"

/// sums: kN / 2; r0 and so on: the operands after them.
#define KRASIS_WGMMA(n, sums, r0, r1, r2, r3, r4, r5, r6)                                                             \
  template <>                                                                                                         \
  struct Wgmma<n> {                                                                                                   \
    __device__ static void shared(float (&d)[sums], std::uint64_t a, std::uint64_t b, int keep) {                     \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " r2 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n                \
                   "k16.f32.bf16.bf16 {" KRASIS_NAMES_##sums "}, " r0 ", " r1 ", p, 1, 1, 0, 0;\n}\n"                 \
                   : KRASIS_SUMS_##sums(0)                                                                            \
                   : "l"(a), "l"(b), "r"(keep));                                                                      \
    }                                                                                                                 \
    template <bool kAcross>                                                                                           \
    __device__ static void registers(float (&d)[sums], const std::uint32_t (&a)[4], std::uint64_t b, int keep) {      \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " r5 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n                \
                   "k16.f32.bf16.bf16 {" KRASIS_NAMES_##sums "}, {" r0 "," r1 "," r2 "," r3 "}, " r4 ", p, 1, 1, " r6 \
                                                             ";\n}\n"                                                 \
                   : KRASIS_SUMS_##sums(0)                                                                            \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep), "n"(kAcross ? 1 : 0));            \
    }                                                                                                                 \
  };
KRASIS_WGMMA(16, 8, "%8", "%9", "%10", "%11", "%12", "%13", "%14")
KRASIS_WGMMA(32, 16, "%16", "%17", "%18", "%19", "%20", "%21", "%22")
KRASIS_WGMMA(64, 32, "%32", "%33", "%34", "%35", "%36", "%37", "%38")
KRASIS_WGMMA(128, 64, "%64", "%65", "%66", "%67", "%68", "%69", "%70")
KRASIS_WGMMA(256, 128, "%128", "%129", "%130", "%131", "%132", "%133", "%134")

#undef KRASIS_WGMMA
#undef KRASIS_SUMS_8
#undef KRASIS_SUMS_16
#undef KRASIS_SUMS_32
#undef KRASIS_SUMS_64
#undef KRASIS_SUMS_128
#undef KRASIS_NAMES_8
#undef KRASIS_NAMES_16
#undef KRASIS_NAMES_32
#undef KRASIS_NAMES_64
#undef KRASIS_NAMES_128

}  // namespace krasis::cuda::hopper
