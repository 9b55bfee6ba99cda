// How a program runs: the kernel of each node, the memory of each value, and which nodes run together. The passes of
// passes.h build it once, and it never changes afterwards.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/round.h"
#include "ops/op.h"

namespace heddle {

constexpr size_t npos = static_cast<size_t>(-1);
constexpr size_t max_grouped = 8;   // maximum nodes that one call of a kernel runs
constexpr size_t guard_bytes = 64;  // sentinel after each value of a checked program

// The bit of a symbol in PlannedNode::symbols. Symbols after the 63rd share the last bit.
constexpr uint64_t symbol_bit(size_t symbol) { return uint64_t{1} << (symbol < 63 ? symbol : 63); }

struct PlannedValue {
  int root = 0;                  // the value whose memory this value uses; the value itself if it owns memory
  size_t offset = npos;          // offset of the root in the arena; npos: the root is bound or an input
  bool replaces_assign = false;  // a bound tensor whose new value is computed directly in it
};

// An operand that a node reads once, from beginning to end.
struct WeightStream {
  int node = -1, operand = 0;
};

struct PlannedNode {
  const OpDef* op = nullptr;
  const KernelDef* kernel = nullptr;  // null: the reference runs
  bool is_noop = false;               // a view, or an assignment whose source is computed in its destination
  size_t group = 1;                   // number of nodes that one call of run_group runs, beginning with this node
  size_t fused_add = 0;               // the later `add` that KernelDef::run_onto fuses with this node; 0: none
  WeightStream next_stream;           // the next weight that a node streams; after the last weight, the first one
  int next_start = -1;                // the later node that KernelDef::start begins after this node; -1: none
  uint64_t symbols = 0;               // the symbols among its operands' dimensions (symbol_bit)
  Node bounds;                        // operands without data, symbolic dimensions at their upper bounds
};

// Nodes [begin, end), whose output rows depend only on the same rows of their row-wise operands. A thread runs a block
// of rows through all of them. The values between them are in the thread's scratch.
struct RowChain {
  // A value that is used only inside the chain.
  struct Local {
    int root;
    size_t offset;  // per row of a block; the offset in scratch is this times most_rows
  };
  size_t begin, end;
  int64_t row_tile = 1;   // every block begins at a multiple of row_tile
  int64_t most_rows = 0;  // maximum rows of a block
  int64_t min_rows = 1;   // minimum rows of a block
  std::vector<Local> locals;
  size_t row_bytes = 0;     // size of all locals per row
  size_t kernel_bytes = 0;  // scratch of one thread's kernels for the largest block

  // Scratch of one thread: its kernels' scratch, then the locals.
  size_t thread_bytes() const { return kernel_bytes + row_bytes * static_cast<size_t>(most_rows); }
};

struct ExecutionPlan {
  std::vector<PlannedNode> nodes;     // in the order of ProgramDesc
  std::vector<PlannedValue> values;   // in the order of ProgramDesc
  std::vector<RowChain> chains;       // ascending by `begin`
  std::vector<size_t> input_offsets;  // by index in ProgramDesc::inputs: offset in the executable's input storage
  size_t arena_bytes = 0, input_bytes = 0;
  bool uses_ranks = false;  // a node exchanges data with other ranks
  bool checking = false;    // HEDDLE_CHECK=1: every node runs alone, and values do not share memory
};

}  // namespace heddle
