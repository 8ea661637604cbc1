// BF16 by AMX with emulated instructions. Compiled with AVX2, FMA and F16C.
#include "tests/kernels/operations/emulated_amx.h"
#include "tests/kernels/operations/emulated_rows.h"
#define dot_bf16_amx emulated_dot_bf16_amx
#define interleave_bf16_amx emulated_interleave_bf16_amx
#include "kernels/host/operations/matmul/rows_amx_bf16.cpp"
