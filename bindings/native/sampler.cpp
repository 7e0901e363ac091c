// One sampler per sequence: llama.cpp's own chain, or plain argmax where the chain would do just that.
#include "sampler.h"

#include "objects.h"

#include <cmath>

namespace pannier {
namespace {

void check_range(const char * name, float value, float low, float high) {
    if (!(value >= low && value <= high)) { // also refuses NaN
        fail(PANNIER_ERROR_ARGUMENT, "%s is %g; it must be %g to %g", name, double(value), double(low), double(high));
    }
}

void check_params(const pannier_sampler_params & p) {
    const float any = 3.4e38f;
    check_range("temperature", p.temperature, -any, any);
    check_range("top_p", p.top_p, -any, any);
    check_range("min_p", p.min_p, -any, any);
    check_range("typical_p", p.typical_p, -any, any);
    check_range("top_n_sigma", p.top_n_sigma, -any, any);
    check_range("xtc_probability", p.xtc_probability, -any, any);
    check_range("xtc_threshold", p.xtc_threshold, -any, any);
    check_range("dynatemp_range", p.dynatemp_range, -any, any);
    check_range("dynatemp_exponent", p.dynatemp_exponent, -any, any);
    check_range("repeat_penalty", p.repeat_penalty, 1e-6f, 1e6f);
    check_range("frequency_penalty", p.frequency_penalty, -any, any);
    check_range("presence_penalty", p.presence_penalty, -any, any);
    check_range("dry_multiplier", p.dry_multiplier, -any, any);
    check_range("dry_base", p.dry_base, -any, any);
    check_range("mirostat_tau", p.mirostat_tau, -any, any);
    check_range("mirostat_eta", p.mirostat_eta, -any, any);
    check_range("adaptive_target", p.adaptive_target, -any, 1);
    check_range("adaptive_decay", p.adaptive_decay, 0, 0.99f);
    check_range("mirostat", float(p.mirostat), 0, 2);
    check_range("min_keep", float(p.min_keep), 0, 1e6f);
    check_range("repeat_last_n", float(p.repeat_last_n), -1, 1e6f);
    check_range("dry_penalty_last_n", float(p.dry_penalty_last_n), -1, 1e6f);
    check_range("dry_allowed_length", float(p.dry_allowed_length), 0, 1e6f);
    check_range("n_probs", float(p.n_probs), 0, 1e6f);
}

std::vector<common_sampler_type> sampler_types(const pannier_sampler_params & p) {
    std::vector<common_sampler_type> types;
    for (int32_t i = 0; i < p.n_samplers; ++i) {
        const auto found = common_sampler_types_from_names({ p.samplers[i] });
        if (found.empty()) {
            fail(PANNIER_ERROR_ARGUMENT, "no sampler '%s'", p.samplers[i]);
        }
        types.push_back(found.front());
    }
    return types;
}

// llama.cpp's infill sampler compares every candidate with every other one, and asserts that there is
// a token that ends text.
void check_infill(const pannier_model & model, const common_params_sampling & chain) {
    constexpr int32_t MAX_CANDIDATES = 4096;
    int32_t           n_candidates   = model.n_vocab();
    for (const common_sampler_type type : chain.samplers) {
        if (type == COMMON_SAMPLER_TYPE_TOP_K && chain.top_k > 0) {
            n_candidates = std::min(n_candidates, chain.top_k);
        }
        if (type != COMMON_SAMPLER_TYPE_INFILL) {
            continue;
        }
        if (n_candidates > MAX_CANDIDATES) {
            fail(PANNIER_ERROR_ARGUMENT, "the sampler 'infill' would compare %d tokens with each other; put 'top_k' "
                 "before it, with %d at most", n_candidates, MAX_CANDIDATES);
        }
        if (llama_vocab_eot(model.vocab) == LLAMA_TOKEN_NULL && llama_vocab_eos(model.vocab) == LLAMA_TOKEN_NULL) {
            fail(PANNIER_ERROR_ARGUMENT, "the sampler 'infill' needs a token that ends text; this model has none");
        }
    }
}

void add_logit_bias(const pannier_model & model, const pannier_sampler_params & p,
                    std::vector<llama_logit_bias> & biases) {
    for (int32_t i = 0; i < p.n_logit_bias; ++i) {
        const int32_t token = p.logit_bias_tokens[i];
        if (token < 0 || token >= model.n_vocab()) {
            fail(PANNIER_ERROR_ARGUMENT, "logit_bias names token %d; the vocabulary has %d tokens", token,
                 model.n_vocab());
        }
        if (std::isnan(p.logit_bias_values[i])) {
            fail(PANNIER_ERROR_ARGUMENT, "logit_bias of token %d is not a number", token);
        }
        biases.push_back({ token, p.logit_bias_values[i] });
    }
    for (int32_t token = 0; p.ignore_eos != 0 && token < model.n_vocab(); ++token) {
        if (llama_vocab_is_eog(model.vocab, token)) {
            biases.push_back({ token, -INFINITY });
        }
    }
}

} // namespace

common_params_sampling chain_params(const pannier_model & model, int32_t whole, const pannier_sampler_params & p) {
    check_params(p);
    common_params_sampling chain;
    chain.no_perf            = true;
    chain.seed               = p.seed;
    chain.temp               = p.temperature;
    chain.top_k              = p.top_k;
    chain.top_p              = p.top_p;
    chain.min_p              = p.min_p;
    chain.typ_p              = p.typical_p;
    chain.top_n_sigma        = p.top_n_sigma;
    chain.xtc_probability    = p.xtc_probability;
    chain.xtc_threshold      = p.xtc_threshold;
    chain.dynatemp_range     = p.dynatemp_range;
    chain.dynatemp_exponent  = p.dynatemp_exponent;
    chain.penalty_last_n     = p.repeat_last_n == -1 ? whole : p.repeat_last_n;
    chain.penalty_repeat     = p.repeat_penalty;
    chain.penalty_freq       = p.frequency_penalty;
    chain.penalty_present    = p.presence_penalty;
    chain.dry_multiplier     = p.dry_multiplier;
    chain.dry_base           = p.dry_base;
    chain.dry_allowed_length = p.dry_allowed_length;
    chain.dry_penalty_last_n = p.dry_penalty_last_n == -1 ? whole : p.dry_penalty_last_n;
    chain.mirostat           = p.mirostat;
    chain.mirostat_tau       = p.mirostat_tau;
    chain.mirostat_eta       = p.mirostat_eta;
    chain.adaptive_target    = p.adaptive_target;
    chain.adaptive_decay     = p.adaptive_decay;
    chain.min_keep           = p.min_keep;
    chain.n_probs            = p.n_probs; // llama.cpp computes probabilities of what it takes only if asked
    chain.n_prev             = std::max(chain.n_prev, std::max(chain.penalty_last_n, chain.dry_penalty_last_n));
    chain.samplers           = sampler_types(p);
    chain.dry_sequence_breakers.assign(p.dry_sequence_breakers, p.dry_sequence_breakers + p.n_dry_sequence_breakers);
    add_logit_bias(model, p, chain.logit_bias);
    check_infill(model, chain);
    return chain;
}

namespace {

// llama.cpp's grammar parser and its checks recurse over groups and over rules, without a limit: a
// client's grammar could overflow the stack. Literals, character classes and comments are skipped.
void check_grammar_size(const std::string & grammar) {
    constexpr size_t MAX_BYTES = size_t(4) << 20;
    constexpr int    MAX_DEPTH = 512;
    constexpr int    MAX_RULES = 20000; // the tools of a request, each with a schema
    if (grammar.size() > MAX_BYTES) {
        fail(PANNIER_ERROR_ARGUMENT, "the grammar has %zu bytes; at most %zu are taken", grammar.size(), MAX_BYTES);
    }
    int  depth = 0;
    int  rules = 0;
    char until = 0;
    for (size_t i = 0; i < grammar.size(); ++i) {
        const char c = grammar[i];
        if (until != 0) {
            i += c == '\\' && until != '\n';
            until = c == until ? 0 : until;
            continue;
        }
        until = c == '"' ? '"' : c == '[' ? ']' : c == '#' ? '\n' : 0;
        depth += (c == '(') - (c == ')');
        rules += grammar.compare(i, 3, "::=") == 0;
        if (depth > MAX_DEPTH || rules > MAX_RULES) {
            fail(PANNIER_ERROR_ARGUMENT, "the grammar nests deeper than %d groups or has more than %d rules", MAX_DEPTH,
                 MAX_RULES);
        }
    }
}

} // namespace

llama_sampler_ptr parse_grammar(const pannier_model & model, const std::string & grammar) {
    check_grammar_size(grammar);
    llama_sampler * parsed = nullptr;
    try {
        if (grammar.compare(0, 1, "%") != 0) {
            parsed = llama_sampler_init_grammar(model.vocab, grammar.c_str(), "root");
        }
    } catch (const std::runtime_error & error) {
        fail(PANNIER_ERROR_ARGUMENT, "the grammar is not taken: %s", error.what());
    }
    if (parsed == nullptr) {
        fail(PANNIER_ERROR_ARGUMENT, "the grammar is not valid GBNF: %s", logged_errors().c_str());
    }
    return llama_sampler_ptr(parsed);
}

namespace {

bool has_type(const common_params_sampling & chain, common_sampler_type type) {
    return std::find(chain.samplers.begin(), chain.samplers.end(), type) != chain.samplers.end();
}

bool has_reasoning_budget(const common_params_sampling & chain) {
    return !chain.reasoning_budget_start.empty() && !chain.reasoning_budget_end.empty() &&
           chain.reasoning_budget_tokens >= 0;
}

bool is_plain_greedy(const pannier_model & model, const common_params_sampling & chain) {
    int32_t n_suppressed = 0;
    llama_vocab_get_suppress_tokens(model.vocab, &n_suppressed);
    const bool cold =
        has_type(chain, COMMON_SAMPLER_TYPE_TEMPERATURE) && chain.temp <= 0.0f && chain.dynatemp_range <= 0.0f;
    const bool unpenalised =
        chain.penalty_last_n == 0 ||
        (chain.penalty_repeat == 1.0f && chain.penalty_freq == 0.0f && chain.penalty_present == 0.0f);
    return cold && unpenalised && chain.dry_multiplier == 0.0f && chain.mirostat == 0 && chain.logit_bias.empty() &&
           chain.grammar.empty() && !has_reasoning_budget(chain) && n_suppressed == 0 && chain.typ_p >= 1.0f &&
           !has_type(chain, COMMON_SAMPLER_TYPE_INFILL) &&
           (chain.xtc_probability <= 0.0f || chain.xtc_threshold > 0.5f);
}

void add_triggers(const pannier_model & model, const pannier_sampler_params & p, common_params_sampling & chain) {
    for (int32_t i = 0; i < p.n_triggers; ++i) {
        const int32_t type = p.trigger_types[i];
        check_range("trigger_type", float(type), PANNIER_TRIGGER_TOKEN, PANNIER_TRIGGER_PATTERN_FULL);
        if (type == PANNIER_TRIGGER_TOKEN && (p.trigger_tokens[i] < 0 || p.trigger_tokens[i] >= model.n_vocab())) {
            fail(PANNIER_ERROR_ARGUMENT, "trigger %d is token %d; the vocabulary has %d tokens", i,
                 p.trigger_tokens[i], model.n_vocab());
        }
        chain.grammar_triggers.push_back(
            { static_cast<common_grammar_trigger_type>(type), p.trigger_values[i], p.trigger_tokens[i] });
    }
}

void add_grammar(const pannier_model & model, const pannier_sampler_params & p, common_params_sampling & chain) {
    if (p.grammar == nullptr || p.grammar[0] == '\0') {
        return;
    }
    check_range("grammar_type", float(p.grammar_type), PANNIER_GRAMMAR_USER, PANNIER_GRAMMAR_TOOL_CALLS);
    parse_grammar(model, p.grammar); // common_sampler_init leaks its chain when it is wrong
    chain.grammar      = { static_cast<common_grammar_type>(p.grammar_type), p.grammar };
    chain.grammar_lazy = p.grammar_lazy != 0;
    add_triggers(model, p, chain);
    if (chain.grammar_lazy && chain.grammar_triggers.empty()) {
        fail(PANNIER_ERROR_ARGUMENT, "a lazy grammar has no trigger");
    }
}

void add_reasoning(const pannier_model & model, const pannier_sampler_params & p, common_params_sampling & chain) {
    chain.generation_prompt = p.generation_prompt;
    check_range("reasoning_budget", float(p.reasoning_budget), -1, 2.2e9f);
    chain.reasoning_budget_tokens = p.reasoning_budget;
    chain.reasoning_budget_start  = common_tokenize(model.vocab, p.reasoning_start, false, true);
    for (int32_t i = 0; i < p.n_reasoning_ends; ++i) {
        llama_tokens end = common_tokenize(model.vocab, p.reasoning_ends[i], false, true);
        if (!end.empty()) {
            chain.reasoning_budget_end.push_back(std::move(end));
        }
    }
    if (!chain.reasoning_budget_end.empty()) {
        const llama_tokens & end      = chain.reasoning_budget_end.front();
        chain.reasoning_budget_forced = common_tokenize(model.vocab, p.reasoning_message, false, true);
        chain.reasoning_budget_forced.insert(chain.reasoning_budget_forced.end(), end.begin(), end.end());
    }
}

sequence_sampler make_sampler(const pannier_context & ctx, const pannier_sampler_params & p, const int32_t * history,
                              int32_t n_history, int32_t n_generated) {
    auto chain = chain_params(*ctx.model, static_cast<int32_t>(llama_n_ctx_seq(ctx.ctx)), p);
    add_grammar(*ctx.model, p, chain);
    add_reasoning(*ctx.model, p, chain);
    sequence_sampler sampler;
    sampler.active  = true;
    sampler.n_probs = p.n_probs;
    sampler.post_probs = p.post_sampling_probs != 0;
    if (!(sampler.post_probs && p.n_probs > 0) && is_plain_greedy(*ctx.model, chain)) {
        return sampler;
    }
    try {
        sampler.chain.reset(common_sampler_init(ctx.model->model, chain));
    } catch (const std::bad_alloc &) {
        throw;
    } catch (const std::exception & error) {
        if (!chain.grammar.empty() && !chain.generation_prompt.empty()) { // llama.cpp gives no reason
            fail(PANNIER_ERROR_ARGUMENT, "the grammar does not fit how the prompt begins the answer: %.200s",
                 chain.generation_prompt.c_str());
        }
        fail(PANNIER_ERROR_ARGUMENT, "the sampler cannot be made: %s", error.what());
    }
    if (!sampler.chain) {
        fail(PANNIER_ERROR_ARGUMENT, "the sampler cannot be made: %s", logged_errors().c_str());
    }
    for (int32_t i = 0; i < n_history; ++i) {
        common_sampler_accept(sampler.chain.get(), history[i], i >= n_history - n_generated);
    }
    return sampler;
}

} // namespace
} // namespace pannier

using namespace pannier;

int pannier_sampler_set(pannier_context * ctx, int32_t seq_id, const pannier_sampler_params * params,
                        const int32_t * history, int32_t n_history, int32_t n_generated) {
    return guard([&] {
        not_null(ctx, "ctx");
        check_size(params, "pannier_sampler_params");
        check_seq_id(*ctx, seq_id);
        for (int32_t i = 0; i < n_history; ++i) {
            if (history[i] < 0 || history[i] >= ctx->model->n_vocab()) {
                fail(PANNIER_ERROR_ARGUMENT, "token %d at %d of the history is outside the vocabulary of %d tokens",
                     history[i], i, ctx->model->n_vocab());
            }
        }
        if (n_generated < 0 || n_generated > n_history) {
            fail(PANNIER_ERROR_ARGUMENT, "%d of %d tokens are to count as sampled", n_generated, n_history);
        }
        ctx->samplers[size_t(seq_id)] = make_sampler(*ctx, *params, history, n_history, n_generated);
    });
}

int pannier_sampler_clear(pannier_context * ctx, int32_t seq_id) {
    return guard([&] {
        not_null(ctx, "ctx");
        check_seq_id(*ctx, seq_id);
        ctx->samplers[size_t(seq_id)] = sequence_sampler();
    });
}
