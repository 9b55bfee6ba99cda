// Decodes the statements of an entry to instructions. Registers become offsets, constants become 32 equal lanes, and
// branch targets become indices of instructions.
#pragma once
#include "simulator/machine/flow.h"
#include "simulator/machine/machine.h"
#include "simulator/ops/lanes.h"

namespace simulator {

class Decoder {
 public:
  Decoder(const Module& module, const Function& function);
  std::unique_ptr<Kernel> decode();

  // Return the offset of an operand. Fail if the operand has another width.
  int32_t target(const Operand& o, Width width);  // an operand to write; `_` gets a register that nothing reads
  int32_t source(const Operand& o, Width width);
  int32_t predicate(const Operand& o) { return source(o, Width::predicate); }
  Width width(const Operand& o) const;  // the operand must be a register
  int32_t constant(uint64_t bits, Width width);
  // Sets i.a to the base of an address, and i.immediate to its offset. Returns the width of the base.
  Width address(const Operand& o, Instruction& i);
  // Appends the offset of an operand to the instruction's list in Kernel::operands.
  void list(Instruction& i, int32_t offset);
  [[noreturn]] void fail(const Statement& s, const std::string& what) const;

  const Function& function;
  Kernel& kernel() { return *kernel_; }

 private:
  void place_variables(const Module& module);
  void place_registers();
  void decode(const Statement& s, Instruction& i);
  int32_t special(const std::string& name, Width width);
  int32_t symbol(const std::string& name, Width width);
  int32_t take(Width width);

  Flow flow_;
  std::unique_ptr<Kernel> kernel_;
  std::vector<int32_t> offsets_;  // by register of the function
  std::map<std::pair<uint64_t, Width>, int32_t> constants_;
  std::map<std::string, int32_t> specials_;
  std::map<std::string, uint32_t> shared_;  // address of each variable
  std::map<Width, int32_t> sinks_;          // offset of the register that `_` writes, per width
};

// Decodes a family of opcodes. A family is the first part of an opcode, such as "ld". The function leaves `run` null
// for an opcode that it does not know.
using Decode = void (*)(Decoder&, const Statement&, Instruction&);
using Families = std::unordered_map<std::string, Decode>;
void add_control_families(Families&);
void add_memory_families(Families&);
void add_warp_families(Families&);
void add_matrix_families(Families&);
void add_copy_families(Families&);
void add_mbarrier_families(Families&);
void add_cluster_families(Families&);
void decode_bulk_load(Decoder&, const Statement&, Instruction&);
void add_warpgroup_families(Families&);

inline std::string joined(const Statement& s, size_t from = 0) {
  std::string name;
  for (size_t i = from; i < s.op.size(); ++i) name += (i > from ? "." : "") + s.op[i];
  return name;
}

}  // namespace simulator
