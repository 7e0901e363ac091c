// The parser of one answer: llama.cpp's own, with what has been told of the answer so far.
#pragma once

#include "objects.h"

#include "json.h"

struct pannier_chat_parser {
    explicit pannier_chat_parser(common_chat_session session);

    // Adds to the answer; the whole message so far and what is new in it.
    common_json parse(const common_chat_input & input, bool is_last);

    common_chat_session session;

private:
    common_chat_msg          message;
    std::vector<std::string> tool_call_ids;
    bool                     is_plain = false; // once there is content, all that follows is content
    bool                     is_done  = false;
};

namespace pannier {

// Text with the tokens that begin in it: `offsets[i]` is the byte at which `tokens[i]` begins.
common_chat_input read_input(const char * text, int32_t n_bytes, const int32_t * tokens, const int32_t * offsets,
                             int32_t n_tokens);

} // namespace pannier
