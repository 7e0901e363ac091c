// Rows of floats to rows of blocks, and back.
#include "quant_kernels.h"
#include "quant_types.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <strings.h>
#include <system_error>
#include <thread>
#include <vector>

namespace pannier {
namespace {

// What ggml_quantize_chunk takes; it aborts for others.
constexpr ggml_type QUANTIZABLE[] = {
    GGML_TYPE_F32,     GGML_TYPE_F16,    GGML_TYPE_BF16,    GGML_TYPE_Q1_0,  GGML_TYPE_Q2_0,  GGML_TYPE_Q4_0,
    GGML_TYPE_Q4_1,    GGML_TYPE_Q5_0,   GGML_TYPE_Q5_1,    GGML_TYPE_Q8_0,  GGML_TYPE_Q2_K,  GGML_TYPE_Q3_K,
    GGML_TYPE_Q4_K,    GGML_TYPE_Q5_K,   GGML_TYPE_Q6_K,    GGML_TYPE_TQ1_0, GGML_TYPE_TQ2_0, GGML_TYPE_IQ1_S,
    GGML_TYPE_IQ1_M,   GGML_TYPE_IQ2_XXS, GGML_TYPE_IQ2_XS, GGML_TYPE_IQ2_S, GGML_TYPE_IQ3_XXS, GGML_TYPE_IQ3_S,
    GGML_TYPE_IQ4_NL,  GGML_TYPE_IQ4_XS, GGML_TYPE_MXFP4,   GGML_TYPE_NVFP4,
};

constexpr int64_t MIN_CHUNK_VALUES = 32 * 512; // as llama-quantize
constexpr int64_t MAX_ROW_VALUES   = INT32_MAX; // ggml counts blocks of a row in int

// Joins also when the next thread cannot be started.
struct thread_group {
    std::vector<std::thread> threads;

    ~thread_group() {
        for (std::thread & thread : threads) {
            thread.join();
        }
    }
};

void check_rows(int64_t n_rows, int64_t n_per_row, int32_t n_threads) {
    if (n_rows < 1 || n_per_row < 1) {
        fail(PANNIER_ERROR_ARGUMENT, "%lld rows of %lld values: there is nothing to convert",
             static_cast<long long>(n_rows), static_cast<long long>(n_per_row));
    }
    if (n_threads < 1 || n_threads > GGML_MAX_N_THREADS) {
        fail(PANNIER_ERROR_ARGUMENT, "n_threads is %d; it must be 1 to %d", n_threads, GGML_MAX_N_THREADS);
    }
}

void check_room(const char * what, int64_t n_rows, size_t bytes_per_row, size_t n_bytes) {
    if (n_bytes / bytes_per_row != static_cast<size_t>(n_rows) || n_bytes % bytes_per_row != 0) {
        fail(PANNIER_ERROR_ARGUMENT, "%s of %zu bytes for %lld rows of %zu", what, n_bytes,
             static_cast<long long>(n_rows), bytes_per_row);
    }
}

void check_imatrix(ggml_type type, const float * imatrix, int64_t n_per_row) {
    if (imatrix == nullptr) {
        if (ggml_quantize_requires_imatrix(type)) {
            fail(PANNIER_ERROR_ARGUMENT, "%s needs an importance matrix", ggml_type_name(type));
        }
        return;
    }
    for (int64_t i = 0; i < n_per_row; ++i) {
        if (!std::isfinite(imatrix[i]) || imatrix[i] < 0) {
            fail(PANNIER_ERROR_ARGUMENT, "the importance matrix has %g at %lld; it must be finite and not negative",
                 double(imatrix[i]), static_cast<long long>(i));
        }
    }
}

int64_t count_bad(const float * values, int64_t n) {
    return std::count_if(values, values + n, [](float value) { return !std::isfinite(value); });
}

// The largest magnitude, NaN above infinity above all numbers: so their bits are ordered, and
// integers are compared many at once.
float largest(const float * values, int64_t n) {
    int32_t bits = 0;
    for (int64_t i = 0; i < n; ++i) {
        int32_t value;
        std::memcpy(&value, values + i, sizeof(value));
        bits = std::max(bits, value & INT32_MAX);
    }
    float result;
    std::memcpy(&result, &bits, sizeof(result));
    return result;
}

// Blocks have a scale in half precision: none holds more than 65504 * 127 * 32 (Q6_K). Searching for
// the scale, ggml sums products of a weight and three values, and aborts when that overflows.
bool overflows(ggml_type type, float value, float weight) {
    if (!ggml_is_quantized(type) || type == GGML_TYPE_MXFP4) {
        return false;
    }
    return value > 3e8F || double(weight) * std::pow(double(value), 3.0) > 1e30;
}

} // namespace

ggml_type tensor_type(const char * name) {
    not_null(name, "type");
    for (int32_t i = 0; i < GGML_TYPE_COUNT; ++i) {
        const auto type = static_cast<ggml_type>(i);
        if (ggml_blck_size(type) > 0 && strcasecmp(ggml_type_name(type), name) == 0) {
            return type;
        }
    }
    fail(PANNIER_ERROR_ARGUMENT, "'%s' is no tensor type", name);
}

ggml_type quantizable_type(const char * name) {
    const ggml_type type = tensor_type(name);
    if (std::find(std::begin(QUANTIZABLE), std::end(QUANTIZABLE), type) == std::end(QUANTIZABLE)) {
        fail(PANNIER_ERROR_ARGUMENT, "llama.cpp cannot quantise to %s", name);
    }
    return type;
}

size_t row_bytes(ggml_type type, int64_t n_per_row) {
    if (n_per_row < 1 || n_per_row > MAX_ROW_VALUES || n_per_row % ggml_blck_size(type) != 0) {
        fail(PANNIER_ERROR_ARGUMENT, "a row of %lld values in %s; it must have a multiple of %lld, up to %lld",
             static_cast<long long>(n_per_row), ggml_type_name(type), static_cast<long long>(ggml_blck_size(type)),
             static_cast<long long>(MAX_ROW_VALUES));
    }
    return ggml_row_size(type, n_per_row);
}

void for_row_chunks(int64_t n_rows, int64_t n_per_row, int32_t n_threads,
                    const std::function<void(int64_t, int64_t)> & work) {
    const int64_t        n_chunk  = (MIN_CHUNK_VALUES + n_per_row - 1) / n_per_row;
    const int64_t        n_chunks = (n_rows + n_chunk - 1) / n_chunk;
    std::atomic<int64_t> next{ 0 };
    const auto           loop = [&] {
        for (int64_t chunk = next++; chunk < n_chunks; chunk = next++) {
            const int64_t row = chunk * n_chunk;
            work(row, std::min(n_chunk, n_rows - row));
        }
    };
    thread_group group;
    try {
        for (int64_t i = 1; i < std::min<int64_t>(n_threads, n_chunks); ++i) {
            group.threads.emplace_back(loop);
        }
    } catch (const std::system_error &) {
        // Fewer threads do the same work.
    }
    loop();
}

} // namespace pannier

using namespace pannier;

int pannier_quant_row_bytes(const char * type, int64_t n_per_row, int64_t * n_bytes) {
    return guard([&] {
        not_null(n_bytes, "n_bytes") = static_cast<int64_t>(row_bytes(tensor_type(type), n_per_row));
    });
}

int pannier_quantize(const char * type, const float * values, int64_t n_rows, int64_t n_per_row,
                     const float * imatrix, int32_t n_threads, uint8_t * bytes, size_t capacity, int64_t * n_bad) {
    return guard([&] {
        const ggml_type target = quantizable_type(type);
        not_null(values, "values");
        not_null(bytes, "bytes");
        not_null(n_bad, "n_bad") = 0;
        check_rows(n_rows, n_per_row, n_threads);
        const size_t row_size = row_bytes(target, n_per_row);
        check_room("a buffer", n_rows, row_size, capacity);
        check_imatrix(target, imatrix, n_per_row);

        ggml_quantize_init(target); // builds tables, once
        const row_quantizer  quantize = quantizer(target, imatrix);
        const float          weight = imatrix == nullptr ? 0 : largest(imatrix, n_per_row);
        std::atomic<int64_t> bad{ 0 };
        std::atomic<bool>    overflow{ false };
        for_row_chunks(n_rows, n_per_row, n_threads, [&](int64_t row, int64_t n) {
            const float * from = values + row * n_per_row;
            uint8_t *     to   = bytes + size_t(row) * row_size;
            const float   peak = largest(from, n * n_per_row);
            if (!std::isfinite(peak)) {
                bad += count_bad(from, n * n_per_row);
            } else if (overflows(target, peak, weight)) {
                overflow = true;
            } else if (bad == 0 && !overflow) {
                quantize(target, from, to, n, n_per_row, imatrix);
                if (!ggml_validate_row_data(target, to, size_t(n) * row_size)) {
                    overflow = true;
                }
            }
        });
        *n_bad = bad;
        if (bad == 0 && overflow) {
            fail(PANNIER_ERROR_ARGUMENT, "values that are too large for %s", type);
        }
    });
}

int pannier_dequantize(const char * type, const uint8_t * bytes, size_t n_bytes, int64_t n_rows, int64_t n_per_row,
                       int32_t n_threads, float * values) {
    return guard([&] {
        const ggml_type from    = tensor_type(type);
        const auto      convert = ggml_get_type_traits(from)->to_float;
        if (convert == nullptr && from != GGML_TYPE_F32) {
            fail(PANNIER_ERROR_ARGUMENT, "llama.cpp cannot convert %s to floats", type);
        }
        not_null(bytes, "bytes");
        not_null(values, "values");
        check_rows(n_rows, n_per_row, n_threads);
        const size_t row_size = row_bytes(from, n_per_row);
        check_room("data", n_rows, row_size, n_bytes);
        for_row_chunks(n_rows, n_per_row, n_threads, [&](int64_t row, int64_t n) {
            const uint8_t * data = bytes + size_t(row) * row_size;
            float *         to   = values + row * n_per_row;
            if (from == GGML_TYPE_F32) {
                std::memcpy(to, data, size_t(n) * row_size);
            } else {
                convert(data, to, n * n_per_row);
            }
        });
    });
}
