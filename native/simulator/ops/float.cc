// Section "Floating Point Instructions" of the manual. Approximations such as ex2.approx use the operators and
// functions of C++, whose errors are within the manual's bounds.
#include <cmath>
#include <limits>

#include "simulator/ops/lanes.h"

namespace simulator {
namespace {

template <class T> struct Add {
  static T of(T a, T b) { return a + b; }
};
template <class T> struct Sub {
  static T of(T a, T b) { return a - b; }
};
template <class T> struct Mul {
  static T of(T a, T b) { return a * b; }
};
template <class T> struct Div {
  static T of(T a, T b) { return a / b; }
};
template <class T> struct Fma {
  static T of(T a, T b, T c) { return std::fma(a, b, c); }
};
template <class T> struct Sqrt {
  static T of(T a) { return std::sqrt(a); }
};
template <class T> struct Rcp {
  static T of(T a) { return T{1} / a; }
};
template <class T> struct Neg {
  static T of(T a) { return -a; }
};
template <class T> struct Abs {
  static T of(T a) { return std::fabs(a); }
};
// "min" and "max": if one operand is NaN, the result is the other one. -0 is less than +0.
template <class T, bool largest> struct Extreme {
  static T of(T a, T b) {
    if (a != a) return b;
    if (b != b) return a;
    if (a == b) return std::signbit(a) == largest ? b : a;
    return (a < b) != largest ? a : b;
  }
};
// "copysign": the sign of a, and the rest of b.
struct CopySign {
  static float of(float a, float b) { return std::copysign(b, a); }
};

// Rounds the exact sum s + e as .rm (down) or .rz (towards zero) does. s is the sum rounded to double, and e is its
// rounding error. Rounds s to the nearest float first, and then moves to a neighboring float if necessary.
float directed(double s, double e, bool to_zero) {
  constexpr float most = std::numeric_limits<float>::max();
  if (!std::isfinite(s)) return static_cast<float>(s);
  if (s > most) return most;  // both modes round a finite sum down to the largest float, never to infinity
  if (s < -most) return to_zero ? -most : -INFINITY;
  const float f = static_cast<float>(s);
  const double over = static_cast<double>(f) - s;  // exact by Sterbenz's lemma
  const bool above = over > 0 || (over == 0 && e < 0), below = over < 0 || (over == 0 && e > 0);
  if (to_zero ? above && f > 0 : above) return std::nextafter(f, -INFINITY);
  if (to_zero && below && f < 0) return std::nextafter(f, INFINITY);
  return f;
}
// The rounding errors of the next two are computed by Knuth's TwoSum.
struct FmaDown {
  static float of(float a, float b, float c) {
    const double p = static_cast<double>(a) * b;  // exact: 24 + 24 bits fit into 53
    const double s = p + c, t = s - p;
    return directed(s, (p - (s - t)) + (c - t), false);
  }
};
struct AddToZero {
  static float of(float a, float b) {
    const double s = static_cast<double>(a) + b, t = s - a;
    return directed(s, (a - (s - t)) + (b - t), true);
  }
};

// Replaces a subnormal number by zero of the same sign, as .ftz does. 2^-126 is the smallest normal number.
float flushed(float f) { return std::fabs(f) < 1.17549435e-38f ? std::copysign(0.0f, f) : f; }
template <bool flush> struct Exp2 {
  static float of(float a) { return flush ? flushed(std::exp2(flushed(a))) : std::exp2(a); }
};
template <bool flush> struct Log2 {
  static float of(float a) { return std::log2(flush ? flushed(a) : a); }
};
template <bool flush> struct RcpApprox {
  static float of(float a) { return flush ? flushed(1.0f / flushed(a)) : 1.0f / a; }
};
template <bool flush> struct RsqrtApprox {
  static float of(float a) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(flush ? flushed(a) : a))); }
};
// "rcp.approx.ftz.f64": the reciprocal of the upper 32 bits of a. The lower 32 bits of the result are 0.
struct RcpApprox64 {
  static double of(double a) {
    const auto upper = [](double x) { return from_bits<double>(to_bits<double>(x) & 0xffffffff00000000u); };
    a = upper(a);
    if (std::fabs(a) < 2.2250738585072014e-308) a = std::copysign(0.0, a);
    const double d = upper(1.0 / a);
    return std::fabs(d) < 2.2250738585072014e-308 ? std::copysign(0.0, d) : d;
  }
};

template <class T> void add_type(Forms& forms, const std::string& type) {
  for (const char* rounding : {"", "rn."}) {
    add_binary<T, T, T, Add<T>>(forms, std::string("add.") + rounding + type);
    add_binary<T, T, T, Sub<T>>(forms, std::string("sub.") + rounding + type);
    add_binary<T, T, T, Mul<T>>(forms, std::string("mul.") + rounding + type);
  }
  add_ternary<T, T, T, T, Fma<T>>(forms, "fma.rn." + type);
  add_binary<T, T, T, Div<T>>(forms, "div.rn." + type);
  add_unary<T, T, Sqrt<T>>(forms, "sqrt.rn." + type);
  add_unary<T, T, Rcp<T>>(forms, "rcp.rn." + type);
  add_unary<T, T, Neg<T>>(forms, "neg." + type);
  add_unary<T, T, Abs<T>>(forms, "abs." + type);
  add_binary<T, T, T, Extreme<T, false>>(forms, "min." + type);
  add_binary<T, T, T, Extreme<T, true>>(forms, "max." + type);
}

}  // namespace

void add_float_forms(Forms& forms) {
  add_type<float>(forms, "f32");
  add_type<double>(forms, "f64");
  add_binary<float, float, float, CopySign>(forms, "copysign.f32");
  add_ternary<float, float, float, float, FmaDown>(forms, "fma.rm.f32");
  add_binary<float, float, float, AddToZero>(forms, "add.rz.f32");
  add_unary<float, float, Exp2<false>>(forms, "ex2.approx.f32");
  add_unary<float, float, Exp2<true>>(forms, "ex2.approx.ftz.f32");
  add_unary<float, float, Log2<false>>(forms, "lg2.approx.f32");
  add_unary<float, float, Log2<true>>(forms, "lg2.approx.ftz.f32");
  add_unary<float, float, RcpApprox<true>>(forms, "rcp.approx.ftz.f32");
  add_unary<float, float, RsqrtApprox<false>>(forms, "rsqrt.approx.f32");
  add_unary<float, float, RsqrtApprox<true>>(forms, "rsqrt.approx.ftz.f32");
  add_unary<double, double, RcpApprox64>(forms, "rcp.approx.ftz.f64");
}

}  // namespace simulator
