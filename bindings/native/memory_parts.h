// What a llama.cpp memory is made of. Internal headers of llama.cpp are read here and nowhere else.
#pragma once

#include "guard.h"

#include "llama.h"

#include <cstdint>
#include <map>
#include <vector>

#include "ggml-backend.h"

class llama_kv_cache;
class llama_memory_recurrent;

namespace pannier {

using bytes_by_buffer_type = std::map<ggml_backend_buffer_type_t, size_t>;

// The KV caches and the recurrent state inside a memory of any known kind. A memory of a kind that
// is not known here (sparse-attention caches) has neither, and counts as KV as a whole. No memory,
// as of a model that only embeds, has neither and no bytes.
struct memory_parts {
    explicit memory_parts(llama_memory_t memory);

    llama_memory_t                memory;
    std::vector<llama_kv_cache *> caches;            // the full-size one first
    llama_memory_recurrent *      recurrent = nullptr;
    bool                          known     = true;

    llama_kv_cache * window() const { return caches.size() > 1 ? caches[1] : nullptr; }

    bool has_kv() const { return !caches.empty() || !known; }

    bytes_by_buffer_type kv_bytes() const;
    bytes_by_buffer_type state_bytes() const;     // the recurrent states, whole
    bytes_by_buffer_type recurrent_bytes() const; // of these, the states themselves
    bytes_by_buffer_type rollback_bytes() const;  // and their rollback planes

    uint64_t kv_cell_bytes() const;       // of the full-size cache
    uint64_t window_cell_bytes() const;   // of the sliding-window cache
    uint64_t recurrent_seq_bytes() const;
};

uint64_t cell_bytes(const llama_kv_cache & cache);
uint64_t sum(const bytes_by_buffer_type & rows);

// What a context and its model hold.
std::vector<pannier_memory_row> memory_rows(const pannier_context & ctx);
pannier_memory_row memory_row(ggml_backend_buffer_type_t type, int32_t kind, uint64_t bytes);
// At most `capacity` of them; `n_rows` is how many there are.
void write_rows(const std::vector<pannier_memory_row> & from, pannier_memory_row * rows, int32_t capacity,
                int32_t * n_rows);

} // namespace pannier
