// Where the ops of a context's graphs run, as JSON: see pannier_context_placement.
#pragma once

#include "objects.h"

#include <string>

namespace pannier {

std::string placement(pannier_context & ctx, int32_t n_clients);

} // namespace pannier
