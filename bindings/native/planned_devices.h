// Where the weights of a model and the ops of its graphs belong by what was asked for, whatever the
// devices can compute. llama.cpp moves what a device lacks to another one without a word; held
// against this, such moves show.
#pragma once

#include "objects.h"

#include "ggml-backend.h"

#include <map>
#include <string>
#include <vector>

namespace pannier {

bool is_cpu(ggml_backend_dev_t device);

// "CPU" for all that computes in system memory.
std::string name_of(ggml_backend_dev_t device);

// The device that a tensor's buffer belongs to; the CPU for buffers in system memory.
ggml_backend_dev_t device_of(const ggml_tensor * tensor);

// The layer that a name ends in, as in "kqv_out-3" or "kqv_out-3 (view)"; -1: none.
int layer_of(const std::string & name);

// A weight, and where it belongs.
struct planned_weight {
    const ggml_tensor * tensor;
    ggml_backend_dev_t  device;

    bool is_in_place() const;
};

// An override of the placement, and what became of it.
struct used_override {
    int32_t n_matching = 0; // tensors whose name it matches
    int32_t n_taken    = 0; // those that no override before it took
};

// The weights of a model by what was asked for: layers, overrides, tables.
class planned_weights {
public:
    explicit planned_weights(const pannier_model & model);

    const std::vector<planned_weight> & all() const { return weights; }
    const std::vector<used_override> &  overrides() const { return used; }

    // Null for what is no weight of the model: adapters, cached experts.
    const planned_weight * find(const ggml_tensor * tensor) const;
    const planned_weight * find(const std::string & name) const;

private:
    ggml_backend_dev_t device_for(const pannier_model & model, const std::string & name);

    std::vector<planned_weight>            weights;
    std::map<const ggml_tensor *, size_t>  by_tensor;
    std::map<std::string, size_t>          by_name;
    std::vector<used_override>             used;
};

// The ops of a graph that the scheduler has just split: the backend that each of them would have
// if every device could compute everything.
class planned_ops {
public:
    planned_ops(const pannier_context & ctx, const planned_weights & weights, ggml_cgraph * graph, uint32_t n_tokens);

    int planned(int node) const { return backends[size_t(node)]; }
    int actual(int node) const;
    // The weight that says where an op belongs; null: its neighbours do.
    const planned_weight * weight(int node) const;

    ggml_backend_t backend(int id) const;
    bool           is_cpu(int id) const;
    // Whether an op that belongs to a device runs elsewhere, for want of anything there.
    bool is_misplaced(int node) const;
    // Whether the device where an op belongs cannot compute it.
    bool is_lacking(int node) const;

private:
    int  anchor(int node) const;
    int  forced(const ggml_tensor * node) const;
    int  by_weight(int node) const;
    int  id_of(ggml_backend_dev_t device) const;
    int  id_of(ggml_backend_buffer_type_t type) const;
    void expand(bool down, bool skip_cpu);

    const pannier_context & ctx;
    const planned_weights & weights;
    ggml_cgraph *           graph;
    uint32_t                n_tokens;
    ggml_backend_sched_t    sched;
    std::vector<int>        backends; // [n_nodes]; -1: nothing says
};

// Reshapes and the like, which compute nothing.
bool is_view(const ggml_tensor * node);

// The name of what a scheduler's copy for another device is a copy of; empty if it is none.
std::string copied_name(const ggml_tensor * tensor);

} // namespace pannier
