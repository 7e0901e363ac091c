// Prints the experts that llama.cpp's eval callback sees. Public llama.h only, so that it compiles
// against any engine.
//
//   routes MODEL N_UBATCH UNIFIED EXPERTS_IN_CPU_MEMORY < batches
//
// A line of the input is a batch: SEQUENCE TOKEN HAS_OUTPUT for each token. A line of the output
// is one layer of one ubatch: its number, how many experts a token uses, then the experts.

#include "ggml-backend.h"
#include "llama.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

static bool see(ggml_tensor * tensor, bool ask, void *) {
    int layer = 0;
    if (std::sscanf(tensor->name, "ffn_moe_topk-%d", &layer) != 1) {
        return !ask; // go on
    }
    if (!ask) {
        std::printf("%d %d", layer, int(tensor->ne[0]));
        std::vector<int32_t> row(size_t(tensor->ne[0]));
        for (int64_t i = 0; i < tensor->ne[1]; ++i) {
            ggml_backend_tensor_get(tensor, row.data(), size_t(i) * tensor->nb[1], row.size() * sizeof(int32_t));
            for (const int32_t expert : row) {
                std::printf(" %d", expert);
            }
        }
        std::printf("\n");
    }
    return true;
}

static void decode(llama_context * ctx, const std::string & line) {
    std::istringstream in(line);
    llama_batch        batch = llama_batch_init(1024, 0, 1);
    int                seq, token, output;
    while (in >> seq >> token >> output) {
        const int i        = batch.n_tokens++;
        batch.token[i]     = token;
        batch.pos[i]       = llama_memory_seq_pos_max(llama_get_memory(ctx), seq) + 1;
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = seq;
        batch.logits[i]    = int8_t(output);
        for (int j = 0; j < i; ++j) {
            batch.pos[i] += batch.seq_id[j][0] == seq;
        }
    }
    if (llama_decode(ctx, batch) != 0) {
        std::exit(1);
    }
    llama_batch_free(batch);
}

int main(int, char ** argv) {
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    ggml_backend_load_all();
    auto                                     model_params = llama_model_default_params();
    llama_model_tensor_buft_override overrides[] = { { "_exps", nullptr }, { nullptr, nullptr } };
    if (std::atoi(argv[4]) != 0) {
        overrides[0].buft                   = ggml_backend_dev_buffer_type(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU));
        model_params.tensor_buft_overrides = overrides;
    }
    llama_model * model  = llama_model_load_from_file(argv[1], model_params);
    auto          params = llama_context_default_params();
    params.n_ctx         = 1024;
    params.n_batch       = 256;
    params.n_ubatch      = uint32_t(std::atoi(argv[2]));
    params.n_seq_max     = 4;
    params.n_outputs_max = 256;
    params.kv_unified    = std::atoi(argv[3]) != 0;
    params.n_threads     = 1;
    params.cb_eval       = see;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    llama_context * ctx  = llama_init_from_model(model, params);
    for (std::string line; std::getline(std::cin, line);) {
        decode(ctx, line);
    }
    llama_free(ctx);
    llama_model_free(model);
}
