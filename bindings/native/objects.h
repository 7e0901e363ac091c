// The objects behind the opaque pointers of pannier.h.
#pragma once

#include "guard.h"

#include "read_ahead.h"

#include "chat.h"
#include "llama.h"
#include "sampling.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <regex>
#include <string>
#include <vector>

namespace pannier {

// Tensors whose names match go into buffers of this type.
struct named_override {
    std::string                text;
    std::regex                 pattern;
    ggml_backend_buffer_type_t type;
};

} // namespace pannier

struct pannier_model {
    llama_model *       model = nullptr;
    const llama_vocab * vocab = nullptr;
    bool                has_weights = false; // not if only its vocabulary or its header was read
    bool                can_plan    = false; // if all but its weights is there

    std::vector<llama_adapter_lora *> adapters; // llama.cpp frees them with the model
    std::vector<pannier::named_override> overrides; // as asked for; the first that matches counts
    std::unique_ptr<pannier::read_ahead> experts_ahead; // null: the file is read when it is mapped

    // The model's own templates, parsed at first use, or those of `chat_template`, if there is one.
    // Rendering is const and needs no lock.
    std::mutex                                   chat_mutex;
    std::string                                  chat_template;
    std::shared_ptr<const common_chat_templates> chat_templates;

    ~pannier_model() {
        experts_ahead.reset();
        llama_model_free(model);
    }

    int32_t n_vocab() const { return llama_vocab_n_tokens(vocab); }
};

namespace pannier {

// How one sequence's next token is chosen.
struct sequence_sampler {
    common_sampler_ptr chain;           // unset when plain greedy needs none
    int32_t            n_probs = 0;
    bool               post_probs = false; // those that the chain left

    explicit operator bool() const { return active; }

    bool active = false;
};

// Threads of a context that stay between its graphs: one pool, or one for prompts too.
class thread_pools {
public:
    thread_pools() = default;
    thread_pools(const thread_pools &) = delete;
    thread_pools & operator=(const thread_pools &) = delete;
    ~thread_pools();

    void attach(llama_context * ctx, const pannier_context_params & params);

private:
    ggml_threadpool_t pool       = nullptr;
    ggml_threadpool_t pool_batch = nullptr; // null: `pool` is for prompts too
};

} // namespace pannier

struct pannier_context {
    pannier_model * model = nullptr;
    llama_context * ctx   = nullptr;

    uint32_t n_outputs_max = 0;
    uint32_t n_seq_max     = 0; // llama.cpp itself accepts up to 256 in a unified cache
    bool     kv_unified    = true;
    int32_t  n_embd_out    = 0; // length of an embedding; 0: the context generates

    std::atomic<bool> interrupted{false};

    std::vector<pannier::sequence_sampler> samplers; // [n_seq_max]

    // Where a sequence will have left the window that it shares with another; -1: it shares none.
    std::vector<int32_t> shared_window_ends; // [n_seq_max]

    // The batch in llama.cpp's form; reused between steps.
    std::vector<int32_t>        n_seq_ids;
    std::vector<llama_seq_id>   seq_ids;
    std::vector<llama_seq_id *> seq_id_pointers;
    std::vector<int8_t>         logits;
    std::vector<int8_t>         outputs; // of the last step, for pannier_context_logits

    // Of each ubatch whose routes were not taken yet, as pannier_routes_take writes them.
    std::vector<std::vector<int32_t>> routes;

    pannier::thread_pools pools; // freed after the context that uses them

    ~pannier_context() { llama_free(ctx); }

    llama_memory_t memory() const { return llama_get_memory(ctx); }

    int32_t n_draft_max() const;
    int32_t n_embed_max() const;
};

namespace pannier {

// Throws PANNIER_ERROR_ARGUMENT unless 0 <= seq_id < n_seq_max and the model keeps sequences.
void check_seq_id(const pannier_context & ctx, int32_t seq_id);

// Whether llama.cpp's contexts that this thread creates tell `ctx` what their router chooses.
void trace_routes(pannier_context & ctx, bool enabled);

// Removes the last n tokens of a sequence. False: it could not, and the sequence is empty now.
bool take_back(pannier_context & ctx, int32_t seq_id, int32_t n);

// Lets go of shared windows that the last step's sequences have left.
void leave_shared_windows(pannier_context & ctx);

} // namespace pannier
