// The library itself: version, errors, log, text.
#include "guard.h"

#include "build-info.h"
#include "ggml-backend.h"
#include "llama.h"
#include "log.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace pannier {

namespace {

// A message that grows without bound would be a way to eat memory: keep the first part.
constexpr size_t MAX_LOGGED = 4096;

thread_local std::string last_error;
thread_local std::string logged;
thread_local int         last_level = 0;

std::mutex           log_mutex;
pannier_log_callback log_callback = nullptr;
void *               log_user     = nullptr;

void on_log(ggml_log_level level, const char * text, void *) noexcept {
    if (level != GGML_LOG_LEVEL_CONT) {
        last_level = level;
    }
    if (last_level == GGML_LOG_LEVEL_ERROR && logged.size() + std::strlen(text) < MAX_LOGGED) {
        logged += text;
    }
    pannier_log_callback callback = nullptr;
    void *               user     = nullptr;
    {
        std::lock_guard<std::mutex> lock(log_mutex);
        callback = log_callback;
        user     = log_user;
    }
    if (callback != nullptr) {
        callback(level, text, user);
    }
}

// Before anything else runs: backends log while they are found.
struct library {
    library() {
        llama_log_set(on_log, nullptr);
        common_log_set_verbosity_thold(-1); // common's own logger prints to stderr
        llama_backend_init();
    }
};

} // namespace

void fail(pannier_status status, const char * format, ...) {
    char    message[2048];
    va_list args;
    va_start(args, format);
    std::vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    throw failure(status, message);
}

void set_last_error(const std::string & message) noexcept {
    try {
        last_error = message;
    } catch (...) {
        last_error.clear();
    }
}

void clear_logged_errors() noexcept {
    static library once;
    logged.clear();
}

std::string logged_errors() {
    std::string text = logged;
    while (!text.empty() && text.back() == '\n') {
        text.pop_back();
    }
    for (char & c : text) {
        if (c == '\n') {
            c = ';';
        }
    }
    return text;
}

char * copy_text(const std::string & text) {
    char * copy = static_cast<char *>(std::malloc(text.size() + 1));
    if (copy == nullptr) {
        throw std::bad_alloc();
    }
    std::memcpy(copy, text.c_str(), text.size() + 1);
    return copy;
}

} // namespace pannier

using namespace pannier;

int pannier_abi_version(void) {
    return PANNIER_ABI_VERSION;
}

const char * pannier_last_error(void) {
    return last_error.c_str();
}

const char * pannier_build_info(void) {
    static std::string info;
    const int          status = guard([] { info = std::string(llama_build_info()) + "; " + llama_print_system_info(); });
    return status == PANNIER_OK ? info.c_str() : "";
}

void pannier_text_free(char * text) {
    std::free(text);
}

void pannier_log_set(pannier_log_callback callback, void * user) {
    std::lock_guard<std::mutex> lock(log_mutex);
    log_callback = callback;
    log_user     = user;
}

int pannier_numa_init(int32_t strategy) {
    return guard([&] {
        if (strategy < GGML_NUMA_STRATEGY_DISTRIBUTE || strategy > GGML_NUMA_STRATEGY_NUMACTL) {
            fail(PANNIER_ERROR_ARGUMENT, "NUMA strategy is %d; it must be 1 to 3", strategy);
        }
        llama_numa_init(static_cast<ggml_numa_strategy>(strategy));
    });
}

// ---------------------------------------------------------------- devices

namespace {

int32_t device_type(ggml_backend_dev_t device) {
    switch (ggml_backend_dev_type(device)) {
        case GGML_BACKEND_DEVICE_TYPE_GPU:
            return PANNIER_DEVICE_GPU;
        case GGML_BACKEND_DEVICE_TYPE_IGPU:
            return PANNIER_DEVICE_IGPU;
        case GGML_BACKEND_DEVICE_TYPE_CPU:
            return PANNIER_DEVICE_CPU;
        default:
            return PANNIER_DEVICE_ACCEL;
    }
}

// Of the Vulkan backend, with its patch; pinned host memory is left out of both.
using process_memory_function = void (*)(ggml_backend_dev_t device, size_t * used, size_t * allocated);

void set_process_memory(ggml_backend_dev_t device, pannier_device & out) {
    out.process_bytes   = -1;
    out.allocated_bytes = -1;
    const auto ask      = reinterpret_cast<process_memory_function>(ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(device), "ggml_backend_dev_process_memory"));
    if (ask != nullptr) {
        size_t used      = 0;
        size_t allocated = 0;
        ask(device, &used, &allocated);
        out.process_bytes   = used > 0 ? int64_t(used) : -1;
        out.allocated_bytes = int64_t(allocated);
    }
}

} // namespace

int32_t pannier_device_count(void) {
    int32_t count = 0;
    guard([&] { count = static_cast<int32_t>(ggml_backend_dev_count()); });
    return count;
}

int pannier_device_get(int32_t index, pannier_device * out) {
    return guard([&] {
        check_size(out, "pannier_device");
        if (index < 0 || static_cast<size_t>(index) >= ggml_backend_dev_count()) {
            fail(PANNIER_ERROR_ARGUMENT, "device %d does not exist: there are %zu", index, ggml_backend_dev_count());
        }
        ggml_backend_dev_t device = ggml_backend_dev_get(static_cast<size_t>(index));
        ggml_backend_dev_props props{};
        ggml_backend_dev_get_props(device, &props);
        out->name         = props.name;
        out->description  = props.description;
        out->backend      = ggml_backend_reg_name(ggml_backend_dev_backend_reg(device));
        out->type         = device_type(device);
        out->id           = props.device_id != nullptr ? props.device_id : "";
        out->memory_total = props.memory_total;
        out->memory_free  = props.memory_free;
        set_process_memory(device, *out);
    });
}
