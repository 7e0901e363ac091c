#include "memory_parts.h"

// These classes have no visibility of their own: with ours (hidden) their type information
// would be looked for in this library.
#pragma GCC visibility push(default)
#include "llama-kv-cache-iswa.h"
#include "llama-kv-cache.h"
#include "llama-memory-hybrid-iswa.h"
#include "llama-memory-hybrid.h"
#include "llama-memory-recurrent.h"
#pragma GCC visibility pop

#include "objects.h"

namespace pannier {

memory_parts::memory_parts(llama_memory_t mem) : memory(mem) {
    if (auto * kv = dynamic_cast<llama_kv_cache *>(mem)) {
        caches = { kv };
    } else if (auto * iswa = dynamic_cast<llama_kv_cache_iswa *>(mem)) {
        caches = { iswa->get_base(), iswa->get_swa() };
    } else if (auto * hybrid = dynamic_cast<llama_memory_hybrid *>(mem)) {
        caches    = { hybrid->get_mem_attn() };
        recurrent = hybrid->get_mem_recr();
    } else if (auto * hybrid_iswa = dynamic_cast<llama_memory_hybrid_iswa *>(mem)) {
        caches    = { hybrid_iswa->get_mem_attn()->get_base(), hybrid_iswa->get_mem_attn()->get_swa() };
        recurrent = hybrid_iswa->get_mem_recr();
    } else if (auto * state = dynamic_cast<llama_memory_recurrent *>(mem)) {
        recurrent = state;
    } else {
        known = mem == nullptr;
    }
}

bytes_by_buffer_type memory_parts::recurrent_bytes() const {
    return recurrent != nullptr ? recurrent->memory_breakdown() : bytes_by_buffer_type();
}

bytes_by_buffer_type memory_parts::kv_bytes() const {
    auto rows = memory != nullptr ? memory->memory_breakdown() : bytes_by_buffer_type();
    for (const auto & [type, bytes] : recurrent_bytes()) {
        rows[type] -= bytes;
    }
    return rows;
}

uint64_t sum(const bytes_by_buffer_type & rows) {
    uint64_t total = 0;
    for (const auto & [type, bytes] : rows) {
        total += bytes;
    }
    return total;
}

uint64_t cell_bytes(const llama_kv_cache & cache) {
    const uint64_t n_cells = uint64_t(cache.get_size()) * cache.get_n_stream();
    return n_cells == 0 ? 0 : sum(cache.memory_breakdown()) / n_cells;
}

uint64_t memory_parts::kv_cell_bytes() const {
    return caches.empty() ? 0 : cell_bytes(*caches.front());
}

uint64_t memory_parts::window_cell_bytes() const {
    return window() == nullptr ? 0 : cell_bytes(*window());
}

uint64_t memory_parts::recurrent_seq_bytes() const {
    return recurrent == nullptr || recurrent->size == 0 ? 0 : sum(recurrent_bytes()) / recurrent->size;
}

} // namespace pannier

// ---------------------------------------------------------------- one sequence

using namespace pannier;

namespace {

void count_cells(const llama_kv_cache & cache, int32_t seq_id, uint64_t & held, uint64_t & shared) {
    const llama_kv_cells & cells = cache.get_cells(seq_id);
    for (uint32_t i = 0; i < cells.size(); ++i) {
        if (!cells.is_empty(i) && cells.seq_has(i, seq_id)) {
            ++held;
            shared += cells.seq_count(i) > 1;
        }
    }
}

} // namespace

int pannier_seq_get_memory(const pannier_context * ctx, int32_t seq_id, pannier_seq_memory * out) {
    return guard([&] {
        not_null(ctx, "ctx");
        check_size(out, "pannier_seq_memory");
        check_seq_id(*ctx, seq_id);
        const memory_parts parts(ctx->memory());
        *out         = pannier_seq_memory{};
        out->size    = sizeof(*out);
        out->pos_min = llama_memory_seq_pos_min(ctx->memory(), seq_id);
        out->pos_max = llama_memory_seq_pos_max(ctx->memory(), seq_id);
        for (size_t i = 0; i < parts.caches.size(); ++i) {
            uint64_t held   = 0;
            uint64_t shared = 0;
            count_cells(*parts.caches[i], seq_id, held, shared);
            out->kv_bytes += held * cell_bytes(*parts.caches[i]);
            if (i == 0) {
                out->n_cells        = held;
                out->n_cells_shared = shared;
            }
        }
        if (parts.recurrent != nullptr && parts.recurrent->cells[size_t(seq_id)].tail >= 0) {
            const auto & cell     = parts.recurrent->cells[size_t(parts.recurrent->cells[size_t(seq_id)].tail)];
            out->recurrent_bytes  = parts.recurrent_seq_bytes();
            out->recurrent_shared = cell.seq_id.size() > 1 ? 1 : 0;
        }
    });
}
