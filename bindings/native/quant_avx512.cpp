#ifdef PANNIER_HAS_KERNELS

#define LANES 16
#include "quant_blocks.h"
#include "quant_kernels.h"

void pannier::quantize_avx512(ggml_type type, const float * from, void * to, int64_t n_blocks) {
    quantize_blocks(type, from, to, n_blocks);
}

#endif
