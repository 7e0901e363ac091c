// What every function behind pannier.h is wrapped in: exceptions become codes.
#pragma once

#include "pannier.h"

#include <exception>
#include <new>
#include <stdexcept>
#include <string>

namespace pannier {

// A failure with a code of the boundary.
struct failure : std::runtime_error {
    failure(pannier_status status, const std::string & message) : std::runtime_error(message), status(status) {}

    pannier_status status;
};

[[noreturn]] void fail(pannier_status status, const char * format, ...) __attribute__((format(printf, 2, 3)));

// The message behind the last failure on this thread.
void set_last_error(const std::string & message) noexcept;

// llama.cpp reports most reasons through its log only: the error lines that this thread
// logged since the last call of clear_logged_errors(), joined.
void        clear_logged_errors() noexcept;
std::string logged_errors();

template <typename T>
void check_size(const T * value, const char * name) {
    if (value == nullptr) {
        fail(PANNIER_ERROR_ARGUMENT, "%s is NULL", name);
    }
    if (value->size != sizeof(T)) {
        fail(PANNIER_ERROR_ABI, "struct %s has %zu bytes where this library knows %zu: rebuild the engine", name,
             value->size, sizeof(T));
    }
}

template <typename T>
T & not_null(T * value, const char * name) {
    if (value == nullptr) {
        fail(PANNIER_ERROR_ARGUMENT, "%s is NULL", name);
    }
    return *value;
}

template <typename Body>
int guard(Body && body) noexcept {
    try {
        clear_logged_errors();
        body();
        return PANNIER_OK;
    } catch (const failure & error) {
        set_last_error(error.what());
        return error.status;
    } catch (const std::bad_alloc &) {
        set_last_error("out of memory");
        return PANNIER_ERROR_MEMORY;
    } catch (const std::exception & error) {
        set_last_error(error.what());
        return PANNIER_ERROR_INTERNAL;
    } catch (...) {
        set_last_error("an exception of unknown type");
        return PANNIER_ERROR_INTERNAL;
    }
}

// Hands text to the caller, who frees it with pannier_text_free().
char * copy_text(const std::string & text);

} // namespace pannier
