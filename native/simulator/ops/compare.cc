// Section "Comparison and Selection Instructions" of the manual, and mov and cvta of "Data Movement and Conversion
// Instructions". mov of vectors is in warp.cc.
#include "simulator/ops/lanes.h"

namespace simulator {
namespace {

template <class T, class F> void compare(Warp& w, const Instruction& i) {
  const auto* a = w.get<Storage<T>>(i.a);
  const auto* b = w.get<Storage<T>>(i.b);
  uint32_t d[lanes];
  for (int l = 0; l < lanes; ++l) d[l] = F::of(from_bits<T>(a[l]), from_bits<T>(b[l]));
  commit_bits(w, i.d, d);
}

#define SIMULATOR_COMPARISON(name, expression) \
  template <class T> struct name { \
    static bool of(T a, T b) { return expression; } \
  };
SIMULATOR_COMPARISON(Eq, a == b)
SIMULATOR_COMPARISON(Ne, a != b)
SIMULATOR_COMPARISON(Lt, a < b)
SIMULATOR_COMPARISON(Le, a <= b)
SIMULATOR_COMPARISON(Gt, a > b)
SIMULATOR_COMPARISON(Ge, a >= b)
// Comparisons of floats. If an operand is NaN, `nan` and the unordered comparisons (equ to geu) are true. All others
// are false, even `ne`.
SIMULATOR_COMPARISON(OrderedNe, a<b || a> b)
SIMULATOR_COMPARISON(Equ, !(a < b || a > b))
SIMULATOR_COMPARISON(Neu, !(a == b))
SIMULATOR_COMPARISON(Ltu, !(a >= b))
SIMULATOR_COMPARISON(Leu, !(a > b))
SIMULATOR_COMPARISON(Gtu, !(a <= b))
SIMULATOR_COMPARISON(Geu, !(a < b))
SIMULATOR_COMPARISON(Num, a == a && b == b)
SIMULATOR_COMPARISON(Nan, a != a || b != b)
#undef SIMULATOR_COMPARISON

template <class T, class F> void add(Forms& forms, const std::string& name) {
  forms["setp." + name] = {&compare<T, F>, {Width::predicate, width_of<T>, width_of<T>}};
}
template <class T> void add_integers(Forms& forms, const std::string& type) {
  add<T, Eq<T>>(forms, "eq." + type);
  add<T, Ne<T>>(forms, "ne." + type);
  add<T, Lt<T>>(forms, "lt." + type);
  add<T, Le<T>>(forms, "le." + type);
  add<T, Gt<T>>(forms, "gt." + type);
  add<T, Ge<T>>(forms, "ge." + type);
}
template <class T> void add_floats(Forms& forms, const std::string& type) {
  add_integers<T>(forms, type);
  add<T, OrderedNe<T>>(forms, "ne." + type);
  add<T, Equ<T>>(forms, "equ." + type);
  add<T, Neu<T>>(forms, "neu." + type);
  add<T, Ltu<T>>(forms, "ltu." + type);
  add<T, Leu<T>>(forms, "leu." + type);
  add<T, Gtu<T>>(forms, "gtu." + type);
  add<T, Geu<T>>(forms, "geu." + type);
  add<T, Num<T>>(forms, "num." + type);
  add<T, Nan<T>>(forms, "nan." + type);
}

// "selp": d = c ? a : b.
template <class T> void select(Warp& w, const Instruction& i) {
  const auto* a = w.get<T>(i.a);
  const auto* b = w.get<T>(i.b);
  const uint32_t c = w.predicate(i.c);
  T d[lanes];
  for (int l = 0; l < lanes; ++l) d[l] = c >> l & 1 ? a[l] : b[l];
  commit(w, i.d, d);
}
template <class T> void move(Warp& w, const Instruction& i) {
  T d[lanes];
  std::memcpy(d, w.read(i.a), sizeof d);
  commit(w, i.d, d);
}
struct SharedToGeneric {
  static uint64_t of(uint64_t a) { return a | shared_window; }
};
struct GenericToShared {
  static uint64_t of(uint64_t a) { return a & ~shared_window; }
};

}  // namespace

void add_comparison_forms(Forms& forms) {
  add_integers<int16_t>(forms, "s16");
  add_integers<uint16_t>(forms, "u16");
  add_integers<int32_t>(forms, "s32");
  add_integers<uint32_t>(forms, "u32");
  add_integers<int64_t>(forms, "s64");
  add_integers<uint64_t>(forms, "u64");
  for (const char* name : {"eq.", "ne."})
    for (const char* bits : {"16", "32", "64"})
      forms[std::string("setp.") + name + "b" + bits] = forms[std::string("setp.") + name + "u" + bits];
  add_floats<float>(forms, "f32");
  add_floats<double>(forms, "f64");
  for (const char* type : {"b16", "u16", "s16", "b32", "u32", "s32", "f32"}) {
    forms[std::string("selp.") + type] = {&select<uint32_t>, {Width::b32, Width::b32, Width::b32, Width::predicate}};
    forms[std::string("mov.") + type] = {&move<uint32_t>, {Width::b32, Width::b32}};
  }
  for (const char* type : {"b64", "u64", "s64", "f64"}) {
    forms[std::string("selp.") + type] = {&select<uint64_t>, {Width::b64, Width::b64, Width::b64, Width::predicate}};
    forms[std::string("mov.") + type] = {&move<uint64_t>, {Width::b64, Width::b64}};
  }
  // A generic address of global memory or of a parameter equals its address in that space. Shared memory has a window
  // of generic addresses.
  for (const char* space : {"global", "param", "to.global"})
    forms[std::string("cvta.") + space + ".u64"] = forms["mov.u64"];
  add_unary<uint64_t, uint64_t, SharedToGeneric>(forms, "cvta.shared.u64");
  add_unary<uint64_t, uint64_t, GenericToShared>(forms, "cvta.to.shared.u64");
}

}  // namespace simulator
