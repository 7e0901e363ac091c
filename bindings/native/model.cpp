// Loading a model, its facts, its vocabulary.
#include "host_memory.h"
#include "memory_parts.h"
#include "objects.h"
#include "patterns.h"
#include "read_ahead.h"

#include "common.h"
#include "ggml-backend.h"

// Another library's class: see memory_parts.cpp.
#pragma GCC visibility push(default)
#include "llama-model.h"
#pragma GCC visibility pop

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <sys/stat.h>

namespace pannier {
namespace {

#ifdef PANNIER_HAS_PLANS
constexpr bool HAS_PLANS = true;
#else
constexpr bool HAS_PLANS = false; // without the patch, llama.cpp asserts that a plan maps no file
#endif

// Every buffer type that a tensor override may name.
std::map<std::string, ggml_backend_buffer_type_t> buffer_types() {
    std::map<std::string, ggml_backend_buffer_type_t> types;
    for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
        ggml_backend_buffer_type_t type = ggml_backend_dev_buffer_type(ggml_backend_dev_get(i));
        if (type != nullptr) {
            types[ggml_backend_buft_name(type)] = type;
        }
    }
    return types;
}

std::string names_of(const std::map<std::string, ggml_backend_buffer_type_t> & types) {
    std::string names;
    for (const auto & [name, type] : types) {
        names += (names.empty() ? "" : ", ") + name;
    }
    return names;
}

struct override_lists {
    std::vector<named_override> asked; // as somebody wants devices; the first that matches counts
    std::vector<named_override> host;  // before those: which system memory tensors have that are there anyhow
};

override_lists named_overrides(const pannier_model_params & params, const std::vector<ggml_backend_dev_t> & devices) {
    override_lists lists;
    const auto     types = buffer_types();
    for (int32_t i = 0; i < params.n_overrides; ++i) {
        const char * pattern = params.override_patterns[i];
        if (auto * host = host_buffer_type(params.override_buffers[i], devices)) {
            lists.host.push_back({ pattern, parse_pattern(pattern), host });
            continue;
        }
        const auto type = types.find(params.override_buffers[i]);
        if (type == types.end()) {
            fail(PANNIER_ERROR_ARGUMENT, "no buffer type '%s' for tensors matching '%s': this engine has %s",
                 params.override_buffers[i], pattern, names_of(types).c_str());
        }
        lists.asked.push_back({ pattern, parse_pattern(pattern), type->second });
    }
    return lists;
}

// llama.cpp wants the list terminated by an empty row; none at all if there are no overrides.
std::vector<llama_model_tensor_buft_override> native_overrides(const override_lists & lists) {
    std::vector<llama_model_tensor_buft_override> rows;
    for (const auto * named : { &lists.host, &lists.asked }) {
        for (const named_override & row : *named) {
            rows.push_back({ row.text.c_str(), row.type });
        }
    }
    if (!rows.empty()) {
        rows.push_back({ nullptr, nullptr });
    }
    return rows;
}

std::string device_names() {
    std::string names;
    for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
        names += (i == 0 ? "" : ", ") + std::string(ggml_backend_dev_name(ggml_backend_dev_get(i)));
    }
    return names;
}

// NULL-terminated; empty for "all of them"; only the NULL for the one name "none".
std::vector<ggml_backend_dev_t> devices(const pannier_model_params & params) {
    std::vector<ggml_backend_dev_t> list;
    for (int32_t i = 0; i < params.n_devices; ++i) {
        if (params.n_devices == 1 && std::strcmp(params.devices[i], "none") == 0) {
            break;
        }
        ggml_backend_dev_t device = ggml_backend_dev_by_name(params.devices[i]);
        if (device == nullptr || ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU) {
            fail(PANNIER_ERROR_ARGUMENT, "no device '%s' to offload to: this engine has %s", params.devices[i],
                 device_names().c_str());
        }
        list.push_back(device);
    }
    if (params.n_devices > 0) {
        list.push_back(nullptr);
    }
    return list;
}

// What the metadata is to say, terminated by an empty row; none at all if there are no overrides.
std::vector<llama_model_kv_override> kv_overrides(const pannier_model_params & params) {
    std::vector<llama_model_kv_override> rows;
    for (int32_t i = 0; i < params.n_kv_overrides; ++i) {
        const std::string row = std::string(params.kv_keys[i]) + "=" + params.kv_types[i] + ":" + params.kv_values[i];
        if (!string_parse_kv_override(row.c_str(), rows)) {
            fail(PANNIER_ERROR_ARGUMENT, "'%s' is not a metadata override", row.c_str());
        }
    }
    if (!rows.empty()) {
        rows.emplace_back();
        rows.back().key[0] = 0;
    }
    return rows;
}

// One share for each device that llama.cpp could have; empty to let it choose.
std::vector<float> tensor_split(const pannier_model_params & params) {
    const size_t n_max = llama_max_devices();
    if (params.n_tensor_split < 0 || static_cast<size_t>(params.n_tensor_split) > n_max) {
        fail(PANNIER_ERROR_ARGUMENT, "tensor_split has %d shares; there are at most %zu devices",
             params.n_tensor_split, n_max);
    }
    std::vector<float> shares;
    for (int32_t i = 0; i < params.n_tensor_split; ++i) {
        if (!(params.tensor_split[i] >= 0.0f) || std::isinf(params.tensor_split[i])) {
            fail(PANNIER_ERROR_ARGUMENT, "tensor_split has the share %f; it must be 0 or more",
                 static_cast<double>(params.tensor_split[i]));
        }
        shares.push_back(params.tensor_split[i]);
    }
    if (!shares.empty()) {
        shares.resize(n_max, 0.0f);
    }
    return shares;
}

// What a plan of a load mode needs of it: whether the file would be mapped.
llama_load_mode planned_mode(llama_load_mode mode) {
    switch (mode) {
        case LLAMA_LOAD_MODE_MMAP:
        case LLAMA_LOAD_MODE_MMAP_MLOCK:
            return LLAMA_LOAD_MODE_MMAP;
        case LLAMA_LOAD_MODE_AUTO:
            return LLAMA_LOAD_MODE_AUTO;
        default:
            return LLAMA_LOAD_MODE_NONE;
    }
}

void check_params(const pannier_model_params & params) {
    if (params.split_mode < LLAMA_SPLIT_MODE_NONE || params.split_mode > LLAMA_SPLIT_MODE_TENSOR) {
        fail(PANNIER_ERROR_ARGUMENT, "split_mode is %d; it must be 0 to 3", params.split_mode);
    }
    if (params.lazy_mode < LLAMA_LAZY_MODE_OFF || params.lazy_mode > LLAMA_LAZY_MODE_ON) {
        fail(PANNIER_ERROR_ARGUMENT, "lazy_mode is %d; it must be 0 to 2", params.lazy_mode);
    }
    if (params.main_gpu < 0) {
        fail(PANNIER_ERROR_ARGUMENT, "main_gpu is %d; it must be 0 or more", params.main_gpu);
    }
}

struct progress {
    pannier_progress_callback callback;
    void *                    user;
    bool                      cancelled = false;

    static bool report(float fraction, void * self) {
        auto * state = static_cast<progress *>(self);
        if (state->callback != nullptr && !state->callback(fraction, state->user)) {
            state->cancelled = true;
        }
        return !state->cancelled;
    }
};

void check_file(const char * path) {
    struct stat info;
    if (stat(path, &info) != 0) {
        fail(PANNIER_ERROR_MODEL, "cannot open model file '%s': %s", path, std::strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        fail(PANNIER_ERROR_MODEL, "'%s' is not a file", path);
    }
}

std::unique_ptr<pannier_model> load(const char * path, const pannier_model_params & params) {
    check_file(path);
    check_params(params);
    auto       devs      = devices(params);
    auto       named     = named_overrides(params, devs);
    const auto overrides = native_overrides(named);
    const auto shares    = tensor_split(params);
    const auto kv        = kv_overrides(params);
    progress   state{ params.progress, params.progress_user };

    llama_model_params native           = llama_model_default_params();
    native.n_gpu_layers                 = params.n_gpu_layers;
    native.load_mode                    = static_cast<llama_load_mode>(params.load_mode);
    if (params.no_alloc != 0) {
        native.load_mode = HAS_PLANS ? planned_mode(native.load_mode) : LLAMA_LOAD_MODE_NONE;
    }
    native.tensor_split                 = shares.empty() ? nullptr : shares.data();
    native.vocab_only                   = params.vocab_only != 0;
    native.no_alloc                     = params.no_alloc != 0;
    native.check_tensors                = params.check_tensors != 0;
    native.split_mode                   = static_cast<llama_split_mode>(params.split_mode);
    native.main_gpu                     = params.main_gpu;
    native.tensor_split                 = shares.empty() ? nullptr : shares.data();
    native.lazy_mode                    = static_cast<llama_lazy_mode>(params.lazy_mode);
    native.use_extra_bufts              = params.no_repack == 0;
    native.no_host                      = params.no_host != 0;
    native.kv_overrides                 = kv.empty() ? nullptr : kv.data();
    native.devices                      = devs.empty() ? nullptr : devs.data();
    native.tensor_buft_overrides        = overrides.empty() ? nullptr : overrides.data();
    native.progress_callback            = progress::report;
    native.progress_callback_user_data  = &state;

    const bool reads_ahead = params.read_ahead != 0 && !native.vocab_only && !native.no_alloc;
    observe_experts();
    set_mmap_prefetch(!reads_ahead);
    auto model   = std::make_unique<pannier_model>();
    model->model = llama_model_load_from_file(path, native);
    if (state.cancelled) {
        fail(PANNIER_ERROR_CANCELLED, "loading '%s' was cancelled", path);
    }
    if (model->model == nullptr) {
        fail(PANNIER_ERROR_MODEL, "cannot load '%s': %s", path, logged_errors().c_str());
    }
    model->vocab       = llama_model_get_vocab(model->model);
    model->has_weights = !native.vocab_only && !native.no_alloc;
    model->overrides   = std::move(named.asked);
    model->can_plan    = HAS_PLANS && !native.vocab_only && native.no_alloc;
    if (reads_ahead) {
        model->experts_ahead = std::make_unique<read_ahead>(*model->model);
    }
    return model;
}

void check_token(const pannier_model & model, int32_t token) {
    if (token < 0 || token >= model.n_vocab()) {
        fail(PANNIER_ERROR_ARGUMENT, "token %d is outside the vocabulary of %d tokens", token, model.n_vocab());
    }
}

std::string metadata_text(const llama_model * model, int32_t index, bool key) {
    const auto read = key ? llama_model_meta_key_by_index : llama_model_meta_val_str_by_index;
    std::string text(static_cast<size_t>(std::max(0, read(model, index, nullptr, 0))) + 1, '\0');
    read(model, index, text.data(), text.size());
    text.pop_back();
    return text;
}

} // namespace
} // namespace pannier

using namespace pannier;

int pannier_model_load(const char * path, const pannier_model_params * params, pannier_model ** out) {
    return guard([&] {
        not_null(path, "path");
        check_size(params, "pannier_model_params");
        not_null(out, "out") = nullptr;
        if (params->load_mode < LLAMA_LOAD_MODE_AUTO || params->load_mode > LLAMA_LOAD_MODE_DIRECT_IO) {
            fail(PANNIER_ERROR_ARGUMENT, "load_mode %d is not one of -1 .. 4", params->load_mode);
        }
        *out = load(path, *params).release();
    });
}

void pannier_model_free(pannier_model * model) {
    guard([&] { delete model; });
}

int pannier_model_get_info(const pannier_model * model, pannier_model_info * out) {
    return guard([&] {
        const llama_model * m = not_null(model, "model").model;
        const llama_vocab * v = model->vocab;
        check_size(out, "pannier_model_info");
        out->size_bytes   = llama_model_size(m);
        out->n_params     = llama_model_n_params(m);
        out->ftype        = llama_ftype_name(llama_model_ftype(m));
        out->n_vocab      = model->n_vocab();
        out->n_ctx_train  = llama_model_n_ctx_train(m);
        out->n_embd       = llama_model_n_embd(m);
        out->n_layer      = llama_model_n_layer(m);
        out->bos          = llama_vocab_bos(v);
        out->eos          = llama_vocab_eos(v);
        out->sep          = llama_vocab_sep(v);
        out->fim_pre      = llama_vocab_fim_pre(v);
        out->fim_suf      = llama_vocab_fim_suf(v);
        out->fim_mid      = llama_vocab_fim_mid(v);
        out->fim_rep      = llama_vocab_fim_rep(v);
        out->fim_sep      = llama_vocab_fim_sep(v);
        out->add_bos      = llama_vocab_get_add_bos(v);
        out->add_eos      = llama_vocab_get_add_eos(v);
        out->add_sep      = llama_vocab_get_add_sep(v);
        out->is_recurrent = llama_model_is_recurrent(m);
        out->is_hybrid    = llama_model_is_hybrid(m);
        out->has_encoder  = llama_model_has_encoder(m);
        out->has_decoder  = llama_model_has_decoder(m);
    });
}

int pannier_model_description(const pannier_model * model, char ** out) {
    return guard([&] {
        char text[256] = "";
        llama_model_desc(not_null(model, "model").model, text, sizeof(text));
        not_null(out, "out") = copy_text(text);
    });
}

int pannier_model_tensors(const pannier_model * model, pannier_tensor_row * rows, int32_t capacity,
                          int32_t * n_rows) {
    return guard([&] {
        const auto & tensors           = not_null(model, "model").model->tensors_by_name;
        not_null(n_rows, "n_rows") = static_cast<int32_t>(tensors.size());
        for (int32_t i = 0; i < std::min(capacity, *n_rows); ++i) {
            check_size(rows + i, "pannier_tensor_row");
            const ggml_tensor * tensor = tensors[size_t(i)].second;
            if (tensor->buffer == nullptr) {
                fail(PANNIER_ERROR_ARGUMENT, "the model was loaded without its tensors");
            }
            const auto row = memory_row(ggml_backend_buffer_get_type(tensor->buffer), 0, ggml_nbytes(tensor));
            rows[i] = { sizeof(pannier_tensor_row), tensors[size_t(i)].first.c_str(), row.device, row.buffer_type,
                        row.is_host, row.bytes };
        }
    });
}

int pannier_model_metadata(const pannier_model * model, char ** out) {
    return guard([&] {
        const llama_model * m    = not_null(model, "model").model;
        common_json         rows = common_json::object();
        for (int32_t i = 0; i < llama_model_meta_count(m); ++i) {
            rows[metadata_text(m, i, true)] = metadata_text(m, i, false);
        }
        not_null(out, "out") = copy_text(rows.dump_safe());
    });
}

int pannier_tokenize(const pannier_model * model, const char * text, int32_t n_bytes, int32_t add_special,
                     int32_t parse_special, int32_t * tokens, int32_t capacity, int32_t * n_tokens) {
    return guard([&] {
        not_null(model, "model");
        not_null(text, "text");
        if (n_bytes < 0 || capacity < 0) {
            fail(PANNIER_ERROR_ARGUMENT, "negative length: %d bytes, room for %d tokens", n_bytes, capacity);
        }
        const int32_t n =
            llama_tokenize(model->vocab, text, n_bytes, tokens, capacity, add_special != 0, parse_special != 0);
        if (n == INT32_MIN) {
            fail(PANNIER_ERROR_ARGUMENT, "a text of %d bytes has more tokens than can be counted", n_bytes);
        }
        not_null(n_tokens, "n_tokens") = n < 0 ? -n : n;
    });
}

int pannier_token_piece(const pannier_model * model, int32_t token, int32_t special, char * bytes, int32_t capacity,
                        int32_t * n_bytes) {
    return guard([&] {
        check_token(not_null(model, "model"), token);
        const int32_t n = llama_token_to_piece(model->vocab, token, bytes, capacity, 0, special != 0);
        not_null(n_bytes, "n_bytes") = n < 0 ? -n : n;
    });
}

int pannier_detokenize(const pannier_model * model, const int32_t * tokens, int32_t n_tokens, int32_t remove_special,
                       int32_t unparse_special, char * bytes, int32_t capacity, int32_t * n_bytes) {
    return guard([&] {
        not_null(model, "model");
        for (int32_t i = 0; i < n_tokens; ++i) {
            check_token(*model, tokens[i]);
        }
        const int32_t n = llama_detokenize(model->vocab, tokens, std::max(0, n_tokens), bytes, capacity,
                                           remove_special != 0, unparse_special != 0);
        not_null(n_bytes, "n_bytes") = n < 0 ? -n : n;
    });
}

int32_t pannier_token_is_eog(const pannier_model * model, int32_t token) {
    int32_t is_eog = 0;
    guard([&] {
        check_token(not_null(model, "model"), token);
        is_eog = llama_vocab_is_eog(model->vocab, token) ? 1 : 0;
    });
    return is_eog;
}
