#include "chat_parser.h"

#include "chat-peg-parser.h"

#include <random>

namespace pannier {
namespace {

std::string random_id() {
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    std::random_device device;
    std::string        id(32, ' ');
    for (char & c : id) {
        c = letters[device() % (sizeof(letters) - 1)];
    }
    return id;
}

// Whether everything from the first character of the content on is content: nothing but reasoning
// comes before it, and nothing ends it.
bool content_is_rest(const common_peg_arena & parser) {
    bool is_rest = parser.empty(); // llama.cpp's parser for formats without one
    for (common_peg_parser_id id = 0; id < parser.size(); ++id) {
        const auto * tag = std::get_if<common_peg_tag_parser>(&parser.get(id));
        if (tag == nullptr || tag->tag == common_chat_peg_builder::REASONING ||
            tag->tag == common_chat_peg_builder::REASONING_BLOCK) {
            continue;
        }
        const auto * until = std::get_if<common_peg_until_parser>(&parser.get(tag->child));
        if (tag->tag != common_chat_peg_builder::CONTENT || until == nullptr || !until->delimiters.empty()) {
            return false;
        }
        is_rest = true;
    }
    return is_rest;
}

common_json write_call(const common_chat_tool_call & call) {
    return common_json::object({ { "id", call.id }, { "name", call.name }, { "arguments", call.arguments } });
}

common_json write_message(const common_chat_msg & message) {
    common_json calls = common_json::array();
    for (const auto & call : message.tool_calls) {
        calls.push_back(write_call(call));
    }
    return common_json::object({
        { "content", message.render_content() },
        { "reasoning_content", message.reasoning_content },
        { "tool_calls", calls },
    });
}

common_json write_diffs(const std::vector<common_chat_msg_diff> & diffs) {
    common_json result = common_json::array();
    for (const auto & diff : diffs) {
        common_json entry = common_json::object({
            { "content", diff.content_delta },
            { "reasoning_content", diff.reasoning_content_delta },
        });
        if (diff.tool_call_index != std::string::npos) {
            entry["index"] = diff.tool_call_index;
            entry["call"]  = write_call(diff.tool_call_delta);
        }
        result.push_back(entry);
    }
    return result;
}

} // namespace

common_chat_input read_input(const char * text, int32_t n_bytes, const int32_t * tokens, const int32_t * offsets,
                             int32_t n_tokens) {
    if (n_bytes < 0 || n_tokens < 0 || (n_bytes > 0 && text == nullptr) ||
        (n_tokens > 0 && (tokens == nullptr || offsets == nullptr))) {
        fail(PANNIER_ERROR_ARGUMENT, "%d bytes of text and %d tokens, or no place to read them from", n_bytes, n_tokens);
    }
    common_chat_input input(std::string(text, text + n_bytes));
    for (int32_t i = 0; i < n_tokens; ++i) {
        if (offsets[i] < 0 || offsets[i] >= n_bytes) {
            fail(PANNIER_ERROR_ARGUMENT, "token %d begins at byte %d of %d", i, offsets[i], n_bytes);
        }
        input.tokens[size_t(offsets[i])] = tokens[i];
    }
    return input;
}

} // namespace pannier

using namespace pannier;

pannier_chat_parser::pannier_chat_parser(common_chat_session session)
    : session(std::move(session)), message(this->session.msg()), is_plain(content_is_rest(this->session.parser())) {}

common_json pannier_chat_parser::parse(const common_chat_input & input, bool is_last) {
    if (is_done) {
        fail(PANNIER_ERROR_ARGUMENT, "the answer has ended: nothing follows");
    }
    is_done            = is_last;
    common_chat_msg now = is_last ? session.finish(input) : session.feed(input);
    std::vector<common_chat_msg_diff> diffs;
    if (!now.empty()) {
        now.set_tool_call_ids(tool_call_ids, random_id);
        diffs   = common_chat_msg_diff::compute_diffs(message, now);
        message = std::move(now);
    }
    common_json result = common_json::object({
        { "diffs", write_diffs(diffs) },
        { "plain", is_plain && !message.content.empty() },
    });
    if (is_last) {
        result["message"] = write_message(message);
    }
    return result;
}
