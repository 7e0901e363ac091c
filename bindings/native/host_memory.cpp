// llama.cpp has no way to say which system memory an override means: a device's pinned memory
// becomes pages of the file if that is mapped, "CPU" may mean pinned or rearranged memory. It
// compares buffer types by their address, so types of ours that hand everything on to the real
// ones are taken as they are. Buffers that they allocate are of the real types.
#include "host_memory.h"

#include "guard.h"
#include "objects.h"

#include "ggml-backend-impl.h"

#include <map>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

#pragma GCC visibility push(default)
#include "llama-model.h"
#pragma GCC visibility pop

namespace pannier {
namespace {

using type_t = ggml_backend_buffer_type_t;

ggml_backend_dev_t cpu() {
    return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
}

type_t inner(type_t type) {
    return static_cast<type_t>(type->context);
}

// llama.cpp tells types apart by their names too.
const char * name_of_type(type_t type) {
    return inner(type) == ggml_backend_cpu_buffer_type() ? "host:ordinary" : "host:pinned";
}

ggml_backend_buffer_t alloc_buffer(type_t type, size_t size) {
    return ggml_backend_buft_alloc_buffer(inner(type), size);
}

size_t alignment(type_t type) {
    return ggml_backend_buft_get_alignment(inner(type));
}

size_t max_size(type_t type) {
    return ggml_backend_buft_get_max_size(inner(type));
}

size_t alloc_size(type_t type, const ggml_tensor * tensor) {
    return ggml_backend_buft_get_alloc_size(inner(type), tensor);
}

bool is_host(type_t) {
    return true;
}

ggml_backend_buffer_type type_over(type_t inner, ggml_backend_dev_t device) {
    ggml_backend_buffer_type type = {};
    type.iface.get_name       = name_of_type;
    type.iface.alloc_buffer   = alloc_buffer;
    type.iface.get_alignment  = alignment;
    type.iface.get_max_size   = max_size;
    type.iface.get_alloc_size = alloc_size;
    type.iface.is_host        = is_host;
    type.device               = device;
    type.context              = inner;
    return type;
}

type_t copied() {
    static ggml_backend_buffer_type type = type_over(ggml_backend_cpu_buffer_type(), cpu());
    return &type;
}

// Memory that a device takes for its host memory becomes pages of a mapped file: so the type has a
// device for which it is just that.
type_t mapped() {
    static ggml_backend_device      device = {};
    static ggml_backend_buffer_type type   = [] {
        device.iface.get_type = [](ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_CPU; };
        device.iface.get_name = [](ggml_backend_dev_t) { return "CPU"; };
        device.iface.get_host_buffer_type = [](ggml_backend_dev_t) { return &type; };
        return type_over(ggml_backend_cpu_buffer_type(), &device);
    }();
    return &type;
}

type_t pinned(const std::vector<ggml_backend_dev_t> & devices) {
    static std::mutex                                 mutex;
    static std::map<type_t, ggml_backend_buffer_type> types;
    const std::lock_guard<std::mutex>                 lock(mutex);
    for (ggml_backend_dev_t device : devices) {
        const type_t host = device != nullptr ? ggml_backend_dev_host_buffer_type(device) : nullptr;
        if (host != nullptr) {
            return &types.emplace(host, type_over(host, cpu())).first->second;
        }
    }
    fail(PANNIER_ERROR_ARGUMENT,
         "none of this engine's devices that are used has pinned memory: take lock, copy or mmap instead");
}

std::vector<ggml_backend_dev_t> all_devices() {
    std::vector<ggml_backend_dev_t> devices;
    for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
        devices.push_back(ggml_backend_dev_get(i));
    }
    return devices;
}

// Bytes of whole pages around a tensor that could be locked: all of it or none.
bool lock(const ggml_tensor * tensor) {
    const auto page  = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const auto data  = reinterpret_cast<uintptr_t>(tensor->data);
    const auto begin = data / page * page;
    return mlock(reinterpret_cast<const void *>(begin), data + ggml_nbytes(tensor) - begin) == 0;
}

} // namespace

type_t host_buffer_type(const std::string & name, const std::vector<ggml_backend_dev_t> & devices) {
    return name == "host:mapped"   ? mapped()
           : name == "host:copied" ? copied()
           : name == "host:pinned" ? pinned(devices.empty() ? all_devices() : devices)
                                   : nullptr;
}

type_t real_type(type_t type) {
    return type->iface.get_name == name_of_type ? inner(type) : type;
}

} // namespace pannier

using namespace pannier;

int pannier_model_lock(const pannier_model * model, const char * const * names, int32_t n_names, int32_t * n_locked) {
    return guard([&] {
        if (!not_null(model, "model").has_weights) {
            fail(PANNIER_ERROR_ARGUMENT, "the model was loaded without its weights: there is nothing to lock");
        }
        not_null(n_locked, "n_locked") = 0;
        std::multimap<std::string, const ggml_tensor *> tensors;
        for (const auto & [name, tensor] : model->model->tensors_by_name) {
            if (tensor->data != nullptr && tensor->buffer != nullptr && ggml_backend_buffer_is_host(tensor->buffer)) {
                tensors.emplace(name, tensor);
            }
        }
        for (int32_t i = 0; i < n_names; ++i) {
            const auto found = tensors.find(names[i]);
            if (found == tensors.end()) {
                fail(PANNIER_ERROR_ARGUMENT, "no tensor '%s' in system memory", names[i]);
            }
            if (!lock(found->second)) {
                return;
            }
            ++*n_locked;
        }
    });
}
