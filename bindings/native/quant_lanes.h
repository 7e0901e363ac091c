// Vectors of LANES floats, and rounding as ggml rounds.
//
// The kernels search the scales of LANES sub-blocks at once: each lane has a sub-block of its own and
// does ggml's arithmetic in ggml's order, so the bytes are ggml's. These headers are for files that are
// compiled for one instruction set (CMakeLists.txt): nothing inline may come from elsewhere, because the
// linker could hand its code to the other files; hence builtins instead of <cmath> and <cstring>.
#pragma once

#include "ggml-quants.h"

#include <stdint.h>

namespace {

typedef float   floats __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));

floats load(const float * from) {
    floats result;
    __builtin_memcpy(&result, from, sizeof(result));
    return result;
}

void store(float * to, floats from) {
    __builtin_memcpy(to, &from, sizeof(from));
}

floats magnitude(floats x) {
    return reinterpret_cast<floats>(reinterpret_cast<ints>(x) & INT32_MAX);
}

floats square_root(floats x) {
    for (int lane = 0; lane < LANES; ++lane) {
        x[lane] = __builtin_sqrtf(x[lane]);
    }
    return x;
}

// Adding 1.5 * 2^23 rounds to an integer, ties to even, and leaves it in the mantissa. Of infinity, NaN
// and what is too large, ggml reads the mantissa all the same; so it is masked here too.
constexpr float   ROUNDER  = 12582912.0F;
constexpr int32_t MANTISSA = 0x007FFFFF;
constexpr int32_t EXPONENT = 0x4B000000;
constexpr int32_t ZERO     = 0x00400000; // the mantissa of ROUNDER

// The nearest integers from low to high. Floats of one exponent are in the order of their bits.
floats nearest(floats x, int32_t low, int32_t high) {
    const ints lowest  = ints{} + (EXPONENT + ZERO + low);
    const ints highest = ints{} + (EXPONENT + ZERO + high);
    ints       bits    = (reinterpret_cast<ints>(x + ROUNDER) & MANTISSA) | EXPONENT;
    bits               = bits > lowest ? bits : lowest;
    bits               = bits < highest ? bits : highest;
    return reinterpret_cast<floats>(bits) - ROUNDER;
}

int32_t nearest(float x) {
    x += ROUNDER;
    int32_t bits;
    __builtin_memcpy(&bits, &x, sizeof(bits));
    return (bits & MANTISSA) - ZERO;
}

// Sub-blocks of SIZE values, a lane for each; lanes without one are zero.
template <int SIZE> void to_lanes(const float * from, int n, floats * to) {
    for (int lane = 0; lane < LANES; ++lane) {
        for (int i = 0; i < SIZE; ++i) {
            to[i][lane] = lane < n ? from[lane * SIZE + i] : 0.0F;
        }
    }
}

} // namespace
