// Removing, copying, saving and loading sequences.
#include "memory_parts.h"
#include "objects.h"

#pragma GCC visibility push(default)
#include "llama-memory-recurrent.h"
#pragma GCC visibility pop

using namespace pannier;

namespace {

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

} // namespace

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
        llama_memory_seq_cp(ctx->memory(), src, dst, -1, -1);
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
