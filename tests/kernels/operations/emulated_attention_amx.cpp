// Attention by AMX with emulated instructions. Compiled with AVX2, FMA and F16C.
#include "tests/kernels/operations/emulated_amx.h"
#include "tests/kernels/operations/emulated_rows.h"
#define attend_amx emulated_attend_amx
#include "kernels/host/operations/attention/amx.cpp"
