// Chat templates: rendering is llama.cpp's own, so that prompts are those of llama-server.
#include "objects.h"

#include "json.h"

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
    inputs.grammar               = text(request, "grammar");
    inputs.add_generation_prompt = flag(request, "add_generation_prompt", true);
    inputs.parallel_tool_calls   = flag(request, "parallel_tool_calls", false);
    inputs.enable_thinking       = flag(request, "enable_thinking", true);
    inputs.use_jinja             = true;
    if (const common_json * format = member(request, "reasoning_format")) {
        inputs.reasoning_format = common_reasoning_format_from_name(format->get<std::string>());
    }
    return inputs;
}

// The model's own template, parsed once; a template given by the request is parsed each time.
const common_chat_templates * model_templates(pannier_model & model) {
    std::lock_guard<std::mutex> lock(model.chat_mutex);
    if (!model.chat_templates) {
        model.chat_templates = common_chat_templates_init(model.model, "");
    }
    return model.chat_templates.get();
}

common_json write_result(const common_chat_params & params) {
    common_json triggers = common_json::array();
    for (const auto & trigger : params.grammar_triggers) {
        triggers.push_back(common_json::object({
            { "type", static_cast<int>(trigger.type) },
            { "value", trigger.value },
            { "token", trigger.token },
        }));
    }
    return common_json::object({
        { "prompt", params.prompt },
        { "format", std::string(common_chat_format_name(params.format)) },
        { "generation_prompt", params.generation_prompt },
        { "stops", params.additional_stops },
        { "grammar", params.grammar },
        { "grammar_lazy", params.grammar_lazy },
        { "grammar_triggers", triggers },
        { "preserved_tokens", params.preserved_tokens },
        { "thinking_start", params.thinking_start_tag },
        { "thinking_ends", params.thinking_end_tags },
    });
}

std::string apply(pannier_model & model, const char * request_json) {
    const common_json         request  = common_json::parse(request_json);
    const auto                inputs   = read_inputs(request);
    const std::string         override = text(request, "template");
    common_chat_templates_ptr own;
    if (!override.empty()) {
        own = common_chat_templates_init(model.model, override);
    }
    const common_chat_templates * templates = own ? own.get() : model_templates(model);
    return write_result(common_chat_templates_apply(templates, inputs)).dump_safe();
}

} // namespace
} // namespace pannier

using namespace pannier;

int pannier_chat_apply(pannier_model * model, const char * request_json, char ** out) {
    return guard([&] {
        not_null(model, "model");
        not_null(request_json, "request_json");
        std::string result;
        try {
            result = apply(*model, request_json);
        } catch (const std::bad_alloc &) {
            throw;
        } catch (const std::exception & error) {
            fail(PANNIER_ERROR_CHAT, "%s", error.what());
        }
        not_null(out, "out") = copy_text(result);
    });
}
