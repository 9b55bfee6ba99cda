// Section "Logic and Shift Instructions" of the manual, and the bit operations of "Integer Arithmetic Instructions".
#include "simulator/ops/lanes.h"

namespace simulator {
namespace {

template <class T> struct And {
  static T of(T a, T b) { return static_cast<T>(a & b); }
};
template <class T> struct Or {
  static T of(T a, T b) { return static_cast<T>(a | b); }
};
template <class T> struct Xor {
  static T of(T a, T b) { return static_cast<T>(a ^ b); }
};
template <class T> struct Not {
  static T of(T a) { return static_cast<T>(~a); }
};
// "shl" and "shr": an amount larger than the width is clamped to the width.
template <class T> struct ShiftLeft {
  static T of(T a, uint32_t n) { return n >= 8 * sizeof(T) ? T{0} : static_cast<T>(a << n); }
};
template <class T> struct ShiftRight {
  static T of(T a, uint32_t n) {
    constexpr uint32_t bits = 8 * sizeof(T);
    if (n >= bits) return std::is_signed_v<T> && a < 0 ? static_cast<T>(-1) : T{0};
    return static_cast<T>(a >> n);
  }
};
// "shf": shifts the 64 bits b:a, and returns the upper word (.l) or the lower word (.r). .wrap takes the amount modulo
// 32. .clamp limits it to 32.
template <bool right, bool wrap> struct Funnel {
  static uint32_t of(uint32_t a, uint32_t b, uint32_t c) {
    const uint32_t n = wrap ? c & 31 : (c > 32 ? 32 : c);
    const uint64_t pair = static_cast<uint64_t>(b) << 32 | a;
    return right ? static_cast<uint32_t>(n == 32 ? b : pair >> n)
                 : static_cast<uint32_t>(n == 32 ? a : (pair << n) >> 32);
  }
};
struct Popc {
  static uint32_t of(uint32_t a) { return static_cast<uint32_t>(__builtin_popcount(a)); }
};
struct Clz {
  static uint32_t of(uint32_t a) { return a ? static_cast<uint32_t>(__builtin_clz(a)) : 32; }
};
struct Brev {
  static uint32_t of(uint32_t a) {
    uint32_t d = 0;
    for (int bit = 0; bit < 32; ++bit) d |= (a >> bit & 1) << (31 - bit);
    return d;
  }
};
// "prmt" in its default mode. The selector has four bits per byte of the result: three select a byte of b:a, and the
// highest replicates that byte's sign bit.
struct Permute {
  static uint32_t of(uint32_t a, uint32_t b, uint32_t selector) {
    const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
    uint32_t d = 0;
    for (int n = 0; n < 4; ++n) {
      const uint32_t s = selector >> 4 * n & 15;
      uint32_t byte = static_cast<uint32_t>(bytes >> 8 * (s & 7)) & 255;
      if (s & 8) byte = byte & 128 ? 255 : 0;
      d |= byte << 8 * n;
    }
    return d;
  }
};
// "bfe": the len bits of a that start at pos, extended by their highest bit if the type is signed.
template <class T> struct Extract {
  static T of(T a, uint32_t pos, uint32_t len) {
    pos &= 255, len &= 255;
    if (len == 0) return 0;
    uint32_t d = 0;
    const uint32_t top = pos + len - 1 > 31 ? 31 : pos + len - 1;
    const uint32_t sign = std::is_signed_v<T> ? static_cast<uint32_t>(a) >> top & 1 : 0;
    for (uint32_t n = 0; n < 32; ++n) {
      const uint32_t bit = n < len && pos + n < 32 ? static_cast<uint32_t>(a) >> (pos + n) & 1 : sign;
      d |= bit << n;
    }
    return static_cast<T>(d);
  }
};
// "bfi": d = b, with the lowest len bits of a at pos. len is in the instruction's list (Kernel::operands).
template <class T> void insert(Warp& w, const Instruction& i) {
  const auto* a = w.get<T>(i.a);
  const auto* b = w.get<T>(i.b);
  const auto* c = w.get<uint32_t>(i.c);
  const auto* e = w.get<uint32_t>(w.kernel->operands[i.first]);
  constexpr uint32_t bits = 8 * sizeof(T);
  T d[lanes];
  for (int l = 0; l < lanes; ++l) {
    const uint32_t pos = c[l] & 255, len = e[l] & 255;
    const T ones = len >= bits ? ~T{0} : (T{1} << len) - 1;
    const T field = pos >= bits ? 0 : ones << pos;
    d[l] = (b[l] & ~field) | (pos >= bits ? 0 : (a[l] << pos & field));
  }
  commit(w, i.d, d);
}

template <class T> void add_type(Forms& forms, const std::string& bits) {
  add_binary<T, T, T, And<T>>(forms, "and.b" + bits);
  add_binary<T, T, T, Or<T>>(forms, "or.b" + bits);
  add_binary<T, T, T, Xor<T>>(forms, "xor.b" + bits);
  add_unary<T, T, Not<T>>(forms, "not.b" + bits);
  add_binary<T, T, uint32_t, ShiftLeft<T>>(forms, "shl.b" + bits);
  add_binary<T, T, uint32_t, ShiftRight<T>>(forms, "shr.b" + bits);
  add_binary<T, T, uint32_t, ShiftRight<T>>(forms, "shr.u" + bits);
  using S = std::make_signed_t<T>;
  add_binary<S, S, uint32_t, ShiftRight<S>>(forms, "shr.s" + bits);
}

template <class F> void predicates(Warp& w, const Instruction& i) {
  w.set_predicate(i.d, F::of(w.predicate(i.a), w.predicate(i.b)));
}
void not_predicate(Warp& w, const Instruction& i) { w.set_predicate(i.d, ~w.predicate(i.a)); }
void move_predicate(Warp& w, const Instruction& i) { w.set_predicate(i.d, w.predicate(i.a)); }

}  // namespace

void add_logic_forms(Forms& forms) {
  add_type<uint16_t>(forms, "16");
  add_type<uint32_t>(forms, "32");
  add_type<uint64_t>(forms, "64");
  add_ternary<uint32_t, uint32_t, uint32_t, uint32_t, Funnel<false, true>>(forms, "shf.l.wrap.b32");
  add_ternary<uint32_t, uint32_t, uint32_t, uint32_t, Funnel<true, true>>(forms, "shf.r.wrap.b32");
  add_ternary<uint32_t, uint32_t, uint32_t, uint32_t, Funnel<false, false>>(forms, "shf.l.clamp.b32");
  add_ternary<uint32_t, uint32_t, uint32_t, uint32_t, Funnel<true, false>>(forms, "shf.r.clamp.b32");
  add_unary<uint32_t, uint32_t, Popc>(forms, "popc.b32");
  add_unary<uint32_t, uint32_t, Clz>(forms, "clz.b32");
  add_unary<uint32_t, uint32_t, Brev>(forms, "brev.b32");
  add_ternary<uint32_t, uint32_t, uint32_t, uint32_t, Permute>(forms, "prmt.b32");
  add_ternary<uint32_t, uint32_t, uint32_t, uint32_t, Extract<uint32_t>>(forms, "bfe.u32");
  add_ternary<int32_t, int32_t, uint32_t, uint32_t, Extract<int32_t>>(forms, "bfe.s32");
  forms["bfi.b64"] = {&insert<uint64_t>, {Width::b64, Width::b64, Width::b64, Width::b32, Width::b32}};
  forms["bfi.b32"] = {&insert<uint32_t>, {Width::b32, Width::b32, Width::b32, Width::b32, Width::b32}};
  const std::vector<Width> three(3, Width::predicate), two(2, Width::predicate);
  forms["and.pred"] = {&predicates<And<uint32_t>>, three};
  forms["or.pred"] = {&predicates<Or<uint32_t>>, three};
  forms["xor.pred"] = {&predicates<Xor<uint32_t>>, three};
  forms["not.pred"] = {&not_predicate, two};
  forms["mov.pred"] = {&move_predicate, two};
}

}  // namespace simulator
