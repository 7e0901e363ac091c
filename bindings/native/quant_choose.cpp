// Which type each tensor of a model gets: llama.cpp's own recipes, asked without a model file.
#include "quant_types.h"

#include "llama-cpp.h"

// These classes have no visibility of their own: with ours (hidden) their type information
// would be looked for in this library.
#pragma GCC visibility push(default)
#include "llama-ext.h"
#include "llama-model-loader.h"
#include "llama-model.h"
#pragma GCC visibility pop

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <regex>
#include <vector>

namespace pannier {
namespace {

// std::regex compiles by recursion; a longer one could overflow the stack.
constexpr size_t MAX_PATTERN_BYTES = 512;

struct free_state {
    void operator()(quantize_state_impl * state) const { llama_quant_free(state); }
};

// llama.cpp's stand-in for a model knows the models with many heads on one K and V of Llama only.
bool is_70b(llm_arch arch, int32_t n_layer) {
    return arch == LLM_ARCH_JAIS2 ? n_layer == 68
                                  : n_layer == 80 && (arch == LLM_ARCH_QWEN2 || arch == LLM_ARCH_DECI ||
                                                      arch == LLM_ARCH_OLMO);
}

void check_model(const pannier_quant_model & model) {
    not_null(model.architecture, "architecture");
    if (model.n_layer < 1 || model.n_layer > LLAMA_MAX_LAYERS) {
        fail(PANNIER_ERROR_ARGUMENT, "n_layer is %d; it must be 1 to %d", model.n_layer, int(LLAMA_MAX_LAYERS));
    }
    const std::pair<const char *, int32_t> sizes[] = {
        { "n_embd", model.n_embd },       { "n_ff", model.n_ff },
        { "n_head", model.n_head },       { "n_head_kv", model.n_head_kv },
        { "n_expert", model.n_expert },   { "n_embd_head_k", model.n_embd_head_k },
        { "n_embd_head_v", model.n_embd_head_v },
    };
    for (const auto & [name, value] : sizes) {
        if (value < 0) {
            fail(PANNIER_ERROR_ARGUMENT, "%s is %d; it must be at least 0", name, value);
        }
    }
}

llama_model_ptr stand_in(const pannier_quant_model & model) {
    check_model(model);
    const llama_quant_model_desc desc = {
        model.architecture,       uint32_t(model.n_embd),        uint32_t(model.n_ff),
        uint32_t(model.n_layer),  uint32_t(model.n_head),        uint32_t(model.n_head_kv),
        uint32_t(model.n_expert), uint32_t(model.n_embd_head_k), uint32_t(model.n_embd_head_v),
    };
    try {
        llama_model_ptr result(llama_quant_model_from_metadata(&desc));
        if (is_70b(result->arch, model.n_layer)) {
            result->type = LLM_TYPE_70B;
        }
        return result;
    } catch (const std::runtime_error &) {
        fail(PANNIER_ERROR_ARGUMENT, "llama.cpp knows no architecture '%s'", model.architecture);
    }
}

std::vector<llama_model_tensor_override> overrides(const pannier_quant_recipe & recipe) {
    std::vector<llama_model_tensor_override> rows;
    for (int32_t i = 0; i < recipe.n_overrides; ++i) {
        const char * pattern = recipe.override_patterns[i];
        if (std::strlen(pattern) > MAX_PATTERN_BYTES) {
            fail(PANNIER_ERROR_ARGUMENT, "a pattern of %zu bytes; it must have at most %zu", std::strlen(pattern),
                 MAX_PATTERN_BYTES);
        }
        try {
            std::regex regex(pattern);
        } catch (const std::regex_error & error) {
            fail(PANNIER_ERROR_ARGUMENT, "'%s' is no regular expression: %s", pattern, error.what());
        }
        rows.push_back({ pattern, quantizable_type(recipe.override_types[i]) });
    }
    rows.push_back({ nullptr, GGML_TYPE_COUNT });
    return rows;
}

ggml_tensor native_tensor(const pannier_quant_tensor & tensor) {
    check_size(&tensor, "pannier_quant_tensor");
    not_null(tensor.name, "name");
    const size_t n_name = std::strlen(tensor.name);
    if (n_name < 1 || n_name >= GGML_MAX_NAME) {
        fail(PANNIER_ERROR_ARGUMENT, "the tensor name '%s' has %zu bytes; it must have 1 to %d", tensor.name, n_name,
             GGML_MAX_NAME - 1);
    }
    ggml_tensor native = {};
    native.type        = tensor_type(tensor.type);
    const int64_t ne[] = { tensor.ne0, tensor.ne1, tensor.ne2, tensor.ne3 };
    for (size_t i = 0; i < GGML_MAX_DIMS; ++i) {
        if (ne[i] < 1) {
            fail(PANNIER_ERROR_ARGUMENT, "'%s' has %lld as dimension %zu; it must be at least 1", tensor.name,
                 static_cast<long long>(ne[i]), i);
        }
        native.ne[i] = ne[i];
    }
    ggml_set_name(&native, tensor.name);
    return native;
}

// Counters run over the tensors, so their order matters: as llama-quantize reads them.
std::vector<ggml_tensor *> in_order(std::vector<ggml_tensor> & tensors) {
    std::vector<ggml_tensor *> order(tensors.size());
    std::iota(order.begin(), order.end(), tensors.data());
    std::sort(order.begin(), order.end(), [](const ggml_tensor * a, const ggml_tensor * b) {
        return llama_model_loader::weight_name_comparer()(a->name, b->name);
    });
    for (size_t i = 1; i < order.size(); ++i) {
        if (std::strcmp(order[i - 1]->name, order[i]->name) == 0) {
            fail(PANNIER_ERROR_ARGUMENT, "two tensors have the name '%s'", order[i]->name);
        }
    }
    return order;
}

// Below three bits, llama.cpp takes a matrix for granted, but for embeddings and output.
bool needs_imatrix(const char * name, ggml_type type, int32_t ftype) {
    if (ggml_quantize_requires_imatrix(type)) {
        return true; // it would abort
    }
    for (const char * exempt : { "output.weight", "token_embd.weight", "per_layer_token_embd.weight" }) {
        if (std::strcmp(name, exempt) == 0) {
            return false;
        }
    }
    return type == GGML_TYPE_IQ3_XXS || type == GGML_TYPE_IQ2_S || type == GGML_TYPE_IQ1_M ||
           (type == GGML_TYPE_Q2_K && ftype == LLAMA_FTYPE_MOSTLY_Q2_K_S);
}

void write(const ggml_tensor & native, ggml_type target, bool allowed, int32_t ftype, pannier_quant_tensor & out) {
    if (allowed && native.ne[0] % ggml_blck_size(target) != 0) {
        fail(PANNIER_ERROR_ARGUMENT, "%s for '%s', whose rows have %lld values; it takes a multiple of %lld",
             ggml_type_name(target), native.name, static_cast<long long>(native.ne[0]),
             static_cast<long long>(ggml_blck_size(target)));
    }
    out.target        = ggml_type_name(target);
    out.allowed       = allowed ? 1 : 0;
    out.needs_imatrix = allowed && needs_imatrix(native.name, target, ftype) ? 1 : 0;
}

void choose(const pannier_quant_model & model, const pannier_quant_recipe & recipe, pannier_quant_tensor * tensors,
            int32_t n_tensors) {
    if (llama_ftype_get_default_type(static_cast<llama_ftype>(recipe.ftype)) == GGML_TYPE_COUNT) {
        fail(PANNIER_ERROR_ARGUMENT, "llama.cpp has no recipe for file type %d", recipe.ftype);
    }
    const llama_model_ptr          mock   = stand_in(model);
    const auto                     rows   = overrides(recipe);
    const llama_model_imatrix_data none   = { nullptr, nullptr, 0 };
    llama_model_quantize_params    params = llama_model_quantize_default_params();
    params.pure                           = recipe.pure != 0;
    params.imatrix                        = recipe.has_imatrix != 0 ? &none : nullptr;
    params.tt_overrides                   = rows.data();
    if (recipe.output_type != nullptr) {
        params.output_tensor_type = quantizable_type(recipe.output_type);
    }
    if (recipe.token_embedding_type != nullptr) {
        params.token_embedding_type = quantizable_type(recipe.token_embedding_type);
    }

    std::vector<ggml_tensor> natives;
    for (int32_t i = 0; i < n_tensors; ++i) {
        natives.push_back(native_tensor(tensors[i]));
    }
    auto                   order = in_order(natives);
    std::vector<ggml_type> targets(order.size());

    const std::unique_ptr<quantize_state_impl, free_state> state(llama_quant_init(mock.get(), &params));
    try {
        llama_quant_compute_types(state.get(), static_cast<llama_ftype>(recipe.ftype), order.data(), targets.data(),
                                  order.size());
    } catch (const std::runtime_error & error) {
        fail(PANNIER_ERROR_ARGUMENT, "llama.cpp cannot choose types: %s", error.what());
    }
    for (size_t i = 0; i < order.size(); ++i) {
        write(*order[i], targets[i], llama_quant_tensor_allows_quantization(state.get(), order[i]), recipe.ftype,
              tensors[order[i] - natives.data()]);
    }
}

} // namespace
} // namespace pannier

using namespace pannier;

int pannier_quant_choose(const pannier_quant_model * model, const pannier_quant_recipe * recipe,
                         pannier_quant_tensor * tensors, int32_t n_tensors) {
    return guard([&] {
        check_size(model, "pannier_quant_model");
        check_size(recipe, "pannier_quant_recipe");
        not_null(tensors, "tensors");
        if (n_tensors < 1) {
            fail(PANNIER_ERROR_ARGUMENT, "%d tensors: there is nothing to choose", n_tensors);
        }
        choose(*model, *recipe, tensors, n_tensors);
    });
}
