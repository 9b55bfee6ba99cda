// Included first when Clang with libc++ is nvcc's host compiler. nvcc supports only libstdc++ there.
#pragma once
#include <__config>
// CUDA declares isnan and isinf for each floating-point type itself. Without this macro, libc++ defines only its templates of these functions.
#undef _LIBCPP_PREFERRED_OVERLOAD
// Without this macro, CUDA's headers reject libc++.
#define _ALLOW_UNSUPPORTED_LIBCPP
