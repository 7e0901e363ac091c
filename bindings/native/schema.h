// What llama.cpp's conversion of JSON schemas takes at its word, checked before.
#pragma once

#include "json.h"

#include <set>
#include <string>

namespace pannier {

// Throws PANNIER_ERROR_ARGUMENT if brackets of a JSON text nest too deeply to be copied or dumped.
void check_nesting(const std::string & json, const char * name);

// The schemas of one request, which become one grammar.
class schema_limits {
public:
    // Throws PANNIER_ERROR_ARGUMENT. `where` names the schema in messages.
    void check(const common_json & schema, const std::string & where);

private:
    void visit(const common_json & schema, size_t n_copies, size_t n_path, size_t depth);
    void visit_all(const common_json & schemas, size_t n_copies, size_t n_path, size_t depth);
    void visit_properties(const common_json & schema, size_t n_copies, size_t n_path, size_t depth);
    void follow(const std::string & ref, size_t depth);
    void check_end(const common_json * target);
    void check_counts(const common_json & schema) const;

    [[noreturn]] void refuse(const std::string & why) const;

    const common_json *   root = nullptr;
    std::string           where;
    std::set<std::string> refs; // of this schema

    std::set<const common_json *> ended; // references of it that lead to something else
    size_t                n_nodes    = 0;
    size_t                n_patterns = 0;
};

// Throws PANNIER_ERROR_ARGUMENT for a name that is too long for rules.
void check_name(const std::string & name, const char * what);

} // namespace pannier
