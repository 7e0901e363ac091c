// Where the ops of a context's graphs run, and where they should.
#include "memory_parts.h"
#include "placement.h"
#include "planned_devices.h"

// Other libraries' classes: see memory_parts.cpp.
#pragma GCC visibility push(default)
#include "llama-context.h"
#include "llama-kv-cache.h"
#include "llama-model.h"
#pragma GCC visibility pop

#include <algorithm>
#include <set>

namespace pannier {
namespace {

// A graph to look at: tokens of so many sequences in one pass.
struct shape {
    const char * name;
    uint32_t     n_tokens;
    uint32_t     n_seqs;
    uint32_t     n_outputs;
};

common_json described(const ggml_tensor * tensor) {
    common_json sizes = common_json::array();
    for (int i = 0; i < ggml_n_dims(tensor); ++i) {
        sizes.push_back(tensor->ne[i]);
    }
    common_json result = common_json::object();
    result["type"]  = ggml_type_name(tensor->type);
    result["shape"] = sizes;
    return result;
}

common_json described(const used_override & row, const named_override & override) {
    common_json result = common_json::object();
    result["pattern"]     = override.text;
    result["buffer_type"] = ggml_backend_buft_name(override.type);
    result["n_matching"]  = row.n_matching;
    result["n_taken"]     = row.n_taken;
    return result;
}

// One graph, which the scheduler has just split.
class graph_report {
public:
    graph_report(const pannier_context & ctx, const planned_weights & weights, ggml_cgraph * graph, uint32_t n_tokens)
        : graph(graph), sched(ctx.ctx->get_sched()), weights(weights), ops(ctx, weights, graph, n_tokens) {
        for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
            const ggml_tensor * node = ggml_graph_node(graph, i);
            backend_of[node->name]   = ops.actual(i);
            layers.push_back(layer_of(node->name));
        }
    }

    common_json as_json() const {
        common_json result = common_json::object();
        result["n_splits"]  = ggml_backend_sched_get_n_splits(sched);
        result["ops"]       = counts();
        result["copies"]    = copies();
        result["misplaced"] = misplaced();
        return result;
    }

private:
    std::string device(int id) const { return name_of(ggml_backend_get_device(ops.backend(id))); }

    // Device to op to how many.
    common_json counts() const {
        std::map<std::string, std::map<std::string, int32_t>> found;
        for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
            if (const ggml_tensor * node = ggml_graph_node(graph, i); !is_view(node)) {
                found[device(ops.actual(i))][ggml_op_desc(node)]++;
            }
        }
        common_json result = common_json::object();
        for (const auto & [name, ops] : found) {
            common_json counts = common_json::object();
            for (const auto & [op, n] : ops) {
                counts[op] = n;
            }
            result[name] = counts;
        }
        return result;
    }

    // What goes from device to device: each input of a split once.
    common_json copies() const {
        struct sum {
            int32_t  n       = 0;
            uint64_t bytes   = 0;
            uint64_t weights = 0;
            uint64_t cache   = 0;
        };
        std::map<std::pair<std::string, std::string>, sum> found;
        std::set<const ggml_tensor *>                      seen;
        for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
            for (const ggml_tensor * src : ggml_graph_node(graph, i)->src) {
                const std::string name = src != nullptr ? copied_name(src) : "";
                if (name.empty() || !seen.insert(src).second) {
                    continue;
                }
                // what is no op's result is an input or a weight in system memory
                const auto origin = backend_of.find(name);
                sum &      sum    = found[{ origin != backend_of.end() ? device(origin->second) : "CPU",
                                            device(ops.actual(i)) }];
                sum.n++;
                sum.bytes += ggml_nbytes(src);
                sum.weights += weights.find(name) != nullptr ? ggml_nbytes(src) : 0;
                sum.cache += name.compare(0, 6, "cache_") == 0 ? ggml_nbytes(src) : 0; // cache_k_l3 (view)
            }
        }
        common_json result = common_json::array();
        for (const auto & [way, sum] : found) {
            common_json row = common_json::object();
            row["source"]       = way.first;
            row["target"]       = way.second;
            row["n"]            = sum.n;
            row["bytes"]        = sum.bytes;
            row["weight_bytes"] = sum.weights;
            row["cache_bytes"]  = sum.cache;
            result.push_back(row);
        }
        return result;
    }

    common_json misplaced() const {
        common_json result = common_json::array();
        for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
            if (!is_view(ggml_graph_node(graph, i)) && ops.is_misplaced(i)) {
                result.push_back(misplaced_row(i));
            }
        }
        return result;
    }

    common_json misplaced_row(int i) const {
        const ggml_tensor *    node    = ggml_graph_node(graph, i);
        const planned_weight * weight  = ops.weight(i);
        common_json            sources = common_json::array();
        for (const ggml_tensor * src : node->src) {
            if (src != nullptr) {
                sources.push_back(described(src));
            }
        }
        common_json row = common_json::object();
        row["name"]     = node->name;
        row["op"]       = ggml_op_desc(node);
        row["layer"]    = layer(i);
        row["device"]   = device(ops.actual(i));
        row["planned"]  = device(ops.planned(i));
        row["is_lacking"] = ops.is_lacking(i);
        row["weight"]   = weight != nullptr && !weight->is_in_place() ? weight->tensor->name : "";
        row["sources"]  = sources;
        return row;
    }

    // An op's own layer, else that of the next op that has one: names come with a part's last op.
    int layer(int i) const {
        const auto found = std::find_if(layers.begin() + i, layers.end(), [](int layer) { return layer >= 0; });
        return found != layers.end() ? *found : -1;
    }

    ggml_cgraph *              graph;
    ggml_backend_sched_t       sched;
    const planned_weights &    weights;
    planned_ops                ops;
    std::map<std::string, int> backend_of;
    std::vector<int>           layers;
};

common_json weights_out_of_place(const planned_weights & weights) {
    common_json result = common_json::array();
    for (const planned_weight & weight : weights.all()) {
        if (!weight.is_in_place()) {
            common_json row = described(weight.tensor);
            row["name"]     = weight.tensor->name;
            row["device"]   = name_of(device_of(weight.tensor));
            row["planned"]  = name_of(weight.device);
            row["bytes"]    = uint64_t(ggml_nbytes(weight.tensor));
            result.push_back(row);
        }
    }
    return result;
}

// The types that the KV cache has, whatever was asked for; empty without one that is known in detail.
common_json cache_types(const pannier_context & ctx) {
    const memory_parts parts(ctx.memory());
    common_json        result = common_json::object();
    if (parts.kv_cell_bytes() > 0) {
        result["k"] = ggml_type_name(parts.caches.front()->type_k());
        if (!ctx.model->model->hparams.is_mla()) { // a latent cache has keys only
            result["v"] = ggml_type_name(parts.caches.front()->type_v());
        }
    }
    return result;
}

// A token of each client; a prompt by itself; and, last, what llama.cpp reserves its buffers for.
std::vector<shape> shapes(const pannier_context & ctx, uint32_t n_clients) {
    const auto &   cparams   = ctx.ctx->get_cparams();
    const uint32_t n_seqs    = cparams.n_seq_max;
    const uint32_t n_tokens  = std::min(cparams.n_ctx, cparams.n_ubatch);
    const uint32_t n_outputs = std::min(n_tokens, cparams.n_outputs_max);
    const auto     arch      = ctx.model->model->arch;
    const bool     is_one    = arch == LLM_ARCH_KIMI_LINEAR || arch == LLM_ARCH_MINIMAX_01;
    const shape    reserved  = { "prompts", n_tokens, is_one ? 1 : n_seqs, n_outputs };
    if (ctx.n_embd_out > 0) {
        return { reserved };
    }
    if (!cparams.kv_unified) { // graphs are over all streams
        return { { "decode", n_seqs, n_seqs, n_seqs }, reserved };
    }
    return { { "decode", n_clients, n_clients, n_clients }, { "prompt", n_tokens, 1, 1 }, reserved };
}

common_json graphs(pannier_context & ctx, const planned_weights & weights, uint32_t n_clients) {
    llama_context & native = *ctx.ctx;
    native.synchronize();
    native.sched_reserve(); // if adapters have changed
    const auto  memory = ctx.memory() != nullptr ? ctx.memory()->init_full() : nullptr;
    const auto  all    = shapes(ctx, n_clients);
    common_json result = common_json::array();
    for (const shape & one : all) {
        ggml_cgraph * graph = native.graph_reserve(one.n_tokens, one.n_seqs, one.n_outputs, memory.get(), true);
        common_json   row   = graph_report(ctx, weights, graph, one.n_tokens).as_json();
        row["name"]     = one.name;
        row["n_tokens"] = one.n_tokens;
        row["n_seqs"]   = one.n_seqs;
        result.push_back(row);
    }
    if (!ctx.model->can_plan) {
        // Buffers are those of the last graph that was reserved and not only split: it again.
        native.graph_reserve(all.back().n_tokens, all.back().n_seqs, all.back().n_outputs, memory.get());
    }
    return result;
}

} // namespace

std::string placement(pannier_context & ctx, int32_t n_clients) {
    if (n_clients < 1 || uint32_t(n_clients) > ctx.n_seq_max) {
        fail(PANNIER_ERROR_ARGUMENT, "n_clients is %d; it must be 1 to %u", n_clients, ctx.n_seq_max);
    }
    const planned_weights weights(*ctx.model);
    common_json           overrides = common_json::array();
    for (size_t i = 0; i < weights.overrides().size(); ++i) {
        overrides.push_back(described(weights.overrides()[i], ctx.model->overrides[i]));
    }
    common_json result = common_json::object();
    result["graphs"]      = graphs(ctx, weights, uint32_t(n_clients));
    result["weights"]     = weights_out_of_place(weights);
    result["overrides"]   = overrides;
    result["cache_types"] = cache_types(ctx);
    result["flash_attn"]  = ctx.ctx->get_cparams().flash_attn;
    return result.dump_safe();
}

} // namespace pannier

using namespace pannier;

int pannier_context_placement(pannier_context * ctx, int32_t n_clients, char ** out) {
    return guard([&] { not_null(out, "out") = copy_text(placement(not_null(ctx, "ctx"), n_clients)); });
}
