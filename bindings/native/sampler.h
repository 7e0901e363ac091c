// What samplers of sequences and free ones have in common.
#pragma once

#include "llama-cpp.h"
#include "sampling.h"

#include <string>

struct pannier_model;
struct pannier_sampler_params;

namespace pannier {

// llama.cpp's parameters, without grammar and reasoning; `whole` is what a look back of -1 means.
// Throws PANNIER_ERROR_ARGUMENT for a value outside its range.
common_params_sampling chain_params(const pannier_model & model, int32_t whole, const pannier_sampler_params & p);

// A sampler that lets only what fits a GBNF text pass. Throws PANNIER_ERROR_ARGUMENT for one that is no such text.
llama_sampler_ptr parse_grammar(const pannier_model & model, const std::string & grammar);

} // namespace pannier
