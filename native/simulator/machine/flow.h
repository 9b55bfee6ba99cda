// A function's control flow, and from it the storage of its registers.
#pragma once
#include "simulator/ptx/module.h"

namespace simulator {

struct Flow {
  explicit Flow(const Function& f);
  int block_of(int statement) const;

  std::vector<int> firsts;             // index of the first statement of each block; the last block is the exit
  std::vector<std::vector<int>> next;  // successors of each block
};

// Where the lanes of each branch meet again: the immediate post-dominator, or -1.
std::vector<int> rejoins(const Function& f, const Flow& flow);

// The storage of registers. Registers that are never live at once share a place, so that a warp's registers stay in the
// cache. Places are numbered from 0 for each width.
struct Places {
  std::vector<int> of;  // place of each register; -1 if it is unused
  int counts[3] = {};   // number of places of each Width
};
Places places(const Function& f, const Flow& flow);

}  // namespace simulator
