// Creating a context and asking what it became.
#include "memory_parts.h"
#include "objects.h"
#include "placement.h"

#include "ggml.h"
#include "llama-ext.h"

// Another library's class: see memory_parts.cpp.
#pragma GCC visibility push(default)
#include "llama-model.h"
#pragma GCC visibility pop

#include <cstring>
#include <thread>

namespace pannier {
namespace {

constexpr uint32_t MAX_SEQUENCES = 256;

// The types that llama.cpp offers for the KV cache (kv_cache_types in common/arg.cpp):
// others can abort where the device has no SET_ROWS for them.
constexpr ggml_type CACHE_TYPES[] = {
    GGML_TYPE_F32,  GGML_TYPE_F16,    GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0,
    GGML_TYPE_Q4_1, GGML_TYPE_IQ4_NL, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1,
};

ggml_type cache_type(const char * name) {
    std::string known;
    for (const ggml_type type : CACHE_TYPES) {
        if (std::strcmp(ggml_type_name(type), name) == 0) {
            return type;
        }
        known += (known.empty() ? "" : ", ") + std::string(ggml_type_name(type));
    }
    fail(PANNIER_ERROR_ARGUMENT, "KV cache type '%s' is not one of %s", name, known.c_str());
}

// The types that the patch half-state can keep a recurrent state in, and what has such a state.
ggml_type state_type(const pannier_model & model, const char * name) {
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}) {
        if (std::strcmp(ggml_type_name(type), name) == 0) {
            const llm_arch arch = model.model->arch;
            const bool halves = arch == LLM_ARCH_QWEN3NEXT || arch == LLM_ARCH_QWEN35 ||
                                arch == LLM_ARCH_QWEN35MOE || arch == LLM_ARCH_KIMI_LINEAR;
            if (type != GGML_TYPE_F32 && !halves) {
                fail(PANNIER_ERROR_ARGUMENT,
                     "state type '%s': a %s model has no gated delta net, whose states alone can be halved; use f32",
                     name, llm_arch_name(arch));
            }
            return type;
        }
    }
    fail(PANNIER_ERROR_ARGUMENT, "state type '%s' is not one of f32, f16, bf16", name);
}

void check_params(const pannier_context_params & p) {
    if (p.n_seq_max < 1 || p.n_seq_max > MAX_SEQUENCES) {
        fail(PANNIER_ERROR_ARGUMENT, "n_seq_max is %u; it must be 1 to %u", p.n_seq_max, MAX_SEQUENCES);
    }
    if (p.n_batch < 1 || p.n_ubatch < 1) {
        fail(PANNIER_ERROR_ARGUMENT, "n_batch %u and n_ubatch %u must be at least 1", p.n_batch, p.n_ubatch);
    }
    if (p.n_batch < p.n_seq_max) {
        fail(PANNIER_ERROR_ARGUMENT, "n_batch %u cannot hold one token of each of %u sequences", p.n_batch,
             p.n_seq_max);
    }
    if (p.n_outputs_max < p.n_seq_max) {
        fail(PANNIER_ERROR_ARGUMENT, "n_outputs_max is %u; it must be at least n_seq_max, %u", p.n_outputs_max,
             p.n_seq_max);
    }
    // llama.cpp makes neither batch larger than the context
    const uint32_t n_ubatch = std::min({ p.n_batch, p.n_ubatch, p.n_ctx == 0 ? UINT32_MAX : p.n_ctx });
    if (p.n_rs_seq > 0 && n_ubatch <= p.n_rs_seq + 1) {
        fail(PANNIER_ERROR_ARGUMENT, "n_rs_seq %u needs n_ctx, n_batch and n_ubatch above %u, got %u", p.n_rs_seq,
             p.n_rs_seq + 1, n_ubatch);
    }
    if (p.n_threads < 1 || p.n_threads > GGML_MAX_N_THREADS || p.n_threads_batch < 1 ||
        p.n_threads_batch > GGML_MAX_N_THREADS) {
        fail(PANNIER_ERROR_ARGUMENT, "n_threads %d and n_threads_batch %d must be 1 to %d", p.n_threads,
             p.n_threads_batch, GGML_MAX_N_THREADS);
    }
    if (p.pooling < PANNIER_POOLING_AUTO || p.pooling > PANNIER_POOLING_RANK) {
        fail(PANNIER_ERROR_ARGUMENT, "pooling is %d; it must be %d to %d", p.pooling, PANNIER_POOLING_AUTO,
             PANNIER_POOLING_RANK);
    }
    if (p.embeddings != 0 && p.kv_unified == 0) {
        // llama.cpp would cut prompts into parts of equal length, and pool each part by itself.
        fail(PANNIER_ERROR_ARGUMENT, "embeddings need a unified KV cache");
    }
    if (p.flash_attn < LLAMA_FLASH_ATTN_TYPE_AUTO || p.flash_attn > LLAMA_FLASH_ATTN_TYPE_ENABLED) {
        fail(PANNIER_ERROR_ARGUMENT, "flash_attn is %d; it must be -1, 0 or 1", p.flash_attn);
    }
}

void check_rope(const pannier_rope_params & rope) {
    if (rope.scaling < LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED || rope.scaling > LLAMA_ROPE_SCALING_TYPE_YARN) {
        fail(PANNIER_ERROR_ARGUMENT, "rope scaling is %d; it must be -1 to 2", rope.scaling);
    }
    const auto in = [](float value, float low, float high) { return value >= low && value <= high; };
    if (rope.freq_base != 0.0f && !in(rope.freq_base, 1e-3f, 1e15f)) {
        fail(PANNIER_ERROR_ARGUMENT, "rope freq_base is %g; it must be 0, or 0.001 to 1e15",
             static_cast<double>(rope.freq_base));
    }
    if (rope.freq_scale != 0.0f && !in(rope.freq_scale, 1e-4f, 1e4f)) {
        fail(PANNIER_ERROR_ARGUMENT, "rope freq_scale is %g; it must be 0, or 0.0001 to 10000",
             static_cast<double>(rope.freq_scale));
    }
    if (rope.yarn_orig_ctx > (1u << 30)) {
        fail(PANNIER_ERROR_ARGUMENT, "yarn_orig_ctx is %u; it must be 0 to %u", rope.yarn_orig_ctx, 1u << 30);
    }
    for (const float factor : { rope.yarn_ext_factor, rope.yarn_attn_factor, rope.yarn_beta_fast,
                                rope.yarn_beta_slow }) {
        if (!in(factor, -1e6f, 1e6f)) {
            fail(PANNIER_ERROR_ARGUMENT, "a yarn factor is %g; it must be -1e6 to 1e6", static_cast<double>(factor));
        }
    }
}

void set_rope(llama_context_params & native, const pannier_rope_params & rope) {
    check_rope(rope);
    native.rope_scaling_type = static_cast<llama_rope_scaling_type>(rope.scaling);
    native.rope_freq_base    = rope.freq_base;
    native.rope_freq_scale   = rope.freq_scale;
    native.yarn_orig_ctx     = rope.yarn_orig_ctx;
    native.yarn_ext_factor   = rope.yarn_ext_factor;
    native.yarn_attn_factor  = rope.yarn_attn_factor;
    native.yarn_beta_fast    = rope.yarn_beta_fast;
    native.yarn_beta_slow    = rope.yarn_beta_slow;
}

llama_context_params native_params(const pannier_model & model, const pannier_context_params & p) {
    llama_context_params native = llama_context_default_params();
    native.n_ctx                = p.n_ctx;
    native.n_batch              = p.n_batch;
    native.n_ubatch             = p.n_ubatch;
    native.n_seq_max            = p.n_seq_max;
    native.n_rs_seq             = p.n_rs_seq;
    native.n_outputs_max        = p.n_outputs_max;
    native.n_threads            = p.n_threads;
    native.n_threads_batch      = p.n_threads_batch;
    native.type_k               = cache_type(not_null(&p.type_k, "type_k"));
    native.type_v               = cache_type(not_null(&p.type_v, "type_v"));
    const ggml_type type_state  = state_type(model, not_null(&p.type_state, "type_state"));
#ifdef PANNIER_HAS_STATE_TYPE
    llama_set_state_type(type_state);
#else
    if (type_state != GGML_TYPE_F32) {
        fail(PANNIER_ERROR_ARGUMENT, "an unpatched engine keeps recurrent states in f32 only");
    }
#endif
    native.flash_attn_type      = static_cast<llama_flash_attn_type>(p.flash_attn);
    native.offload_kqv          = p.offload_kqv != 0;
    native.op_offload           = p.op_offload != 0;
    native.swa_full             = p.swa_full != 0;
    native.kv_unified           = p.kv_unified != 0;
    native.moe_cache_size       = p.moe_cache_bytes;
    native.embeddings           = p.embeddings != 0;
    native.pooling_type         = static_cast<enum llama_pooling_type>(p.pooling);
    native.no_perf              = false;
    if (p.rope != nullptr) {
        check_size(p.rope, "pannier_rope_params");
        set_rope(native, *p.rope);
    }
    return native;
}

// llama.cpp outputs every token of an embedding context. It reserves a graph for a ubatch rounded up
// to a multiple of the sequences, but not for as many outputs, and aborts where they are averaged
// (ggml-org/llama.cpp#27175): so the ubatch, and the context that bounds it, must be one already.
void prepare_embeddings(llama_context_params & native, const pannier_model & model) {
    const uint32_t n_ctx = native.n_ctx == 0 ? model.model->hparams.n_ctx_train : native.n_ctx;
    uint32_t       n_seq = 1;
    while (n_seq < native.n_seq_max) {
        n_seq *= 2;
    }
    native.n_seq_max     = n_seq;
    native.n_ctx         = GGML_PAD(n_ctx, MAX_SEQUENCES);
    native.n_ubatch      = GGML_PAD(std::min(native.n_batch, native.n_ubatch), n_seq);
    native.n_batch       = std::max(native.n_batch, native.n_ubatch);
    native.n_outputs_max = native.n_ubatch;
}

bool interrupted(void * data) {
    return static_cast<pannier_context *>(data)->interrupted.load(std::memory_order_relaxed);
}

void check_embeds(const pannier_model & model, const pannier_context_params & params) {
    if (llama_model_has_encoder(model.model) && llama_model_has_decoder(model.model)) {
        fail(PANNIER_ERROR_CONTEXT, "llama.cpp takes no embeddings from a model with an encoder and a decoder");
    }
    const int32_t pooling = params.pooling == PANNIER_POOLING_AUTO ? model.model->hparams.pooling_type : params.pooling;
    if (pooling == PANNIER_POOLING_RANK && model.model->cls == nullptr && model.model->cls_out == nullptr) {
        fail(PANNIER_ERROR_ARGUMENT, "pooling is rank; this model has no classification head");
    }
}

int32_t n_embd_out(const pannier_context & ctx) {
    return llama_pooling_type(ctx.ctx) == LLAMA_POOLING_TYPE_RANK
               ? static_cast<int32_t>(llama_model_n_cls_out(ctx.model->model))
               : llama_model_n_embd_out(ctx.model->model);
}

std::unique_ptr<pannier_context> create(pannier_model & model, const pannier_context_params & params) {
    check_params(params);
    if (params.embeddings != 0) {
        check_embeds(model, params);
    }
    auto ctx                   = std::make_unique<pannier_context>();
    auto native                = native_params(model, params);
    if (native.embeddings) {
        prepare_embeddings(native, model);
    }
    native.abort_callback      = interrupted;
    native.abort_callback_data = ctx.get();
    ctx->model                 = &model;
    trace_routes(*ctx, params.routes != 0);
    ctx->ctx                   = llama_init_from_model(model.model, native);
    trace_routes(*ctx, false); // nor any other
    if (ctx->ctx == nullptr) {
        fail(PANNIER_ERROR_CONTEXT, "cannot create a context of %u tokens for %u sequences: %s", params.n_ctx,
             params.n_seq_max, logged_errors().c_str());
    }
    if (ctx->memory() == nullptr && params.embeddings == 0) {
        fail(PANNIER_ERROR_CONTEXT, "this model only embeds: create the context with embeddings");
    }
    const memory_parts parts(ctx->memory());
    if (parts.has_kv() && parts.kv_cell_bytes() == 0) {
        // llama.cpp would fill a cache that it never allocated, and assert at the first step
        fail(PANNIER_ERROR_CONTEXT, "this hybrid model has no attention layer, which llama.cpp cannot run");
    }
    if (params.threads != nullptr) {
        ctx->pools.attach(ctx->ctx, params);
    }
    ctx->n_embd_out    = params.embeddings != 0 ? n_embd_out(*ctx) : 0;
    ctx->n_outputs_max = params.n_outputs_max;
    ctx->n_seq_max     = params.n_seq_max;
    ctx->kv_unified    = params.kv_unified != 0;
    ctx->samplers.resize(params.n_seq_max);
    ctx->shared_window_ends.assign(params.n_seq_max, -1);
    return ctx;
}

std::unique_ptr<pannier_context> create_planned(pannier_model & model, const pannier_context_params * params) {
    check_size(params, "pannier_context_params");
    if (!model.can_plan) {
        fail(PANNIER_ERROR_CONTEXT, "a plan needs a model loaded with no_alloc, and an engine with patches");
    }
    return create(model, *params);
}

pannier_context_info context_info(const pannier_context & ctx) {
    const memory_parts   parts(ctx.memory());
    pannier_context_info info{};
    info.size                = sizeof(info);
    info.n_ctx               = llama_n_ctx(ctx.ctx);
    info.n_ctx_seq           = llama_n_ctx_seq(ctx.ctx);
    info.n_batch             = llama_n_batch(ctx.ctx);
    info.n_ubatch            = llama_n_ubatch(ctx.ctx);
    info.n_seq_max           = ctx.n_seq_max;
    info.n_rs_seq            = llama_n_rs_seq(ctx.ctx);
    info.n_outputs_max       = ctx.n_outputs_max;
    info.kv_unified          = ctx.kv_unified ? 1 : 0;
    info.pooling             = llama_pooling_type(ctx.ctx);
    info.n_embd_out          = ctx.n_embd_out;
    info.n_embed_max         = ctx.n_embed_max();
    info.has_memory          = ctx.memory() != nullptr ? 1 : 0;
    info.has_kv              = parts.has_kv() ? 1 : 0;
    info.has_recurrent       = parts.recurrent != nullptr ? 1 : 0;
    info.kv_cell_bytes       = parts.kv_cell_bytes();
    info.recurrent_seq_bytes = parts.recurrent_seq_bytes();
    info.window_seq_bytes    = parts.window_cell_bytes() * ctx.model->model->hparams.n_swa;
    info.can_cut             = parts.known && parts.recurrent == nullptr && parts.caches.size() == 1 ? 1 : 0;
    info.n_draft_max         = ctx.n_draft_max();
    return info;
}

} // namespace

void check_seq_id(const pannier_context & ctx, int32_t seq_id) {
    if (ctx.memory() == nullptr) {
        fail(PANNIER_ERROR_ARGUMENT, "this model only embeds: it keeps no sequences");
    }
    if (seq_id < 0 || static_cast<uint32_t>(seq_id) >= ctx.n_seq_max) {
        fail(PANNIER_ERROR_ARGUMENT, "sequence %d does not exist: this context has 0 to %u", seq_id,
             ctx.n_seq_max - 1);
    }
}

} // namespace pannier

using namespace pannier;

int32_t pannier_context::n_draft_max() const {
    const memory_parts parts(memory());
    if (parts.memory == nullptr || !parts.known || n_embd_out > 0) {
        return 0;
    }
    const uint32_t n_most = std::min(llama_n_batch(ctx), llama_n_ubatch(ctx)) - 1;
    return static_cast<int32_t>(parts.recurrent != nullptr ? std::min(n_most, llama_n_rs_seq(ctx)) : n_most);
}

int pannier_context_create(pannier_model * model, const pannier_context_params * params, pannier_context ** out) {
    return guard([&] {
        not_null(model, "model");
        check_size(params, "pannier_context_params");
        not_null(out, "out") = nullptr;
        if (!model->has_weights) {
            fail(PANNIER_ERROR_CONTEXT, "the model was loaded without its weights: load it whole");
        }
        *out = create(*model, *params).release();
    });
}

int pannier_context_plan(pannier_model * model, const pannier_context_params * params, pannier_context_info * info,
                         pannier_memory_row * rows, int32_t capacity, int32_t * n_rows) {
    return guard([&] {
        check_size(info, "pannier_context_info");
        const auto ctx = create_planned(not_null(model, "model"), params);
        *info          = context_info(*ctx);
        write_rows(memory_rows(*ctx), rows, capacity, n_rows);
    });
}

int pannier_context_plan_placement(pannier_model * model, const pannier_context_params * params, int32_t n_clients,
                                   char ** out) {
    return guard([&] {
        const auto ctx       = create_planned(not_null(model, "model"), params);
        not_null(out, "out") = copy_text(placement(*ctx, n_clients));
    });
}

void pannier_context_free(pannier_context * ctx) {
    guard([&] { delete ctx; });
}

int pannier_context_get_info(const pannier_context * ctx, pannier_context_info * out) {
    return guard([&] {
        not_null(ctx, "ctx");
        check_size(out, "pannier_context_info");
        *out = context_info(*ctx);
    });
}

void pannier_context_interrupt(pannier_context * ctx) {
    if (ctx != nullptr) {
        ctx->interrupted.store(true, std::memory_order_relaxed);
    }
}

int64_t pannier_context_graphs_reused(const pannier_context * ctx) {
    return ctx == nullptr ? 0 : llama_perf_context(ctx->ctx).n_reused;
}
