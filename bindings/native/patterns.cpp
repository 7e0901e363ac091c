#include "patterns.h"

#include "guard.h"

#include <cstring>
#include <vector>

namespace pannier {
namespace {

constexpr size_t MAX_BYTES = 4096;
constexpr size_t MAX_DEPTH = 32;

[[noreturn]] void refuse(const char * pattern, const char * reason) {
    fail(PANNIER_ERROR_ARGUMENT, "the pattern '%.200s' for tensor names %s", pattern, reason);
}

// Behind a class that begins at `at`.
const char * behind_class(const char * at) {
    for (++at; *at != '\0' && *at != ']'; ++at) {
        at += *at == '\\' && at[1] != '\0';
    }
    return *at == ']' ? at + 1 : at;
}

// "*", "+", "{2,}": as often as one likes.
bool is_unlimited(const char * at) {
    if (*at != '{') {
        return *at == '*' || *at == '+';
    }
    const char * end = std::strchr(at, '}');
    return end != nullptr && end[-1] == ',';
}

void check_shape(const char * pattern) {
    std::vector<bool> repeats = { false }; // whether something does in each open group
    bool              closed  = false;     // a group that repeats ends here
    for (const char * at = pattern; *at != '\0';) {
        if (is_unlimited(at)) {
            if (closed) {
                refuse(pattern, "repeats what repeats, which can take for ever: leave one of the repetitions out");
            }
            repeats.back() = true;
        }
        closed = *at == ')' && repeats.back();
        if (*at == '(') {
            repeats.push_back(false);
        } else if (*at == ')' && repeats.size() > 1) {
            const bool inner = repeats.back();
            repeats.pop_back();
            repeats.back() = repeats.back() || inner;
        }
        if (repeats.size() > MAX_DEPTH) {
            refuse(pattern, "nests groups more than 32 deep");
        }
        at = *at == '[' ? behind_class(at) : at + (*at == '\\' && at[1] != '\0' ? 2 : 1);
    }
}

} // namespace

std::regex parse_pattern(const char * pattern) {
    if (std::strlen(pattern) > MAX_BYTES) {
        refuse(pattern, "is longer than 4096 bytes: use several rows");
    }
    check_shape(pattern);
    try {
        return std::regex(pattern);
    } catch (const std::regex_error & error) {
        fail(PANNIER_ERROR_ARGUMENT, "the pattern '%s' for tensor names is not a regular expression: %s", pattern,
             error.what());
    }
}

} // namespace pannier

using namespace pannier;

int pannier_match_names(const char * pattern, const char * const * names, int32_t n_names, int8_t * matches) {
    return guard([&] {
        const std::regex regex = parse_pattern(&not_null(pattern, "pattern"));
        for (int32_t i = 0; i < n_names; ++i) {
            try {
                matches[i] = std::regex_search(names[i], regex) ? 1 : 0;
            } catch (const std::regex_error & error) {
                fail(PANNIER_ERROR_ARGUMENT, "the pattern '%s' is too much work for the name '%s': %s", pattern,
                     names[i], error.what());
            }
        }
    });
}
