// Instructions that exchange values between lanes: shfl and vote. Also mov of vectors, which packs and unpacks
// registers.
#include "simulator/machine/decode.h"

namespace simulator {
namespace {

// Fails unless the member mask, limited to existing lanes, has exactly the lanes that execute the instruction. Lanes of
// other paths are at another instruction.
void check_members(Warp& w, const Instruction& i, const uint32_t* members) {
  for (int lane = 0; lane < lanes; ++lane)
    if ((w.mask >> lane & 1) && (members[lane] & w.full) != w.mask)
      w.fail(i, "the member mask " + std::to_string(members[lane]) +
                    " differs from the mask of the threads that execute it, " + std::to_string(w.mask));
}

// "shfl.sync": d is operand a of the lane that b selects. c has the bound in bits 0 to 4, and the mask of the segment
// in bits 8 to 12. p tells whether the selected lane is within the bound. If not, d is the lane's own a.
enum class Shuffle { up, down, butterfly, index };
template <Shuffle mode> void shuffle(Warp& w, const Instruction& i) {
  const int32_t* more = w.kernel->operands.data() + i.first;  // member mask, p
  check_members(w, i, w.get<uint32_t>(more[0]));
  const auto* a = w.get<uint32_t>(i.a);
  const auto* b = w.get<uint32_t>(i.b);
  const auto* c = w.get<uint32_t>(i.c);
  uint32_t d[lanes], p[lanes];
  for (int lane = 0; lane < lanes; ++lane) {
    const int value = static_cast<int>(b[lane] & 31), bound = static_cast<int>(c[lane] & 31);
    const int segment = static_cast<int>(c[lane] >> 8 & 31);
    const int most = (lane & segment) | (bound & ~segment), least = lane & segment;
    int from = lane;
    bool inside = false;
    switch (mode) {
      case Shuffle::up: from = lane - value, inside = from >= most; break;
      case Shuffle::down: from = lane + value, inside = from <= most; break;
      case Shuffle::butterfly: from = lane ^ value, inside = from <= most; break;
      case Shuffle::index: from = least | (value & ~segment), inside = from <= most; break;
    }
    if (!inside) from = lane;
    if ((w.mask >> lane & 1) && !(w.mask >> from & 1))
      w.fail(i, "reads from a lane that does not execute the instruction");
    d[lane] = a[from], p[lane] = inside;
  }
  commit(w, i.d, d);
  if (i.count > 1) commit_bits(w, more[1], p);
}

void decode_shfl(Decoder& d, const Statement& s, Instruction& i) {
  const std::string name = joined(s, 1);
  i.run = name == "sync.up.b32"     ? &shuffle<Shuffle::up>
          : name == "sync.down.b32" ? &shuffle<Shuffle::down>
          : name == "sync.bfly.b32" ? &shuffle<Shuffle::butterfly>
          : name == "sync.idx.b32"  ? &shuffle<Shuffle::index>
                                    : nullptr;
  if (!i.run) return;
  i.d = d.target(s.operands.at(0), Width::b32);
  i.a = d.source(s.operands.at(1), Width::b32);
  i.b = d.source(s.operands.at(2), Width::b32);
  i.c = d.source(s.operands.at(3), Width::b32);
  d.list(i, d.source(s.operands.at(4), Width::b32));
  if (s.operands[0].pair >= 0) {
    Operand p;
    p.kind = Operand::reg;
    p.reg_index = s.operands[0].pair;
    d.list(i, d.target(p, Width::predicate));
  }
}

// "vote.sync.ballot": a bit for each lane of the mask, set if its predicate holds.
void ballot(Warp& w, const Instruction& i) {
  check_members(w, i, w.get<uint32_t>(i.b));
  const uint32_t bits = w.predicate(i.a) & w.mask;
  uint32_t d[lanes];
  for (uint32_t& lane : d) lane = bits;
  commit(w, i.d, d);
}
// "vote.sync.all" and "vote.sync.any".
template <bool all> void vote(Warp& w, const Instruction& i) {
  check_members(w, i, w.get<uint32_t>(i.b));
  const uint32_t bits = w.predicate(i.a) & w.mask;
  w.set_predicate(i.d, (all ? bits == w.mask : bits != 0) ? all_lanes : 0);
}
void decode_vote(Decoder& d, const Statement& s, Instruction& i) {
  const std::string name = joined(s, 1);
  const bool mask = name == "sync.ballot.b32";
  i.run = mask ? &ballot : name == "sync.any.pred" ? &vote<false> : name == "sync.all.pred" ? &vote<true> : nullptr;
  if (!i.run) return;
  i.d = d.target(s.operands.at(0), mask ? Width::b32 : Width::predicate);
  i.a = d.predicate(s.operands.at(1));
  i.b = d.source(s.operands.at(2), Width::b32);
}

// "mov" of vectors: packs the elements of a vector into a register, or unpacks a register. The first element has the
// lowest bits.
template <int halves, class Part, class Whole> void pack(Warp& w, const Instruction& i) {
  const int32_t* parts = w.kernel->operands.data() + i.first;
  Storage<Whole> d[lanes] = {};
  for (int n = 0; n < halves; ++n) {
    const auto* a = w.get<uint32_t>(parts[n]);
    for (int lane = 0; lane < lanes; ++lane)
      d[lane] |= static_cast<Storage<Whole>>(static_cast<Part>(a[lane])) << (n * 8 * static_cast<int>(sizeof(Part)));
  }
  commit(w, i.d, d);
}
template <int halves, class Part, class Whole> void unpack(Warp& w, const Instruction& i) {
  const int32_t* parts = w.kernel->operands.data() + i.first;
  Storage<Whole> a[lanes];
  std::memcpy(a, w.read(i.a), sizeof a);
  for (int n = 0; n < halves; ++n) {
    uint32_t d[lanes];
    for (int lane = 0; lane < lanes; ++lane)
      d[lane] = static_cast<Part>(a[lane] >> (n * 8 * static_cast<int>(sizeof(Part))));
    commit(w, parts[n], d);
  }
}
void decode_mov(Decoder& d, const Statement& s, Instruction& i) {
  const bool packs = s.operands.at(1).kind == Operand::vector, unpacks = s.operands[0].kind == Operand::vector;
  if (!packs && !unpacks) return;
  const std::vector<Operand>& parts = s.operands[packs ? 1 : 0].parts;
  const std::string type = joined(s, 1);
  const Width whole = type == "b64" ? Width::b64 : Width::b32;
  if (packs == unpacks || (type != "b64" && type != "b32")) d.fail(s, "not modeled");
  if (type == "b32" && parts.size() == 2) i.run = packs ? &pack<2, uint16_t, uint32_t> : &unpack<2, uint16_t, uint32_t>;
  if (type == "b64" && parts.size() == 2) i.run = packs ? &pack<2, uint32_t, uint64_t> : &unpack<2, uint32_t, uint64_t>;
  if (type == "b64" && parts.size() == 4) i.run = packs ? &pack<4, uint16_t, uint64_t> : &unpack<4, uint16_t, uint64_t>;
  if (!i.run) d.fail(s, "not modeled");
  for (const Operand& part : parts) d.list(i, packs ? d.source(part, Width::b32) : d.target(part, Width::b32));
  if (packs) i.d = d.target(s.operands[0], whole);
  else i.a = d.source(s.operands[1], whole);
}

}  // namespace

void add_warp_families(Families& f) {
  f["shfl"] = &decode_shfl;
  f["vote"] = &decode_vote;
  f["mov"] = &decode_mov;
}

}  // namespace simulator
