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

bytes_by_buffer_type memory_parts::state_bytes() const {
    return recurrent != nullptr ? recurrent->memory_breakdown() : bytes_by_buffer_type();
}

bytes_by_buffer_type memory_parts::recurrent_bytes() const {
    auto rows = state_bytes();
    for (auto & [type, bytes] : rows) {
        bytes /= 1 + recurrent->n_rs_seq;
    }
    return rows;
}

bytes_by_buffer_type memory_parts::rollback_bytes() const {
    auto rows = state_bytes();
    for (const auto & [type, bytes] : recurrent_bytes()) {
        rows[type] -= bytes;
    }
    return rows;
}

bytes_by_buffer_type memory_parts::kv_bytes() const {
    auto rows = memory != nullptr ? memory->memory_breakdown() : bytes_by_buffer_type();
    for (const auto & [type, bytes] : state_bytes()) {
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
    return recurrent == nullptr || recurrent->size == 0 ? 0 : sum(state_bytes()) / recurrent->size;
}

} // namespace pannier
