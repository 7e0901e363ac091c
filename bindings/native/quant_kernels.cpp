#include "quant_kernels.h"

#include "guard.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace pannier {
namespace {

constexpr ggml_type TYPES[] = { GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K };

using block_quantizer = void (*)(ggml_type, const float *, void *, int64_t);

void ggml_rows(ggml_type type, const float * from, void * to, int64_t n_rows, int64_t n_per_row,
               const float * imatrix) {
    ggml_quantize_chunk(type, from, to, 0, n_rows, n_per_row, imatrix);
}

#ifdef PANNIER_HAS_KERNELS
template <block_quantizer blocks>
void own_rows(ggml_type type, const float * from, void * to, int64_t n_rows, int64_t n_per_row, const float *) {
    blocks(type, from, to, n_rows * n_per_row / ggml_blck_size(type));
}

// ggml may have been compiled so that it rounds otherwise (-mfma in CFLAGS: a product and a sum are rounded
// once); of these blocks, every fourth one of Q5_K shows that.
bool agrees(row_quantizer rows) {
    constexpr int64_t  N = 64 * 256 + 256; // an odd number of blocks
    std::vector<float> values(N);
    uint32_t           state = 1;
    for (float & value : values) {
        state = state * 1664525U + 1013904223U;
        value = float(static_cast<int32_t>(state)) * 0x1p-31F;
    }
    for (const ggml_type type : TYPES) {
        const size_t         size = ggml_row_size(type, N);
        std::vector<uint8_t> own(size);
        std::vector<uint8_t> reference(size);
        rows(type, values.data(), own.data(), 1, N, nullptr);
        ggml_rows(type, values.data(), reference.data(), 1, N, nullptr);
        if (own != reference) {
            return false;
        }
    }
    return true;
}
#endif

// nullptr where this processor has none or its bytes are not ggml's.
row_quantizer named(const std::string & name) {
    if (name == "ggml") {
        return ggml_rows;
    }
#ifdef PANNIER_HAS_KERNELS
    if (name == "avx512" && __builtin_cpu_supports("avx512f") && agrees(own_rows<quantize_avx512>)) {
        return own_rows<quantize_avx512>;
    }
    if (name == "avx2" && __builtin_cpu_supports("avx2") && agrees(own_rows<quantize_avx2>)) {
        return own_rows<quantize_avx2>;
    }
#endif
    return nullptr;
}

row_quantizer choose() {
    if (const char * wanted = std::getenv("PANNIER_QUANT_KERNELS"); wanted != nullptr && *wanted != '\0') {
        const row_quantizer found = named(wanted);
        if (found == nullptr) {
            fail(PANNIER_ERROR_ARGUMENT,
                 "PANNIER_QUANT_KERNELS is '%s': unknown, not for this processor, or not of ggml's bytes; "
                 "unset it or use ggml", wanted);
        }
        return found;
    }
    for (const char * name : { "avx512", "avx2" }) {
        if (const row_quantizer found = named(name)) {
            return found;
        }
    }
    return ggml_rows;
}

bool has_kernel(ggml_type type) {
    for (const ggml_type known : TYPES) {
        if (known == type) {
            return true;
        }
    }
    return false;
}

} // namespace

row_quantizer quantizer(ggml_type type, const float * imatrix) {
    if (imatrix != nullptr || !has_kernel(type)) {
        return ggml_rows;
    }
    static const row_quantizer chosen = choose();
    return chosen;
}

} // namespace pannier
