// Quantising with kernels of our own where they make ggml's bytes, else with ggml's.
#pragma once

#include "ggml.h"

#include <cstdint>

namespace pannier {

// As ggml_quantize_chunk, from the first row.
using row_quantizer = void (*)(ggml_type type, const float * from, void * to, int64_t n_rows, int64_t n_per_row,
                               const float * imatrix);

// The fastest one. PANNIER_QUANT_KERNELS, read once, names another: ggml, avx2, avx512.
// Throws PANNIER_ERROR_ARGUMENT when that one cannot be had.
row_quantizer quantizer(ggml_type type, const float * imatrix);

// Whole blocks of Q4_K, Q5_K or Q6_K, without an importance matrix.
void quantize_avx2(ggml_type type, const float * from, void * to, int64_t n_blocks);
void quantize_avx512(ggml_type type, const float * from, void * to, int64_t n_blocks);

} // namespace pannier
