// Threads of a context that stay between its graphs, on the CPUs that the caller names.
#include "objects.h"

#include "ggml-backend.h"
#include "ggml-cpu.h"

namespace pannier {
namespace {

template <typename Function> Function * of_cpu_backend(const char * name) {
    auto * device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    void * found  = device == nullptr
                        ? nullptr
                        : ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), name);
    if (found == nullptr) {
        fail(PANNIER_ERROR_INTERNAL, "the CPU backend has no %s", name);
    }
    return reinterpret_cast<Function *>(found);
}

ggml_threadpool_params native_params(const pannier_thread_params * params, int32_t n_threads) {
    check_size(params, "pannier_thread_params");
    const pannier_thread_params & p = *params;
    ggml_threadpool_params native;
    ggml_threadpool_params_init(&native, n_threads);
    for (int32_t i = 0; i < p.n_cpus; ++i) {
        if (p.cpus[i] < 0 || p.cpus[i] >= GGML_MAX_N_THREADS) {
            fail(PANNIER_ERROR_ARGUMENT, "there is no CPU %d; they are 0 to %d", p.cpus[i], GGML_MAX_N_THREADS - 1);
        }
        native.cpumask[p.cpus[i]] = true;
    }
    if (p.priority < GGML_SCHED_PRIO_LOW || p.priority > GGML_SCHED_PRIO_REALTIME) {
        fail(PANNIER_ERROR_ARGUMENT, "thread priority is %d; it must be -1 to 3", p.priority);
    }
    if (p.poll < 0 || p.poll > 100) {
        fail(PANNIER_ERROR_ARGUMENT, "poll is %d; it must be 0 to 100", p.poll);
    }
    native.strict_cpu = p.strict != 0;
    native.prio       = static_cast<ggml_sched_priority>(p.priority);
    native.poll       = static_cast<uint32_t>(p.poll);
    return native;
}

ggml_threadpool_t started(ggml_threadpool_params params) {
    ggml_threadpool_t pool = of_cpu_backend<decltype(ggml_threadpool_new)>("ggml_threadpool_new")(&params);
    if (pool == nullptr) {
        fail(PANNIER_ERROR_CONTEXT, "cannot start %d threads", params.n_threads);
    }
    return pool;
}

void stop(ggml_threadpool_t pool) {
    if (pool != nullptr) {
        of_cpu_backend<decltype(ggml_threadpool_free)>("ggml_threadpool_free")(pool);
    }
}

} // namespace

thread_pools::~thread_pools() {
    stop(pool);
    stop(pool_batch);
}

void thread_pools::attach(llama_context * ctx, const pannier_context_params & params) {
    auto one = native_params(params.threads, params.n_threads);
    auto batch = native_params(params.threads_batch, params.n_threads_batch);
    // as common_threadpools in llama.cpp's common.cpp: two pools, of which one sleeps, where they differ
    if (!ggml_threadpool_params_match(&one, &batch)) {
        pool_batch = started(batch);
        one.paused = true;
    }
    pool = started(one);
    llama_attach_threadpool(ctx, pool, pool_batch);
}

} // namespace pannier
