// The AMX kernels with emulated instructions. Compiled with AVX2, FMA and F16C, which they also use.
#include "tests/kernels/operations/emulated_amx.h"
#include "tests/kernels/operations/emulated_rows.h"
#define amx_rows emulated_amx_rows
#define avx512_rows emulated_avx512_rows
#define dot_bf16_amx emulated_dot_bf16_amx
#define interleave_bf16_amx emulated_interleave_bf16_amx
#include "kernels/host/operations/matmul/rows_amx.cpp"
