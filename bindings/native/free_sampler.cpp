// Samplers of nobody's sequence: their caller brings the logits.
#include "objects.h"
#include "sampler.h"

#include <cmath>

struct pannier_sampler {
    const pannier_model * model;
    llama_sampler_ptr     grammar; // null: none
    common_sampler_ptr    chain;

    std::vector<llama_token_data> candidates;
};

namespace pannier {
namespace {

std::unique_ptr<pannier_sampler> make_free_sampler(const pannier_model & model, const pannier_sampler_params & p,
                                                   int32_t n_ctx) {
    if (p.grammar_lazy != 0 || p.n_triggers != 0 || p.reasoning_start[0] != '\0') {
        fail(PANNIER_ERROR_ARGUMENT, "a free sampler has neither lazy grammars nor limits for reasoning");
    }
    auto chain   = chain_params(model, n_ctx, p);
    auto sampler = std::make_unique<pannier_sampler>();
    sampler->model = &model;
    if (p.grammar[0] != '\0') {
        sampler->grammar = parse_grammar(model, p.grammar);
    }
    try {
        sampler->chain.reset(common_sampler_init(model.model, chain));
    } catch (const std::invalid_argument & error) {
        fail(PANNIER_ERROR_ARGUMENT, "the sampler cannot be made: %s", error.what());
    }
    if (!sampler->chain) {
        fail(PANNIER_ERROR_ARGUMENT, "the sampler cannot be made: %s", logged_errors().c_str());
    }
    return sampler;
}

bool is_possible(const llama_token_data & candidate) {
    return candidate.logit > -INFINITY; // nor is NaN
}

int32_t choose(pannier_sampler & sampler, const float * logits) {
    sampler.candidates.clear();
    for (int32_t token = 0; token < sampler.model->n_vocab(); ++token) {
        sampler.candidates.push_back({ token, logits[token], 0.0f });
    }
    llama_token_data_array array = { sampler.candidates.data(), sampler.candidates.size(), -1, false };
    if (sampler.grammar) {
        llama_sampler_apply(sampler.grammar.get(), &array);
    }
    if (std::none_of(array.data, array.data + array.size, is_possible)) {
        fail(PANNIER_ERROR_ARGUMENT, "no token is possible: %s",
             sampler.grammar ? "none fits the grammar" : "all logits are minus infinity or not a number");
    }
    llama_sampler_apply(common_sampler_get(sampler.chain.get()), &array);
    if (array.selected < 0 || size_t(array.selected) >= array.size) {
        fail(PANNIER_ERROR_ARGUMENT, "the samplers chose no token");
    }
    return array.data[array.selected].id;
}

} // namespace
} // namespace pannier

using namespace pannier;

int pannier_sampler_create(const pannier_model * model, const pannier_sampler_params * params, int32_t n_ctx,
                           pannier_sampler ** out) {
    return guard([&] {
        not_null(model, "model");
        check_size(params, "pannier_sampler_params");
        not_null(out, "out") = make_free_sampler(*model, *params, n_ctx).release();
    });
}

void pannier_sampler_free(pannier_sampler * sampler) {
    delete sampler;
}

int pannier_sampler_choose(pannier_sampler * sampler, const float * logits, int32_t n_vocab, int32_t * token) {
    return guard([&] {
        not_null(sampler, "sampler");
        if (n_vocab != sampler->model->n_vocab()) {
            fail(PANNIER_ERROR_ARGUMENT, "%d logits; the vocabulary has %d tokens", n_vocab, sampler->model->n_vocab());
        }
        not_null(token, "token") = choose(*sampler, &not_null(logits, "logits"));
    });
}

int pannier_sampler_accept(pannier_sampler * sampler, int32_t token) {
    return guard([&] {
        not_null(sampler, "sampler");
        if (token < 0 || token >= sampler->model->n_vocab()) {
            fail(PANNIER_ERROR_ARGUMENT, "token %d is outside the vocabulary of %d tokens", token,
                 sampler->model->n_vocab());
        }
        if (sampler->grammar) {
            llama_sampler_accept(sampler->grammar.get(), token);
        }
        common_sampler_accept(sampler->chain.get(), token, false);
    });
}
