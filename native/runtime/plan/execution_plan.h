// How a program runs: the kernel of each node, the memory of each value, and what runs together. It is built once, by
// the passes of passes.h, and never changes afterwards.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/op.h"

namespace heddle {

constexpr size_t npos = static_cast<size_t>(-1);
constexpr size_t most_grouped = 8;  // nodes that run as one call of a kernel
constexpr size_t guard_bytes = 64;  // after each value of a checked program

// Rounds up to whole cache lines.
constexpr size_t padded_to_line(size_t bytes) { return (bytes + 63) / 64 * 64; }

// The bit of a symbol in PlannedNode::symbols. Symbols beyond the 63rd share the last one.
constexpr uint64_t symbol_bit(size_t symbol) { return uint64_t{1} << (symbol < 63 ? symbol : 63); }

struct PlannedValue {
  int root = 0;                  // the value whose memory it shares; itself if it owns its memory
  size_t offset = npos;          // of the root in the arena; npos: the root is bound or an input
  bool replaces_assign = false;  // a bound tensor in which its later value is computed directly
};

// An operand that a node reads once from beginning to end.
struct WeightStream {
  int node = -1, operand = 0;
};

struct PlannedNode {
  const OpDef* op = nullptr;
  const KernelDef* kernel = nullptr;  // null: the reference runs
  bool is_noop = false;               // a view, or an assignment whose source is computed in its destination
  size_t group = 1;                   // number of nodes, from this one on, that run as one call of run_group
  size_t fused_add = 0;               // the later `add` that KernelDef::run_onto does with this node; 0: none
  WeightStream next_stream;           // the first weight that a later node streams; after the last comes the first
  uint64_t symbols = 0;               // that are dimensions of its operands (symbol_bit)
  Node bounds;                        // operands without data, symbolic dimensions at their upper bounds
};

// Nodes [begin, end), whose output rows depend only on the same rows of their row-wise operands. A thread takes a block
// of rows through all of them, with the values between them in its own memory.
struct RowChain {
  // A value that is used inside the chain alone.
  struct Local {
    int root;
    size_t offset;  // for each row of a block
  };
  size_t begin, end;
  int64_t row_tile = 1;    // blocks are cut on multiples of it
  int64_t most_rows = 0;   // of a block
  int64_t least_rows = 1;  // of a block
  std::vector<Local> locals;
  size_t row_bytes = 0;     // of all locals
  size_t kernel_bytes = 0;  // scratch of one thread's kernels for a block

  // Memory of one thread: its kernels' scratch, then the locals.
  size_t thread_bytes() const { return kernel_bytes + row_bytes * static_cast<size_t>(most_rows); }
};

struct ExecutionPlan {
  std::vector<PlannedNode> nodes;     // as in ProgramDesc
  std::vector<PlannedValue> values;   // as in ProgramDesc
  std::vector<RowChain> chains;       // by `begin`, ascending
  std::vector<size_t> input_offsets;  // of ProgramDesc::inputs in the executable's own storage
  size_t arena_bytes = 0, input_bytes = 0;
  bool checking = false;  // HEDDLE_CHECK=1: every node runs alone, and no value takes another's memory
};

}  // namespace heddle
