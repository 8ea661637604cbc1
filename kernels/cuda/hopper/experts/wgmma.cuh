#pragma once

#include <cstdint>

/// Hopper's instructions that CUDA C++ has no words for: warpgroup products, barriers in shared memory that count
/// phases, registers handed from one warpgroup to another. (PTX ISA, "Asynchronous Warpgroup Level Matrix
/// Instructions", "mbarrier", "setmaxnreg")
namespace krasis::cuda::hopper {

__device__ inline std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}

/// A barrier whose phase ends with the `arrivals`-th arrival; 8 bytes of shared memory.
__device__ inline void barrier_init(std::uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
__device__ inline void barrier_arrive(std::uint64_t* barrier) {
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared::cta.b64 state, [%0];\n}\n" ::"r"(shared_address(barrier))
               : "memory");
}
/// Waits for the end of the phase with this parity (the first one has 0); a fresh barrier passes parity 1.
__device__ inline void barrier_wait(std::uint64_t* barrier, int parity) {
  asm volatile(
      "{\n.reg .pred done;\nagain:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra through;\nbra again;\nthrough:\n}\n" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}
/// What this thread wrote to shared memory is seen by warpgroup products that start after a later barrier.
__device__ inline void fence_for_products() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/// A warpgroup's barrier: kThreads threads of the block that name the same id (1 to 15).
template <int kThreads>
__device__ void group_barrier(int id) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "n"(kThreads) : "memory");
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

/// Tokens in shared memory as the operand b: rows of 128 bytes, 8 rows after one another, whose 16-byte chunks lie at
/// chunk ^ (row % 8) (128-byte swizzle); the first row of the tile is 1024-byte aligned.
__device__ inline std::uint64_t token_descriptor(std::uint32_t shared) {
  return static_cast<std::uint64_t>((shared & 0x3ffff) >> 4) | std::uint64_t{1} << 16 | std::uint64_t{64} << 32 |
         std::uint64_t{1} << 62;
}

/// d = a * tokens (+ d if `keep`): 64 rows of weights from registers, 16 columns, kTokens tokens from shared memory.
/// a: as for mma.m16n8k16, warp w of the warpgroup has rows 16 w and following. d[4j], d[4j+1]: row g, tokens 8j + 2t,
/// 8j + 2t + 1; d[4j+2], d[4j+3]: row g + 8.
template <int kTokens>
struct Wgmma;

#define KRASIS_SUMS_8(i)                                                                                      \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])

template <>
struct Wgmma<16> {
  __device__ static void multiply(float (&d)[8], const std::uint32_t (&a)[4], std::uint64_t tokens, int keep) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %13, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {"
        "%0,%1,%2,%3,%4,%5,%6,%7}, "
        "{%8,%9,%10,%11}, %12, p, 1, 1, 0;\n}\n"
        : KRASIS_SUMS_8(0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(tokens), "r"(keep));
  }
};
template <>
struct Wgmma<32> {
  __device__ static void multiply(float (&d)[16], const std::uint32_t (&a)[4], std::uint64_t tokens, int keep) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %21, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {"
        "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, "
        "{%16,%17,%18,%19}, %20, p, 1, 1, 0;\n}\n"
        : KRASIS_SUMS_8(0), KRASIS_SUMS_8(8)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(tokens), "r"(keep));
  }
};
template <>
struct Wgmma<64> {
  __device__ static void multiply(float (&d)[32], const std::uint32_t (&a)[4], std::uint64_t tokens, int keep) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
        "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
        "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, "
        "{%32,%33,%34,%35}, %36, p, 1, 1, 0;\n}\n"
        : KRASIS_SUMS_8(0), KRASIS_SUMS_8(8), KRASIS_SUMS_8(16), KRASIS_SUMS_8(24)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(tokens), "r"(keep));
  }
};
template <>
struct Wgmma<128> {
  __device__ static void multiply(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t tokens, int keep) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
        "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
        "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
        "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
        "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, "
        "{%64,%65,%66,%67}, %68, p, 1, 1, 0;\n}\n"
        : KRASIS_SUMS_8(0), KRASIS_SUMS_8(8), KRASIS_SUMS_8(16), KRASIS_SUMS_8(24), KRASIS_SUMS_8(32),
          KRASIS_SUMS_8(40), KRASIS_SUMS_8(48), KRASIS_SUMS_8(56)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(tokens), "r"(keep));
  }
};

#undef KRASIS_SUMS_8

}  // namespace krasis::cuda::hopper
