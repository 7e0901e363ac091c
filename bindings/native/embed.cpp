// Embeddings of prompts.
#include "objects.h"

// Another library's class: see memory_parts.cpp.
#pragma GCC visibility push(default)
#include "llama-model.h"
#pragma GCC visibility pop

#include <algorithm>
#include <numeric>

namespace pannier {
namespace {

// Tokens that are computed at once: a prompt is pooled within one ubatch.
int32_t max_tokens(const pannier_context & ctx) {
    const uint32_t n_ubatch = llama_n_ubatch(ctx.ctx);
    return static_cast<int32_t>(ctx.memory() == nullptr ? n_ubatch : std::min(n_ubatch, llama_n_ctx_seq(ctx.ctx)));
}

bool encodes(const pannier_context & ctx) {
    return ctx.memory() == nullptr || !llama_model_has_decoder(ctx.model->model);
}

// A prompt whose embedding is that of its last token, which sees none after it, may go on from ubatch to ubatch.
bool splits_prompts(const pannier_context & ctx) {
    const auto pooling = llama_pooling_type(ctx.ctx);
    return !encodes(ctx) && llama_get_causal_attn(ctx.ctx) &&
           (pooling == LLAMA_POOLING_TYPE_LAST || pooling == LLAMA_POOLING_TYPE_RANK);
}

// Rows of a table of positions, which nothing bounds when they are looked up.
int64_t max_positions(const pannier_context & ctx) {
    const ggml_tensor * table = ctx.model->model->pos_embd;
    return table == nullptr ? INT32_MAX : table->ne[1];
}

void check_prompts(const pannier_context & ctx, const int32_t * tokens, const int32_t * lengths, int32_t n_prompts) {
    for (int32_t i = 0; i < n_prompts; ++i) {
        if (lengths[i] < 1) {
            fail(PANNIER_ERROR_ARGUMENT, "prompt %d has no tokens", i);
        }
        if (lengths[i] > max_positions(ctx)) {
            fail(PANNIER_ERROR_ARGUMENT, "prompt %d has %d tokens; this model takes up to %lld", i, lengths[i],
                 static_cast<long long>(max_positions(ctx)));
        }
        if (lengths[i] > ctx.n_embed_max()) {
            fail(PANNIER_ERROR_ARGUMENT,
                 "prompt %d has %d tokens; this context embeds up to %d: create it with a larger %s", i, lengths[i],
                 ctx.n_embed_max(), splits_prompts(ctx) ? "n_ctx" : "n_ubatch");
        }
        for (int32_t j = 0; j < lengths[i]; ++j, ++tokens) {
            if (*tokens < 0 || *tokens >= ctx.model->n_vocab()) {
                fail(PANNIER_ERROR_ARGUMENT, "token %d of prompt %d is outside the vocabulary of %d tokens", *tokens, i,
                     ctx.model->n_vocab());
            }
        }
    }
}

// Prompt i as sequence i, from this position on; every token is an output.
llama_batch native_batch(pannier_context & ctx, std::vector<llama_pos> & positions, const int32_t * tokens,
                         const int32_t * lengths, int32_t n_prompts, llama_pos begin) {
    ctx.seq_ids.clear();
    positions.clear();
    for (int32_t i = 0; i < n_prompts; ++i) {
        ctx.seq_ids.insert(ctx.seq_ids.end(), size_t(lengths[i]), i);
        positions.resize(ctx.seq_ids.size());
        std::iota(positions.end() - lengths[i], positions.end(), begin);
    }
    const size_t n = ctx.seq_ids.size();
    ctx.n_seq_ids.assign(n, 1);
    ctx.logits.assign(n, 1);
    ctx.seq_id_pointers.resize(n);
    for (size_t i = 0; i < n; ++i) {
        ctx.seq_id_pointers[i] = &ctx.seq_ids[i];
    }
    llama_batch native = {};
    native.n_tokens    = static_cast<int32_t>(n);
    native.token       = const_cast<int32_t *>(tokens);
    native.pos         = positions.data();
    native.n_seq_id    = ctx.n_seq_ids.data();
    native.seq_id      = ctx.seq_id_pointers.data();
    native.logits      = ctx.logits.data();
    return native;
}

void compute(pannier_context & ctx, const llama_batch & batch) {
    const int32_t result = encodes(ctx) ? llama_encode(ctx.ctx, batch) : llama_decode(ctx.ctx, batch);
    llama_synchronize(ctx.ctx);
    if (result == 2) {
        fail(PANNIER_ERROR_DECODE, "embedding was interrupted");
    }
    if (result != 0) {
        fail(PANNIER_ERROR_DECODE, "embedding failed with code %d: %s", result, logged_errors().c_str());
    }
}

const float * embedding(pannier_context & ctx, bool pooled, int32_t i) {
    const float * row = pooled ? llama_get_embeddings_seq(ctx.ctx, i) : llama_get_embeddings_ith(ctx.ctx, i);
    if (row == nullptr) {
        fail(PANNIER_ERROR_DECODE, "this model gave no embeddings: %s", logged_errors().c_str());
    }
    return row;
}

// Sequences of an embedding context live for one batch.
struct forgets {
    llama_memory_t memory;

    ~forgets() {
        if (memory != nullptr) {
            llama_memory_clear(memory, false);
        }
    }
};

// One prompt, a ubatch after the other; the last one's row is the prompt's.
const float * embed_in_parts(pannier_context & ctx, std::vector<llama_pos> & positions, const int32_t * tokens,
                             int32_t n_tokens) {
    const forgets memory{ ctx.memory() };
    for (int32_t begin = 0; begin < n_tokens;) {
        const int32_t n = std::min(n_tokens - begin, max_tokens(ctx));
        compute(ctx, native_batch(ctx, positions, tokens + begin, &n, 1, begin));
        begin += n;
    }
    return embedding(ctx, true, 0);
}

void embed(pannier_context & ctx, const int32_t * tokens, const int32_t * lengths, int32_t n_prompts, float * rows) {
    const bool             pooled = llama_pooling_type(ctx.ctx) != LLAMA_POOLING_TYPE_NONE;
    std::vector<llama_pos> positions;
    while (n_prompts > 0) {
        if (*lengths > max_tokens(ctx)) {
            rows = std::copy_n(embed_in_parts(ctx, positions, tokens, *lengths), ctx.n_embd_out, rows);
            tokens += *lengths++;
            --n_prompts;
            continue;
        }
        int32_t n        = 0;
        int32_t n_tokens = 0;
        while (n < std::min(n_prompts, int32_t(ctx.n_seq_max)) && n_tokens + lengths[n] <= max_tokens(ctx)) {
            n_tokens += lengths[n++];
        }
        const forgets memory{ ctx.memory() };
        compute(ctx, native_batch(ctx, positions, tokens, lengths, n, 0));
        for (int32_t i = 0; i < (pooled ? n : n_tokens); ++i) {
            rows = std::copy_n(embedding(ctx, pooled, i), ctx.n_embd_out, rows);
        }
        tokens += n_tokens;
        lengths += n;
        n_prompts -= n;
    }
}

} // namespace
} // namespace pannier

using namespace pannier;

int32_t pannier_context::n_embed_max() const {
    if (n_embd_out == 0) {
        return 0;
    }
    return splits_prompts(*this) ? static_cast<int32_t>(llama_n_ctx_seq(ctx)) : max_tokens(*this);
}

int pannier_context_embed(pannier_context * ctx, const int32_t * tokens, const int32_t * lengths, int32_t n_prompts,
                          float * rows, size_t capacity) {
    return guard([&] {
        not_null(ctx, "ctx");
        not_null(tokens, "tokens");
        not_null(lengths, "lengths");
        not_null(rows, "rows");
        if (ctx->n_embd_out == 0) {
            fail(PANNIER_ERROR_ARGUMENT, "this context generates: create one with embeddings to embed");
        }
        check_prompts(*ctx, tokens, lengths, n_prompts);
        const bool   pooled = llama_pooling_type(ctx->ctx) != LLAMA_POOLING_TYPE_NONE;
        const size_t n_rows = pooled ? size_t(std::max(n_prompts, 0))
                                     : std::accumulate(lengths, lengths + std::max(n_prompts, 0), size_t(0));
        if (capacity != n_rows * size_t(ctx->n_embd_out)) {
            fail(PANNIER_ERROR_ARGUMENT, "room for %zu floats; %zu rows have %zu", capacity, n_rows,
                 n_rows * size_t(ctx->n_embd_out));
        }
        ctx->interrupted.store(false, std::memory_order_relaxed);
        embed(*ctx, tokens, lengths, n_prompts, rows);
    });
}
