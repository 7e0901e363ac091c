// Who holds which bytes: the engine's own figures, by buffer type and kind.
#include "host_memory.h"
#include "memory_parts.h"
#include "objects.h"

#include "ggml-backend.h"

#include <map>

#pragma GCC visibility push(default)
#include "llama-adapter.h"
#include "llama-context.h"
#include "llama-ext.h"
#include "llama-model.h"
#pragma GCC visibility pop

namespace pannier {
namespace {

// What a host buffer has beyond what was asked for: Vulkan's pinned memory has 32 bytes more.
uint64_t padding(ggml_backend_buffer_type_t type) {
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(type, 1);
    if (buffer == nullptr) {
        return 0;
    }
    const uint64_t bytes = ggml_backend_buffer_get_size(buffer) - 1;
    ggml_backend_buffer_free(buffer);
    return bytes;
}

// How many buffers the weights of a plan would be dealt to, as ggml deals them: a type has a largest size.
std::map<ggml_backend_buffer_type_t, uint64_t> n_weight_buffers(const llama_model & model) {
    std::map<ggml_backend_buffer_t, size_t>        last; // bytes of the last one of each context's
    std::map<ggml_backend_buffer_type_t, uint64_t> counts;
    for (const auto & [_, tensor] : model.tensors_by_name) {
        if (tensor->buffer == nullptr) {
            continue;
        }
        const auto   type      = ggml_backend_buffer_get_type(tensor->buffer);
        const size_t alignment = ggml_backend_buft_get_alignment(type);
        const size_t bytes     = GGML_PAD(ggml_backend_buft_get_alloc_size(type, tensor), alignment);
        size_t &     filled    = last[tensor->buffer];
        const bool   is_next   = filled == 0 || filled + bytes > ggml_backend_buft_get_max_size(type);
        filled = is_next ? bytes : filled + bytes;
        counts[real_type(type)] += is_next;
    }
    return counts;
}

struct ledger {
    bool                            planned; // nothing was allocated: sizes are what would be asked for
    std::vector<pannier_memory_row> rows = {};

    void add(ggml_backend_buffer_type_t type, int32_t kind, uint64_t bytes, uint64_t n_buffers = 1) {
        if (bytes > 0) {
            rows.push_back(memory_row(type, kind, bytes));
            rows.back().bytes += planned && rows.back().is_host ? n_buffers * padding(type) : 0;
        }
    }

    void add(const bytes_by_buffer_type & types, int32_t kind) {
        for (const auto & [type, bytes] : types) {
            add(type, kind, bytes);
        }
    }
};

bytes_by_buffer_type adapter_bytes(const pannier_model & model) {
    bytes_by_buffer_type rows;
    for (const llama_adapter_lora * adapter : model.adapters) {
        for (const auto & buffer : adapter->bufs) {
            rows[ggml_backend_buffer_get_type(buffer.get())] += ggml_backend_buffer_get_size(buffer.get());
        }
    }
    return rows;
}

ledger context_ledger(const pannier_context & ctx) {
    ledger             result{ ctx.model->can_plan };
    const memory_parts parts(ctx.memory());
    std::map<ggml_backend_buffer_type_t, std::pair<uint64_t, uint64_t>> sums; // of weights and compute
    for (const auto & [type, bytes] : llama_get_memory_breakdown(ctx.ctx)) {
        auto & [weights, compute] = sums[real_type(type)];
        weights += bytes.model;
        compute += bytes.compute;
    }
    auto n_buffers = n_weight_buffers(*ctx.model->model);
    for (const auto & [type, sum] : sums) {
        result.add(type, PANNIER_MEMORY_WEIGHTS, sum.first, n_buffers[type]);
        result.add(type, PANNIER_MEMORY_COMPUTE, sum.second);
    }
    result.add(parts.kv_bytes(), PANNIER_MEMORY_KV);
    result.add(parts.recurrent_bytes(), PANNIER_MEMORY_RECURRENT);
    result.add(parts.rollback_bytes(), PANNIER_MEMORY_ROLLBACK);
    result.add(adapter_bytes(*ctx.model), PANNIER_MEMORY_LORA);
#ifdef PANNIER_HAS_ACCOUNTS
    result.add(ctx.ctx->memory_breakdown_output(), PANNIER_MEMORY_OUTPUT);
    result.add(ctx.ctx->memory_breakdown_moe_cache(), PANNIER_MEMORY_MOE_CACHE);
#endif
    return result;
}

} // namespace

std::vector<pannier_memory_row> memory_rows(const pannier_context & ctx) {
    return context_ledger(ctx).rows;
}

pannier_memory_row memory_row(ggml_backend_buffer_type_t buffer_type, int32_t kind, uint64_t bytes) {
    const auto         type   = real_type(buffer_type);
    ggml_backend_dev_t device = ggml_backend_buft_get_device(type);
    const bool         is_host =
        ggml_backend_buft_is_host(type) || device == nullptr ||
        ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU ||
        ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_ACCEL;
    return {
        sizeof(pannier_memory_row), is_host ? "CPU" : ggml_backend_dev_name(device), ggml_backend_buft_name(type),
        is_host ? 1 : 0, kind, bytes,
    };
}

void write_rows(const std::vector<pannier_memory_row> & from, pannier_memory_row * rows, int32_t capacity,
                int32_t * n_rows) {
    not_null(n_rows, "n_rows") = static_cast<int32_t>(from.size());
    for (int32_t i = 0; i < std::min(capacity, *n_rows); ++i) {
        check_size(rows + i, "pannier_memory_row");
        rows[i] = from[size_t(i)];
    }
}

} // namespace pannier

using namespace pannier;

int pannier_context_memory(const pannier_context * ctx, pannier_memory_row * rows, int32_t capacity,
                           int32_t * n_rows) {
    return guard([&] { write_rows(memory_rows(not_null(ctx, "ctx")), rows, capacity, n_rows); });
}
