#pragma once

#include "kernels/cuda/operations/common.cuh"
#include "kernels/cuda/operations/tensor_cores/layout.h"

/// Instructions that CUDA C++ has no words for, and packed numbers as BF16 pairs. Every integer of 4 or 8 bits and
/// every E2M1 number is exact in BF16, so a product by tensor cores errs in its FP32 sums alone.
namespace krasis::cuda {

/// c += a * b on tensor cores: a 16 x 16, b 16 x 8, c 16 x 8; sums in FP32.
/// a0, a2: row g (lane / 4); a1, a3: row g + 8. b0, b1: column g. c[0], c[1]: row g, columns 2t, 2t+1 (t = lane % 4);
/// c[2], c[3]: row g + 8. (PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type")
__device__ inline void mma(float (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2, std::uint32_t a3,
                           std::uint32_t b0, std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/// 8 consecutive columns (a piece, layout.h) as 4 pairs of BF16.
struct Piece {
  std::uint32_t pair[4];
};
/// c += rows * columns over the 32 columns of the 4 lanes' pieces: two instructions.
__device__ inline void mma_piece(float (&c)[4], const Piece& row, const Piece& row8, const Piece& column) {
  mma(c, row.pair[0], row8.pair[0], row.pair[1], row8.pair[1], column.pair[0], column.pair[1]);
  mma(c, row.pair[2], row8.pair[2], row.pair[3], row8.pair[3], column.pair[2], column.pair[3]);
}
__device__ inline Piece as_piece(const uint4& v) {
  return {{v.x, v.y, v.z, v.w}};
}

/// a * b + c of BF16 pairs, rounded once; subnormal numbers count.
__device__ inline std::uint32_t fma_pair(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  std::uint32_t d;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}

/// 4 bytes of INT4 (stored as q + 8): the low nibbles are columns j..j+3, the high ones j+32..j+35.
/// 0x4300 | n is 128 + n in BF16, whose last place is 1 there.
__device__ inline void unpack_int4(std::uint32_t bytes, std::uint32_t (&low)[2], std::uint32_t (&high)[2]) {
  constexpr std::uint32_t kOne = 0x3f803f80u, kMinus136 = 0xc308c308u;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const std::uint32_t two = __byte_perm(bytes, 0, i == 0 ? 0x4140 : 0x4342);  // a byte in each half
    low[i] = fma_pair(int4_low_bits(two), kOne, kMinus136);
    high[i] = fma_pair(int4_high_bits(two), kOne, kMinus136);
  }
}
/// 4 bytes of MXFP4. The bits s eem become s 000000ee m000000 of a BF16, which is the number times 2^-126.
__device__ inline void unpack_mxfp4(std::uint32_t bytes, std::uint32_t (&low)[2], std::uint32_t (&high)[2]) {
  constexpr std::uint32_t kTwoTo126 = 0x7e807e80u, kMinusZero = 0x80008000u;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const std::uint32_t two = __byte_perm(bytes, 0, i == 0 ? 0x4140 : 0x4342);
    low[i] = fma_pair(mxfp4_low_bits(two), kTwoTo126, kMinusZero);
    high[i] = fma_pair(mxfp4_high_bits(two), kTwoTo126, kMinusZero);
  }
}
/// 4 bytes of INT8 in two's complement: with s the sign bit and n the others, q = (128 + n) - (s ? 256 : 128), and both
/// terms are BF16 numbers made by one mask each.
__device__ inline void unpack_int8(std::uint32_t bytes, std::uint32_t (&pairs)[2]) {
  constexpr std::uint32_t kMinusOne = 0xbf80bf80u;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const std::uint32_t two = __byte_perm(bytes, 0, i == 0 ? 0x4140 : 0x4342);
    pairs[i] = fma_pair(int8_base_bits(two), kMinusOne, int8_number_bits(two));
  }
}
/// 8 bytes of a 4-bit format: a piece of low nibbles and a piece of high ones.
template <Element kElement>
__device__ void unpack_nibbles(std::uint32_t first, std::uint32_t second, Piece& low, Piece& high) {
  std::uint32_t l[2], h[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if constexpr (kElement == Element::Int4) {
      unpack_int4(i == 0 ? first : second, l, h);
    } else {
      unpack_mxfp4(i == 0 ? first : second, l, h);
    }
    low.pair[2 * i] = l[0];
    low.pair[2 * i + 1] = l[1];
    high.pair[2 * i] = h[0];
    high.pair[2 * i + 1] = h[1];
  }
}
__device__ inline Piece unpack_bytes(std::uint32_t first, std::uint32_t second) {
  Piece piece;
  std::uint32_t p[2];
  unpack_int8(first, p);
  piece.pair[0] = p[0];
  piece.pair[1] = p[1];
  unpack_int8(second, p);
  piece.pair[2] = p[0];
  piece.pair[3] = p[1];
  return piece;
}

/// 4 numbers in E4M3: their bits s eeee mmm become s 0000eeee mmm0000 of a BF16, which is the number times 2^-120 (NaN
/// becomes 480; kv_append never stores one without a NaN in its input).
__device__ inline void widen_e4m3(std::uint32_t bytes, std::uint32_t& first, std::uint32_t& second) {
  constexpr std::uint32_t kTwoTo120 = 0x7b807b80u, kMinusZero = 0x80008000u;
  const std::uint32_t low = __byte_perm(bytes, 0, 0x1404);  // each byte as the upper one of a half
  const std::uint32_t high = __byte_perm(bytes, 0, 0x3424);
  first = fma_pair(e4m3_bits(low), kTwoTo120, kMinusZero);
  second = fma_pair(e4m3_bits(high), kTwoTo120, kMinusZero);
}

/// 2^x to 2 ulp, subnormal results included; exp2f would take three instructions more.
__device__ inline float exp2_fast(float x) {
  float y;
  asm("ex2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Two floats as a BF16 pair, the first in the lower half.
__device__ inline std::uint32_t to_pair(float first, float second) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}

/// Weights that are read once: past the L1 cache.
__device__ inline uint4 load_once_16(const void* from) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}
__device__ inline uint2 load_once_8(const void* from) {
  uint2 v;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from));
  return v;
}

/// 16 bytes from global to shared memory, asynchronously; zeros, and nothing is read, where `valid` is false.
__device__ inline void copy_async_16(void* to_shared, const void* from, bool valid) {
  const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(to_shared));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}
/// The same for 4 bytes.
__device__ inline void copy_async_4(void* to_shared, const void* from, bool valid) {
  const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(to_shared));
  const int bytes = valid ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}
__device__ inline void copy_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Waits until at most kPending of this thread's groups are unfinished.
template <int kPending>
__device__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

/// Four 8 x 8 tiles of BF16, transposed: lane l gives the address of row l % 8 of tile l / 8.
__device__ inline void load_tiles_transposed(std::uint32_t (&tiles)[4], const void* shared_row) {
  const auto from = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(tiles[0]), "=r"(tiles[1]), "=r"(tiles[2]), "=r"(tiles[3])
               : "r"(from)
               : "memory");
}

}  // namespace krasis::cuda
