// Q4_K and Q5_K: sub-blocks of 32 values, x = scale * level + start with start <= 0.
#pragma once

#include "quant_lanes.h"

namespace {

constexpr int AFFINE_SIZE = 32;

struct affine {
    floats scale;
    floats start;
    // The levels of this try are the nearest to inverse * (x - origin).
    floats inverse;
    floats origin;
};

// Tries inverse scales around the range of the values, solves for scale and start by least squares, and
// keeps the try with the least weighted error; larger values weigh more. TOP is the highest level.
template <int TOP> class affine_search {
  public:
    explicit affine_search(const floats * values) : x(values) {
        floats sum_x2{};
        for (int i = 0; i < AFFINE_SIZE; ++i) {
            sum_x2 += x[i] * x[i];
        }
        const floats average = square_root(sum_x2 / float(AFFINE_SIZE));
        for (int i = 0; i < AFFINE_SIZE; ++i) {
            weights[i] = average + magnitude(x[i]);
        }
        sum_over_values();
    }

    affine run() {
        const ints flat = high == low;
        floats     inverse = float(TOP) / (high - low);
        affine     best{ 1.0F / inverse, low, inverse, low };
        fit(inverse, low);
        floats least = error(best.scale, best.start);
        for (int step = 0; step <= N_STEPS; ++step) {
            inverse = (FIRST + 0.1F * float(step) + float(TOP)) / (high - best.start);
            const sums   s     = fit(inverse, best.start);
            const floats det   = sum_w * s.l2 - s.l * s.l;
            floats       scale = (sum_w * s.xl - sum_x * s.l) / det;
            floats       start = (s.l2 * sum_x - s.l * s.xl) / det;
            scale              = start > 0.0F ? s.xl / s.l2 : scale;
            start              = start > 0.0F ? floats{} : start;
            const floats found = error(scale, start);
            const ints   good  = (det > 0.0F) & (found < least);
            least              = good ? found : least;
            choose(best, good, { scale, start, inverse, best.start });
        }
        choose(best, flat, { floats{}, low, floats{}, low });
        return best;
    }

  private:
    static constexpr int   N_STEPS = TOP == 15 ? 20 : 15;
    static constexpr float FIRST   = TOP == 15 ? -1.0F : -0.5F;

    // Weighted sums over a sub-block: of levels, their squares, values times levels.
    struct sums {
        floats l;
        floats l2;
        floats xl;
    };

    const floats * x;
    floats         weights[AFFINE_SIZE];
    floats         levels[AFFINE_SIZE];
    floats         sum_w;
    floats         sum_x;
    floats         low;
    floats         high;

    void sum_over_values() {
        low = high = x[0];
        sum_w      = weights[0];
        sum_x      = weights[0] * x[0];
        for (int i = 1; i < AFFINE_SIZE; ++i) {
            low  = x[i] < low ? x[i] : low;
            high = x[i] > high ? x[i] : high;
            sum_w += weights[i];
            sum_x += weights[i] * x[i];
        }
        low = low > 0.0F ? floats{} : low;
    }

    sums fit(floats inverse, floats origin) {
        sums s{};
        for (int i = 0; i < AFFINE_SIZE; ++i) {
            levels[i]             = nearest(inverse * (x[i] - origin), 0, TOP);
            const floats weighted = weights[i] * levels[i];
            s.l += weighted;
            s.l2 += weighted * levels[i];
            s.xl += weighted * x[i];
        }
        return s;
    }

    floats error(floats scale, floats start) const {
        floats sum{};
        for (int i = 0; i < AFFINE_SIZE; ++i) {
            const floats off = scale * levels[i] + start - x[i];
            sum += weights[i] * (off * off);
        }
        return sum;
    }

    static void choose(affine & best, ints good, const affine & found) {
        best.scale   = good ? found.scale : best.scale;
        best.start   = good ? found.start : best.start;
        best.inverse = good ? found.inverse : best.inverse;
        best.origin  = good ? found.origin : best.origin;
    }
};

int32_t six_bits(float x) {
    const auto level = static_cast<uint8_t>(nearest(x));
    return level < 63 ? level : 63;
}

// Scales and minima of eight sub-blocks as levels of 6 bits; what they have become goes into d and dmin.
template <typename block> void set_scales(block & to, const float * scales, const float * starts, float * d, float * dmin) {
    float max_scale = 0;
    float max_min   = 0;
    for (int i = 0; i < 8; ++i) {
        max_scale = scales[i] > max_scale ? scales[i] : max_scale;
        max_min   = -starts[i] > max_min ? -starts[i] : max_min;
    }
    const float inverse_scale = max_scale > 0 ? 63.0F / max_scale : 0.0F;
    const float inverse_min   = max_min > 0 ? 63.0F / max_min : 0.0F;
    to.d                      = ggml_fp32_to_fp16(max_scale / 63.0F);
    to.dmin                   = ggml_fp32_to_fp16(max_min / 63.0F);
    int32_t scale[8];
    int32_t min[8];
    for (int i = 0; i < 8; ++i) {
        scale[i] = six_bits(inverse_scale * scales[i]);
        min[i]   = six_bits(inverse_min * -starts[i]);
        d[i]     = ggml_fp16_to_fp32(to.d) * float(scale[i]);
        dmin[i]  = ggml_fp16_to_fp32(to.dmin) * float(min[i]);
    }
    for (int i = 0; i < 4; ++i) {
        to.scales[i]     = uint8_t(scale[i] | scale[i + 4] >> 4 << 6);
        to.scales[i + 4] = uint8_t(min[i] | min[i + 4] >> 4 << 6);
        to.scales[i + 8] = uint8_t((scale[i + 4] & 15) | (min[i + 4] & 15) << 4);
    }
}

// The low four bits of eight sub-blocks: those of each second one above those of the one before.
void set_low_bits(uint8_t * to, const ints * levels, int lane) {
    for (int end = lane + 8; lane < end; lane += 2, to += AFFINE_SIZE) {
        for (int i = 0; i < AFFINE_SIZE; ++i) {
            to[i] = uint8_t((levels[i][lane] & 15) | (levels[i][lane + 1] & 15) << 4);
        }
    }
}

void set_levels(block_q4_K & to, const ints * levels, int lane) {
    set_low_bits(to.qs, levels, lane);
}

void set_levels(block_q5_K & to, const ints * levels, int lane) {
    set_low_bits(to.qs, levels, lane);
    for (int i = 0; i < AFFINE_SIZE; ++i) {
        int32_t bits = 0;
        for (int j = 0; j < 8; ++j) {
            bits |= levels[i][lane + j] >> 4 << j;
        }
        to.qh[i] = uint8_t(bits);
    }
}

// Up to LANES / 8 blocks.
template <int TOP, typename block> void quantize_affine_group(const float * from, block * to, int n) {
    floats x[AFFINE_SIZE];
    to_lanes<AFFINE_SIZE>(from, 8 * n, x);
    const affine best = affine_search<TOP>(x).run();
    float        scales[LANES];
    float        starts[LANES];
    float        d[LANES]    = {};
    float        dmin[LANES] = {};
    store(scales, best.scale);
    store(starts, best.start);
    for (int i = 0; i < n; ++i) {
        set_scales(to[i], scales + 8 * i, starts + 8 * i, d + 8 * i, dmin + 8 * i);
    }
    const floats scale = load(d);
    const floats min   = load(dmin);
    ints         levels[AFFINE_SIZE];
    for (int i = 0; i < AFFINE_SIZE; ++i) {
        // Where the scale has become zero, the search's levels stay.
        const floats level = scale != 0.0F ? (x[i] + min) / scale : best.inverse * (x[i] - best.origin);
        levels[i]          = __builtin_convertvector(nearest(level, 0, TOP), ints);
    }
    for (int i = 0; i < n; ++i) {
        set_levels(to[i], levels, 8 * i);
    }
}

template <int TOP, typename block> void quantize_affine(const float * from, block * to, int64_t n_blocks) {
    constexpr int GROUP = LANES / 8;
    for (int64_t i = 0; i < n_blocks; i += GROUP) {
        quantize_affine_group<TOP>(from + i * QK_K, to + i, int(n_blocks - i < GROUP ? n_blocks - i : GROUP));
    }
}

} // namespace
