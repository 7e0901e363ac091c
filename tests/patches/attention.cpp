// Decodes the private prompts of several sequences and then a token of each at a time, all in one
// unified cache, and writes the logits. Public llama.h and ggml.h only, for any engine.
//
//   attention MODEL LOGITS N_THREADS N_PROMPT FIRST LAST N_STEPS
//
// The cache holds the sequences FIRST to LAST - 1, whose tokens depend on their number alone; the
// prompts are decoded one after the other, then N_STEPS times a token of each, then one of FIRST
// alone. LOGITS gets the float32 rows of every prompt's last token and every token after, in the
// order decoded. Prints the number of reused graphs in the steps, and for every decode the bounds
// on attended cells that its graph was given, least and greatest, and the cells it spans.

#include "ggml.h"
#include "llama.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

struct seen {
    int least = INT32_MAX;
    int most  = 0;
    int n_kv  = 0;
};

static bool look(ggml_tensor * node, bool ask, void * data) {
    if (ask && node->op == GGML_OP_FLASH_ATTN_EXT) {
        auto & bounds = *static_cast<seen *>(data);
        bounds.least = std::min(bounds.least, node->op_params[4]);
        bounds.most  = std::max(bounds.most, node->op_params[4]);
        bounds.n_kv  = static_cast<int>(node->src[1]->ne[1]);
    }
    return false;
}

int main(int argc, char ** argv) {
    if (argc != 8) {
        return 2;
    }
    const int n_threads = atoi(argv[3]);
    const int n_prompt  = atoi(argv[4]);
    const int first     = atoi(argv[5]);
    const int last      = atoi(argv[6]);
    const int n_steps   = atoi(argv[7]);

    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_backend_init();
    llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) {
        return 1;
    }
    const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));

    seen bounds;
    llama_context_params params = llama_context_default_params();
    params.n_ctx             = 8192;
    params.n_seq_max         = 8;
    params.n_outputs_max     = 8;
    params.kv_unified        = true;
    params.flash_attn_type   = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    params.n_threads         = n_threads;
    params.n_threads_batch   = n_threads;
    params.cb_eval           = look;
    params.cb_eval_user_data = &bounds;
    llama_context * ctx = llama_init_from_model(model, params);
    if (!ctx) {
        return 1;
    }

    FILE * file = fopen(argv[2], "wb");
    llama_batch batch = llama_batch_init(n_prompt + 8, 0, 1);
    const auto add = [&](int seq, int pos, bool logits) {
        const int i = batch.n_tokens++;
        batch.token[i]     = static_cast<llama_token>((seq * 7919u + pos * 104729u) % static_cast<unsigned>(n_vocab));
        batch.pos[i]       = pos;
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = seq;
        batch.logits[i]    = logits;
    };
    const auto decode = [&] {
        if (llama_decode(ctx, batch) != 0) {
            exit(1);
        }
        for (int i = 0; i < batch.n_tokens; ++i) {
            if (batch.logits[i]) {
                fwrite(llama_get_logits_ith(ctx, i), sizeof(float), static_cast<size_t>(n_vocab), file);
            }
        }
        printf("bound %d %d %d\n", bounds.least, bounds.most, bounds.n_kv);
        bounds = {};
        batch.n_tokens = 0;
    };

    for (int seq = first; seq < last; ++seq) {
        for (int i = 0; i < n_prompt; ++i) {
            add(seq, i, i == n_prompt - 1);
        }
        decode();
    }
    const int before = llama_perf_context(ctx).n_reused;
    for (int step = 0; step < n_steps; ++step) {
        for (int seq = first; seq < last; ++seq) {
            add(seq, n_prompt + step, true);
        }
        decode();
    }
    printf("reused %d\n", llama_perf_context(ctx).n_reused - before);
    add(first, n_prompt + n_steps, true);
    decode();

    fclose(file);
    llama_batch_free(batch);
    llama_free(ctx);
    llama_model_free(model);
    return 0;
}
