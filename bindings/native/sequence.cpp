// Removing, copying, saving and loading sequences.
#include "memory_parts.h"
#include "objects.h"

#pragma GCC visibility push(default)
#include "llama-kv-cache.h"
#include "llama-memory-recurrent.h"
#include "llama-model.h"
#pragma GCC visibility pop

#include <algorithm>

using namespace pannier;

namespace {

// llama.cpp would share all that the cache still has of the past, and keep it for as long as two
// sequences have it.
void copy_window(pannier_context & ctx, const memory_parts & parts, int32_t src, int32_t dst) {
    const int32_t n_tokens = llama_memory_seq_pos_max(ctx.memory(), src) + 1;
    const int32_t n_swa    = static_cast<int32_t>(ctx.model->model->hparams.n_swa);
    parts.caches[0]->seq_cp(src, dst, -1, -1);
    parts.window()->seq_cp(src, dst, std::max(0, n_tokens - n_swa), -1);
    if (parts.recurrent != nullptr) {
        parts.recurrent->seq_cp(src, dst, -1, -1);
    }
    for (const int32_t seq_id : { src, dst }) {
        ctx.shared_window_ends[size_t(seq_id)] = n_tokens + n_swa;
    }
}

// llama.cpp removes the attention cells before a recurrent state and says that it worked; the state
// would keep what the cells no longer have. Only the whole or the tail of such a sequence can go.
bool leaves_state_behind(const pannier_context & ctx, int32_t seq_id, int32_t p0, int32_t p1) {
    const memory_parts parts(ctx.memory());
    if (parts.recurrent == nullptr && parts.known) {
        return false;
    }
    const int32_t pos_max = llama_memory_seq_pos_max(ctx.memory(), seq_id);
    return p1 >= 0 && p1 <= pos_max && p0 < p1;
}

// Whether all is there that the next token can see. A ubatch may use the cells of tokens that its own
// tokens cannot see any more; those before them, once they are the last again, might have.
bool has_whole_window(const pannier_context & ctx, const memory_parts & parts, int32_t seq_id) {
    if (parts.window() == nullptr) {
        return true;
    }
    const auto &  hparams = ctx.model->model->hparams;
    const int32_t first   = parts.window()->seq_pos_min(seq_id);
    const int32_t next    = parts.window()->seq_pos_max(seq_id) + 1;
    return first <= 0 || llama_hparams::is_masked_swa(hparams.n_swa, hparams.swa_type, first - 1, next);
}

} // namespace

bool pannier::take_back(pannier_context & ctx, int32_t seq_id, int32_t n) {
    const memory_parts parts(ctx.memory());
    const int32_t      n_left = llama_memory_seq_pos_max(ctx.memory(), seq_id) + 1 - n;
    if (llama_memory_seq_rm(ctx.memory(), seq_id, n_left, -1) && has_whole_window(ctx, parts, seq_id)) {
        return true;
    }
    llama_memory_seq_rm(ctx.memory(), seq_id, -1, -1);
    return false;
}

void pannier::leave_shared_windows(pannier_context & ctx) {
    const memory_parts parts(ctx.memory());
    if (parts.window() == nullptr) {
        return;
    }
    const int32_t n_swa = static_cast<int32_t>(ctx.model->model->hparams.n_swa);
    for (const llama_seq_id seq_id : ctx.seq_ids) {
        int32_t &     end   = ctx.shared_window_ends[size_t(seq_id)];
        const int32_t n_now = end < 0 ? 0 : parts.window()->seq_pos_max(seq_id) + 1;
        if (end >= 0 && n_now >= end) {
            parts.window()->seq_rm(seq_id, 0, n_now - n_swa);
            end = -1;
        }
    }
}

int pannier_seq_remove(pannier_context * ctx, int32_t seq_id, int32_t p0, int32_t p1, int32_t * removed) {
    return guard([&] {
        not_null(ctx, "ctx");
        not_null(removed, "removed") = 0;
        check_seq_id(*ctx, seq_id);
        if (leaves_state_behind(*ctx, seq_id, p0, p1)) {
            return;
        }
        *removed = llama_memory_seq_rm(ctx->memory(), seq_id, p0, p1) ? 1 : 0;
    });
}

int pannier_seq_copy(pannier_context * ctx, int32_t src, int32_t dst) {
    return guard([&] {
        not_null(ctx, "ctx");
        check_seq_id(*ctx, src);
        check_seq_id(*ctx, dst);
        if (src == dst) {
            return;
        }
        llama_memory_seq_rm(ctx->memory(), dst, -1, -1);
        const memory_parts parts(ctx->memory());
        if (parts.window() != nullptr && ctx->kv_unified) {
            copy_window(*ctx, parts, src, dst);
        } else {
            llama_memory_seq_cp(ctx->memory(), src, dst, -1, -1);
        }
    });
}

int pannier_seq_save(pannier_context * ctx, int32_t seq_id, uint8_t * bytes, size_t capacity, size_t * n_bytes) {
    return guard([&] {
        not_null(ctx, "ctx");
        check_seq_id(*ctx, seq_id);
        const size_t needed          = llama_state_seq_get_size(ctx->ctx, seq_id);
        not_null(n_bytes, "n_bytes") = needed;
        if (bytes == nullptr) {
            return;
        }
        if (capacity < needed) {
            fail(PANNIER_ERROR_ARGUMENT, "the state of sequence %d has %zu bytes, the buffer %zu", seq_id, needed,
                 capacity);
        }
        *n_bytes = llama_state_seq_get_data(ctx->ctx, bytes, capacity, seq_id);
        if (*n_bytes == 0) {
            fail(PANNIER_ERROR_INTERNAL, "the state of sequence %d cannot be saved: %s", seq_id,
                 logged_errors().c_str());
        }
    });
}

int pannier_seq_load(pannier_context * ctx, int32_t seq_id, const uint8_t * bytes, size_t n_bytes) {
    return guard([&] {
        not_null(ctx, "ctx");
        not_null(bytes, "bytes");
        check_seq_id(*ctx, seq_id);
        if (llama_state_seq_set_data(ctx->ctx, bytes, n_bytes, seq_id) == 0) {
            llama_memory_seq_rm(ctx->memory(), seq_id, -1, -1);
            fail(PANNIER_ERROR_ARGUMENT, "%zu bytes are not a saved state of this context: %s", n_bytes,
                 logged_errors().c_str());
        }
    });
}
