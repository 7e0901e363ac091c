// Whole blocks of the types that have kernels.
#pragma once

#include "quant_affine.h"
#include "quant_symmetric.h"

namespace {

void quantize_blocks(ggml_type type, const float * from, void * to, int64_t n_blocks) {
    switch (type) {
        case GGML_TYPE_Q4_K:
            return quantize_affine<15>(from, static_cast<block_q4_K *>(to), n_blocks);
        case GGML_TYPE_Q5_K:
            return quantize_affine<31>(from, static_cast<block_q5_K *>(to), n_blocks);
        case GGML_TYPE_Q6_K:
            return quantize_symmetric(from, static_cast<block_q6_K *>(to), n_blocks);
        default:
            GGML_ABORT("no kernel for %s", ggml_type_name(type));
    }
}

} // namespace
