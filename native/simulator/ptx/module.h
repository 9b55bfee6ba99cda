// The syntax tree of a PTX module: entries with their registers, variables and statements. "The manual" is NVIDIA's
// "Parallel Thread Execution ISA", version 9.0. Comments of the simulator quote its section titles.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace simulator {

// An error that the simulator reports: a mistake in a kernel, or a feature that is not modeled.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class Width { predicate, b32, b64 };  // storage of a register; 16-bit registers use 32 bits

struct Operand {
  enum Kind { none, reg, immediate, special, symbol, address, vector, label };
  Kind kind = none;
  bool negated = false;        // !%p
  bool is_float = false;       // an immediate written as 0f… or 0d…
  int reg_index = -1;          // reg: index in Function::registers
  int pair = -1;               // d|p: index of the register p
  int scope = 0;               // label: the scope that contains the operand
  uint64_t bits = 0;           // immediate: its value
  int64_t offset = 0;          // address: the constant added to its base
  std::string name;            // special, symbol, label: its name
  std::vector<Operand> parts;  // vector: its elements; address: its base, then coordinates
};

struct Statement {
  std::vector<std::string> op;  // split at the dots: {"add", "s32"}
  int guard = -1;               // index of a predicate register; -1: no guard
  bool guard_negated = false;
  std::vector<Operand> operands;
  int line = 0;
  size_t at = 0;  // offset of its first token in Module::text
};

struct Variable {
  std::string name, space;
  uint32_t align = 1, bytes = 0, offset = 0;  // bytes: 0 for dynamic shared memory, which the launch sizes
};

struct Function {
  std::string name;
  std::vector<Variable> parameters;
  std::vector<Variable> variables;  // .shared and .local
  std::vector<Width> registers;
  std::vector<Statement> code;
  std::map<std::string, int> labels;  // "scope:name" to the index of a statement
  std::vector<int> scope_parents;     // the enclosing scope of each scope { }; -1: none
  int max_threads = 0;                // product of the dimensions of .maxntid
  uint32_t parameter_bytes = 0;

  int label(const Operand& operand) const;  // index of the statement that a label names
};

struct Module {
  std::string text, target;
  std::map<std::string, size_t> entries;    // by name: offset in `text` of the token after the name
  std::map<std::string, size_t> functions;  // by name: offset in `text` of the token after .func
  std::vector<Variable> variables;          // declared outside of entries

  explicit Module(std::string text);  // reads declarations only
  std::unique_ptr<Function> parse(const std::string& entry) const;
};

}  // namespace simulator
