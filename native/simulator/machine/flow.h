// The control flow graph of a function, and the allocation of its registers.
#pragma once
#include "simulator/ptx/module.h"

namespace simulator {

// Basic blocks, and the edges between them.
struct Flow {
  explicit Flow(const Function& f);
  int block_of(int statement) const;  // the block that contains the statement

  std::vector<int> firsts;             // index of the first statement of each block; the last block is the exit
  std::vector<std::vector<int>> next;  // successors of each block
};

// Returns, for each branch, the statement at which its lanes reconverge: the first one of its immediate post-dominator.
// -1 if the lanes reconverge only at the exit, and for statements that are not branches.
std::vector<int> rejoins(const Function& f, const Flow& flow);

// The storage of registers. Registers that are never live at the same time share a place, so that a warp's registers
// fit into the CPU's cache. Places are numbered from 0 for each width.
struct Places {
  std::vector<int> of;  // place of each register; -1 if it is unused
  int counts[3] = {};   // number of places of each Width
};
Places places(const Function& f, const Flow& flow);

}  // namespace simulator
