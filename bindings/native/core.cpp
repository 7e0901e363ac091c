#include "pannier.h"

int pannier_abi_version(void) {
    return PANNIER_ABI_VERSION;
}
