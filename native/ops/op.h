// An op: a check, a plain-loop reference, and kernels that may replace the reference. CONTRIBUTING.md has the steps to
// add one.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/tensor.h"

namespace heddle {

class Pool;

// Attributes are numbers (booleans are 0/1), never strings. Names have at most 16 letters, so that a lookup, which
// kernels do in every run, compares two 64-bit numbers.
class Attributes {
 public:
  void set(const std::string& name, double value);  // throws INVALID_ARGUMENT for a name of more than 16 letters
  // Throws INTERNAL if absent: the TypeScript op table sets every attribute.
  double get(const char* name) const {
    if (const Item* found = find(name, std::strlen(name))) return found->value;
    absent(name);
  }
  double get(const char* name, double fallback) const {
    const Item* found = find(name, std::strlen(name));
    return found ? found->value : fallback;
  }
  // Throws INVALID_ARGUMENT for a fraction, or beyond 2^53.
  int64_t integer(const char* name) const { return whole(name, get(name)); }
  int64_t integer(const char* name, double fallback) const { return whole(name, get(name, fallback)); }
  bool flag(const char* name) const { return get(name, 0) != 0; }
  // Returns `count` whole numbers: the named one and those that were set after it. Throws INTERNAL if there are fewer.
  std::vector<int64_t> list(const char* first, size_t count) const;
  bool operator==(const Attributes& o) const { return items_ == o.items_; }

 private:
  struct Key {
    uint64_t first = 0, last = 0;  // zeros after the name's end
    Key(const char* name, size_t length) {
      std::memcpy(&first, name, length < 8 ? length : 8);
      if (length > 8) std::memcpy(&last, name + 8, length < 16 ? length - 8 : 8);
    }
    bool operator==(const Key& o) const { return first == o.first && last == o.last; }
  };
  struct Item {
    Key key;
    double value;
    bool operator==(const Item& o) const { return key == o.key && value == o.value; }
  };
  const Item* find(const char* name, size_t length) const {
    if (length > 16) return nullptr;
    const Key key(name, length);
    for (const Item& item : items_)
      if (item.key == key) return &item;
    return nullptr;
  }
  static int64_t whole(const char* name, double value) {
    const int64_t number = value >= -0x1p53 && value <= 0x1p53 ? static_cast<int64_t>(value) : 0;
    if (static_cast<double>(number) != value) not_whole(name, value);
    return number;
  }
  [[noreturn]] static void absent(const char* name);
  [[noreturn]] static void not_whole(const char* name, double value);

  std::vector<Item> items_;
};

// One node with its operands. During `check` and `supports` the data pointers are unset and symbolic dimensions have
// their upper bounds. During `run` pointers and dimensions are those of the run. An absent optional input has
// has_input(i) == false.
struct Node {
  const Attributes* attributes = nullptr;
  std::vector<Tensor> in, out;
  std::vector<bool> present;     // per input
  const void* packed = nullptr;  // packed form of an operand (KernelDef::packs), or null
  // Whether the operand has a packed form that is not available yet. The kernel then reads the stored layout, or packs
  // the operand part by part in its scratch.
  bool unpacked = false;

  bool has_input(size_t i) const { return i < present.size() && present[i]; }
  double attr(const char* n) const { return attributes->get(n); }
  int64_t attr_int(const char* n) const { return attributes->integer(n); }
  bool attr_flag(const char* n) const { return attributes->flag(n); }
};

class Accelerator;
class RankSums;

enum class DeviceKind : unsigned char { cpu, cuda };

struct Context {
  Pool& pool;
  void* scratch;  // at least as many bytes as the kernel's `scratch` returned, 64-byte aligned, in device memory
  Accelerator* accelerator = nullptr;  // null: the CPU
  int node = 0;                        // index of the node in its program; device kernels report faults with it
  RankSums* sums = nullptr;            // null: the lane has not joined a world
};

// Bounds the rounding error of f32 sums in any order of additions: part * magnitudes[i] for element i of output 0.
struct SumBounds {
  double part = 0;
  std::vector<double> magnitudes;
};

struct OpDef {
  const char* name;
  int min_inputs, max_inputs, outputs;
  void (*check)(const Node&);      // throws SHAPE_MISMATCH / INVALID_ARGUMENT: name, expected, got
  void (*reference)(const Node&);  // plain loops, one thread, float or double accumulation; defines the correct result
  int mutates = 0;                 // bit i: input i is written in place
  // Bit i: output 0 may reuse the memory of input i, if this node is the last that reads it. Kernel and reference must
  // both allow it.
  int inplace = 0;
  bool view = false;     // no-op: output 0 is input 0's memory with another shape
  bool lookup = false;   // reads only a few rows of its operands
  bool is_copy = false;  // copies input 1's values to input 0 and does nothing else
  // Bit i: row r of every output depends on row r of input i only. Inputs without a bit are read as a whole. Null: no
  // input is row-local. Nodes with bits may run as chains, block by block of rows (docs/internals/runtime.md). An op
  // whose rows are independent may still return no bits.
  int (*by_rows)(const Node&) = nullptr;
  bool returns_logs = false;  // outputs are log-probabilities: checks measure errors relative to at least 1

  // Set if output 0 consists of sums that may cancel. Errors are then measured against the magnitudes of the terms.
  SumBounds (*sums)(const Node&) = nullptr;
  // Changes the attributes to those of another computation that kernels may choose, such as bf16 instead of int8.
  // HEDDLE_CHECK accepts the result of either. Returns false if there is no alternative. Only for ops that do not write
  // to operands.
  bool (*alternative)(Attributes&) = nullptr;
  // Exchanges data with other ranks, so all ranks must run it. HEDDLE_CHECK does not compare it with its reference. A
  // program that contains it is not recorded (runtime/run/device_run.cc).
  bool uses_ranks = false;

  // Inputs beyond the 31st have no bit and are never written.
  bool writes(size_t input) const { return input < 31 && (mutates >> input & 1); }
  bool may_share(size_t input) const { return input < 31 && (inplace >> input & 1); }
};

// Another layout of an operand that programs only read (a weight). It is packed once, in parts, and cached with the
// tensor for all programs.
struct Packing {
  const char* layout = nullptr;  // name of the layout
  int input = 0;                 // index of the operand
  size_t bytes = 0;              // 0: the kernel uses the operand's stored layout
  int64_t parts = 0;             // number of parts of equal size; any range of them can be packed
  // Whether only read-only tensors are packed. A read-only tensor is a mapped file or a copy with reordered rows. The
  // pages of a mapped file are released after packing.
  bool read_only = false;
  int row_tile = 1;  // rows that the kernel processes at once
  // Number of rows per block if nodes run as a chain, block by block. Large blocks amortize reading all weights; small
  // blocks keep activations in cache.
  int row_block = 136;
  int min_rows = 1;  // minimum rows of every block of a chain, because results of fewer rows may have other bits
};
struct Packs {
  Packing (*describe)(const Node&) = nullptr;  // is called when only the shapes are known
  // Packs parts [begin, end) of the packed form at `to`, which is 64-byte aligned. Nodes run with `unpacked` until all
  // parts are packed.
  void (*pack)(const Node&, void* to, int64_t begin, int64_t end, Pool&) = nullptr;
};

// Runs adjacent nodes of one kernel together. The nodes share their first operand. All other operands are bound
// tensors, not values that the program computes.
using RunGroup = void (*)(const Node* const* nodes, size_t count, Context&);

// Adds the node's result to the values that output 0 already holds. Returns false, without effect, if `run` followed by
// an addition is at least as fast. In f32 both give the same bits. In bf16 the result is not rounded before the
// addition.
using RunOnto = bool (*)(const Node&, Context&);

// Starts work of a later `run` of the node, such as an exchange with other ranks. Between the two calls, nothing writes
// the node's operands.
using StartKernel = void (*)(const Node&, Context&);

struct KernelDef {
  const char* op;
  const char* name;  // architecture, operation, direction: "avx2_gemm_linear"
  int priority;      // the kernel with the highest priority that supports the node is used
  bool (*supports)(const Node&);
  size_t (*scratch)(const Node&, int threads);  // may be null
  void (*run)(const Node&, Context&);
  DeviceKind device = DeviceKind::cpu;
  Packs packs = {};
  RunGroup run_group = nullptr;  // receives the largest scratch of its nodes
  RunOnto run_onto = nullptr;
  StartKernel start = nullptr;
};

struct Registry {
  static const OpDef* find(const std::string& name);
  static std::vector<const OpDef*> all();
  // Returns null if no kernel of that device supports the node, or with HEDDLE_REFERENCE=1. The CPU then runs the
  // reference. Ops with `uses_ranks` keep their kernels, because references do not exchange data.
  static const KernelDef* pick(const std::string& op, const Node& node, DeviceKind device = DeviceKind::cpu);
  static bool references_only();  // HEDDLE_REFERENCE=1
  static std::vector<const KernelDef*> kernels(const std::string& op);
  static void add(const OpDef&);
  static void add(const KernelDef&);
};

template <int MASK> int by_rows(const Node&) { return MASK; }

struct RegisterOp {
  explicit RegisterOp(const OpDef& d) { Registry::add(d); }
};
#define HEDDLE_OP(variable, ...) \
  static const ::heddle::OpDef variable = __VA_ARGS__; \
  static const ::heddle::RegisterOp register_##variable(variable)

}  // namespace heddle
