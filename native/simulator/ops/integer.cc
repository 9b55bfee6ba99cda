// Section "Integer Arithmetic Instructions" of the manual.
#include <limits>

#include "simulator/ops/lanes.h"

namespace simulator {
namespace {

template <class T> using Unsigned = std::make_unsigned_t<T>;

// add, sub, neg, abs, mul.lo and mad.lo wrap around.
template <class T> struct Add {
  static T of(T a, T b) { return static_cast<T>(static_cast<Unsigned<T>>(a) + static_cast<Unsigned<T>>(b)); }
};
template <class T> struct Sub {
  static T of(T a, T b) { return static_cast<T>(static_cast<Unsigned<T>>(a) - static_cast<Unsigned<T>>(b)); }
};
template <class T> struct Neg {
  static T of(T a) { return static_cast<T>(Unsigned<T>{0} - static_cast<Unsigned<T>>(a)); }
};
template <class T> struct Abs {
  static T of(T a) { return a < 0 ? Neg<T>::of(a) : a; }
};
template <class T> struct MulLow {
  static T of(T a, T b) {
    return static_cast<T>(
        static_cast<Unsigned<T>>(static_cast<uint64_t>(static_cast<Unsigned<T>>(a)) * static_cast<Unsigned<T>>(b)));
  }
};
template <class T> struct MadLow {
  static T of(T a, T b, T c) { return Add<T>::of(MulLow<T>::of(a, b), c); }
};
// "mul.hi": the upper half of the product.
template <class T> struct MulHigh {
  static T of(T a, T b) {
    using Wide = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
    return static_cast<T>((static_cast<Wide>(a) * static_cast<Wide>(b)) >> (8 * sizeof(T)));
  }
};
template <class R, class T> struct MulWide {
  static R of(T a, T b) { return static_cast<R>(static_cast<R>(a) * static_cast<R>(b)); }
};
template <class R, class T> struct MadWide {
  static R of(T a, T b, R c) { return Add<R>::of(MulWide<R, T>::of(a, b), c); }
};
template <class T> struct Min {
  static T of(T a, T b) { return a < b ? a : b; }
};
template <class T> struct Max {
  static T of(T a, T b) { return a < b ? b : a; }
};

// "div" and "rem". The manual leaves the result of a division by zero unspecified, so it is reported.
template <class T, bool remainder> void divide(Warp& w, const Instruction& i) {
  const auto* a = w.get<Storage<T>>(i.a);
  const auto* b = w.get<Storage<T>>(i.b);
  Storage<T> d[lanes];
  for (int l = 0; l < lanes; ++l) {
    d[l] = 0;
    if (!(w.mask >> l & 1)) continue;
    const T x = from_bits<T>(a[l]), y = from_bits<T>(b[l]);
    if (y == 0) w.fail(i, "division by zero in lane " + std::to_string(l));
    // Dividing the smallest number by -1 would overflow in C++.
    const bool overflows = std::is_signed_v<T> && y == static_cast<T>(-1);
    d[l] = to_bits<T>(overflows ? (remainder ? T{0} : Neg<T>::of(x)) : static_cast<T>(remainder ? x % y : x / y));
  }
  commit(w, i.d, d);
}

template <class T> void add_type(Forms& forms, const std::string& type) {
  add_binary<T, T, T, Add<T>>(forms, "add." + type);
  add_binary<T, T, T, Sub<T>>(forms, "sub." + type);
  add_binary<T, T, T, MulLow<T>>(forms, "mul.lo." + type);
  add_binary<T, T, T, MulHigh<T>>(forms, "mul.hi." + type);
  add_ternary<T, T, T, T, MadLow<T>>(forms, "mad.lo." + type);
  add_binary<T, T, T, Min<T>>(forms, "min." + type);
  add_binary<T, T, T, Max<T>>(forms, "max." + type);
  add_unary<T, T, Neg<T>>(forms, "neg." + type);
  if constexpr (std::is_signed_v<T>) add_unary<T, T, Abs<T>>(forms, "abs." + type);
  forms["div." + type] = {&divide<T, false>, {width_of<T>, width_of<T>, width_of<T>}};
  forms["rem." + type] = {&divide<T, true>, {width_of<T>, width_of<T>, width_of<T>}};
}
template <class R, class T> void add_wide(Forms& forms, const std::string& type) {
  add_binary<R, T, T, MulWide<R, T>>(forms, "mul.wide." + type);
  add_ternary<R, T, T, R, MadWide<R, T>>(forms, "mad.wide." + type);
}

// "dp4a": c plus the products of the four bytes of a and b.
template <class A, class B> struct Dp4a {
  static int32_t of(uint32_t a, uint32_t b, int32_t c) {
    uint32_t sum = static_cast<uint32_t>(c);
    for (int byte = 0; byte < 4; ++byte)
      sum += static_cast<uint32_t>(static_cast<A>(a >> 8 * byte) * static_cast<B>(b >> 8 * byte));
    return static_cast<int32_t>(sum);
  }
};

}  // namespace

void add_integer_forms(Forms& forms) {
  add_type<int16_t>(forms, "s16");
  add_type<uint16_t>(forms, "u16");
  add_type<int32_t>(forms, "s32");
  add_type<uint32_t>(forms, "u32");
  add_type<int64_t>(forms, "s64");
  add_type<uint64_t>(forms, "u64");
  add_wide<int32_t, int16_t>(forms, "s16");
  add_wide<uint32_t, uint16_t>(forms, "u16");
  add_wide<int64_t, int32_t>(forms, "s32");
  add_wide<uint64_t, uint32_t>(forms, "u32");
  add_ternary<int32_t, uint32_t, uint32_t, int32_t, Dp4a<int8_t, int8_t>>(forms, "dp4a.s32.s32");
  add_ternary<int32_t, uint32_t, uint32_t, int32_t, Dp4a<uint8_t, int8_t>>(forms, "dp4a.u32.s32");
  add_ternary<int32_t, uint32_t, uint32_t, int32_t, Dp4a<int8_t, uint8_t>>(forms, "dp4a.s32.u32");
}

}  // namespace simulator
