// Tensor types by name, and work on many rows.
#pragma once

#include "guard.h"

#include "ggml.h"

#include <cstdint>
#include <functional>

namespace pannier {

// Throws PANNIER_ERROR_ARGUMENT for a name that is no type of ggml's.
ggml_type tensor_type(const char * name);
// Likewise, and for a type that ggml cannot quantise to.
ggml_type quantizable_type(const char * name);

// Throws PANNIER_ERROR_ARGUMENT unless n_per_row values make whole blocks.
size_t row_bytes(ggml_type type, int64_t n_per_row);

// Calls work(first_row, n_rows) for all rows, in chunks, on up to n_threads threads.
// `work` must not throw.
void for_row_chunks(int64_t n_rows, int64_t n_per_row, int32_t n_threads,
                    const std::function<void(int64_t, int64_t)> & work);

} // namespace pannier
