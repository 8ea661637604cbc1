// The AVX-512 kernels with emulated instructions. Compiled with AVX2, FMA and F16C, which they also use.
#include "tests/kernels/operations/emulated_avx512.h"
#include "tests/kernels/operations/emulated_rows.h"
#define avx512_rows emulated_avx512_rows
#include "kernels/host/operations/matmul/rows_avx512.cpp"
