// LoRA adapters: loaded once for a model, set for a context.
#include "objects.h"

#include <algorithm>
#include <cmath>

namespace pannier {
namespace {

int32_t add(pannier_model & model, const char * path) {
    if (!model.has_weights) {
        fail(PANNIER_ERROR_MODEL, "the model was loaded without its weights: load it whole");
    }
    llama_adapter_lora * adapter = llama_adapter_lora_init(model.model, path);
    if (adapter == nullptr) {
        fail(PANNIER_ERROR_MODEL, "cannot load the adapter '%s': %s", path, logged_errors().c_str());
    }
    model.adapters.push_back(adapter);
    return static_cast<int32_t>(model.adapters.size()) - 1;
}

llama_adapter_lora * find(const pannier_model & model, int32_t id) {
    if (id < 0 || size_t(id) >= model.adapters.size()) {
        fail(PANNIER_ERROR_ARGUMENT, "there is no adapter %d: this model has %zu", id, model.adapters.size());
    }
    return model.adapters[size_t(id)];
}

void set(pannier_context & ctx, const int32_t * ids, const float * scales, int32_t n) {
    std::vector<llama_adapter_lora *> adapters;
    std::vector<float>                values;
    for (int32_t i = 0; i < n; ++i) {
        llama_adapter_lora * adapter = find(*ctx.model, ids[i]);
        if (!std::isfinite(scales[i])) {
            fail(PANNIER_ERROR_ARGUMENT, "the scale of adapter %d is %f", ids[i], double(scales[i]));
        }
        if (std::find(adapters.begin(), adapters.end(), adapter) != adapters.end()) {
            fail(PANNIER_ERROR_ARGUMENT, "adapter %d is given twice", ids[i]);
        }
        adapters.push_back(adapter);
        values.push_back(scales[i]);
    }
    if (llama_set_adapters_lora(ctx.ctx, adapters.data(), adapters.size(), values.data()) != 0) {
        fail(PANNIER_ERROR_CONTEXT, "the adapters cannot be set: %s", logged_errors().c_str());
    }
}

} // namespace
} // namespace pannier

using namespace pannier;

int pannier_model_add_adapter(pannier_model * model, const char * path, int32_t * id) {
    return guard([&] {
        not_null(model, "model");
        not_null(path, "path");
        not_null(id, "id") = add(*model, path);
    });
}

int pannier_context_set_adapters(pannier_context * ctx, const int32_t * ids, const float * scales, int32_t n) {
    return guard([&] {
        not_null(ctx, "ctx");
        if (n > 0) {
            not_null(ids, "ids");
            not_null(scales, "scales");
        }
        set(*ctx, ids, scales, n);
    });
}
