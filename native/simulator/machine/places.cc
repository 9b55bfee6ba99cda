// Allocates registers to places by linear scan (Poletto and Sarkar, 1999). The interval of a register reaches from the
// first to the last statement at which it is live. A place has separate storage for each lane, so diverged lanes do not
// overwrite each other's values.
#include <algorithm>
#include <queue>

#include "simulator/machine/flow.h"

namespace simulator {
namespace {

using Bits = std::vector<uint64_t>;
void set(Bits& bits, int n) { bits[static_cast<size_t>(n) / 64] |= uint64_t{1} << (n % 64); }
void clear(Bits& bits, int n) { bits[static_cast<size_t>(n) / 64] &= ~(uint64_t{1} << (n % 64)); }

struct Registers {
  std::vector<int> read, written;
  // An asynchronous statement uses its registers after it was issued. They stay live in the whole kernel.
  bool kept = false;
};
void collect(const Operand& o, std::vector<int>& into) {
  if (o.reg_index >= 0) into.push_back(o.reg_index);
  if (o.pair >= 0) into.push_back(o.pair);
  for (const Operand& part : o.parts) collect(part, into);
}

// Returns the registers that a statement reads and writes. The first operand is written, except by instructions without
// a result. A guarded result also counts as read, because it keeps its old value if the guard is false.
Registers registers_of(const Statement& s) {
  static const char* const without_result[] = {
      "st", "red", "bar", "barrier", "bra", "ret", "exit", "fence", "membar", "cp", "prefetch", "setmaxnreg", "wgmma"};
  Registers r;
  if (s.guard >= 0) r.read.push_back(s.guard);
  const bool result =
      std::find(std::begin(without_result), std::end(without_result), s.op[0]) == std::end(without_result) &&
      !(s.op[0] == "mbarrier" && s.op[1] != "try_wait");
  for (size_t n = 0; n < s.operands.size(); ++n) {
    const bool is_result = result && n == 0;
    collect(s.operands[n], is_result ? r.written : r.read);
    if (is_result && s.guard >= 0) collect(s.operands[n], r.read);
  }
  r.kept = s.op[0] == "wgmma";
  return r;
}

}  // namespace

Places places(const Function& f, const Flow& flow) {
  const size_t count = f.registers.size(), words = count / 64 + 1, blocks = flow.firsts.size();
  std::vector<Registers> uses;
  for (const Statement& s : f.code) uses.push_back(registers_of(s));
  // Liveness analysis, with one set of registers per block. live_in: live at the block's start. used: read before the
  // block writes them. defined: written by the block.
  std::vector<Bits> live_in(blocks, Bits(words, 0)), used(blocks, Bits(words, 0)), defined(blocks, Bits(words, 0));
  for (size_t b = 0; b + 1 < blocks; ++b)
    for (int n = flow.firsts[b + 1] - 1; n >= flow.firsts[b]; --n) {
      for (const int r : uses[static_cast<size_t>(n)].written) clear(used[b], r), set(defined[b], r);
      for (const int r : uses[static_cast<size_t>(n)].read) set(used[b], r);
    }
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t b = blocks - 1; b-- > 0;)
      for (size_t word = 0; word < words; ++word) {
        uint64_t after = 0;
        for (const int t : flow.next[b]) after |= live_in[static_cast<size_t>(t)][word];
        const uint64_t now = used[b][word] | (after & ~defined[b][word]);
        changed |= now != live_in[b][word];
        live_in[b][word] = now;
      }
  }
  std::vector<int> first(count, -1), last(count, -1);
  const auto touch = [&](size_t r, int n) {
    if (first[r] < 0 || n < first[r]) first[r] = n;
    last[r] = std::max(last[r], n);
  };
  const int end = static_cast<int>(f.code.size());
  for (size_t b = 0; b + 1 < blocks; ++b) {
    for (size_t word = 0; word < words; ++word) {
      uint64_t after = 0;
      for (const int t : flow.next[b]) after |= live_in[static_cast<size_t>(t)][word];
      for (uint64_t bits = live_in[b][word]; bits; bits &= bits - 1)
        touch(word * 64 + static_cast<size_t>(__builtin_ctzll(bits)), flow.firsts[b]);
      for (uint64_t bits = after; bits; bits &= bits - 1)
        touch(word * 64 + static_cast<size_t>(__builtin_ctzll(bits)), flow.firsts[b + 1]);
    }
    for (int n = flow.firsts[b]; n < flow.firsts[b + 1]; ++n)
      for (const std::vector<int>* list : {&uses[static_cast<size_t>(n)].read, &uses[static_cast<size_t>(n)].written})
        for (const int r : *list) {
          touch(static_cast<size_t>(r), n);
          if (uses[static_cast<size_t>(n)].kept) touch(static_cast<size_t>(r), 0), touch(static_cast<size_t>(r), end);
        }
  }
  std::vector<int> order;
  for (size_t r = 0; r < count; ++r)
    if (first[r] >= 0) order.push_back(static_cast<int>(r));
  std::sort(order.begin(), order.end(),
      [&](int a, int b) { return first[static_cast<size_t>(a)] < first[static_cast<size_t>(b)]; });
  Places p;
  p.of.assign(count, -1);
  std::vector<int> free[3];
  using Ending = std::pair<int, int>;  // the last statement, and the register
  std::priority_queue<Ending, std::vector<Ending>, std::greater<Ending>> active;
  for (const int r : order) {
    // A place becomes free after the last statement of its register, because a statement may write before it has read
    // all operands.
    while (!active.empty() && active.top().first < first[static_cast<size_t>(r)]) {
      const auto gone = static_cast<size_t>(active.top().second);
      free[static_cast<size_t>(f.registers[gone])].push_back(p.of[gone]);
      active.pop();
    }
    const auto width = static_cast<size_t>(f.registers[static_cast<size_t>(r)]);
    int& place = p.of[static_cast<size_t>(r)];
    if (free[width].empty()) {
      place = p.counts[width]++;
    } else {
      place = free[width].back();
      free[width].pop_back();
    }
    active.push({last[static_cast<size_t>(r)], r});
  }
  return p;
}

}  // namespace simulator
