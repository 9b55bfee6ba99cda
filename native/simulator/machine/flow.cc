// Builds the control flow graph and its immediate post-dominators. They are the immediate dominators of the reversed
// graph (Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm"). Lanes that diverge at a branch reconverge
// at its immediate post-dominator.
#include "simulator/machine/flow.h"

#include <algorithm>
#include <set>

namespace simulator {
namespace {
bool leaves(const Statement& s) { return s.op[0] == "ret" || s.op[0] == "exit"; }
}  // namespace

int Flow::block_of(int statement) const {
  return static_cast<int>(std::upper_bound(firsts.begin(), firsts.end(), statement) - firsts.begin()) - 1;
}

Flow::Flow(const Function& f) {
  const int size = static_cast<int>(f.code.size());
  std::set<int> starts{0, size};
  for (int n = 0; n < size; ++n) {
    const Statement& s = f.code[static_cast<size_t>(n)];
    if (s.op[0] == "bra") starts.insert(f.label(s.operands.at(0)));
    if (s.op[0] == "bra" || leaves(s)) starts.insert(n + 1);
  }
  firsts.assign(starts.begin(), starts.end());
  const int exit = static_cast<int>(firsts.size()) - 1;
  next.resize(firsts.size());
  for (int b = 0; b < exit; ++b) {
    const int last = firsts[static_cast<size_t>(b) + 1] - 1;
    const Statement& s = f.code[static_cast<size_t>(last)];
    auto& to = next[static_cast<size_t>(b)];
    if (s.op[0] == "bra") to.push_back(block_of(f.label(s.operands.at(0))));
    if (leaves(s)) to.push_back(exit);
    if ((s.op[0] != "bra" && !leaves(s)) || s.guard >= 0) to.push_back(block_of(last + 1));
  }
}

std::vector<int> rejoins(const Function& f, const Flow& flow) {
  const int size = static_cast<int>(f.code.size()), blocks = static_cast<int>(flow.firsts.size()), exit = blocks - 1;
  const auto& next = flow.next;
  std::vector<std::vector<int>> before(static_cast<size_t>(blocks));
  for (int b = 0; b < exit; ++b)
    for (const int t : next[static_cast<size_t>(b)]) before[static_cast<size_t>(t)].push_back(b);
  // Numbers the blocks in post-order of the reversed graph, from the exit.
  std::vector<int> number(static_cast<size_t>(blocks), -1), order;
  std::vector<std::pair<int, size_t>> stack{{exit, 0}};
  std::vector<char> seen(static_cast<size_t>(blocks), 0);
  seen[static_cast<size_t>(exit)] = 1;
  while (!stack.empty()) {
    auto& [b, at] = stack.back();
    const auto& from = before[static_cast<size_t>(b)];
    if (at < from.size()) {
      const int p = from[at++];
      if (!seen[static_cast<size_t>(p)]) seen[static_cast<size_t>(p)] = 1, stack.push_back({p, 0});
    } else {
      number[static_cast<size_t>(b)] = static_cast<int>(order.size());
      order.push_back(b);
      stack.pop_back();
    }
  }
  std::vector<int> parent(static_cast<size_t>(blocks), -1);  // immediate post-dominator of each block
  parent[static_cast<size_t>(exit)] = exit;
  for (bool changed = true; changed;) {
    changed = false;
    for (auto b = order.rbegin(); b != order.rend(); ++b) {
      if (*b == exit) continue;
      int common = -1;
      for (int s : next[static_cast<size_t>(*b)]) {
        if (parent[static_cast<size_t>(s)] < 0) continue;
        if (common < 0) {
          common = s;
          continue;
        }
        while (common != s)  // intersects the paths from both blocks to the exit
          if (number[static_cast<size_t>(common)] < number[static_cast<size_t>(s)])
            common = parent[static_cast<size_t>(common)];
          else s = parent[static_cast<size_t>(s)];
      }
      if (common != parent[static_cast<size_t>(*b)]) parent[static_cast<size_t>(*b)] = common, changed = true;
    }
  }
  std::vector<int> result(static_cast<size_t>(size), -1);
  for (int n = 0; n < size; ++n) {
    if (f.code[static_cast<size_t>(n)].op[0] != "bra") continue;
    const int p = parent[static_cast<size_t>(flow.block_of(n))];
    result[static_cast<size_t>(n)] = p < 0 || p == exit ? -1 : flow.firsts[static_cast<size_t>(p)];
  }
  return result;
}

}  // namespace simulator
