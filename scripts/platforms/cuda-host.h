// Included first when Clang with libc++ is nvcc's host compiler. nvcc supports only libstdc++ there.
#pragma once
#include <__config>
// CUDA declares isnan and isinf of each floating-point type itself, and libc++ would define them again. Its templates remain.
#undef _LIBCPP_PREFERRED_OVERLOAD
// CUDA's headers refuse libc++ otherwise.
#define _ALLOW_UNSUPPORTED_LIBCPP
