// Section "Data Movement and Conversion Instructions: cvt" of the manual.
#include <cmath>
#include <limits>

#include "simulator/ops/lanes.h"
#include "simulator/ops/small_floats.h"

namespace simulator {
namespace {

// Converts between integers. Truncates, or extends according to the signedness of the source. A result of 8 bits is
// then extended to 16 bits according to its own signedness.
template <class R, class A> struct Integer {
  using Wide = std::conditional_t<sizeof(R) == 1, std::conditional_t<std::is_signed_v<R>, int16_t, uint16_t>, R>;
  static Wide of(A a) { return static_cast<Wide>(static_cast<R>(a)); }
};
// Converts the lower bits of a 64-bit register.
template <class R, class A> struct Chopped {
  static typename Integer<R, A>::Wide of(uint64_t a) { return Integer<R, A>::of(static_cast<A>(a)); }
};
template <class R, class A> void add_pair(Forms& forms, const std::string& r, const std::string& a) {
  using Wide = typename Integer<R, A>::Wide;
  add_unary<Wide, A, Integer<R, A>>(forms, "cvt." + r + "." + a);
  add_unary<Wide, uint64_t, Chopped<R, A>>(forms, "cvt." + r + "." + a + "/wide");
}
template <class R> void add_targets(Forms& forms, const std::string& r) {
  add_pair<R, int8_t>(forms, r, "s8");
  add_pair<R, uint8_t>(forms, r, "u8");
  add_pair<R, int16_t>(forms, r, "s16");
  add_pair<R, uint16_t>(forms, r, "u16");
  add_pair<R, int32_t>(forms, r, "s32");
  add_pair<R, uint32_t>(forms, r, "u32");
  add_pair<R, int64_t>(forms, r, "s64");
  add_pair<R, uint64_t>(forms, r, "u64");
}

template <class R, class A> struct Nearest {  // relies on the host's rounding mode, to nearest even
  static R of(A a) { return static_cast<R>(a); }
};
template <class A> void add_to_float(Forms& forms, const std::string& a) {
  add_unary<float, A, Nearest<float, A>>(forms, "cvt.rn.f32." + a);
  add_unary<double, A, Nearest<double, A>>(forms, "cvt.rn.f64." + a);
}

// Conversions of floats to integers. The result is clamped to the range of d. NaN becomes 0, or bits 0x8000… for 64
// bits.
enum class Round { nearest, zero, down, up };
template <class T, Round round> T rounded(T a) {
  switch (round) {
    case Round::nearest: return std::nearbyint(a);
    case Round::zero: return std::trunc(a);
    case Round::down: return std::floor(a);
    default: return std::ceil(a);
  }
}
template <class R, class A, Round round> struct ToInteger {
  static R of(A a) {
    if (a != a) return sizeof(R) == 8 ? static_cast<R>(uint64_t{1} << 63) : R{0};
    const A r = rounded<A, round>(a);
    // The bound is a power of two, which A represents exactly. It may not represent the largest integer exactly.
    const A bound = std::ldexp(A{1}, std::numeric_limits<R>::digits);
    if (r >= bound) return std::numeric_limits<R>::max();
    if (r < (std::is_signed_v<R> ? -bound : A{0})) return std::numeric_limits<R>::min();
    return static_cast<R>(r);
  }
};
template <class A, Round round> struct ToIntegral {
  static A of(A a) { return rounded<A, round>(a); }
};
template <class A, Round round> void add_rounding(Forms& forms, const std::string& name, const std::string& a) {
  add_unary<int32_t, A, ToInteger<int32_t, A, round>>(forms, "cvt." + name + ".s32." + a);
  add_unary<uint32_t, A, ToInteger<uint32_t, A, round>>(forms, "cvt." + name + ".u32." + a);
  add_unary<int64_t, A, ToInteger<int64_t, A, round>>(forms, "cvt." + name + ".s64." + a);
  add_unary<uint64_t, A, ToInteger<uint64_t, A, round>>(forms, "cvt." + name + ".u64." + a);
  add_unary<A, A, ToIntegral<A, round>>(forms, "cvt." + name + "." + a + "." + a);
}

struct Saturate {  // .sat clamps to [0, 1], and NaN becomes 0
  static float of(float a) { return a > 0 ? (a < 1 ? a : 1.0f) : 0.0f; }
};
struct HalfToFloat {
  static float of(uint16_t a) { return float_of_half(a); }
};
struct FloatToHalf {
  static uint16_t of(float a) { return half_of_float(a); }
};
struct FloatToBf16 {
  static uint16_t of(float a) { return bf16_of_float(a); }
};
struct FloatsToBf16x2 {  // a becomes the upper half of d
  static uint32_t of(float a, float b) { return static_cast<uint32_t>(bf16_of_float(a)) << 16 | bf16_of_float(b); }
};
struct FloatToTf32 {  // .rna rounds to nearest, ties away from zero; tf32 has 13 fraction bits fewer than f32
  static uint32_t of(float a) {
    if (a != a) return 0x7fffffffu;
    return (to_bits<float>(a) + 0x1000u) & ~0x1fffu;
  }
};

}  // namespace

void add_conversion_forms(Forms& forms) {
  add_targets<int8_t>(forms, "s8");
  add_targets<uint8_t>(forms, "u8");
  add_targets<int16_t>(forms, "s16");
  add_targets<uint16_t>(forms, "u16");
  add_targets<int32_t>(forms, "s32");
  add_targets<uint32_t>(forms, "u32");
  add_targets<int64_t>(forms, "s64");
  add_targets<uint64_t>(forms, "u64");
  add_to_float<int8_t>(forms, "s8");
  add_to_float<uint8_t>(forms, "u8");
  add_to_float<int16_t>(forms, "s16");
  add_to_float<uint16_t>(forms, "u16");
  add_to_float<int32_t>(forms, "s32");
  add_to_float<uint32_t>(forms, "u32");
  add_to_float<int64_t>(forms, "s64");
  add_to_float<uint64_t>(forms, "u64");
  add_rounding<float, Round::nearest>(forms, "rni", "f32");
  add_rounding<float, Round::zero>(forms, "rzi", "f32");
  add_rounding<float, Round::down>(forms, "rmi", "f32");
  add_rounding<float, Round::up>(forms, "rpi", "f32");
  add_rounding<double, Round::nearest>(forms, "rni", "f64");
  add_rounding<double, Round::zero>(forms, "rzi", "f64");
  add_rounding<double, Round::down>(forms, "rmi", "f64");
  add_rounding<double, Round::up>(forms, "rpi", "f64");
  add_unary<double, float, Nearest<double, float>>(forms, "cvt.f64.f32");
  add_unary<float, double, Nearest<float, double>>(forms, "cvt.rn.f32.f64");
  add_unary<float, float, Saturate>(forms, "cvt.sat.f32.f32");
  add_unary<float, uint16_t, HalfToFloat>(forms, "cvt.f32.f16");
  add_unary<uint16_t, float, FloatToHalf>(forms, "cvt.rn.f16.f32");
  add_unary<uint16_t, float, FloatToBf16>(forms, "cvt.rn.bf16.f32");
  add_binary<uint32_t, float, float, FloatsToBf16x2>(forms, "cvt.rn.bf16x2.f32");
  add_unary<uint32_t, float, FloatToTf32>(forms, "cvt.rna.tf32.f32");
}

}  // namespace simulator
