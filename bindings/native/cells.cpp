// Which sequences hold which cells of a context's memory.
#include "memory_parts.h"

#pragma GCC visibility push(default)
#include "llama-kv-cache.h"
#include "llama-memory-recurrent.h"
#pragma GCC visibility pop

#include "objects.h"

#include <algorithm>

namespace pannier {
namespace {

using holders = std::vector<int32_t>;

struct cell_group {
    int32_t  kind;
    uint64_t cell_bytes;
    holders  who;
    uint64_t n_cells;
};

bool are_holders(const holders & who, const llama_kv_cells & cells, uint32_t i) {
    return cells.seq_count(i) == int(who.size()) &&
           std::all_of(who.begin(), who.end(), [&](int32_t seq_id) { return cells.seq_has(i, seq_id); });
}

holders holders_of(const llama_kv_cells & cells, uint32_t i, int32_t n_seq_max) {
    holders who;
    for (int32_t seq_id = 0; seq_id < n_seq_max; ++seq_id) {
        if (cells.seq_has(i, seq_id)) {
            who.push_back(seq_id);
        }
    }
    return who;
}

// Neighbours have the same holders as a rule.
void count_cells(const llama_kv_cells & cells, int32_t n_seq_max, std::map<holders, uint64_t> & counts) {
    holders    who;
    uint64_t * count = nullptr;
    for (uint32_t i = 0; i < cells.size(); ++i) {
        if (cells.is_empty(i)) {
            continue;
        }
        if (count == nullptr || !are_holders(who, cells, i)) {
            who   = holders_of(cells, i, n_seq_max);
            count = &counts[who];
        }
        ++*count;
    }
}

std::map<holders, uint64_t> count_cells(const llama_kv_cache & cache, int32_t n_seq_max) {
    std::map<holders, uint64_t> counts;
    const int32_t n_streams = cache.get_n_stream() == 1 ? 1 : n_seq_max; // a stream is a sequence's own
    for (int32_t seq_id = 0; seq_id < n_streams; ++seq_id) {
        count_cells(cache.get_cells(seq_id), n_seq_max, counts);
    }
    return counts;
}

std::map<holders, uint64_t> count_states(const llama_memory_recurrent & memory) {
    std::map<holders, uint64_t> counts;
    for (const auto & cell : memory.cells) {
        if (!cell.is_empty()) {
            ++counts[holders(cell.seq_id.begin(), cell.seq_id.end())];
        }
    }
    return counts;
}

std::vector<cell_group> find_groups(const pannier_context & ctx) {
    std::vector<cell_group> groups;
    const memory_parts      parts(ctx.memory());
    const auto add = [&](int32_t kind, uint64_t cell_bytes, const std::map<holders, uint64_t> & counts) {
        for (const auto & [who, n_cells] : counts) {
            groups.push_back({ kind, cell_bytes, who, n_cells });
        }
    };
    for (size_t i = 0; i < parts.caches.size(); ++i) {
        const llama_kv_cache & cache = *parts.caches[i];
        add(i == 0 ? PANNIER_CELL_KV : PANNIER_CELL_WINDOW, cell_bytes(cache),
            count_cells(cache, int32_t(ctx.n_seq_max)));
    }
    if (parts.recurrent != nullptr) {
        add(PANNIER_CELL_STATE, parts.recurrent_seq_bytes(), count_states(*parts.recurrent));
    }
    return groups;
}

} // namespace
} // namespace pannier

using namespace pannier;

int pannier_context_cells(const pannier_context * ctx, pannier_cell_group * groups, int32_t capacity,
                          int32_t * n_groups, int32_t * holders, int32_t n_most, int32_t * n_holders) {
    return guard([&] {
        const std::vector<cell_group> found = find_groups(not_null(ctx, "ctx"));
        not_null(n_groups, "n_groups") = static_cast<int32_t>(found.size());
        int32_t & n = not_null(n_holders, "n_holders") = 0;
        for (size_t i = 0; i < found.size(); ++i) {
            const auto & group = found[i];
            if (int32_t(i) < capacity) {
                check_size(groups + i, "pannier_cell_group");
                groups[i] = { sizeof(pannier_cell_group), group.kind, int32_t(group.who.size()), n, group.n_cells,
                              group.cell_bytes };
            }
            for (int32_t seq_id : group.who) {
                if (n < n_most) {
                    holders[n] = seq_id;
                }
                ++n;
            }
        }
    });
}

int pannier_seq_get_range(const pannier_context * ctx, int32_t seq_id, int32_t * pos_min, int32_t * pos_max) {
    return guard([&] {
        check_seq_id(not_null(ctx, "ctx"), seq_id);
        not_null(pos_min, "pos_min") = llama_memory_seq_pos_min(ctx->memory(), seq_id);
        not_null(pos_max, "pos_max") = llama_memory_seq_pos_max(ctx->memory(), seq_id);
    });
}
