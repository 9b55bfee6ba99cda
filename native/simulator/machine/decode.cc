#include "simulator/machine/decode.h"

#include <algorithm>
#include <functional>
#include <set>

namespace simulator {
namespace {

const Forms& forms() {
  static const Forms all = [] {
    Forms f;
    add_integer_forms(f);
    add_logic_forms(f);
    add_float_forms(f);
    add_conversion_forms(f);
    add_comparison_forms(f);
    return f;
  }();
  return all;
}
const Families& families() {
  static const Families all = [] {
    Families f;
    add_control_families(f);
    add_memory_families(f);
    add_warp_families(f);
    add_matrix_families(f);
    add_copy_families(f);
    add_mbarrier_families(f);
    add_cluster_families(f);
    add_warpgroup_families(f);
    return f;
  }();
  return all;
}

// The bytes of 32 lanes. A predicate has one bit per lane.
constexpr int32_t bytes_of(Width w) { return w == Width::b64 ? 256 : w == Width::b32 ? 128 : 4; }

}  // namespace

Decoder::Decoder(const Module& module, const Function& f) : function(f), flow_(f), kernel_(std::make_unique<Kernel>()) {
  kernel_->name = f.name;
  kernel_->target = module.target;
  kernel_->parameters = f.parameters;
  kernel_->parameter_bytes = f.parameter_bytes;
  kernel_->max_threads = f.max_threads;
  place_variables(module);
  place_registers();
}

void Decoder::fail(const Statement& s, const std::string& what) const {
  throw Failure(function.name + ", line " + std::to_string(s.line) + ": " + joined(s) + ": " + what);
}

// Assigns addresses to shared variables: those of the entry, then those of the module that the entry uses. Dynamic
// shared memory follows. It gets only its declared alignment, so that a kernel that needs more must align its pointers.
void Decoder::place_variables(const Module& module) {
  std::set<std::string> used;
  const std::function<void(const Operand&)> visit = [&](const Operand& o) {
    if (o.kind == Operand::symbol) used.insert(o.name);
    for (const Operand& part : o.parts) visit(part);
  };
  for (const Statement& s : function.code)
    for (const Operand& o : s.operands) visit(o);
  uint32_t at = shared_begin, align = 1;
  const auto place = [&](const Variable& v) {
    if (v.space != "shared") throw Failure(function.name + ": variables in ." + v.space + " are not modeled");
    at = (at + v.align - 1) / v.align * v.align;
    shared_[v.name] = at;
    at += v.bytes;
  };
  for (const Variable& v : function.variables) place(v);
  for (const Variable& v : module.variables)
    if (v.bytes != 0 && used.count(v.name)) place(v);
  kernel_->shared_bytes = at - shared_begin;
  for (const Variable& v : module.variables)
    if (v.bytes == 0) align = std::max(align, v.align);
  at = (at + align - 1) / align * align;
  for (const Variable& v : module.variables)
    if (v.bytes == 0) shared_[v.name] = at;
  kernel_->dynamic_offset = at - shared_begin;
}

int32_t Decoder::take(Width width) {
  const auto at = static_cast<int32_t>(kernel_->register_bytes);
  kernel_->register_bytes += static_cast<uint32_t>(bytes_of(width));
  return at;
}

void Decoder::place_registers() {
  const Places p = places(function, flow_);
  int32_t begin[3];
  for (const Width width : {Width::b64, Width::b32, Width::predicate}) {
    begin[static_cast<size_t>(width)] = static_cast<int32_t>(kernel_->register_bytes);
    for (int n = 0; n < p.counts[static_cast<size_t>(width)]; ++n) take(width);
  }
  offsets_.assign(function.registers.size(), -1);
  for (size_t r = 0; r < function.registers.size(); ++r)
    if (p.of[r] >= 0)
      offsets_[r] = begin[static_cast<size_t>(function.registers[r])] + p.of[r] * bytes_of(function.registers[r]);
  kernel_->register_bytes = (kernel_->register_bytes + 255) / 256 * 256;
}

Width Decoder::width(const Operand& o) const { return function.registers[static_cast<size_t>(o.reg_index)]; }

int32_t Decoder::constant(uint64_t bits, Width width) {
  if (width == Width::b32) bits &= 0xffffffffu;
  const auto key = std::make_pair(bits, width);
  const auto found = constants_.find(key);
  if (found != constants_.end()) return found->second;
  const auto at = static_cast<int32_t>(kernel_->constants.size());
  for (int l = 0; l < lanes; ++l) {
    const uint64_t value = width == Width::predicate ? (bits ? ~uint64_t{0} : 0) : bits;
    const auto* raw = reinterpret_cast<const unsigned char*>(&value);
    kernel_->constants.insert(kernel_->constants.end(), raw, raw + (width == Width::b64 ? 8 : 4));
  }
  return constants_[key] = ~at;  // complemented: see Instruction
}

int32_t Decoder::special(const std::string& name, Width width) {
  const auto found = specials_.find(name);
  if (found != specials_.end()) return found->second;
  kernel_->register_bytes = (kernel_->register_bytes + 255) / 256 * 256;
  const int32_t at = take(width);
  using Special = Kernel::Special;
  Special s{-1, 0, at};
  static const std::pair<const char*, int> groups[] = {{"%tid.", Special::tid}, {"%ntid.", Special::ntid},
      {"%ctaid.", Special::ctaid}, {"%nctaid.", Special::nctaid}, {"%cluster_ctaid.", Special::cluster_ctaid},
      {"%cluster_nctaid.", Special::cluster_nctaid}, {"%clusterid.", Special::clusterid},
      {"%nclusterid.", Special::nclusterid}};
  for (const auto& group : groups)
    if (name.compare(0, name.size() - 1, group.first) == 0) s.kind = group.second + (name.back() - 'x');
  if (name == "%laneid") s.kind = Special::laneid;
  if (name == "%cluster_ctarank") s.kind = Special::cluster_ctarank;
  if (name == "%cluster_nctarank") s.kind = Special::cluster_nctarank;
  if (name.compare(0, 6, "param+") == 0) {  // made by symbol()
    s.kind = Special::parameter;
    s.parameter_offset = static_cast<uint32_t>(std::stoul(name.substr(6)));
  }
  if (s.kind < 0 || (width == Width::b64) != (s.kind == Special::parameter))
    throw Failure(function.name + ": special register " + name + " is not modeled");
  kernel_->specials.push_back(s);
  return specials_[name] = at;
}

int32_t Decoder::symbol(const std::string& name, Width width) {
  const auto shared = shared_.find(name);
  if (shared != shared_.end()) return constant(shared->second, width);
  for (const Variable& p : function.parameters)
    if (p.name == name) {
      if (width != Width::b64) throw Failure(function.name + ": expected 64 bits for a parameter's address");
      return special("param+" + std::to_string(p.offset), Width::b64);
    }
  throw Failure(function.name + ": unknown symbol " + name);
}

int32_t Decoder::target(const Operand& o, Width wanted) {
  if (o.kind == Operand::none) {
    const auto found = sinks_.find(wanted);
    if (found != sinks_.end()) return found->second;
    kernel_->register_bytes = (kernel_->register_bytes + 255) / 256 * 256;
    return sinks_[wanted] = take(wanted);
  }
  if (o.kind != Operand::reg) throw Failure(function.name + ": expected a register to write to");
  if (width(o) != wanted) throw Failure(function.name + ": the register's width differs from the instruction's");
  return offsets_[static_cast<size_t>(o.reg_index)];
}

int32_t Decoder::source(const Operand& o, Width wanted) {
  switch (o.kind) {
    case Operand::reg:
      if (o.negated) throw Failure(function.name + ": negated operands are not modeled");
      if (width(o) != wanted) throw Failure(function.name + ": the register's width differs from the instruction's");
      return offsets_[static_cast<size_t>(o.reg_index)];
    case Operand::immediate: return constant(o.bits, wanted);
    case Operand::special: return special(o.name, wanted);
    case Operand::symbol: return symbol(o.name, wanted);
    default: throw Failure(function.name + ": unexpected kind of operand");
  }
}

Width Decoder::address(const Operand& o, Instruction& i) {
  if (o.kind != Operand::address) throw Failure(function.name + ": expected an address");
  const Operand& base = o.parts[0];
  const Width w = base.kind == Operand::reg                                  ? width(base)
                  : base.kind == Operand::symbol && shared_.count(base.name) ? Width::b32
                                                                             : Width::b64;
  i.a = source(base, w);
  i.immediate = o.offset;
  return w;
}

void Decoder::list(Instruction& i, int32_t offset) {
  if (i.count == 0) i.first = static_cast<uint32_t>(kernel_->operands.size());
  kernel_->operands.push_back(offset);
  ++i.count;
}

void Decoder::decode(const Statement& s, Instruction& i) {
  i.line = s.line;
  if (s.guard >= 0) {
    i.guard = offsets_[static_cast<size_t>(s.guard)];
    i.guard_flip = s.guard_negated ? all_lanes : 0;
  }
  const auto family = families().find(s.op[0]);
  if (family != families().end()) {
    family->second(*this, s, i);
    if (i.run) return;
  }
  auto form = forms().find(joined(s));
  // cvt accepts a register that is wider than its source type, and reads the lower bits.
  if (form != forms().end() && s.op[0] == "cvt" && s.operands.size() == 2 && s.operands[1].kind == Operand::reg &&
      width(s.operands[1]) == Width::b64 && form->second.operands[1] == Width::b32)
    form = forms().find(joined(s) + "/wide");
  if (form == forms().end()) fail(s, "not modeled");
  const std::vector<Width>& widths = form->second.operands;
  if (widths.size() != s.operands.size()) fail(s, "expected " + std::to_string(widths.size()) + " operands");
  i.run = form->second.run;
  i.d = target(s.operands[0], widths[0]);
  if (s.operands[0].pair >= 0) fail(s, "the second result of d|p is not modeled");
  if (widths.size() > 1) i.a = source(s.operands[1], widths[1]);
  if (widths.size() > 2) i.b = source(s.operands[2], widths[2]);
  if (widths.size() > 3) i.c = source(s.operands[3], widths[3]);
  if (widths.size() > 4) list(i, source(s.operands[4], widths[4]));
}

std::unique_ptr<Kernel> Decoder::decode() {
  const std::vector<int> meet = rejoins(function, flow_);
  kernel_->code.resize(function.code.size() + 1);
  for (size_t n = 0; n < function.code.size(); ++n) {
    try {
      decode(function.code[n], kernel_->code[n]);
    } catch (const Failure& failure) {
      if (std::string(failure.what()).find(", line ") != std::string::npos) throw;
      fail(function.code[n], failure.what());
    }
    kernel_->code[n].rejoin = meet[n];
    kernel_->texts.push_back(joined(function.code[n]));
  }
  // A thread that runs past the last statement exits.
  Statement end;
  end.op = {"exit"};
  decode(end, kernel_->code.back());
  kernel_->texts.push_back("exit");
  kernel_->register_bytes = (kernel_->register_bytes + 255) / 256 * 256;
  return std::move(kernel_);
}

}  // namespace simulator
