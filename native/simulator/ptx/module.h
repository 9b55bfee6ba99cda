// The text of a PTX module as a tree: entries with their registers, variables and statements. Section titles in this
// folder are those of NVIDIA's "Parallel Thread Execution ISA", version 9.0.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace simulator {

// An error that the simulator reports: a mistake of the program, or something that it does not model.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class Width { predicate, b32, b64 };  // 16-bit registers have storage of 32 bits

struct Operand {
  enum Kind { none, reg, immediate, special, symbol, address, vector, label };
  Kind kind = none;
  bool negated = false;        // !%p
  bool is_float = false;       // an immediate written as 0f… or 0d…
  int reg_index = -1;          // reg: index in Function::registers
  int pair = -1;               // d|p: index of the register p
  int scope = 0;               // label: the scope that uses it
  uint64_t bits = 0;           // immediate: its value
  int64_t offset = 0;          // address: the constant added to its base
  std::string name;            // special, symbol, label: its name
  std::vector<Operand> parts;  // vector: its elements; address: its base, then coordinates
};

struct Statement {
  std::vector<std::string> op;  // split at the dots: {"add", "s32"}
  int guard = -1;               // a predicate register
  bool guard_negated = false;
  std::vector<Operand> operands;
  int line = 0;
};

struct Variable {
  std::string name, space;
  uint32_t align = 1, bytes = 0, offset = 0;  // bytes of 0: sized by the launch
};

struct Function {
  std::string name;
  std::vector<Variable> parameters;
  std::vector<Variable> variables;  // .shared and .local
  std::vector<Width> registers;
  std::vector<Statement> code;
  std::map<std::string, int> labels;  // "scope:name" to the index of a statement
  std::vector<int> scope_parents;     // parent of each scope of the body
  int max_threads = 0;                // product of the dimensions of .maxntid
  uint32_t parameter_bytes = 0;

  int label(const Operand& operand) const;  // the index of the statement
};

struct Module {
  std::string text, target;
  std::map<std::string, size_t> entries;    // by name: offset in `text` of the token after the name
  std::map<std::string, size_t> functions;  // by name: offset in `text` of the token after .func
  std::vector<Variable> variables;          // declared outside of entries

  explicit Module(std::string text);
  std::unique_ptr<Function> parse(const std::string& entry) const;
};

}  // namespace simulator
