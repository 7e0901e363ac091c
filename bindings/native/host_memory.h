// System memory that weights can be told to lie in, as buffer types of tensor overrides.
#pragma once

#include "ggml-backend.h"

#include <string>
#include <vector>

namespace pannier {

// The buffer type behind one of the names "host:mapped", "host:copied" and "host:pinned", each for
// a load that maps the file: pages of the file, ordinary memory, and the pinned memory of the first
// of `devices` (all, if there are none) that has some. Null for another name.
//
// What is in them has the file's layout: it is never rearranged for the CPU's kernels.
// Throws PANNIER_ERROR_ARGUMENT for pinned memory that no device has.
ggml_backend_buffer_type_t host_buffer_type(const std::string & name, const std::vector<ggml_backend_dev_t> & devices);

// The type that buffers of one of those types have; any other type itself.
ggml_backend_buffer_type_t real_type(ggml_backend_buffer_type_t type);

} // namespace pannier
