// Which experts the router chose, read back after each ubatch.
#include "objects.h"

#include "ggml-backend.h"
#include "llama-ext.h"

#pragma GCC visibility push(default)
#include "llama-batch.h"
#pragma GCC visibility pop

#include <algorithm>

namespace pannier {
namespace {

#ifdef PANNIER_HAS_ROUTES
constexpr size_t N_HEAD = 3; // numbers before a ubatch's rows, and before a layer's experts

size_t count_numbers(const llama_ubatch & ubatch, const std::vector<ggml_tensor *> & ids) {
    size_t n = N_HEAD + size_t(2) * ubatch.n_tokens;
    for (const ggml_tensor * layer : ids) {
        n += layer != nullptr ? N_HEAD + size_t(ggml_nelements(layer)) : 0;
    }
    return n;
}

void write_rows(const llama_ubatch & ubatch, std::vector<int32_t> & numbers) {
    const std::vector<int32_t> & rows = ubatch.data->batch_idxs;
    numbers.insert(numbers.end(), rows.begin(), rows.end());
    for (uint32_t i = 0; i < ubatch.n_tokens; ++i) {
        if (ubatch.output[i] != 0) {
            numbers.push_back(rows[i]);
        }
    }
}

// Queues the reading: the numbers are there when the context has been synchronised.
void read_layer(ggml_backend_sched_t sched, ggml_tensor * ids, int32_t layer, std::vector<int32_t> & numbers) {
    numbers.insert(numbers.end(), { layer, int32_t(ids->ne[0]), int32_t(ids->ne[1]) });
    const size_t n = size_t(ggml_nelements(ids));
    if (n == 0) {
        return;
    }
    numbers.resize(numbers.size() + n); // within what is reserved
    ggml_backend_tensor_get_async(ggml_backend_sched_get_tensor_backend(sched, ids), ids,
                                  numbers.data() + numbers.size() - n, 0, n * sizeof(int32_t));
}

void keep_routes(void * user_data, ggml_backend_sched_t sched, const llama_ubatch & ubatch,
                 const std::vector<ggml_tensor *> & ids) {
    auto & numbers = static_cast<pannier_context *>(user_data)->routes.emplace_back();
    numbers.reserve(count_numbers(ubatch, ids)); // they must not move while they are read
    const auto n_layers = std::count_if(ids.begin(), ids.end(), [](const ggml_tensor * t) { return t != nullptr; });
    numbers            = { int32_t(ubatch.n_tokens), 0, int32_t(n_layers) };
    write_rows(ubatch, numbers);
    numbers[1] = int32_t(numbers.size() - N_HEAD - ubatch.n_tokens);
    for (size_t layer = 0; layer < ids.size(); ++layer) {
        if (ids[layer] != nullptr) {
            read_layer(sched, ids[layer], int32_t(layer), numbers);
        }
    }
}
#endif

} // namespace

void trace_routes([[maybe_unused]] pannier_context & ctx, bool enabled) {
#ifdef PANNIER_HAS_ROUTES
    llama_set_moe_routes(enabled ? keep_routes : nullptr, &ctx);
#else
    if (enabled) {
        fail(PANNIER_ERROR_ARGUMENT, "an unpatched engine cannot keep routes");
    }
#endif
}

} // namespace pannier

using namespace pannier;

int pannier_routes_take(pannier_context * ctx, int32_t * numbers, size_t capacity, size_t * n_numbers) {
    return guard([&] {
        not_null(ctx, "ctx");
        size_t n = 0;
        for (const auto & ubatch : ctx->routes) {
            n += ubatch.size();
        }
        not_null(n_numbers, "n_numbers") = n;
        if (numbers == nullptr) {
            return;
        }
        if (capacity < n) {
            fail(PANNIER_ERROR_ARGUMENT, "room for %zu numbers; there are %zu", capacity, n);
        }
        llama_synchronize(ctx->ctx);
        for (const auto & ubatch : ctx->routes) {
            numbers = std::copy(ubatch.begin(), ubatch.end(), numbers);
        }
        ctx->routes.clear();
    });
}
