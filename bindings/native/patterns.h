// Patterns over tensor names, as llama.cpp takes them: ECMAScript by std::regex.
#pragma once

#include <regex>

namespace pannier {

// Throws PANNIER_ERROR_ARGUMENT for what is no regular expression, and for one that std::regex
// would follow too deep or for ever: longer than 4,096 bytes, groups nested deeper than 32, a
// repetition of what repeats without a limit.
std::regex parse_pattern(const char * pattern);

} // namespace pannier
