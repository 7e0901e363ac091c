// JSON schemas to grammars. The conversion is llama.cpp's; it recurses with the schema, follows
// references, multiplies lists of types and names rules with std::regex, all without a limit.
#include "schema.h"

#include "objects.h"

#include "json-schema-to-grammar.h"

#include <cmath>

namespace pannier {
namespace {

constexpr int    MAX_NESTING    = 256;
constexpr size_t MAX_DEPTH      = 1000; // of schemas, through references
constexpr size_t MAX_NODES      = 10000;
constexpr size_t MAX_PATTERNS   = 500;
constexpr size_t MAX_PATTERN    = 4096; // bytes
constexpr size_t MAX_NAME       = 256;
constexpr size_t MAX_PATH       = 4096; // std::regex recurses over the names on the way to a schema
constexpr size_t MAX_PROPERTIES = 300;  // the order of optional ones takes rules by their square
constexpr double MAX_BOUND      = 9e18;

const common_json * member(const common_json & object, const char * key) {
    return object.is_object() && object.contains(key) ? &object.at(key) : nullptr;
}

// nullptr: llama.cpp refuses the reference itself.
const common_json * resolve(const common_json & root, const std::string & ref) {
    const common_json * target = &root;
    for (size_t begin = 2; begin <= ref.size();) {
        const size_t      end  = std::min(ref.find('/', begin), ref.size());
        const std::string part = ref.substr(begin, end - begin);
        begin                  = end + 1;
        if (target->is_object() && target->contains(part)) {
            target = &target->at(part);
        } else if (target->is_array() && !part.empty() && part.size() < 10 &&
                   part.find_first_not_of("0123456789") == std::string::npos &&
                   std::stoul(part) < target->size()) {
            target = &target->at(std::stoul(part));
        } else {
            return nullptr;
        }
    }
    return target;
}

} // namespace

void check_nesting(const std::string & json, const char * name) {
    int  depth     = 0;
    bool is_string = false;
    for (size_t i = 0; i < json.size(); ++i) {
        const char c = json[i];
        if (is_string) {
            i += c == '\\';
            is_string = c != '"';
            continue;
        }
        is_string = c == '"';
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        if (depth > MAX_NESTING) {
            fail(PANNIER_ERROR_ARGUMENT, "%s nests deeper than %d levels", name, MAX_NESTING);
        }
    }
}

void check_name(const std::string & name, const char * what) {
    if (name.size() > MAX_NAME) {
        fail(PANNIER_ERROR_ARGUMENT, "%s '%.40s...' has %zu bytes; at most %zu are taken", what, name.c_str(),
             name.size(), MAX_NAME);
    }
}

void schema_limits::refuse(const std::string & why) const {
    fail(PANNIER_ERROR_ARGUMENT, "the schema of %.80s %s", where.c_str(), why.c_str());
}

void schema_limits::check(const common_json & schema, const std::string & where) {
    this->root  = &schema;
    this->where = where;
    refs.clear();
    ended.clear();
    visit(schema, 1, 0, 0);
}

void schema_limits::visit(const common_json & schema, size_t n_copies, size_t n_path, size_t depth) {
    n_nodes += n_copies;
    if (n_nodes > MAX_NODES || depth > MAX_DEPTH) {
        refuse("has more than " + std::to_string(MAX_NODES) + " parts or nests deeper than " +
               std::to_string(MAX_DEPTH) + ", references and lists of types followed");
    }
    if (n_path > MAX_PATH) {
        refuse("has names that make a path of more than " + std::to_string(MAX_PATH) + " bytes");
    }
    if (!schema.is_object()) {
        return;
    }
    if (const common_json * ref = member(schema, "$ref")) {
        if (ref->is_string()) {
            follow(ref->get<std::string>(), depth);
        }
        return; // llama.cpp looks at nothing beside a reference
    }
    check_counts(schema);
    const common_json * pattern = member(schema, "pattern");
    if (pattern != nullptr && pattern->is_string() &&
        (++n_patterns > MAX_PATTERNS || pattern->get<std::string>().size() > MAX_PATTERN)) {
        refuse("has a pattern of more than " + std::to_string(MAX_PATTERN) + " bytes or more than " +
               std::to_string(MAX_PATTERNS) + " patterns");
    }
    const common_json * types = member(schema, "type");
    if (types != nullptr && types->is_array()) {
        n_copies *= std::min(std::max(types->size(), size_t(1)), MAX_NODES + 1);
    }
    for (const char * key : { "oneOf", "anyOf", "allOf", "items", "prefixItems" }) {
        if (const common_json * inner = member(schema, key)) {
            visit_all(*inner, n_copies, n_path + 16, depth + 1);
        }
    }
    visit_properties(schema, n_copies, n_path, depth);
}

void schema_limits::visit_all(const common_json & schemas, size_t n_copies, size_t n_path, size_t depth) {
    if (!schemas.is_array()) {
        visit(schemas, n_copies, n_path, depth);
        return;
    }
    size_t n_properties = 0; // allOf makes one object of them
    for (const auto & schema : schemas) {
        const common_json * properties = member(schema, "properties");
        n_properties += properties != nullptr ? properties->size() : 0;
        visit(schema, n_copies, n_path, depth);
    }
    if (n_properties > MAX_PROPERTIES * 4) {
        refuse("has alternatives with more than " + std::to_string(MAX_PROPERTIES * 4) + " properties");
    }
}

void schema_limits::visit_properties(const common_json & schema, size_t n_copies, size_t n_path, size_t depth) {
    const common_json * additional = member(schema, "additionalProperties");
    if (additional != nullptr && additional->is_object()) {
        visit(*additional, n_copies, n_path + 24, depth + 1);
    }
    const common_json * properties = member(schema, "properties");
    if (properties == nullptr || !properties->is_object()) {
        return;
    }
    const common_json * required   = member(schema, "required");
    const size_t        n_required = required != nullptr && required->is_array() ? required->size() : 0;
    if (properties->size() > MAX_PROPERTIES + n_required) {
        refuse("has an object of " + std::to_string(properties->size()) + " properties; at most " +
               std::to_string(MAX_PROPERTIES) + " may be optional");
    }
    for (const auto & item : properties->items()) {
        check_name(item.key(), "the property");
        visit(item.value(), n_copies, n_path + item.key().size() + 16, depth + 1);
    }
}

void schema_limits::follow(const std::string & ref, size_t depth) {
    if (ref.size() > MAX_PATH) {
        refuse("has a reference of more than " + std::to_string(MAX_PATH) + " bytes");
    }
    if (ref.compare(0, 2, "#/") != 0 || !refs.insert(ref).second) {
        return;
    }
    const common_json * target = resolve(*root, ref);
    check_end(target);
    if (target != nullptr) {
        visit(*target, 1, ref.size(), depth + 1);
    }
}

// A reference to a reference has to come to something else in the end.
void schema_limits::check_end(const common_json * target) {
    std::vector<const common_json *> links;
    while (target != nullptr && target->is_object() && target->contains("$ref") && ended.count(target) == 0) {
        const common_json & next = target->at("$ref");
        if (!next.is_string()) {
            break;
        }
        if (links.size() > MAX_DEPTH) {
            refuse("has references that lead to each other: " + next.get<std::string>());
        }
        links.push_back(target);
        target = resolve(*root, next.get<std::string>());
    }
    ended.insert(links.begin(), links.end());
}

// llama.cpp reads counts as int and bounds as int64_t, whatever their size.
void schema_limits::check_counts(const common_json & schema) const {
    for (const char * key : { "minLength", "maxLength", "minItems", "maxItems" }) {
        const common_json * count = member(schema, key);
        if (count != nullptr && count->is_number() && std::abs(count->get<double>()) > 2147483647.0) {
            refuse(std::string("has a ") + key + " beyond 32 bits");
        }
    }
    for (const char * key : { "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum" }) {
        const common_json * bound = member(schema, key);
        if (bound != nullptr && bound->is_number() && !(std::abs(bound->get<double>()) <= MAX_BOUND)) {
            refuse(std::string("has a ") + key + " beyond 64 bits");
        }
    }
}

} // namespace pannier

using namespace pannier;

int pannier_json_schema_to_grammar(const char * schema_json, char ** out) {
    return guard([&] {
        const std::string text = &not_null(schema_json, "schema_json");
        check_nesting(text, "the schema");
        std::string grammar;
        try {
            const common_json schema = common_json::parse(text);
            schema_limits().check(schema, "the output");
            grammar = json_schema_to_grammar(schema);
        } catch (const failure &) {
            throw;
        } catch (const std::bad_alloc &) {
            throw;
        } catch (const std::exception & error) {
            fail(PANNIER_ERROR_ARGUMENT, "%s", error.what());
        }
        not_null(out, "out") = copy_text(grammar);
    });
}
