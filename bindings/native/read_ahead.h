// Models larger than memory: experts are fetched from the mapped file ahead of the computation.
#pragma once

#include "llama.h"

#include <memory>

namespace pannier {

// Before the first context of the process: ggml tells from then on which experts it is about to use.
void observe_experts();

// Whether models that this thread loads are read whole when they are mapped.
void set_mmap_prefetch(bool prefetch);

// The mapped experts of one model, from creation to destruction; to go before the model does.
class read_ahead {
public:
    explicit read_ahead(const llama_model & model);
    read_ahead(const read_ahead &) = delete;
    read_ahead & operator=(const read_ahead &) = delete;
    ~read_ahead();

private:
    struct layers;
    std::unique_ptr<layers> mine;
};

} // namespace pannier
