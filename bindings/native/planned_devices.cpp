#include "planned_devices.h"

#include "ggml.h"

// Other libraries' classes: see memory_parts.cpp.
#pragma GCC visibility push(default)
#include "llama-context.h"
#include "llama-model.h"
#pragma GCC visibility pop

#include <algorithm>
#include <cstring>
#include <regex>

namespace pannier {
namespace {

// Read row by row, and so kept in system memory wherever the layers are (LLM_TENSOR_LAYER_INPUT).
constexpr const char * TABLES[] = { "token_embd.", "position_embd.", "token_types.", "per_layer_token_embd." };

// Factors that ROPE reads: each layer's device has them, and no op goes by them.
constexpr const char * ROPE_FACTORS[] = { "rope_freqs.", "rope_factors_" };

template <size_t n> bool begins_with(const std::string & name, const char * const (&heads)[n]) {
    return std::any_of(std::begin(heads), std::end(heads),
                       [&](const char * head) { return name.compare(0, std::strlen(head), head) == 0; });
}

ggml_backend_dev_t cpu() {
    return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
}

// The layer of "blk.12.attn_q.weight"; -1: none.
int block_of(const std::string & name) {
    int block = -1;
    return std::sscanf(name.c_str(), "blk.%d.", &block) == 1 ? block : -1;
}

} // namespace

bool is_cpu(ggml_backend_dev_t device) {
    const auto type = device != nullptr ? ggml_backend_dev_type(device) : GGML_BACKEND_DEVICE_TYPE_CPU;
    return type == GGML_BACKEND_DEVICE_TYPE_CPU || type == GGML_BACKEND_DEVICE_TYPE_ACCEL;
}

std::string name_of(ggml_backend_dev_t device) {
    return is_cpu(device) ? "CPU" : ggml_backend_dev_name(device);
}

ggml_backend_dev_t device_of(const ggml_tensor * tensor) {
    if (tensor->buffer == nullptr || ggml_backend_buffer_is_host(tensor->buffer)) {
        return cpu();
    }
    return ggml_backend_buft_get_device(ggml_backend_buffer_get_type(tensor->buffer));
}

int layer_of(const std::string & name) {
    static const std::regex ending("-([0-9]{1,4})( |$)");
    std::smatch             match;
    return std::regex_search(name, match, ending) ? std::stoi(match[1]) : -1;
}

bool is_view(const ggml_tensor * node) {
    return node->op == GGML_OP_NONE || node->op == GGML_OP_VIEW || node->op == GGML_OP_RESHAPE ||
           node->op == GGML_OP_PERMUTE || node->op == GGML_OP_TRANSPOSE;
}

// "Vulkan0#blk.0.ffn_up_exps.weight#0": neither a node nor memory of anybody.
std::string copied_name(const ggml_tensor * tensor) {
    const std::string name  = tensor->name;
    const size_t      begin = name.find('#');
    const size_t      end   = name.rfind('#');
    if (tensor->op != GGML_OP_NONE || tensor->buffer != nullptr || tensor->view_src != nullptr ||
        begin == std::string::npos) {
        return "";
    }
    return begin == end ? name.substr(begin + 1) : name.substr(begin + 1, end - begin - 1);
}

// ---------------------------------------------------------------- weights

bool planned_weight::is_in_place() const {
    const ggml_backend_dev_t actual = device_of(tensor);
    return is_cpu(actual) && is_cpu(device) ? true : actual == device;
}

planned_weights::planned_weights(const pannier_model & model) : used(model.overrides.size()) {
    for (const auto & [name, tensor] : model.model->tensors_by_name) {
        if (tensor->buffer == nullptr || begins_with(name, ROPE_FACTORS)) {
            continue;
        }
        // A table that is there a second time is the output matrix.
        const bool         is_output = begins_with(name, TABLES) && by_name.count(name) > 0;
        ggml_backend_dev_t device    = is_output ? model.model->dev_output() : device_for(model, name);
        if (model.model->split_mode() == LLAMA_SPLIT_MODE_ROW && !is_cpu(device) && !is_cpu(device_of(tensor))) {
            device = device_of(tensor); // on all devices
        }
        by_tensor[tensor] = weights.size();
        by_name.emplace(name, weights.size());
        weights.push_back({ tensor, device });
    }
}

ggml_backend_dev_t planned_weights::device_for(const pannier_model & model, const std::string & name) {
    const named_override * taken = nullptr;
    for (size_t i = 0; i < model.overrides.size(); ++i) {
        if (std::regex_search(name, model.overrides[i].pattern)) {
            used[i].n_matching++;
            used[i].n_taken += taken == nullptr;
            taken = taken == nullptr ? &model.overrides[i] : taken;
        }
    }
    if (taken != nullptr) {
        return ggml_backend_buft_is_host(taken->type) ? cpu() : ggml_backend_buft_get_device(taken->type);
    }
    if (begins_with(name, TABLES)) {
        return cpu();
    }
    const int block = name.compare(0, 15, "token_embd_norm") == 0 ? 0 : block_of(name);
    const bool is_layer = block >= 0 && uint32_t(block) < model.model->hparams.n_layer_all;
    return is_layer ? model.model->dev_layer(block) : model.model->dev_output();
}

const planned_weight * planned_weights::find(const ggml_tensor * tensor) const {
    const auto found = by_tensor.find(tensor);
    return found != by_tensor.end() ? &weights[found->second] : nullptr;
}

const planned_weight * planned_weights::find(const std::string & name) const {
    const auto found = by_name.find(name);
    return found != by_name.end() ? &weights[found->second] : nullptr;
}

// ---------------------------------------------------------------- ops

// The scheduler's own passes (ggml_backend_sched_split_graph) without asking what a backend
// supports: weights say where an op runs, the others follow their neighbours, devices before the CPU.
planned_ops::planned_ops(const pannier_context & ctx, const planned_weights & weights, ggml_cgraph * graph,
                         uint32_t n_tokens)
    : ctx(ctx), weights(weights), graph(graph), n_tokens(n_tokens), sched(ctx.ctx->get_sched()),
      backends(size_t(ggml_graph_n_nodes(graph)), -1) {
    for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
        backends[size_t(i)] = is_view(ggml_graph_node(graph, i)) ? -1 : anchor(i);
    }
    for (const bool skip_cpu : { true, false }) {
        expand(true, skip_cpu);
        expand(false, skip_cpu);
    }
}

void planned_ops::expand(bool down, bool skip_cpu) {
    const int n       = ggml_graph_n_nodes(graph);
    int       current = -1;
    for (int step = 0; step < n; ++step) {
        const int i = down ? step : n - 1 - step;
        if (is_view(ggml_graph_node(graph, i))) {
            continue;
        }
        int & id = backends[size_t(i)];
        if (id != -1) {
            current = skip_cpu && is_cpu(id) ? -1 : id;
        } else {
            id = current;
        }
    }
}

int planned_ops::anchor(int i) const {
    const ggml_tensor * node = ggml_graph_node(graph, i);
    if (const int id = forced(node); id != -1) {
        return id;
    }
    const ggml_backend_buffer_t buffer = node->view_src != nullptr ? node->view_src->buffer : node->buffer;
    if (buffer != nullptr) {
        return id_of(ggml_backend_buffer_get_type(buffer));
    }
    return by_weight(i);
}

// Where llama.cpp itself says so (graph_get_cb, build_attn_mha, build_moe_cache).
int planned_ops::forced(const ggml_tensor * node) const {
    const auto &      model = ctx.ctx->get_model();
    const std::string name  = node->name;
    const std::string head  = name.substr(0, name.rfind('-'));
    const int         layer = layer_of(name);
    if (layer < 0 || uint32_t(layer) >= model.hparams.n_layer_all) {
        return -1;
    }
    const bool is_whole = model.n_gpu_layers() > model.hparams.n_layer_all;
    if ((head == "norm" || head == "l_last") && (n_tokens < 32 || is_whole)) {
        return id_of(model.dev_layer(layer));
    }
    if (head == "kqv_out" && node->op == GGML_OP_CONT && !ctx.ctx->get_cparams().offload_kqv) {
        return ggml_backend_sched_get_n_backends(sched) - 1;
    }
    return head == "ffn_moe_slots" ? id_of(model.dev_layer(layer)) : -1;
}

const planned_weight * planned_ops::weight(int i) const {
    const ggml_tensor * node = ggml_graph_node(graph, i);
    if (node->op == GGML_OP_ROPE || node->op == GGML_OP_FLASH_ATTN_EXT) {
        return nullptr;
    }
    for (const ggml_tensor * src : node->src) {
        if (src == nullptr) {
            continue;
        }
        const planned_weight * found = weights.find(src);
        if (found == nullptr) {
            found = weights.find(copied_name(src));
        }
        if (found != nullptr) {
            return found;
        }
    }
    return nullptr;
}

int planned_ops::by_weight(int i) const {
    const ggml_tensor *    node  = ggml_graph_node(graph, i);
    const planned_weight * found = weight(i);
    if (found != nullptr) {
        const int id = id_of(found->device);
        // Weights in system memory may be copied to a device for a large batch.
        return is_cpu(id) && !is_cpu(actual(i)) ? actual(i) : id;
    }
    for (const ggml_tensor * src : node->src) {
        const bool is_weight = src != nullptr && src->buffer != nullptr &&
                               ggml_backend_buffer_get_usage(src->buffer) == GGML_BACKEND_BUFFER_USAGE_WEIGHTS;
        if (is_weight && node->op != GGML_OP_ROPE && node->op != GGML_OP_FLASH_ATTN_EXT) {
            return id_of(ggml_backend_buffer_get_type(src->buffer));
        }
    }
    return -1;
}

int planned_ops::actual(int i) const {
    const ggml_backend_t found = ggml_backend_sched_get_tensor_backend(sched, ggml_graph_node(graph, i));
    for (int id = 0; id < ggml_backend_sched_get_n_backends(sched); ++id) {
        if (backend(id) == found) {
            return id;
        }
    }
    return ggml_backend_sched_get_n_backends(sched) - 1;
}

ggml_backend_t planned_ops::backend(int id) const {
    return ggml_backend_sched_get_backend(sched, id);
}

bool planned_ops::is_cpu(int id) const {
    return pannier::is_cpu(ggml_backend_get_device(backend(id)));
}

int planned_ops::id_of(ggml_backend_dev_t device) const {
    for (int id = 0; id < ggml_backend_sched_get_n_backends(sched); ++id) {
        if (ggml_backend_get_device(backend(id)) == device) {
            return id;
        }
    }
    return ggml_backend_sched_get_n_backends(sched) - 1;
}

int planned_ops::id_of(ggml_backend_buffer_type_t type) const {
    for (int id = 0; id < ggml_backend_sched_get_n_backends(sched); ++id) {
        if (ggml_backend_supports_buft(backend(id), type)) {
            return id;
        }
    }
    return ggml_backend_sched_get_n_backends(sched) - 1;
}

bool planned_ops::is_lacking(int i) const {
    return !ggml_backend_supports_op(backend(planned(i)), ggml_graph_node(graph, i));
}

bool planned_ops::is_misplaced(int i) const {
    const int id = planned(i);
    if (id == -1 || is_cpu(id) || id == actual(i)) {
        return false;
    }
    // Between two devices an op without weights may go either way.
    return is_cpu(actual(i)) || is_lacking(i);
}

} // namespace pannier
