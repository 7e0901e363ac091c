// Chat templates: rendering is llama.cpp's own, so that prompts are those of llama-server.
#include "chat_parser.h"
#include "schema.h"

namespace pannier {
namespace {

const common_json * member(const common_json & object, const char * key) {
    return object.contains(key) && !object.at(key).is_null() ? &object.at(key) : nullptr;
}

bool flag(const common_json & object, const char * key, bool fallback) {
    const common_json * value = member(object, key);
    return value != nullptr ? value->get<bool>() : fallback;
}

std::string text(const common_json & object, const char * key) {
    const common_json * value = member(object, key);
    return value != nullptr ? value->get<std::string>() : std::string();
}

// What templates are given parsed, and so copied.
void check_arguments(const std::vector<common_chat_msg> & messages) {
    for (const auto & message : messages) {
        for (const auto & call : message.tool_calls) {
            check_nesting(call.arguments, "the arguments of a tool call");
        }
    }
}

void check_schemas(const common_chat_templates_inputs & inputs) {
    schema_limits limits;
    for (const auto & tool : inputs.tools) {
        check_name(tool.name, "the tool");
        limits.check(common_json::parse(tool.parameters), "tool " + tool.name);
    }
    if (!inputs.json_schema.empty()) {
        limits.check(common_json::parse(inputs.json_schema), "the output");
    }
}

common_chat_templates_inputs read_inputs(const common_json & request) {
    common_chat_templates_inputs inputs;
    inputs.messages = common_chat_msgs_parse_oaicompat(request.at("messages"));
    if (const common_json * tools = member(request, "tools")) {
        inputs.tools = common_chat_tools_parse_oaicompat(*tools);
    }
    if (const common_json * choice = member(request, "tool_choice")) {
        inputs.tool_choice = common_chat_tool_choice_parse_oaicompat(choice->get<std::string>());
    }
    if (const common_json * schema = member(request, "json_schema")) {
        inputs.json_schema = schema->dump();
    }
    if (const common_json * kwargs = member(request, "chat_template_kwargs")) {
        for (const auto & item : kwargs->items()) {
            inputs.chat_template_kwargs[item.key()] = item.value().dump();
        }
    }
    if (const common_json * continuation = member(request, "continue_final_message")) {
        inputs.continue_final_message = common_chat_continuation_parse(*continuation);
    }
    if (const common_json * format = member(request, "reasoning_format")) {
        inputs.reasoning_format = common_reasoning_format_from_name(format->get<std::string>());
    }
    inputs.grammar               = text(request, "grammar");
    inputs.add_generation_prompt = flag(request, "add_generation_prompt", true);
    inputs.parallel_tool_calls   = flag(request, "parallel_tool_calls", false);
    inputs.enable_thinking       = flag(request, "enable_thinking", true);
    inputs.use_jinja             = flag(request, "use_jinja", true);
    inputs.force_pure_content    = flag(request, "skip_parsing", false);
    check_arguments(inputs.messages);
    check_schemas(inputs);
    return inputs;
}

// The model's templates, or those that stand for them, parsed once.
std::shared_ptr<const common_chat_templates> model_templates(pannier_model & model) {
    std::lock_guard<std::mutex> lock(model.chat_mutex);
    if (!model.chat_templates) {
        model.chat_templates = common_chat_templates_init(model.model, model.chat_template);
    }
    return model.chat_templates;
}

std::shared_ptr<const common_chat_templates> templates_of(pannier_model & model, const std::string & source) {
    return source.empty() ? model_templates(model) : common_chat_templates_init(model.model, source);
}

common_json write_triggers(const common_params_sampling & sampling) {
    common_json triggers = common_json::array();
    for (const auto & trigger : sampling.grammar_triggers) {
        triggers.push_back(common_json::object({
            { "type", static_cast<int>(trigger.type) },
            { "value", trigger.value },
            { "token", trigger.token },
        }));
    }
    return triggers;
}

common_json write_result(const common_chat_session & session) {
    common_params_sampling sampling;
    session.apply_sampling(sampling);
    common_json preserved = common_json::array();
    for (const llama_token token : sampling.preserved_tokens) {
        preserved.push_back(token);
    }
    return common_json::object({
        { "prompt", session.prompt() },
        { "format", std::string(common_chat_format_name(session.format())) },
        { "generation_prompt", session.generation_prompt() },
        { "stops", session.additional_stops() },
        { "grammar", session.grammar() },
        { "grammar_lazy", sampling.grammar_lazy },
        { "grammar_triggers", write_triggers(sampling) },
        { "preserved_tokens", preserved },
        { "thinking_start", session.thinking_start_tag() },
        { "thinking_ends", session.thinking_end_tags() },
    });
}

common_chat_session apply(pannier_model & model, const char * request_json) {
    check_nesting(request_json, "the request");
    const common_json          request   = common_json::parse(request_json);
    const auto                 inputs    = read_inputs(request);
    const auto                 templates = templates_of(model, text(request, "template"));
    common_chat_session_params params;
    params.echo = flag(request, "echo", false);
    return common_chat_session(templates.get(), model.vocab, inputs, params);
}

common_json facts(const common_chat_templates & templates) {
    return common_json::object({
        { "source", common_chat_templates_source(&templates) },
        { "source_tool_use", common_chat_templates_source(&templates, "tool_use") },
        { "caps", common_chat_templates_get_caps(&templates) },
        { "supports_thinking", common_chat_templates_support_enable_thinking(&templates) },
    });
}

// Whatever llama.cpp says of templates, messages and outputs is the user's to read.
template <typename Body>
auto as_chat_error(Body && body) {
    try {
        return body();
    } catch (const failure &) {
        throw;
    } catch (const std::bad_alloc &) {
        throw;
    } catch (const std::exception & error) {
        fail(PANNIER_ERROR_CHAT, "%s", error.what());
    }
}

} // namespace
} // namespace pannier

using namespace pannier;

int pannier_chat_set_template(pannier_model * model, const char * source) {
    return guard([&] {
        not_null(model, "model");
        not_null(source, "source");
        auto templates = as_chat_error([&] { return common_chat_templates_init(model->model, source); });
        std::lock_guard<std::mutex> lock(model->chat_mutex);
        model->chat_template  = source;
        model->chat_templates = std::move(templates);
    });
}

int pannier_chat_facts(pannier_model * model, char ** out) {
    return guard([&] {
        not_null(model, "model");
        const auto result   = as_chat_error([&] { return facts(*model_templates(*model)).dump_safe(); });
        not_null(out, "out") = copy_text(result);
    });
}

int pannier_chat_apply(pannier_model * model, const char * request_json, char ** out, pannier_chat_parser ** parser) {
    return guard([&] {
        not_null(model, "model");
        not_null(request_json, "request_json");
        not_null(out, "out");
        auto made = as_chat_error([&] { return std::make_unique<pannier_chat_parser>(apply(*model, request_json)); });
        *out      = copy_text(write_result(made->session).dump_safe());
        if (parser != nullptr) {
            *parser = made.release();
        }
    });
}

int pannier_chat_parser_copy(const pannier_chat_parser * parser, pannier_chat_parser ** out) {
    return guard([&] {
        not_null(parser, "parser");
        not_null(out, "out") = std::make_unique<pannier_chat_parser>(*parser).release();
    });
}

void pannier_chat_parser_free(pannier_chat_parser * parser) {
    delete parser;
}

int pannier_chat_parse(pannier_chat_parser * parser, const char * text, int32_t n_bytes, const int32_t * tokens,
                       const int32_t * offsets, int32_t n_tokens, int32_t is_last, char ** out) {
    return guard([&] {
        not_null(parser, "parser");
        not_null(out, "out");
        const auto input    = read_input(text, n_bytes, tokens, offsets, n_tokens);
        const auto result   = as_chat_error([&] { return parser->parse(input, is_last != 0).dump_safe(); });
        *out = copy_text(result);
    });
}
