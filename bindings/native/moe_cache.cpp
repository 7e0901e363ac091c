// What the cache of experts did.
#include "objects.h"

#include "ggml-backend.h"
#include "llama-ext.h"

namespace pannier {
namespace {

#ifdef PANNIER_HAS_MOE_COUNTERS
pannier_moe_layer moe_layer(const llama_moe_cache_layer_data & data) {
    return {
        sizeof(pannier_moe_layer),
        data.il,
        data.ig,
        data.n_slots,
        ggml_backend_dev_name(data.dev),
        data.expert_bytes,
        data.n_ubatches,
        data.n_hits,
        data.n_misses,
        data.upload_bytes,
        data.n_copied,
        data.copied_bytes,
        data.wait_us,
        data.upload_us,
    };
}

std::vector<pannier_moe_layer> moe_layers(const pannier_context & ctx) {
    std::vector<pannier_moe_layer> layers;
    for (const auto & data : llama_get_moe_cache_layers(ctx.ctx)) {
        layers.push_back(moe_layer(data));
    }
    return layers;
}
#else
std::vector<pannier_moe_layer> moe_layers(const pannier_context &) {
    fail(PANNIER_ERROR_ARGUMENT, "an unpatched engine does not count what its cache of experts does");
}
#endif

} // namespace
} // namespace pannier

using namespace pannier;

int pannier_context_moe_cache(const pannier_context * ctx, pannier_moe_layer * layers, int32_t capacity,
                              int32_t * n_layers) {
    return guard([&] {
        const auto all                 = moe_layers(not_null(ctx, "ctx"));
        not_null(n_layers, "n_layers") = static_cast<int32_t>(all.size());
        for (size_t i = 0; i < std::min(all.size(), size_t(std::max(capacity, 0))); ++i) {
            check_size(layers + i, "pannier_moe_layer");
            layers[i] = all[i];
        }
    });
}
