// A record of every buffer that ggml holds, kept at the allocator: what the ledger is checked with.
#include "host_memory.h"
#include "memory_parts.h"

#include "ggml-backend-impl.h"

#include <mutex>
#include <set>

namespace pannier {
namespace {

#ifdef PANNIER_HAS_ACCOUNTS

struct recorder {
    std::mutex                      mutex;
    std::set<ggml_backend_buffer_t> live;

    void observe(ggml_backend_buffer_t buffer, ggml_backend_buffer_event event) {
        std::lock_guard<std::mutex> lock(mutex);
        switch (event) {
            case GGML_BACKEND_BUFFER_EVENT_INIT:
                live.insert(buffer);
                break;
            case GGML_BACKEND_BUFFER_EVENT_FROM_HOST_PTR: // the mapped file is weights too: kept
                break;
            case GGML_BACKEND_BUFFER_EVENT_FREE:
                live.erase(buffer);
                break;
        }
    }

    // Buffers made of other buffers are reported beside their parts.
    bytes_by_buffer_type bytes() {
        std::lock_guard<std::mutex> lock(mutex);
        bytes_by_buffer_type        rows;
        for (ggml_backend_buffer_t buffer : live) {
            if (!ggml_backend_buffer_is_multi_buffer(buffer) && !ggml_backend_buffer_is_meta(buffer)) {
                rows[real_type(ggml_backend_buffer_get_type(buffer))] += ggml_backend_buffer_get_size(buffer);
            }
        }
        return rows;
    }
};

// Never freed: static destructors elsewhere can still free buffers.
recorder & records() {
    static recorder * instance = new recorder();
    return *instance;
}

void on_event(void *, ggml_backend_buffer_t buffer, ggml_backend_buffer_event event) {
    records().observe(buffer, event);
}

// Before the first buffer: when this library is loaded.
const bool observing = ggml_backend_buffer_set_observer(on_event, nullptr);

#endif

} // namespace
} // namespace pannier

using namespace pannier;

int pannier_allocations(pannier_memory_row * rows, int32_t capacity, int32_t * n_rows) {
    return guard([&] {
#ifdef PANNIER_HAS_ACCOUNTS
        if (!observing) {
            fail(PANNIER_ERROR_ARGUMENT, "another library in this process already observes ggml's buffers");
        }
        std::vector<pannier_memory_row> live;
        for (const auto & [type, bytes] : records().bytes()) {
            live.push_back(memory_row(type, -1, bytes));
        }
        write_rows(live, rows, capacity, n_rows);
#else
        (void) rows;
        (void) capacity;
        (void) n_rows;
        fail(PANNIER_ERROR_ARGUMENT, "an unpatched engine keeps no allocation record");
#endif
    });
}
