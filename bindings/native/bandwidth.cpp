// How fast this machine reads its memories and moves bytes between them, by what decoding does.
#include "guard.h"
#include "quant_types.h"

#include "ggml-backend.h"
#include "ggml-cpp.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <vector>

namespace pannier {
namespace {

constexpr int64_t  ROW_VALUES  = 2048;
constexpr int64_t  N_USED      = 8;  // experts of a product
constexpr int64_t  N_EXPERT    = 16; // of a tensor: two products read it once
constexpr uint64_t MAX_BYTES   = uint64_t(1) << 36;
constexpr uint64_t MIN_BYTES   = uint64_t(1) << 22;
constexpr size_t   MAX_RUNS    = 10000;
constexpr int64_t  SYNC_VALUES = 64;
constexpr int64_t  COPIED      = 1 << 20; // bytes that a thread copies at once

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The median time of a run, once it has run before.
double median_seconds(float seconds, const std::function<void()> & run) {
    run();
    std::vector<double> times;
    const double        end = now() + double(seconds);
    while (times.empty() || (now() < end && times.size() < MAX_RUNS)) {
        const double begin = now();
        run();
        times.push_back(now() - begin);
    }
    std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
    return times[times.size() / 2];
}

void check_status(ggml_status status) {
    if (status != GGML_STATUS_SUCCESS) {
        fail(PANNIER_ERROR_DECODE, "the device failed to compute: %s", ggml_status_to_string(status));
    }
}

ggml_backend_ptr make_backend(ggml_backend_dev_t device, int32_t n_threads) {
    ggml_backend_ptr backend(ggml_backend_dev_init(device, nullptr));
    if (!backend) {
        fail(PANNIER_ERROR_CONTEXT, "the device %s does not start", ggml_backend_dev_name(device));
    }
    const auto set_threads = reinterpret_cast<ggml_backend_set_n_threads_t>(ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(device), "ggml_backend_set_n_threads"));
    if (set_threads != nullptr) {
        set_threads(backend.get(), n_threads);
    }
    return backend;
}

ggml_context_ptr make_context(size_t n_tensors) {
    ggml_context_ptr context(ggml_init({
        /*.mem_size   =*/ (n_tensors + 1) * ggml_tensor_overhead() + ggml_graph_overhead_custom(n_tensors + 1, false),
        /*.mem_buffer =*/ nullptr,
        /*.no_alloc   =*/ true,
    }));
    if (!context) {
        throw std::bad_alloc();
    }
    return context;
}

ggml_backend_buffer_ptr allocate(ggml_context * context, ggml_backend_t backend) {
    ggml_backend_buffer_ptr buffer(ggml_backend_alloc_ctx_tensors(context, backend));
    if (!buffer) {
        fail(PANNIER_ERROR_MEMORY, "%s has no room for what is measured", ggml_backend_name(backend));
    }
    ggml_backend_buffer_clear(buffer.get(), 1); // pages that were never written are no memory
    return buffer;
}

void set_ones(ggml_tensor * tensor) {
    const std::vector<float> ones(size_t(ggml_nelements(tensor)), 1.0F);
    ggml_backend_tensor_set(tensor, ones.data(), 0, ggml_nbytes(tensor));
}

// Bytes per second of products of experts with one vector, each of which is read once.
double read_rate(ggml_backend_t backend, const pannier_rate_params & params) {
    const ggml_type type      = tensor_type(params.type);
    const size_t    row_size  = row_bytes(type, ROW_VALUES);
    const uint64_t  block     = std::min<uint64_t>(params.block_bytes, params.n_bytes / N_EXPERT);
    const int64_t   n_rows    = std::max<int64_t>(1, int64_t(block / row_size));
    const size_t    n_tensors = std::max<size_t>(1, params.n_bytes / (row_size * size_t(n_rows) * N_EXPERT));
    const size_t    n_ops     = n_tensors * (N_EXPERT / N_USED);

    const size_t               n_all  = n_tensors + n_ops + N_EXPERT / N_USED + 1;
    const ggml_context_ptr     holder = make_context(n_all);
    ggml_context *             ctx    = holder.get();
    ggml_cgraph *              graph  = ggml_new_graph_custom(ctx, n_all + 1, false);
    ggml_tensor *              vector = ggml_new_tensor_3d(ctx, GGML_TYPE_F32, ROW_VALUES, 1, 1);
    std::vector<ggml_tensor *> choices;
    for (int64_t first = 0; first < N_EXPERT; first += N_USED) {
        choices.push_back(ggml_new_tensor_2d(ctx, GGML_TYPE_I32, N_USED, 1));
    }
    for (size_t i = 0; i < n_tensors; ++i) {
        ggml_tensor * experts = ggml_new_tensor_3d(ctx, type, ROW_VALUES, n_rows, N_EXPERT);
        for (ggml_tensor * chosen : choices) {
            ggml_tensor * product = ggml_mul_mat_id(ctx, experts, vector, chosen);
            if (!ggml_backend_supports_op(backend, product)) {
                fail(PANNIER_ERROR_ARGUMENT, "%s has no products with experts in %s", ggml_backend_name(backend),
                     params.type);
            }
            ggml_build_forward_expand(graph, product);
        }
    }
    const ggml_backend_buffer_ptr buffer = allocate(ctx, backend);
    set_ones(vector);
    int32_t next = 0;
    for (ggml_tensor * chosen : choices) {
        int32_t ids[N_USED];
        for (int32_t & id : ids) {
            id = next++;
        }
        ggml_backend_tensor_set(chosen, ids, 0, sizeof(ids));
    }
    const double time =
        median_seconds(params.seconds, [&] { check_status(ggml_backend_graph_compute(backend, graph)); });
    return double(n_tensors) * double(N_EXPERT) * double(n_rows) * double(row_size) / time;
}

// Bytes per second that threads copy, each as many as it reads.
double copy_rate(const pannier_rate_params & params) {
    const int64_t        n = int64_t(params.n_bytes / 2 / COPIED);
    std::vector<uint8_t> source(size_t(n * COPIED), 1);
    std::vector<uint8_t> target(size_t(n * COPIED), 2);
    const double         time = median_seconds(params.seconds, [&] {
        for_row_chunks(n, COPIED, params.n_threads, [&](int64_t first, int64_t n_here) {
            std::memcpy(target.data() + first * COPIED, source.data() + first * COPIED, size_t(n_here * COPIED));
        });
    });
    return double(n * COPIED) / time;
}

// Memory of the system that the device's copies go to or come from.
struct host_memory {
    std::vector<uint8_t>    plain;
    ggml_backend_buffer_ptr pinned;
    uint8_t *               data = nullptr;

    host_memory(ggml_backend_dev_t device, size_t n_bytes, bool is_pinned) {
        if (!is_pinned) {
            plain.assign(n_bytes, 1);
            data = plain.data();
            return;
        }
        ggml_backend_buffer_type_t type = ggml_backend_dev_host_buffer_type(device);
        if (type == nullptr) {
            fail(PANNIER_ERROR_ARGUMENT, "%s has no pinned memory", ggml_backend_dev_name(device));
        }
        pinned.reset(ggml_backend_buft_alloc_buffer(type, n_bytes));
        if (!pinned) {
            fail(PANNIER_ERROR_MEMORY, "%zu bytes of pinned memory cannot be had", n_bytes);
        }
        data = static_cast<uint8_t *>(ggml_backend_buffer_get_base(pinned.get()));
        std::memset(data, 1, n_bytes);
    }
};

// Bytes per second of copies in blocks, as many as there are, and one synchronisation at their end.
double link_rate(ggml_backend_t backend, const pannier_rate_params & params) {
    const size_t           n      = params.n_bytes;
    const ggml_context_ptr holder = make_context(1);
    ggml_tensor * const    tensor = ggml_new_tensor_1d(holder.get(), GGML_TYPE_I8, int64_t(n));
    const auto             buffer = allocate(holder.get(), backend);
    const host_memory      host(ggml_backend_get_device(backend), n, params.rate == PANNIER_RATE_UPLOAD_PINNED);
    const bool             is_up = params.rate != PANNIER_RATE_DOWNLOAD;
    const double           time  = median_seconds(params.seconds, [&] {
        for (size_t at = 0; at < n; at += params.block_bytes) {
            const size_t size = std::min<size_t>(params.block_bytes, n - at);
            if (is_up) {
                ggml_backend_tensor_set_async(backend, tensor, host.data + at, at, size);
            } else {
                ggml_backend_tensor_get_async(backend, tensor, host.data + at, at, size);
            }
        }
        ggml_backend_synchronize(backend);
    });
    return double(n) / time;
}

// Seconds from the start of a small computation until its result is in the system's memory.
double sync_seconds(ggml_backend_t backend, const pannier_rate_params & params) {
    const ggml_context_ptr holder = make_context(3);
    ggml_context *         ctx    = holder.get();
    ggml_cgraph *          graph  = ggml_new_graph_custom(ctx, 4, false);
    ggml_tensor *          value  = ggml_new_tensor_1d(ctx, GGML_TYPE_F32, SYNC_VALUES);
    ggml_tensor *          sum    = ggml_add(ctx, value, value);
    ggml_build_forward_expand(graph, sum);
    const ggml_backend_buffer_ptr buffer = allocate(ctx, backend);
    set_ones(value);
    float result[SYNC_VALUES];
    return median_seconds(params.seconds, [&] {
        check_status(ggml_backend_graph_compute_async(backend, graph));
        ggml_backend_tensor_get_async(backend, sum, result, 0, sizeof(result));
        ggml_backend_synchronize(backend);
    });
}

ggml_backend_dev_t checked_device(const pannier_rate_params & params) {
    if (params.device < 0 || size_t(params.device) >= ggml_backend_dev_count()) {
        fail(PANNIER_ERROR_ARGUMENT, "device %d does not exist: there are %zu", params.device,
             ggml_backend_dev_count());
    }
    if (params.n_bytes < MIN_BYTES || params.n_bytes > MAX_BYTES || params.block_bytes < 1 ||
        params.block_bytes > params.n_bytes) {
        fail(PANNIER_ERROR_ARGUMENT, "%llu bytes in blocks of %llu cannot be measured",
             static_cast<unsigned long long>(params.n_bytes), static_cast<unsigned long long>(params.block_bytes));
    }
    if (params.n_threads < 1 || params.n_threads > GGML_MAX_N_THREADS) {
        fail(PANNIER_ERROR_ARGUMENT, "n_threads is %d; it must be 1 to %d", params.n_threads, GGML_MAX_N_THREADS);
    }
    if (!(params.seconds >= 0) || params.seconds > 600) {
        fail(PANNIER_ERROR_ARGUMENT, "%g seconds; it must be 0 to 600", double(params.seconds));
    }
    return ggml_backend_dev_get(size_t(params.device));
}

double measured(const pannier_rate_params & params) {
    ggml_backend_dev_t device = checked_device(params);
    const bool         is_cpu = ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU;
    if (params.rate == PANNIER_RATE_COPY && is_cpu) {
        return copy_rate(params);
    }
    const ggml_backend_ptr backend = make_backend(device, params.n_threads);
    if (params.rate == PANNIER_RATE_READ) {
        return read_rate(backend.get(), params);
    }
    if (is_cpu || params.rate < PANNIER_RATE_UPLOAD || params.rate > PANNIER_RATE_SYNC) {
        fail(PANNIER_ERROR_ARGUMENT, "rate %d of %s cannot be measured", params.rate, ggml_backend_dev_name(device));
    }
    return params.rate == PANNIER_RATE_SYNC ? sync_seconds(backend.get(), params) : link_rate(backend.get(), params);
}

} // namespace
} // namespace pannier

using namespace pannier;

int pannier_measure_rate(const pannier_rate_params * params, double * out) {
    return guard([&] {
        check_size(params, "pannier_rate_params");
        not_null(out, "out") = measured(*params);
    });
}
