// Sections "Data Movement and Conversion Instructions: ld" and "st" of the manual, and "Parallel Synchronization and
// Communication Instructions: atom".
#include "simulator/machine/memory.h"

#include "simulator/machine/decode.h"

namespace simulator {
namespace {

enum class Space { global, shared, generic };
constexpr uint32_t short_base = 1, wide_register = 2;  // flags: the base address has 32 bits, registers have 64 bits

// Returns the address that the lane accesses.
inline uint64_t address_of(const Warp& w, const Instruction& i, int lane) {
  const uint64_t base = i.flags & short_base ? w.get<uint32_t>(i.a)[lane] : w.get<uint64_t>(i.a)[lane];
  return base + static_cast<uint64_t>(i.immediate);
}

// Checks the access of one lane, and returns a pointer to the memory. A generic address in the window of shared memory
// accesses shared memory ("Generic Addressing").
template <bool writes>
unsigned char* locate(Warp& w, const Instruction& i, int lane, Space space, uint64_t address, uint32_t bytes) {
  if (address % bytes)
    w.fail(i, "lane " + std::to_string(lane) + ": address " + std::to_string(address) + " is not a multiple of " +
                  std::to_string(bytes));
  if (space == Space::generic) {
    const bool shared = (address & ~uint64_t{0xffffffff}) == shared_window;
    space = shared ? Space::shared : Space::global;
    if (shared) address &= ~shared_window;
  }
  if (space == Space::global) {
    memory::check(w, i, address, bytes);
    return reinterpret_cast<unsigned char*>(address);
  }
  if (address >> 32) w.fail(i, "an address outside of shared memory");
  const auto at = static_cast<uint32_t>(address);
  if (writes) w.block->shared.write(w, i, lane, at, bytes);
  else w.block->shared.read(w, i, lane, at, bytes);
  return w.block->shared.data(at);
}

// "ld": loads i.count elements of type T to the registers of the list.
template <class T, Space space> void load(Warp& w, const Instruction& i) {
  const uint32_t count = i.count, bytes = count * static_cast<uint32_t>(sizeof(T));
  const int32_t* list = w.kernel->operands.data() + i.first;
  for (int lane = 0; lane < lanes; ++lane) {
    if (!(w.mask >> lane & 1)) continue;
    const unsigned char* from = locate<false>(w, i, lane, space, address_of(w, i, lane), bytes);
    for (uint32_t n = 0; n < count; ++n) {
      T value;
      std::memcpy(&value, from + n * sizeof value, sizeof value);
      // An element that is narrower than its register is sign-extended if its type is signed, and otherwise
      // zero-extended.
      if (i.flags & wide_register) w.at<uint64_t>(list[n])[lane] = static_cast<uint64_t>(static_cast<int64_t>(value));
      else w.at<uint32_t>(list[n])[lane] = static_cast<uint32_t>(static_cast<int32_t>(value));
    }
  }
}
// "st": stores i.count elements of type T from the registers of the list.
template <class T, Space space> void store(Warp& w, const Instruction& i) {
  const uint32_t count = i.count, bytes = count * static_cast<uint32_t>(sizeof(T));
  const int32_t* list = w.kernel->operands.data() + i.first;
  for (int lane = 0; lane < lanes; ++lane) {
    if (!(w.mask >> lane & 1)) continue;
    unsigned char* to = locate<true>(w, i, lane, space, address_of(w, i, lane), bytes);
    for (uint32_t n = 0; n < count; ++n) {
      const T value =
          static_cast<T>(i.flags & wide_register ? w.get<uint64_t>(list[n])[lane] : w.get<uint32_t>(list[n])[lane]);
      std::memcpy(to + n * sizeof value, &value, sizeof value);
    }
  }
  if (space != Space::shared) ++progress;
}

template <class T> Run load_of(Space space) {
  return space == Space::global   ? &load<T, Space::global>
         : space == Space::shared ? &load<T, Space::shared>
                                  : &load<T, Space::generic>;
}
template <class T> Run store_of(Space space) {
  return space == Space::global   ? &store<T, Space::global>
         : space == Space::shared ? &store<T, Space::shared>
                                  : &store<T, Space::generic>;
}

bool is_type(const std::string& part) {
  return part.size() >= 2 && part.size() <= 3 && std::string("usbf").find(part[0]) != std::string::npos &&
         std::isdigit(static_cast<unsigned char>(part[1]));
}

struct Access {
  Space space = Space::generic;
  uint32_t count = 1;
  char kind = 'b';
  int bits = 0;
};
Access access_of(Decoder& d, const Statement& s) {
  Access a;
  for (size_t n = 1; n < s.op.size(); ++n) {
    const std::string& part = s.op[n];
    // Parameters are in the launch's copy, which has global addresses. `acquire` and `release` have no effect, because
    // accesses take effect in program order.
    if (part == "global" || part == "param") a.space = Space::global;
    else if (part == "shared" || part == "shared::cta") a.space = Space::shared;
    else if (part == "v2" || part == "v4") a.count = static_cast<uint32_t>(part[1] - '0');
    else if (is_type(part)) a.kind = part[0], a.bits = std::stoi(part.substr(1));
    else if (part != "acquire" && part != "release" && part != "gpu" && part != "volatile" && part != "nc" &&
             part != "relaxed")
      d.fail(s, "." + part + " is not modeled");
  }
  if (a.bits == 0) d.fail(s, "expected a type");
  return a;
}

void take_address(Decoder& d, const Statement& s, const Operand& o, Instruction& i) {
  if (o.kind != Operand::address || o.parts.size() != 1) d.fail(s, "expected an address");
  if (d.address(o, i) == Width::b32) i.flags |= short_base;
}

// Records the width of a register of an access. All registers of an access must have the same width.
void note_width(Decoder& d, const Statement& s, const Access& a, Width w, bool is_first, Instruction& i) {
  if (a.bits == 64 && w != Width::b64) d.fail(s, "expected registers of 64 bits, got one of 32 bits");
  if (!is_first && (w == Width::b64) != ((i.flags & wide_register) != 0))
    d.fail(s, "expected registers of one width, got several");
  if (w == Width::b64) i.flags |= wide_register;
}

void decode_ld(Decoder& d, const Statement& s, Instruction& i) {
  const Access a = access_of(d, s);
  const Operand& to = s.operands.at(0);
  const std::vector<Operand> registers = to.kind == Operand::vector ? to.parts : std::vector<Operand>{to};
  if (registers.size() != a.count) d.fail(s, "expected as many registers as elements");
  for (const Operand& r : registers) {
    const Width w = r.kind == Operand::reg ? d.width(r) : a.bits == 64 ? Width::b64 : Width::b32;
    note_width(d, s, a, w, &r == registers.data(), i);
    d.list(i, d.target(r, w));
  }
  take_address(d, s, s.operands.at(1), i);
  const bool is_signed = a.kind == 's';
  i.run = a.bits == 8    ? (is_signed ? load_of<int8_t>(a.space) : load_of<uint8_t>(a.space))
          : a.bits == 16 ? (is_signed ? load_of<int16_t>(a.space) : load_of<uint16_t>(a.space))
          : a.bits == 32 ? (is_signed ? load_of<int32_t>(a.space) : load_of<uint32_t>(a.space))
          : a.bits == 64 ? load_of<uint64_t>(a.space)
                         : nullptr;
}

void decode_st(Decoder& d, const Statement& s, Instruction& i) {
  const Access a = access_of(d, s);
  const Operand& from = s.operands.at(1);
  const std::vector<Operand> values = from.kind == Operand::vector ? from.parts : std::vector<Operand>{from};
  if (values.size() != a.count) d.fail(s, "expected as many registers as elements");
  for (size_t n = 0; n < values.size(); ++n) {
    const Width w = values[n].kind == Operand::reg ? d.width(values[n]) : a.bits == 64 ? Width::b64 : Width::b32;
    note_width(d, s, a, w, n == 0, i);
    d.list(i, d.source(values[n], w));
  }
  take_address(d, s, s.operands.at(0), i);
  i.run = a.bits == 8    ? store_of<uint8_t>(a.space)
          : a.bits == 16 ? store_of<uint16_t>(a.space)
          : a.bits == 32 ? store_of<uint32_t>(a.space)
          : a.bits == 64 ? store_of<uint64_t>(a.space)
                         : nullptr;
}

// "atom": runs the lanes one after the other. Atomics in shared memory do not race with each other. An atomic after a
// plain store is checked for a race with the store, and with the loads since then.
template <class T, class F> void atomic(Warp& w, const Instruction& i, Space space, F change) {
  Storage<T> d[lanes] = {};
  for (int lane = 0; lane < lanes; ++lane) {
    if (!(w.mask >> lane & 1)) continue;
    const uint64_t address = address_of(w, i, lane);
    if (address % sizeof(T)) w.fail(i, "a misaligned atomic");
    unsigned char* at;
    if (space == Space::shared) {
      w.block->shared.atomic(w, i, lane, static_cast<uint32_t>(address), sizeof(T));
      at = w.block->shared.data(static_cast<uint32_t>(address));
    } else {
      memory::check(w, i, address, sizeof(T));
      at = reinterpret_cast<unsigned char*>(address);
    }
    T old;
    std::memcpy(&old, at, sizeof old);
    const T now = change(old, lane);
    std::memcpy(at, &now, sizeof now);
    d[lane] = to_bits<T>(old);
  }
  commit(w, i.d, d);
  ++progress;
}
template <class T, Space space> void atomic_add(Warp& w, const Instruction& i) {
  const auto* b = w.get<Storage<T>>(i.b);
  atomic<T>(w, i, space, [&](T old, int lane) { return static_cast<T>(old + from_bits<T>(b[lane])); });
}
template <class T, Space space> void atomic_cas(Warp& w, const Instruction& i) {
  const auto* b = w.get<Storage<T>>(i.b);
  const auto* c = w.get<Storage<T>>(i.c);
  atomic<T>(w, i, space, [&](T old, int lane) { return old == from_bits<T>(b[lane]) ? from_bits<T>(c[lane]) : old; });
}

void decode_atom(Decoder& d, const Statement& s, Instruction& i) {
  const std::string name = joined(s, 1);
  const struct {
    const char* name;
    Run run;
    Width width;
    size_t operands;
  } known[] = {
      {"global.add.u32", &atomic_add<uint32_t, Space::global>, Width::b32, 3},
      {"global.add.u64", &atomic_add<uint64_t, Space::global>, Width::b64, 3},
      {"global.add.f32", &atomic_add<float, Space::global>, Width::b32, 3},
      {"shared.add.u32", &atomic_add<uint32_t, Space::shared>, Width::b32, 3},
      {"shared.add.u64", &atomic_add<uint64_t, Space::shared>, Width::b64, 3},
      {"global.cas.b32", &atomic_cas<uint32_t, Space::global>, Width::b32, 4},
  };
  for (const auto& k : known) {
    if (name != k.name) continue;
    if (s.operands.size() != k.operands) d.fail(s, "wrong number of operands");
    i.run = k.run;
    i.d = d.target(s.operands[0], k.width);
    take_address(d, s, s.operands[1], i);
    i.b = d.source(s.operands[2], k.width);
    if (k.operands > 3) i.c = d.source(s.operands[3], k.width);
    return;
  }
}

}  // namespace

void add_memory_families(Families& f) {
  f["ld"] = &decode_ld;
  f["st"] = &decode_st;
  f["atom"] = &decode_atom;
}

}  // namespace simulator
