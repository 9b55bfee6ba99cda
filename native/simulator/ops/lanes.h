// Instructions whose result in a lane depends only on the operands of that lane. Registers of up to 32 bits are stored
// in 32 bits, zero-extended.
#pragma once
#include <functional>
#include <type_traits>
#include <unordered_map>

#include "simulator/machine/machine.h"

namespace simulator {

using Run = void (*)(Warp&, const Instruction&);

// How to decode an opcode. A fifth operand goes to the instruction's list in Kernel::operands.
struct Form {
  Run run = nullptr;
  std::vector<Width> operands;  // widths of d, a, b, c and the fifth operand
};
using Forms = std::unordered_map<std::string, Form>;

void add_integer_forms(Forms&);
void add_logic_forms(Forms&);
void add_float_forms(Forms&);
void add_conversion_forms(Forms&);
void add_comparison_forms(Forms&);

template <class T> using Storage = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
template <class T> constexpr Width width_of = sizeof(T) == 8 ? Width::b64 : Width::b32;

template <class T> inline T from_bits(Storage<T> bits) {
  if constexpr (std::is_floating_point_v<T>) {
    T value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  } else {
    return static_cast<T>(bits);
  }
}
template <class T> inline Storage<T> to_bits(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    Storage<T> bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
  } else {
    return static_cast<Storage<T>>(static_cast<std::make_unsigned_t<T>>(value));
  }
}

// Writes a result to the lanes of the mask.
template <class S> inline void commit(Warp& w, int32_t offset, const S (&from)[lanes]) {
  S* to = w.at<S>(offset);
  if (w.mask == all_lanes) {
    std::memcpy(to, from, sizeof from);
  } else {
    for (int l = 0; l < lanes; ++l) to[l] = w.mask >> l & 1 ? from[l] : to[l];
  }
}
inline void commit_bits(Warp& w, int32_t offset, const uint32_t (&set)[lanes]) {
  uint32_t bits = 0;
  for (int l = 0; l < lanes; ++l) bits |= (set[l] & 1) << l;
  w.set_predicate(offset, bits);
}

template <class R, class A, class F> void unary(Warp& w, const Instruction& i) {
  const auto* a = w.get<Storage<A>>(i.a);
  Storage<R> d[lanes];
  for (int l = 0; l < lanes; ++l) d[l] = to_bits<R>(F::of(from_bits<A>(a[l])));
  commit(w, i.d, d);
}
template <class R, class A, class B, class F> void binary(Warp& w, const Instruction& i) {
  const auto* a = w.get<Storage<A>>(i.a);
  const auto* b = w.get<Storage<B>>(i.b);
  Storage<R> d[lanes];
  for (int l = 0; l < lanes; ++l) d[l] = to_bits<R>(F::of(from_bits<A>(a[l]), from_bits<B>(b[l])));
  commit(w, i.d, d);
}
template <class R, class A, class B, class C, class F> void ternary(Warp& w, const Instruction& i) {
  const auto* a = w.get<Storage<A>>(i.a);
  const auto* b = w.get<Storage<B>>(i.b);
  const auto* c = w.get<Storage<C>>(i.c);
  Storage<R> d[lanes];
  for (int l = 0; l < lanes; ++l) d[l] = to_bits<R>(F::of(from_bits<A>(a[l]), from_bits<B>(b[l]), from_bits<C>(c[l])));
  commit(w, i.d, d);
}

template <class R, class A, class F> void add_unary(Forms& forms, const std::string& name) {
  forms[name] = {&unary<R, A, F>, {width_of<R>, width_of<A>}};
}
template <class R, class A, class B, class F> void add_binary(Forms& forms, const std::string& name) {
  forms[name] = {&binary<R, A, B, F>, {width_of<R>, width_of<A>, width_of<B>}};
}
template <class R, class A, class B, class C, class F> void add_ternary(Forms& forms, const std::string& name) {
  forms[name] = {&ternary<R, A, B, C, F>, {width_of<R>, width_of<A>, width_of<B>, width_of<C>}};
}

}  // namespace simulator
