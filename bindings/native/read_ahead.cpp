// The kernel is asked for the experts of a layer, all matrices of it, as soon as the router has chosen
// them: the disk works with a deep queue, and on `down` while `up` and `gate` are computed.
#include "read_ahead.h"

// Another library's class: see memory_parts.cpp.
#pragma GCC visibility push(default)
#include "llama-model.h"
#pragma GCC visibility pop

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "guard.h"
#include "llama-ext.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#if defined(__linux__) && defined(PANNIER_HAS_READ_AHEAD)
#    define READS_AHEAD 1
#    include <sys/mman.h>
#    include <unistd.h>
#else
#    define READS_AHEAD 0
#endif

namespace pannier {

#if READS_AHEAD

namespace {

constexpr size_t WINDOW = 128u << 20; // of experts that are asked for and not yet computed with
constexpr size_t PIECE  = 256u << 10; // the kernel cuts what is asked for at once to what a disk takes

// In the order in which graphs multiply with them.
const char * const MATRICES[] = { ".ffn_gate_up_exps.weight", ".ffn_up_exps.weight", ".ffn_gate_exps.weight",
                                  ".ffn_down_exps.weight" };

struct matrix {
    const char * data;
    size_t       stride; // bytes of one expert
};

struct layer {
    std::vector<matrix> matrices;
};

struct place {
    const layer * of;
    size_t        index; // in its matrices
};

struct registry {
    std::shared_mutex                       mutex;
    std::unordered_map<const void *, place> places; // by the matrix's data
};

// Never freed: threads may still compute when static destructors run.
registry & known() {
    static registry * instance = new registry();
    return *instance;
}

void advise(const char * data, size_t n_bytes, int advice) {
    static const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));

    const auto begin = reinterpret_cast<uintptr_t>(data) & ~(page - 1);
    const auto end   = reinterpret_cast<uintptr_t>(data) + n_bytes;
    const auto step  = advice == MADV_WILLNEED ? PIECE : end - begin;
    for (uintptr_t at = begin; at < end; at += step) {
        madvise(reinterpret_cast<void *>(at), std::min(step, end - at), advice); // a hint: may fail
    }
}

// What this thread has asked for, and will, of one layer's experts.
class cursor {
public:
    // The experts that have rows are known.
    void start(const place & at, const int64_t * row_counts, int64_t n_expert) {
        used.clear();
        for (int64_t i = 0; i < n_expert; ++i) {
            if (row_counts[i] > 0) {
                used.push_back(i);
            }
        }
        const bool goes_on = at.of == of && at.index > first && used == asked_for;
        if (!goes_on) {
            of        = at.of;
            first     = at.index;
            n_asked   = 0;
            asked_for = used;
        }
        advance(at, asked_for.empty() ? 0 : asked_for.front());
    }

    // The matrix is about to be multiplied with an expert.
    void advance(const place & at, int64_t expert) {
        const auto   reached = std::lower_bound(asked_for.begin(), asked_for.end(), expert) - asked_for.begin();
        const size_t n_done  = (at.index - first) * asked_for.size() + static_cast<size_t>(reached);
        const size_t n_all   = (of->matrices.size() - first) * asked_for.size();
        size_t       ahead   = 0;
        for (size_t i = n_done; i < n_all && ahead < WINDOW; ++i) {
            const matrix & one = of->matrices[first + i / asked_for.size()];
            ahead += one.stride;
            if (i >= n_asked) {
                const auto number = static_cast<size_t>(asked_for[i % asked_for.size()]);
                advise(one.data + number * one.stride, one.stride, MADV_WILLNEED);
                n_asked = i + 1;
            }
        }
    }

private:
    const layer *        of      = nullptr;
    size_t               first   = 0; // matrix
    size_t               n_asked = 0; // of the slices: all experts of the first matrix, then of the next
    std::vector<int64_t> asked_for;
    std::vector<int64_t> used;
};

void on_experts(const ggml_tensor * weights, const int64_t * row_counts, int64_t expert) noexcept {
    thread_local cursor here;

    registry &                          all = known();
    std::shared_lock<std::shared_mutex> lock(all.mutex);
    const auto                          found = all.places.find(weights->data);
    if (found == all.places.end()) {
        return;
    }
    if (expert < 0) {
        here.start(found->second, row_counts, weights->ne[2]);
    } else {
        here.advance(found->second, expert);
    }
}

bool is_mapped(const ggml_tensor * tensor) {
    const std::string type = ggml_backend_buft_name(ggml_backend_buffer_get_type(tensor->buffer));
    const std::string end  = "_Mapped";
    return ggml_backend_buffer_is_host(tensor->buffer) && type.size() > end.size() &&
           type.compare(type.size() - end.size(), end.size(), end) == 0;
}

} // namespace

struct read_ahead::layers {
    std::map<std::string, layer> by_block; // "blk.3"
};

void observe_experts() {
    static std::once_flag once;
    std::call_once(once, [] {
        auto * device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
        void * set    = ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device),
                                                          "ggml_backend_cpu_set_experts_observer");
        reinterpret_cast<decltype(ggml_backend_cpu_set_experts_observer) *>(set)(on_experts);
    });
}

void set_mmap_prefetch(bool prefetch) {
    llama_set_mmap_prefetch(prefetch);
}

read_ahead::read_ahead(const llama_model & model) : mine(std::make_unique<layers>()) {
    std::map<std::string, const ggml_tensor *> experts;
    for (const auto & [name, tensor] : model.tensors_by_name) {
        if (!is_mapped(tensor)) {
            continue;
        }
        const bool has_experts = tensor->ne[2] > 1 && name.find("_exps.weight") != std::string::npos;
        // the kernel's own guess at what comes next would be experts that nobody chose
        advise(static_cast<const char *>(tensor->data), ggml_nbytes(tensor), has_experts ? MADV_RANDOM : MADV_WILLNEED);
        if (has_experts) {
            experts[name] = tensor;
        }
    }

    registry &                          all = known();
    std::unique_lock<std::shared_mutex> lock(all.mutex);
    for (const char * kind : MATRICES) {
        for (const auto & [name, tensor] : experts) {
            const size_t length = name.size() - std::min(name.size(), std::strlen(kind));
            if (name.compare(length, std::string::npos, kind) == 0) {
                layer & one = mine->by_block[name.substr(0, length)];
                one.matrices.push_back({ static_cast<const char *>(tensor->data), tensor->nb[2] });
                all.places[tensor->data] = { &one, one.matrices.size() - 1 };
            }
        }
    }
}

read_ahead::~read_ahead() {
    registry &                          all = known();
    std::unique_lock<std::shared_mutex> lock(all.mutex);
    for (const auto & [block, one] : mine->by_block) {
        for (const matrix & each : one.matrices) {
            all.places.erase(each.data);
        }
    }
}

#else

struct read_ahead::layers {};

void observe_experts() {}

void set_mmap_prefetch(bool) {}

read_ahead::read_ahead(const llama_model &) {}

read_ahead::~read_ahead() = default;

#endif

} // namespace pannier
