// pannier.h: the one boundary between pannier's Python and llama.cpp.
//
// Conventions
// - Every function that can fail returns a pannier_status; the message behind the last failure
//   on this thread is pannier_last_error(). No C++ exception crosses the boundary.
// - Structs are passed by pointer and start with their own size, set by the caller. A size that
//   the library does not know is PANNIER_ERROR_ABI, never a crash.
// - Text that a function hands out through `char ** out` is freed with pannier_text_free().
//   `const char *` results live as long as the library or the object they were asked of.
// - Arguments are validated here: what would end in a llama.cpp assertion is an error instead.
// - A model may be used by several threads at once, a context by one thread at a time.
//   pannier_context_interrupt() is the exception: it may be called from anywhere.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PANNIER_API __attribute__((visibility("default")))
#define PANNIER_ABI_VERSION 1

enum pannier_status {
    PANNIER_OK              = 0,
    PANNIER_ERROR_INTERNAL  = 1, // a C++ exception from llama.cpp that has no code of its own
    PANNIER_ERROR_ABI       = 2, // a struct of the wrong size
    PANNIER_ERROR_ARGUMENT  = 3, // a value outside its range
    PANNIER_ERROR_MODEL     = 4, // the file is missing, damaged or not supported
    PANNIER_ERROR_CANCELLED = 5, // the progress callback said stop
    PANNIER_ERROR_CONTEXT   = 6, // the context cannot be created
    PANNIER_ERROR_MEMORY    = 7, // allocation failed
    PANNIER_ERROR_CACHE     = 8, // no free KV cells; memory is unchanged
    PANNIER_ERROR_DECODE    = 9, // compute failed or was interrupted; the batch's sequences are gone
    PANNIER_ERROR_CHAT      = 10, // the template or the messages
};

struct pannier_model;
struct pannier_context;
struct pannier_sampler;

// ---------------------------------------------------------------- library

PANNIER_API int          pannier_abi_version(void);
PANNIER_API const char * pannier_last_error(void);
PANNIER_API const char * pannier_build_info(void); // one line: llama.cpp version, compiled features
PANNIER_API void         pannier_text_free(char * text);

// Log lines of llama.cpp and ggml. `level` is ggml's: 1 debug, 2 info, 3 warning, 4 error,
// 5 continues the line before. Called from any thread. NULL silences.
typedef void (*pannier_log_callback)(int level, const char * text, void * user);
PANNIER_API void pannier_log_set(pannier_log_callback callback, void * user);
// Spreads threads over NUMA nodes, once in a process and before any model is loaded. `strategy` is
// ggml_numa_strategy: 1 distribute, 2 isolate, 3 numactl.
PANNIER_API int pannier_numa_init(int32_t strategy);

// ---------------------------------------------------------------- devices

enum pannier_device_type {
    PANNIER_DEVICE_CPU   = 0,
    PANNIER_DEVICE_GPU   = 1,
    PANNIER_DEVICE_IGPU  = 2,
    PANNIER_DEVICE_ACCEL = 3,
};

struct pannier_device {
    size_t       size;
    const char * name;        // as `--device` takes it, e.g. "Vulkan0"
    const char * description;
    const char * backend;
    int32_t      type;        // pannier_device_type
    const char * id;          // PCI address, "" if the device has none
    uint64_t     memory_total; // bytes; 0 if the device does not say
    uint64_t     memory_free;
    int64_t      process_bytes;   // that this process holds there, by the driver; -1 if it does not say
    int64_t      allocated_bytes; // that the backend has asked of the driver, its scratch pools included; -1 likewise
};

PANNIER_API int32_t pannier_device_count(void);
PANNIER_API int     pannier_device_get(int32_t index, struct pannier_device * out);

// ---------------------------------------------------------------- model

// Return false to cancel.
typedef bool (*pannier_progress_callback)(float fraction, void * user);

struct pannier_model_params {
    size_t               size;
    int32_t              n_gpu_layers;  // -1: all
    int32_t              load_mode;     // llama_load_mode: -1 auto, 0 none, 1 mmap, 2 mlock, 3 both
    int32_t              vocab_only;
    int32_t              no_alloc;      // read no weight: for the checks of a load, and for plans
    int32_t              check_tensors;
    int32_t              n_devices;     // 0: all GPUs; the one name "none" keeps the model on the CPU
    const char * const * devices;
    int32_t              n_overrides;
    const char * const * override_patterns; // regular expressions over tensor names
    const char * const * override_buffers;  // buffer type names, e.g. "CPU"; or system memory of a kind, where
                                            // the tensor would be there anyhow: host:mapped, host:copied, host:pinned
    int32_t              split_mode;    // llama_split_mode: 0 none, 1 layer, 2 row, 3 tensor
    int32_t              main_gpu;      // with split mode none: index into the devices
    int32_t              n_tensor_split;
    const float *        tensor_split;  // each device's share; none: by free memory
    int32_t              lazy_mode;     // llama_lazy_mode: 0 off, 1 auto, 2 on
    int32_t              no_repack;
    int32_t              no_host;
    int32_t              read_ahead;    // a mapped file is larger than memory: experts are read as they are used
    int32_t              n_kv_overrides;
    const char * const * kv_keys;       // read the metadata as if it said so
    const char * const * kv_types;      // int, float, bool, str
    const char * const * kv_values;     // as text
    pannier_progress_callback progress;
    void *               progress_user;
};

struct pannier_model_info {
    size_t   size;
    uint64_t size_bytes;
    uint64_t n_params;
    const char * ftype; // what most tensors are, e.g. "Q4_K - Medium"
    int32_t  n_vocab;
    int32_t  n_ctx_train;
    int32_t  n_embd;
    int32_t  n_layer;
    int32_t  bos; // -1 where the vocabulary has none
    int32_t  eos;
    int32_t  sep;
    int32_t  fim_pre; // fill in the middle: what comes before the gap,
    int32_t  fim_suf; // after it,
    int32_t  fim_mid; // and into it
    int32_t  fim_rep; // name of a repository
    int32_t  fim_sep; // name of a file
    int32_t  add_bos;
    int32_t  add_eos;
    int32_t  add_sep;
    int32_t  is_recurrent;
    int32_t  is_hybrid;
    int32_t  has_encoder;
    int32_t  has_decoder;
};

PANNIER_API int  pannier_model_load(const char * path, const struct pannier_model_params * params,
                                    struct pannier_model ** out);
PANNIER_API void pannier_model_free(struct pannier_model * model);
PANNIER_API int  pannier_model_get_info(const struct pannier_model * model, struct pannier_model_info * out);
// One line, e.g. "qwen3next 80B.A3B Q4_K - Medium".
PANNIER_API int  pannier_model_description(const struct pannier_model * model, char ** out);
// Where the model's tensors are, or would be. Writes at most `capacity` rows; `n_rows` is the number
// there are: a matrix that is used twice can be on two devices.
struct pannier_tensor_row {
    size_t       size;
    const char * name;
    const char * device;      // "CPU" for buffers in system memory
    const char * buffer_type;
    int32_t      is_host;     // 1 if the buffer lives in system memory
    uint64_t     bytes;
};

PANNIER_API int  pannier_model_tensors(const struct pannier_model * model, struct pannier_tensor_row * rows,
                                       int32_t capacity, int32_t * n_rows);
// Which names a pattern of an override matches, as llama.cpp would: 1 or 0 for each.
PANNIER_API int  pannier_match_names(const char * pattern, const char * const * names, int32_t n_names,
                                     int8_t * matches);
// Keeps tensors in system memory from being swapped or dropped, one after the other; at the first that the system
// refuses to lock, that is all: `n_locked` says how many were. They are unlocked with the model's memory.
PANNIER_API int  pannier_model_lock(const struct pannier_model * model, const char * const * names, int32_t n_names,
                                    int32_t * n_locked);
// All metadata of the file as a JSON object of strings (arrays as llama.cpp prints them).
PANNIER_API int  pannier_model_metadata(const struct pannier_model * model, char ** out);

// Loads a LoRA adapter beside the model; `id` counts from 0. The model owns it.
PANNIER_API int pannier_model_add_adapter(struct pannier_model * model, const char * path, int32_t * id);

// Writes at most `capacity` ids; `n_tokens` is the number needed, also when it is larger.
PANNIER_API int pannier_tokenize(const struct pannier_model * model, const char * text, int32_t n_bytes,
                                 int32_t add_special, int32_t parse_special,
                                 int32_t * tokens, int32_t capacity, int32_t * n_tokens);
// The bytes of one token; `n_bytes` is the number needed, also when it is larger than `capacity`.
PANNIER_API int pannier_token_piece(const struct pannier_model * model, int32_t token, int32_t special,
                                    char * bytes, int32_t capacity, int32_t * n_bytes);
PANNIER_API int pannier_detokenize(const struct pannier_model * model, const int32_t * tokens, int32_t n_tokens,
                                   int32_t remove_special, int32_t unparse_special,
                                   char * bytes, int32_t capacity, int32_t * n_bytes);
// 1 if the token ends generation, 0 if not or out of range.
PANNIER_API int32_t pannier_token_is_eog(const struct pannier_model * model, int32_t token);

// ---------------------------------------------------------------- chat

// How the answer to one conversation is read. Used by one thread at a time.
struct pannier_chat_parser;

// From now on this template (Jinja, or the name of one of llama.cpp's own) stands for the model's.
PANNIER_API int pannier_chat_set_template(struct pannier_model * model, const char * source);
// A JSON object: source and source_tool_use of the templates, caps, supports_thinking.
PANNIER_API int pannier_chat_facts(struct pannier_model * model, char ** out);
// Renders a conversation. In: a JSON object with messages, tools, tool_choice, parallel_tool_calls,
// json_schema, grammar, add_generation_prompt, continue_final_message, echo, enable_thinking,
// reasoning_format, chat_template_kwargs, use_jinja, skip_parsing, template (for this call alone).
// Out: prompt, stops, format, generation_prompt, grammar, grammar_lazy, grammar_triggers,
// preserved_tokens, thinking_start, thinking_ends. `parser` may be NULL.
PANNIER_API int pannier_chat_apply(struct pannier_model * model, const char * request_json, char ** out,
                                   struct pannier_chat_parser ** parser);
// One for each answer, if there are several to a conversation.
PANNIER_API int  pannier_chat_parser_copy(const struct pannier_chat_parser * parser,
                                          struct pannier_chat_parser ** out);
PANNIER_API void pannier_chat_parser_free(struct pannier_chat_parser * parser);
// Adds text to the answer; `tokens[i]` begins at byte `offsets[i]` of it. Out: a JSON object with
// diffs (objects with content, reasoning_content, and index and call (id, name, arguments) where a
// tool call grew), plain (all that follows is content: no need to ask), and with the last part
// message (content, reasoning_content, tool_calls). PANNIER_ERROR_CHAT: the answer is not in the
// format that was asked for.
PANNIER_API int pannier_chat_parse(struct pannier_chat_parser * parser, const char * text, int32_t n_bytes,
                                   const int32_t * tokens, const int32_t * offsets, int32_t n_tokens,
                                   int32_t is_last, char ** out);
// GBNF of the JSON texts that fit a schema.
PANNIER_API int pannier_json_schema_to_grammar(const char * schema_json, char ** out);

// ---------------------------------------------------------------- context

// How the rows of a prompt become one.
enum pannier_pooling {
    PANNIER_POOLING_AUTO = -1, // as the model file says; none if it does not
    PANNIER_POOLING_NONE = 0,
    PANNIER_POOLING_MEAN = 1,
    PANNIER_POOLING_CLS  = 2,  // the first token's
    PANNIER_POOLING_LAST = 3,
    PANNIER_POOLING_RANK = 4,  // the scores of the classification head
};

// A pool of threads; without one llama.cpp starts them anew for each graph, on any CPU.
struct pannier_thread_params {
    size_t          size;
    int32_t         n_cpus;   // 0: any
    const int32_t * cpus;
    int32_t         strict;   // one CPU for each thread
    int32_t         priority; // ggml_sched_priority: -1 low .. 3 realtime
    int32_t         poll;     // 0 .. 100
};

// How positions turn. 0 is the model's own, for the yarn factors below 0.
struct pannier_rope_params {
    size_t   size;
    int32_t  scaling; // llama_rope_scaling_type: -1 the model's, 0 none, 1 linear, 2 yarn
    float    freq_base;
    float    freq_scale;
    uint32_t yarn_orig_ctx;
    float    yarn_ext_factor;
    float    yarn_attn_factor;
    float    yarn_beta_fast;
    float    yarn_beta_slow;
};

struct pannier_context_params {
    size_t       size;
    uint32_t     n_ctx;         // cells over all sequences; 0: the model's training context
    uint32_t     n_batch;       // most tokens in one step
    uint32_t     n_ubatch;      // most tokens computed at once
    uint32_t     n_seq_max;     // 1 .. 256
    uint32_t     n_rs_seq;      // rollback planes of the recurrent state, 0: none
    uint32_t     n_outputs_max; // most output rows in one step, at least n_seq_max
    int32_t      n_threads;
    int32_t      n_threads_batch;
    const char * type_k;        // f32 f16 bf16 q8_0 q4_0 q4_1 iq4_nl q5_0 q5_1
    const char * type_v;
    const char * type_state;    // of recurrent states: f32, or f16 or bf16 where the architecture allows
    int32_t      flash_attn;    // -1 auto, 0 off, 1 on
    int32_t      offload_kqv;
    int32_t      op_offload;
    int32_t      swa_full;
    int32_t      kv_unified;
    int32_t      embeddings;    // for pannier_context_embed, and for nothing else
    int32_t      pooling;       // pannier_pooling
    int32_t      routes;        // keep the experts that the router chose, for pannier_routes_take
    uint64_t     moe_cache_bytes;
    const struct pannier_rope_params *   rope;          // NULL: the model's
    const struct pannier_thread_params * threads;       // NULL: no pools
    const struct pannier_thread_params * threads_batch; // with `threads`, and only with it
};

struct pannier_context_info {
    size_t   size;
    uint32_t n_ctx;     // as created: llama.cpp pads to 256
    uint32_t n_ctx_seq;
    uint32_t n_batch;
    uint32_t n_ubatch;
    uint32_t n_seq_max;
    uint32_t n_rs_seq;  // 0 where the architecture has no rollback
    uint32_t n_outputs_max;
    int32_t  kv_unified;
    int32_t  pooling;    // pannier_pooling, as resolved; only with embeddings
    int32_t  n_embd_out; // length of an embedding; 0 without embeddings
    int32_t  n_embed_max; // most tokens of a prompt to embed
    int32_t  has_memory; // 0: the model only embeds, and keeps no sequences
    int32_t  has_kv;
    int32_t  has_recurrent;
    uint64_t kv_cell_bytes;       // one token's K and V over all layers of the full-size cache
    uint64_t recurrent_seq_bytes; // one sequence's state, rollback planes included
    uint64_t window_seq_bytes;    // one sequence's cells in the sliding-window layers, at most
    int32_t  can_cut;             // a sequence can lose any part of its end, and any prefix be copied
    int32_t  n_draft_max;         // most drafts of one sequence that a step of one ubatch can take back
};

// Not over a model loaded with no_alloc: of that, only a plan can be made.
PANNIER_API int  pannier_context_create(struct pannier_model * model, const struct pannier_context_params * params,
                                        struct pannier_context ** out);
PANNIER_API void pannier_context_free(struct pannier_context * ctx);
PANNIER_API int  pannier_context_get_info(const struct pannier_context * ctx, struct pannier_context_info * out);
// Makes the running step return PANNIER_ERROR_DECODE. CPU graphs stop within a node; others at their end.
PANNIER_API void pannier_context_interrupt(struct pannier_context * ctx);

// From now on compute with these adapters of the model, each times its scale, and with no others. What
// sequences hold stays as it was computed.
PANNIER_API int pannier_context_set_adapters(struct pannier_context * ctx, const int32_t * ids, const float * scales,
                                             int32_t n);

// Embeds prompts of `lengths` tokens each, one after the other in `tokens`; as many at once as there
// are sequences and room for in a ubatch; a longer one only where its last token alone counts and sees
// no later one. A row of n_embd_out floats for each prompt, or for each
// token where nothing is pooled. What the context's memory held is gone.
PANNIER_API int pannier_context_embed(struct pannier_context * ctx, const int32_t * tokens, const int32_t * lengths,
                                      int32_t n_prompts, float * rows, size_t capacity);

// ---------------------------------------------------------------- step

enum pannier_output {
    PANNIER_OUTPUT_NONE   = 0,
    PANNIER_OUTPUT_SAMPLE = 1, // sample the row with its sequence's sampler
    PANNIER_OUTPUT_LOGITS = 2, // keep the row for pannier_context_logits
    PANNIER_OUTPUT_DRAFT  = 3, // a guess of what the row before yields; see pannier_context_step
};

struct pannier_batch {
    size_t          size;
    int32_t         n_tokens;
    const int32_t * tokens;  // [n_tokens]
    const int32_t * seq_ids; // [n_tokens] positions follow each sequence's last one
    const int8_t *  outputs; // [n_tokens] pannier_output
};

// What one step sampled: one entry for each PANNIER_OUTPUT_SAMPLE row and each accepted
// PANNIER_OUTPUT_DRAFT row, in batch order.
// The caller owns the arrays and says how many entries (capacity, n_top) they hold.
struct pannier_step {
    size_t    size;
    int32_t   capacity;
    int32_t   n_top;        // alternatives kept for each entry, 0: none
    int32_t   n_sampled;    // out
    int32_t * rows;         // [capacity] index into the batch
    int32_t * tokens;       // [capacity] -1 if this row's sampler failed
    float *   logprobs;     // [capacity] natural log; NaN unless the sampler was set with n_probs > 0.
                            // With post_sampling_probs the probability itself
    int32_t * top_tokens;   // [capacity * n_top] best first, -1 beyond the end
    float *   top_logprobs; // [capacity * n_top]
    int32_t   n_lost;       // out
    int32_t * lost;         // [capacity] sequences that could not give rejected drafts back: they are empty
    int64_t   decode_us;    // out
    int64_t   sample_us;    // out
};

// Drafts follow a PANNIER_OUTPUT_SAMPLE row of their sequence and are its last rows. A draft is accepted,
// and sampled in its turn, if the row before it yielded its token; the first that is not, and all after it,
// are removed from the sequence.
PANNIER_API int pannier_context_step(struct pannier_context * ctx, const struct pannier_batch * batch,
                                     struct pannier_step * step);
// Logits of a row of the last step that had an output, [n_vocab] float32.
PANNIER_API int pannier_context_logits(struct pannier_context * ctx, int32_t row, float * logits, int32_t n_vocab);
// How often llama.cpp reused its compute graph since the context was created.
PANNIER_API int64_t pannier_context_graphs_reused(const struct pannier_context * ctx);

// ---------------------------------------------------------------- sequences

// Removes positions [p0, p1), -1 for either end. `removed` is 0 if this memory cannot (a recurrent
// state goes back only through rollback planes); nothing has changed then.
PANNIER_API int pannier_seq_remove(struct pannier_context * ctx, int32_t seq_id, int32_t p0, int32_t p1,
                                   int32_t * removed);
// Makes `dst` share all of `src`'s state. What `dst` held is removed first. Of a unified
// sliding-window cache it shares the window only, and both let go of it once they have moved on:
// llama.cpp uses a cell again only when one sequence has it.
PANNIER_API int pannier_seq_copy(struct pannier_context * ctx, int32_t src, int32_t dst);
// First and last position of a sequence; -1 when empty.
PANNIER_API int pannier_seq_get_range(const struct pannier_context * ctx, int32_t seq_id, int32_t * pos_min,
                                      int32_t * pos_max);
// State of one sequence as bytes. With bytes NULL only the size is set.
PANNIER_API int pannier_seq_save(struct pannier_context * ctx, int32_t seq_id, uint8_t * bytes, size_t capacity,
                                 size_t * n_bytes);
PANNIER_API int pannier_seq_load(struct pannier_context * ctx, int32_t seq_id, const uint8_t * bytes, size_t n_bytes);

// ---------------------------------------------------------------- sampling

struct pannier_sampler_params {
    size_t          size;
    uint32_t        seed;
    float           temperature;
    int32_t         top_k;
    float           top_p;
    float           min_p;
    float           typical_p;
    float           top_n_sigma;
    float           xtc_probability;
    float           xtc_threshold;
    float           dynatemp_range;
    float           dynatemp_exponent;
    int32_t         repeat_last_n;
    float           repeat_penalty;
    float           frequency_penalty;
    float           presence_penalty;
    float           dry_multiplier;
    float           dry_base;
    int32_t         dry_allowed_length;
    int32_t         dry_penalty_last_n;
    int32_t         mirostat;
    float           mirostat_tau;
    float           mirostat_eta;
    float           adaptive_target; // 0 .. 1, negative: off; only where "adaptive_p" is among the samplers
    float           adaptive_decay;  // 0 .. 0.99
    int32_t         min_keep;
    int32_t         ignore_eos;
    int32_t         n_probs;  // alternatives to report with each token, 0: none, not even its own
    int32_t         post_sampling_probs; // report what the samplers left, instead of the logits' own
    int32_t         n_dry_sequence_breakers;
    const char * const * dry_sequence_breakers;
    int32_t         n_samplers;
    const char * const * samplers; // names, in order
    int32_t         n_logit_bias;
    const int32_t * logit_bias_tokens;
    const float *   logit_bias_values;
    const char *    grammar;  // GBNF, "" for none
    int32_t         grammar_type; // pannier_grammar_type
    int32_t         grammar_lazy; // it holds from a trigger on
    int32_t         n_triggers;
    const int32_t * trigger_types; // pannier_trigger_type
    const char * const * trigger_values;
    const int32_t * trigger_tokens;
    const char *    generation_prompt; // the end of the prompt that belongs to the answer already
    int32_t         reasoning_budget;  // most tokens of reasoning, -1 for any number
    const char *    reasoning_start;   // "" where there is no reasoning
    int32_t         n_reasoning_ends;
    const char * const * reasoning_ends;
    const char *    reasoning_message; // written before the end when the budget is spent
};

// Whether the grammar knows the generation prompt.
enum pannier_grammar_type {
    PANNIER_GRAMMAR_USER          = 1,
    PANNIER_GRAMMAR_OUTPUT_FORMAT = 2,
    PANNIER_GRAMMAR_TOOL_CALLS    = 3,
};

enum pannier_trigger_type {
    PANNIER_TRIGGER_TOKEN        = 0,
    PANNIER_TRIGGER_WORD         = 1,
    PANNIER_TRIGGER_PATTERN      = 2,
    PANNIER_TRIGGER_PATTERN_FULL = 3,
};

// Gives a sequence a new sampler; `history` (the prompt) feeds its penalties. Of it, the last
// `n_generated` tokens count as sampled: a grammar has to accept them.
PANNIER_API int pannier_sampler_set(struct pannier_context * ctx, int32_t seq_id,
                                    const struct pannier_sampler_params * params,
                                    const int32_t * history, int32_t n_history, int32_t n_generated);
PANNIER_API int pannier_sampler_clear(struct pannier_context * ctx, int32_t seq_id);

// A sampler over logits that its caller brings: what fits the grammar, then the samplers in their order. It looks back
// on the tokens that it accepted; `n_ctx` is what a look back of -1 means. It must not outlive the model, and serves
// one thread at a time. Lazy grammars and limits for reasoning are refused.
PANNIER_API int  pannier_sampler_create(const struct pannier_model * model, const struct pannier_sampler_params * params,
                                        int32_t n_ctx, struct pannier_sampler ** out);
PANNIER_API void pannier_sampler_free(struct pannier_sampler * sampler);
// logits: [n_vocab]. PANNIER_ERROR_ARGUMENT where none is possible.
PANNIER_API int  pannier_sampler_choose(struct pannier_sampler * sampler, const float * logits, int32_t n_vocab,
                                        int32_t * token);
PANNIER_API int  pannier_sampler_accept(struct pannier_sampler * sampler, int32_t token);

// ---------------------------------------------------------------- experts

// The experts that the router chose in all ubatches computed since the last call, in their order, which
// are forgotten with it. For each ubatch, in numbers: n_tokens, n_outputs, n_layers; `n_tokens` rows of
// the step's batch (or prompts' tokens), in the ubatch's order; those `n_outputs` of them that had an
// output; and for each of `n_layers` layers with experts: its number, n_used, n_rows, and
// [n_rows][n_used] experts. n_rows is n_tokens, or n_outputs in a layer that computes no other rows.
// With numbers NULL only the count is set, and nothing is forgotten.
PANNIER_API int pannier_routes_take(struct pannier_context * ctx, int32_t * numbers, size_t capacity,
                                    size_t * n_numbers);

// A layer whose experts live in system memory and are cached on a device, and what happened to it since
// the context was created.
struct pannier_moe_layer {
    size_t       size;
    int32_t      layer;
    int32_t      group;        // layers of equal layout on one device share the slots of their group
    int32_t      n_slots;      // of the group
    const char * device;
    uint64_t     expert_bytes; // of one expert, which is a slot
    uint64_t     n_ubatches;   // that were computed from the cache
    uint64_t     n_hits;       // distinct experts of a ubatch
    uint64_t     n_misses;
    uint64_t     upload_bytes;
    uint64_t     n_copied;     // experts that large batches read from the cache
    uint64_t     copied_bytes;
    int64_t      wait_us;      // until the chosen experts were known, and all before them was computed
    int64_t      upload_us;    // until the missing experts were on their way
};

// Writes at most `capacity` layers; `n_layers` is the number there are, 0 without a cache. An unpatched
// engine has no counters: PANNIER_ERROR_ARGUMENT. Each layer's size must be set by the caller.
PANNIER_API int pannier_context_moe_cache(const struct pannier_context * ctx, struct pannier_moe_layer * layers,
                                          int32_t capacity, int32_t * n_layers);

// ---------------------------------------------------------------- memory

enum pannier_memory_kind {
    PANNIER_MEMORY_WEIGHTS   = 0,
    PANNIER_MEMORY_KV        = 1,
    PANNIER_MEMORY_RECURRENT = 2,
    PANNIER_MEMORY_COMPUTE   = 3,
    PANNIER_MEMORY_OUTPUT    = 4,
    PANNIER_MEMORY_MOE_CACHE = 5,
    PANNIER_MEMORY_ROLLBACK  = 6, // planes of a recurrent state, beside the state itself
    PANNIER_MEMORY_LORA      = 7, // the model's adapters, whether a context computes with them or not
};

struct pannier_memory_row {
    size_t       size;
    const char * device;      // "CPU" for buffers in system memory
    const char * buffer_type; // e.g. "Vulkan0", "Vulkan_Host", "CPU_REPACK"
    int32_t      is_host;     // 1 if the buffer lives in system memory
    int32_t      kind;        // pannier_memory_kind, -1 in the allocation record
    uint64_t     bytes;
};

// What the context and its model hold, by buffer type and kind. Writes at most `capacity` rows;
// `n_rows` is the number there are. Each row's size must be set by the caller.
PANNIER_API int pannier_context_memory(const struct pannier_context * ctx, struct pannier_memory_row * rows,
                                       int32_t capacity, int32_t * n_rows);
// What a context of these parameters over a model loaded with no_alloc would be, and what both would
// hold: the same rows, as of a context that has just been created. Nothing is allocated but the backends'
// own pools and handles, and those are gone when this returns.
PANNIER_API int pannier_context_plan(struct pannier_model * model, const struct pannier_context_params * params,
                                     struct pannier_context_info * info, struct pannier_memory_row * rows,
                                     int32_t capacity, int32_t * n_rows);
// Cells of one kind that the same sequences hold.
struct pannier_cell_group {
    size_t   size;
    int32_t  kind;         // pannier_cell_kind
    int32_t  n_holders;
    int32_t  first_holder; // index into `holders`
    uint64_t n_cells;
    uint64_t cell_bytes;
};

enum pannier_cell_kind {
    PANNIER_CELL_KV     = 0, // of the full-size cache
    PANNIER_CELL_WINDOW = 1, // of the cache of sliding-window layers
    PANNIER_CELL_STATE  = 2, // a recurrent state with its rollback planes
};

// Who holds which cells now; cells that nobody holds are in no group, nor are those of a memory of a kind
// that is not known in detail. Writes at most `capacity` groups and `n_most` holders; `n_groups` and
// `n_holders` are the numbers there are. Each group's size must be set by the caller.
PANNIER_API int pannier_context_cells(const struct pannier_context * ctx, struct pannier_cell_group * groups,
                                      int32_t capacity, int32_t * n_groups, int32_t * holders, int32_t n_most,
                                      int32_t * n_holders);
// Where the ops of the context's graphs run, and where they should by the placement that was asked
// for. Builds the graphs and computes nothing. A JSON object: `graphs` (one token of each of
// `n_clients`; a prompt's ubatch; what buffers are reserved for), each with name, n_tokens, n_seqs,
// n_splits, ops (device to op to count), copies (source, target, n, bytes; weight_bytes and cache_bytes of
// these) and misplaced (name, op, layer, device, planned, is_lacking, weight, sources with type and
// shape); `weights` that are not where they should be; `overrides` with the tensors that each matches,
// and takes from those after it; `cache_types`; `flash_attn`.
PANNIER_API int pannier_context_placement(struct pannier_context * ctx, int32_t n_clients, char ** out);
// The same for a context over a model loaded with no_alloc.
PANNIER_API int pannier_context_plan_placement(struct pannier_model * model,
                                               const struct pannier_context_params * params, int32_t n_clients,
                                               char ** out);
// What ggml has allocated in this process and not freed, by buffer type: an independent record,
// kept at the allocator. An unpatched engine has none: PANNIER_ERROR_ARGUMENT.
PANNIER_API int pannier_allocations(struct pannier_memory_row * rows, int32_t capacity, int32_t * n_rows);

// ---------------------------------------------------------------- rates of this machine

enum pannier_rate {
    PANNIER_RATE_READ          = 0, // weights of experts, read by products with one vector, in bytes/s
    PANNIER_RATE_COPY          = 1, // memory to memory, by the CPU, in bytes/s
    PANNIER_RATE_UPLOAD        = 2, // from ordinary memory to the device, in bytes/s
    PANNIER_RATE_UPLOAD_PINNED = 3, // from the device's own host memory; PANNIER_ERROR_ARGUMENT without such
    PANNIER_RATE_DOWNLOAD      = 4, // from the device to ordinary memory, in bytes/s
    PANNIER_RATE_SYNC          = 5, // a small computation until its result is in memory, in seconds
};

struct pannier_rate_params {
    size_t       size;
    int32_t      device;      // index
    int32_t      rate;        // pannier_rate
    const char * type;        // of the weights, by ggml's name
    uint64_t     n_bytes;     // read or moved in a run, at least 4 MiB: more than the caches hold
    uint64_t     block_bytes; // of an expert's matrix, which is read or moved at once
    int32_t      n_threads;   // of the CPU
    float        seconds;     // how long to go on; one run at least, after one that does not count
};

// Measures one rate: the median of the runs.
PANNIER_API int pannier_measure_rate(const struct pannier_rate_params * params, double * out);

// ---------------------------------------------------------------- quantising
//
// Types go by ggml's names, in capitals or not: "F16", "Q4_K", "iq2_xxs".

// What llama.cpp's recipes ask of a model.
struct pannier_quant_model {
    size_t       size;
    const char * architecture; // GGUF's general.architecture
    int32_t      n_layer;      // MTP blocks included
    int32_t      n_embd;
    int32_t      n_ff;
    int32_t      n_head;       // of the first layer, as n_head_kv
    int32_t      n_head_kv;
    int32_t      n_expert;
    int32_t      n_embd_head_k;
    int32_t      n_embd_head_v;
};

struct pannier_quant_recipe {
    size_t               size;
    int32_t              ftype;                // llama_ftype
    int32_t              has_imatrix;
    int32_t              pure;                 // one type for all
    const char *         output_type;          // NULL: as the recipe says
    const char *         token_embedding_type; // NULL: as the recipe says
    int32_t              n_overrides;
    const char * const * override_patterns;    // regular expressions over tensor names
    const char * const * override_types;
};

struct pannier_quant_tensor {
    size_t       size;
    const char * name;
    const char * type;          // what it is now
    int64_t      ne0;           // row length; the other dimensions are 1 where there are fewer
    int64_t      ne1;
    int64_t      ne2;
    int64_t      ne3;
    const char * target;        // out: the type chosen, its own if it is not allowed
    int32_t      allowed;       // out: whether llama.cpp quantises this tensor at all
    int32_t      needs_imatrix; // out: whether the target is refused without an importance matrix
};

// Chooses the type of each tensor as llama-quantize would. All tensors of the model, in any order.
PANNIER_API int pannier_quant_choose(const struct pannier_quant_model * model,
                                     const struct pannier_quant_recipe * recipe,
                                     struct pannier_quant_tensor * tensors, int32_t n_tensors);
// Bytes of one row.
PANNIER_API int pannier_quant_row_bytes(const char * type, int64_t n_per_row, int64_t * n_bytes);
// One matrix [n_rows, n_per_row] to bytes; `imatrix` is [n_per_row] or NULL. `n_bad` counts values
// that are NaN or infinite: where there are any, the bytes are of no use.
PANNIER_API int pannier_quantize(const char * type, const float * values, int64_t n_rows, int64_t n_per_row,
                                 const float * imatrix, int32_t n_threads, uint8_t * bytes, size_t capacity,
                                 int64_t * n_bad);
// And back: `values` has room for [n_rows, n_per_row].
PANNIER_API int pannier_dequantize(const char * type, const uint8_t * bytes, size_t n_bytes, int64_t n_rows,
                                   int64_t n_per_row, int32_t n_threads, float * values);

#ifdef __cplusplus
}
#endif
