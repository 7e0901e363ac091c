// One call decodes one batch and samples every sequence that is due.
#include "objects.h"

#include "ggml.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace pannier {
namespace {

struct logprob_row {
    int32_t token;
    float   logit;
};

int32_t argmax(const float * logits, int32_t n) {
    return static_cast<int32_t>(std::max_element(logits, logits + n) - logits);
}

double log_sum_exp(const float * logits, int32_t n) {
    const float peak = *std::max_element(logits, logits + n);
    double      sum  = 0.0;
    for (int32_t i = 0; i < n; ++i) {
        sum += std::exp(double(logits[i] - peak));
    }
    return double(peak) + std::log(sum);
}

void write_logprobs(const float * logits, int32_t n_vocab, int32_t token, int32_t n_wanted, int32_t n_top,
                    float * logprob, int32_t * top_tokens, float * top_logprobs) {
    const double norm = log_sum_exp(logits, n_vocab);
    *logprob          = float(double(logits[token]) - norm);
    const int32_t n   = std::min({ n_wanted, n_top, n_vocab });
    if (n <= 0) {
        return;
    }
    std::vector<int32_t> order(static_cast<size_t>(n_vocab));
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + n, order.end(),
                      [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
    for (int32_t i = 0; i < n; ++i) {
        top_tokens[i]   = order[size_t(i)];
        top_logprobs[i] = float(double(logits[order[size_t(i)]]) - norm);
    }
}

// What the chain left to choose from, most likely first; those with probability 0 are left out.
void write_probs(common_sampler & chain, int32_t token, int32_t n_wanted, int32_t n_top, float * prob,
                 int32_t * top_tokens, float * top_probs) {
    const llama_token_data_array & left = *common_sampler_get_candidates(&chain, true);
    *prob                               = 0.0f;
    for (size_t i = 0; i < left.size; ++i) {
        if (left.data[i].id == token) {
            *prob = left.data[i].p;
        }
        if (int32_t(i) < std::min(n_wanted, n_top) && left.data[i].p > 0.0f) {
            top_tokens[i] = left.data[i].id;
            top_probs[i]  = left.data[i].p;
        }
    }
}

bool is_sampled(int8_t output) {
    return output == PANNIER_OUTPUT_SAMPLE || output == PANNIER_OUTPUT_DRAFT;
}

void check_drafts(const pannier_context & ctx, const pannier_batch & batch) {
    const int32_t        n_most = ctx.n_draft_max();
    std::vector<int32_t> n_drafts(size_t(ctx.n_seq_max), 0);
    for (int32_t i = 0; i < batch.n_tokens; ++i) {
        const int32_t seq_id = batch.seq_ids[i];
        int32_t &     n      = n_drafts[size_t(seq_id)];
        if (batch.outputs[i] != PANNIER_OUTPUT_DRAFT) {
            if (n > 0) {
                fail(PANNIER_ERROR_ARGUMENT, "row %d follows drafts of sequence %d: they must be its last", i, seq_id);
            }
            continue;
        }
        if (i == 0 || batch.seq_ids[i - 1] != seq_id || !is_sampled(batch.outputs[i - 1])) {
            fail(PANNIER_ERROR_ARGUMENT, "row %d is a draft of sequence %d and follows no row that is sampled", i,
                 seq_id);
        }
        if (++n > n_most) {
            fail(PANNIER_ERROR_ARGUMENT, "more than %d drafts of sequence %d: this context cannot take them back",
                 n_most, seq_id);
        }
    }
}

void check_batch(const pannier_context & ctx, const pannier_batch & batch, const pannier_step & step) {
    if (ctx.n_embd_out > 0) {
        fail(PANNIER_ERROR_ARGUMENT, "this context embeds: create one without embeddings to generate");
    }
    const int32_t n_batch = static_cast<int32_t>(llama_n_batch(ctx.ctx));
    if (batch.n_tokens < 1 || batch.n_tokens > n_batch) {
        fail(PANNIER_ERROR_ARGUMENT, "a batch of %d tokens; this context takes 1 to %d", batch.n_tokens, n_batch);
    }
    uint32_t n_outputs = 0;
    int32_t  n_sampled = 0;
    for (int32_t i = 0; i < batch.n_tokens; ++i) {
        check_seq_id(ctx, batch.seq_ids[i]);
        if (batch.tokens[i] < 0 || batch.tokens[i] >= ctx.model->n_vocab()) {
            fail(PANNIER_ERROR_ARGUMENT, "token %d at %d of the batch is outside the vocabulary of %d tokens",
                 batch.tokens[i], i, ctx.model->n_vocab());
        }
        n_outputs += batch.outputs[i] != PANNIER_OUTPUT_NONE;
        n_sampled += is_sampled(batch.outputs[i]);
        if (batch.outputs[i] == PANNIER_OUTPUT_SAMPLE && !ctx.samplers[size_t(batch.seq_ids[i])]) {
            fail(PANNIER_ERROR_ARGUMENT, "sequence %d is to be sampled and has no sampler", batch.seq_ids[i]);
        }
    }
    if (n_outputs > ctx.n_outputs_max) {
        fail(PANNIER_ERROR_ARGUMENT, "%u output rows in a batch; this context was created for %u", n_outputs,
             ctx.n_outputs_max);
    }
    if (n_sampled > step.capacity) {
        fail(PANNIER_ERROR_ARGUMENT, "%d rows to sample and room for %d results", n_sampled, step.capacity);
    }
    check_drafts(ctx, batch);
}

llama_batch native_batch(pannier_context & ctx, const pannier_batch & batch) {
    const size_t n = static_cast<size_t>(batch.n_tokens);
    ctx.n_seq_ids.assign(n, 1);
    ctx.seq_ids.assign(batch.seq_ids, batch.seq_ids + n);
    ctx.seq_id_pointers.resize(n);
    ctx.outputs.assign(batch.outputs, batch.outputs + n);
    ctx.logits.resize(n);
    for (size_t i = 0; i < n; ++i) {
        ctx.seq_id_pointers[i] = &ctx.seq_ids[i];
        ctx.logits[i]          = batch.outputs[i] != PANNIER_OUTPUT_NONE;
    }
    llama_batch native = {};
    native.n_tokens    = batch.n_tokens;
    native.token       = const_cast<int32_t *>(batch.tokens);
    native.n_seq_id    = ctx.n_seq_ids.data();
    native.seq_id      = ctx.seq_id_pointers.data();
    native.logits      = ctx.logits.data();
    return native; // pos is NULL: each token follows its sequence's last one
}

// After a failed compute a hybrid memory keeps positions that its state does not have.
void drop_sequences(pannier_context & ctx) {
    for (const llama_seq_id seq_id : ctx.seq_ids) {
        llama_memory_seq_rm(ctx.memory(), seq_id, -1, -1);
    }
}

void decode(pannier_context & ctx, const pannier_batch & batch) {
    const llama_batch native = native_batch(ctx, batch);
    int32_t           result = -3;
    try {
        result = llama_decode(ctx.ctx, native);
        llama_synchronize(ctx.ctx);
    } catch (...) {
        drop_sequences(ctx);
        throw;
    }
    if (result == 0) {
        return;
    }
    ctx.outputs.clear();
    if (result == 1) {
        fail(PANNIER_ERROR_CACHE, "no free KV cells for a batch of %d tokens", batch.n_tokens);
    }
    if (result == -1) {
        fail(PANNIER_ERROR_ARGUMENT, "llama.cpp refused the batch: %s", logged_errors().c_str());
    }
    drop_sequences(ctx);
    if (result == 2) {
        fail(PANNIER_ERROR_DECODE, "the step was interrupted");
    }
    fail(PANNIER_ERROR_DECODE, "the step failed with code %d: %s", result, logged_errors().c_str());
}

int32_t sample(pannier_context & ctx, sequence_sampler & sampler, int32_t row) {
    if (!sampler.chain) {
        return argmax(llama_get_logits_ith(ctx.ctx, row), ctx.model->n_vocab());
    }
    const int32_t token = common_sampler_sample(sampler.chain.get(), ctx.ctx, row);
    common_sampler_accept(sampler.chain.get(), token, true);
    return token;
}

// A sampler that throws (a grammar with nowhere to go) fails its own row and no other.
int32_t sample_or_fail(pannier_context & ctx, sequence_sampler & sampler, int32_t row) {
    try {
        return sample(ctx, sampler, row);
    } catch (const std::bad_alloc &) {
        throw;
    } catch (const std::exception & error) {
        set_last_error(error.what());
        return -1;
    }
}

// Returns the token.
int32_t sample_row(pannier_context & ctx, const pannier_batch & batch, pannier_step & step, int32_t row) {
    auto &        sampler = ctx.samplers[size_t(batch.seq_ids[row])];
    const int32_t i       = step.n_sampled++;
    step.rows[i]          = row;
    step.tokens[i]        = sample_or_fail(ctx, sampler, row);
    step.logprobs[i]      = NAN;
    std::fill_n(step.top_tokens + size_t(i) * size_t(step.n_top), step.n_top, -1);
    if (sampler.n_probs <= 0 || step.tokens[i] < 0) {
        return step.tokens[i];
    }
    if (sampler.post_probs) {
        write_probs(*sampler.chain, step.tokens[i], sampler.n_probs, step.n_top, step.logprobs + i,
                    step.top_tokens + size_t(i) * size_t(step.n_top),
                    step.top_logprobs + size_t(i) * size_t(step.n_top));
    } else {
        write_logprobs(llama_get_logits_ith(ctx.ctx, row), ctx.model->n_vocab(), step.tokens[i], sampler.n_probs,
                       step.n_top, step.logprobs + i, step.top_tokens + size_t(i) * size_t(step.n_top),
                       step.top_logprobs + size_t(i) * size_t(step.n_top));
    }
    return step.tokens[i];
}

void sample_rows(pannier_context & ctx, const pannier_batch & batch, pannier_step & step) {
    step.n_sampled = 0;
    step.n_lost    = 0;
    for (int32_t row = 0; row < batch.n_tokens; ++row) {
        if (batch.outputs[row] != PANNIER_OUTPUT_SAMPLE) {
            continue;
        }
        int32_t end = row + 1; // of its drafts
        while (end < batch.n_tokens && batch.outputs[end] == PANNIER_OUTPUT_DRAFT) {
            ++end;
        }
        int32_t token = sample_row(ctx, batch, step, row);
        while (row + 1 < end && token == batch.tokens[row + 1]) {
            token = sample_row(ctx, batch, step, ++row);
        }
        const int32_t n_rejected = end - row - 1;
        if (n_rejected > 0 && !take_back(ctx, batch.seq_ids[row], n_rejected)) {
            step.lost[step.n_lost++] = batch.seq_ids[row];
        }
    }
}

} // namespace
} // namespace pannier

using namespace pannier;

int pannier_context_step(pannier_context * ctx, const pannier_batch * batch, pannier_step * step) {
    return guard([&] {
        not_null(ctx, "ctx");
        check_size(batch, "pannier_batch");
        check_size(step, "pannier_step");
        check_batch(*ctx, *batch, *step);
        ctx->interrupted.store(false, std::memory_order_relaxed);
        const int64_t start = ggml_time_us();
        decode(*ctx, *batch);
        const int64_t decoded = ggml_time_us();
        sample_rows(*ctx, *batch, *step);
        leave_shared_windows(*ctx);
        step->decode_us = decoded - start;
        step->sample_us = ggml_time_us() - decoded;
    });
}

int pannier_context_logits(pannier_context * ctx, int32_t row, float * logits, int32_t n_vocab) {
    return guard([&] {
        not_null(ctx, "ctx");
        not_null(logits, "logits");
        if (row < 0 || size_t(row) >= ctx->outputs.size() || ctx->outputs[size_t(row)] == PANNIER_OUTPUT_NONE) {
            fail(PANNIER_ERROR_ARGUMENT, "row %d of the last step had no output", row);
        }
        if (n_vocab != ctx->model->n_vocab()) {
            fail(PANNIER_ERROR_ARGUMENT, "room for %d logits; a row has %d", n_vocab, ctx->model->n_vocab());
        }
        std::copy_n(llama_get_logits_ith(ctx->ctx, row), n_vocab, logits);
    });
}
