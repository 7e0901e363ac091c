"""Sources of libpannier: the C boundary `pannier.h` and the C++ behind it."""
