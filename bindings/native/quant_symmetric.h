// Q6_K: sub-blocks of 16 values, x = scale * level with levels from -32 to 31.
#pragma once

#include "quant_lanes.h"

namespace {

constexpr int   SYMMETRIC_SIZE = 16;
constexpr int   GROUPS         = 16 / LANES; // a block has sixteen sub-blocks
constexpr float ALL_ZERO       = 1e-15F;     // ggml takes smaller values for zeros

struct symmetric {
    floats scale;
    floats inverse; // the levels are the nearest to inverse * x
    ints   zero;
};

// Tries inverse scales around the one that makes the largest value -32, solves for the scale by least
// squares with weights x^2, and keeps the one that explains most.
class symmetric_search {
  public:
    explicit symmetric_search(const floats * values) : x(values) {
        floats largest{};
        for (int i = 0; i < SYMMETRIC_SIZE; ++i) {
            const floats size = magnitude(x[i]);
            peak              = size > largest ? x[i] : peak;
            largest           = size > largest ? size : largest;
            weights[i]        = x[i] * x[i];
            weighted[i]       = weights[i] * x[i];
        }
        zero = largest < ALL_ZERO;
    }

    symmetric run() const {
        floats    inverse = -32.0F / peak;
        sums      s       = fit(inverse);
        symmetric best{ s.l2 != 0.0F ? s.xl / s.l2 : floats{}, inverse, zero };
        floats    most = best.scale * s.xl;
        for (int step = -9; step <= 9; ++step) {
            if (step == 0) {
                continue;
            }
            inverse            = -(32.0F + 0.1F * float(step)) / peak;
            s                  = fit(inverse);
            const ints   good  = (s.l2 > 0.0F) & (s.xl * s.xl > most * s.l2);
            const floats scale = s.xl / s.l2;
            best.scale         = good ? scale : best.scale;
            best.inverse       = good ? inverse : best.inverse;
            most               = good ? scale * s.xl : most;
        }
        best.scale = zero ? floats{} : best.scale;
        return best;
    }

  private:
    // Weighted sums over a sub-block: values times levels, squares of levels.
    struct sums {
        floats xl;
        floats l2;
    };

    const floats * x;
    floats         weights[SYMMETRIC_SIZE];
    floats         weighted[SYMMETRIC_SIZE];
    floats         peak{};
    ints           zero;

    sums fit(floats inverse) const {
        sums s{};
        for (int i = 0; i < SYMMETRIC_SIZE; ++i) {
            const floats level = nearest(inverse * x[i], -32, 31);
            s.xl += weighted[i] * level;
            s.l2 += weights[i] * level * level;
        }
        return s;
    }
};

// Sixteen scales as levels of 8 bits; what they have become goes into d. False where all are zero.
bool set_scales(block_q6_K & to, const float * scales, float * d) {
    float peak = 0;
    for (int i = 0; i < 16; ++i) {
        peak = __builtin_fabsf(scales[i]) > __builtin_fabsf(peak) ? scales[i] : peak;
    }
    if (__builtin_fabsf(peak) < ALL_ZERO) {
        return false;
    }
    const float inverse = -128.0F / peak;
    to.d                = ggml_fp32_to_fp16(1.0F / inverse);
    for (int i = 0; i < 16; ++i) {
        const int32_t level = nearest(inverse * scales[i]);
        to.scales[i]        = int8_t(level < 127 ? level : 127);
        d[i]                = ggml_fp16_to_fp32(to.d) * float(to.scales[i]);
    }
    return true;
}

void set_levels(block_q6_K & to, const uint8_t * levels) {
    for (int half = 0; half < 2; ++half, levels += 128) {
        for (int i = 0; i < 64; ++i) {
            to.ql[64 * half + i] = uint8_t((levels[i] & 15) | (levels[i + 64] & 15) << 4);
        }
        for (int i = 0; i < 32; ++i) {
            to.qh[32 * half + i] = uint8_t(levels[i] >> 4 | levels[i + 32] >> 4 << 2 | levels[i + 64] >> 4 << 4 |
                                           levels[i + 96] >> 4 << 6);
        }
    }
}

// The levels of LANES sub-blocks, from 0 to 63, one sub-block after the other.
void find_levels(const floats * x, const symmetric & best, floats scale, uint8_t * to) {
    for (int i = 0; i < SYMMETRIC_SIZE; ++i) {
        // Where the scale has become zero, the search's levels stay.
        floats level = nearest(scale != 0.0F ? x[i] / scale : best.inverse * x[i], -32, 31) + 32.0F;
        level            = (scale == 0.0F) & best.zero ? floats{} : level;
        const ints whole = __builtin_convertvector(level, ints);
        for (int lane = 0; lane < LANES; ++lane) {
            to[lane * SYMMETRIC_SIZE + i] = uint8_t(whole[lane]);
        }
    }
}

void quantize_symmetric_block(const float * from, block_q6_K & to) {
    floats    x[GROUPS][SYMMETRIC_SIZE];
    symmetric best[GROUPS];
    float     scales[16];
    float     d[16];
    for (int i = 0; i < GROUPS; ++i) {
        to_lanes<SYMMETRIC_SIZE>(from + i * LANES * SYMMETRIC_SIZE, LANES, x[i]);
        best[i] = symmetric_search(x[i]).run();
        store(scales + i * LANES, best[i].scale);
    }
    if (!set_scales(to, scales, d)) {
        to = {};
        return;
    }
    uint8_t levels[QK_K];
    for (int i = 0; i < GROUPS; ++i) {
        find_levels(x[i], best[i], load(d + i * LANES), levels + i * LANES * SYMMETRIC_SIZE);
    }
    set_levels(to, levels);
}

void quantize_symmetric(const float * from, block_q6_K * to, int64_t n_blocks) {
    for (int64_t i = 0; i < n_blocks; ++i) {
        quantize_symmetric_block(from + i * QK_K, to[i]);
    }
}

} // namespace
