#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

/// Hopper's instructions for attention that CUDA C++ has no words for. (PTX ISA, "Asynchronous Warpgroup Level Matrix
/// Instructions", "mbarrier", "setmaxnreg")
namespace krasis::cuda::flash {

__device__ inline std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}

/// A barrier in shared memory whose phase ends with the `arrivals`-th arrival.
__device__ inline void barrier_init(std::uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
/// An arrival of the warp: what all its lanes did before is done.
__device__ inline void warp_arrive(std::uint64_t* barrier) {
  __syncwarp();
  if (threadIdx.x % 32 == 0) {
    asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared::cta.b64 state, [%0];\n}\n" ::"r"(shared_address(barrier))
                 : "memory");
  }
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
/// Keeps the compiler from moving uses of registers that products under way have across this place.
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

/// 2^x to 2 ulp; what would be below 2^-126 is 0.
__device__ inline float exp2_flushed(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
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

/// Products of 64 rows and kN columns; the sums of lane (g = lane / 4, t = lane % 4) of warp w: d[4j], d[4j+1] are row
/// 16w + g, columns 8j + 2t, 8j + 2t + 1; d[4j+2], d[4j+3] are row 16w + g + 8. BF16.
template <int kN>
struct Products;

#define KRASIS_SUMS_8(i)                                                                                      \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])
#define KRASIS_SUMS_32(i) KRASIS_SUMS_8(i), KRASIS_SUMS_8(i + 8), KRASIS_SUMS_8(i + 16), KRASIS_SUMS_8(i + 24)
#define KRASIS_NAMES_32                                    \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define KRASIS_NAMES_64                                              \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"           \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define KRASIS_NAMES_128                                                         \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"                       \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"             \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"             \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"             \
  "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,"             \
  "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"             \
  "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111," \
  "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"

/// scores: d = a * b (+ d if `keep`), both from shared memory, summed along their rows: 16 columns of them.
/// values: d += a * b, a from registers as for mma.m16n8k16, b 16 rows in shared memory.
#define KRASIS_PRODUCTS(n, count, names, sums, r0, r1, r2, r3, r4)                                     \
  template <>                                                                                          \
  struct Products<n> {                                                                                 \
    __device__ static void scores(float (&d)[count], std::uint64_t a, std::uint64_t b, int keep) {     \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " r2 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n \
                   "k16.f32.bf16"                                                                      \
                   ".bf16 {" names "}, " r0 ", " r1 ", p, 1, 1, 0, 0;\n}\n"                            \
                   : sums                                                                              \
                   : "l"(a), "l"(b), "r"(keep));                                                       \
    }                                                                                                  \
    __device__ static void values(float (&d)[count], const std::uint32_t (&a)[4], std::uint64_t b) {   \
      asm volatile("{\n.reg .pred p;\nsetp.eq.b32 p, 0, 0;\nwgmma.mma_async.sync.aligned.m64n" #n      \
                   "k16.f32.bf16"                                                                      \
                   ".bf16 {" names "}, {" r0 "," r1 "," r2 "," r3 "}, " r4 ", p, 1, 1, 1;\n}\n"        \
                   : sums                                                                              \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                              \
    }                                                                                                  \
  };
#define KRASIS_SUMS(...) __VA_ARGS__
KRASIS_PRODUCTS(64, 32, KRASIS_NAMES_32, KRASIS_SUMS(KRASIS_SUMS_32(0)), "%32", "%33", "%34", "%35", "%36")
KRASIS_PRODUCTS(128, 64, KRASIS_NAMES_64, KRASIS_SUMS(KRASIS_SUMS_32(0), KRASIS_SUMS_32(32)), "%64", "%65", "%66",
                "%67", "%68")
KRASIS_PRODUCTS(256, 128, KRASIS_NAMES_128,
                KRASIS_SUMS(KRASIS_SUMS_32(0), KRASIS_SUMS_32(32), KRASIS_SUMS_32(64), KRASIS_SUMS_32(96)), "%128",
                "%129", "%130", "%131", "%132")

#undef KRASIS_PRODUCTS
#undef KRASIS_SUMS
#undef KRASIS_SUMS_8
#undef KRASIS_SUMS_32
#undef KRASIS_NAMES_32
#undef KRASIS_NAMES_64
#undef KRASIS_NAMES_128

}  // namespace krasis::cuda::flash
