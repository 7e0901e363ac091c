// pannier.h: the one boundary between pannier's Python and llama.cpp.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

#define PANNIER_API __attribute__((visibility("default")))
#define PANNIER_ABI_VERSION 1

// The ABI version that the library was compiled with; compare it with PANNIER_ABI_VERSION.
PANNIER_API int pannier_abi_version(void);

#ifdef __cplusplus
}
#endif
