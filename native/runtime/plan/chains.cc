// Chains: nodes one after the other whose rows depend on their own rows alone. A thread takes a block of rows through
// all of them before the next: what one node makes for the next stays in its near cache, in memory of the thread's own,
// and nobody waits between.
#include <algorithm>
#include <mutex>

#include "runtime/plan/planner.h"
#include "runtime/profile.h"
#include "runtime/program.h"

namespace heddle {
namespace {

constexpr size_t npos = static_cast<size_t>(-1);
constexpr size_t least_weight = 1 << 16;  // bytes: a smaller one costs nothing to read again for every block
constexpr int64_t least_rows = 48;        // of a thread: fewer do not pay for reading all weights

size_t padded(size_t bytes) { return (bytes + 63) / 64 * 64; }

// For a profile: a chain's time by its nodes, as its threads spent theirs.
class ChainTimes {
 public:
  explicit ChainTimes(size_t nodes) : spent_(nodes, 0) {}
  void add(size_t node, const Stopwatch& watch) {
    if (spent_.empty()) return;
    const double seconds = watch.seconds();
    const std::lock_guard<std::mutex> lock(mutex_);
    spent_[node] += seconds;
  }
  template <class F> void each(F&& f) const {
    double all = 0;
    for (double s : spent_) all += s;
    const double whole = watch_.seconds();
    for (size_t i = 0; i < spent_.size(); ++i)
      if (spent_[i] > 0) f(i, spent_[i] / all * whole);
  }

 private:
  std::vector<double> spent_;
  std::mutex mutex_;
  const Stopwatch watch_;
};

}  // namespace

// Which operands of node i go by rows of dimension `rows`; 0: it cannot be in a chain.
int Program::rows_of_operands(size_t i, int64_t rows) const {
  const NodeDesc& n = desc_.nodes[i];
  const Node& node = nodes_[i];
  const auto goes_by_rows = [&](int v) {
    return desc_.values[v].shape.rank > 0 && desc_.values[v].shape.dims[0] == rows;
  };
  for (int v : n.outputs)
    if (!goes_by_rows(v)) return 0;
  if (ops_[i]->view) return goes_by_rows(n.inputs[0]) ? 1 : 0;
  if (!ops_[i]->by_rows || !kernels_[i] || ops_[i]->mutates) return 0;
  const int mask = ops_[i]->by_rows(node);
  const Packing packing = kernels_[i]->packs.describe ? kernels_[i]->packs.describe(node) : Packing{};
  // never packed, which run_chain asks for: a pair of LoRA's matrices
  if (kernels_[i]->packs.describe && !packing.bytes) return 0;
  for (size_t k = 0; k < n.inputs.size(); ++k) {
    const int v = n.inputs[k];
    if (v < 0) continue;
    if (mask >> k & 1) {
      if (!goes_by_rows(v)) return 0;
      continue;
    }
    // Read by every block: it must be there before the chain, and as fast to read for few rows as for many.
    const auto place = std::find(desc_.bound.begin(), desc_.bound.end(), root_[v]);
    if (offset_[root_[v]] != npos ||
        (place != desc_.bound.end() && written_[static_cast<size_t>(place - desc_.bound.begin())]))
      return 0;
    if (node.in[k].bytes() >= least_weight && !(packing.bytes && packing.input == static_cast<int>(k))) return 0;
  }
  return mask;
}

// After plan() has found what shares memory, and before it gives any out: `first` and `last` say when values live.
void Program::find_chains(std::vector<int>& first, std::vector<int>& last, const std::vector<char>& kept) {
  for (size_t begin = 0, end; begin < nodes_.size(); begin = end) {
    end = begin + 1;
    if (ops_[begin]->view || desc_.nodes[begin].outputs.empty()) continue;
    const Shape& shape = desc_.values[desc_.nodes[begin].outputs[0]].shape;
    if (shape.rank == 0 || !rows_of_operands(begin, shape.dims[0])) continue;
    while (end < nodes_.size() && rows_of_operands(end, shape.dims[0])) ++end;
    Chain chain;
    chain.begin = begin, chain.end = end;
    bool weights = false;
    for (size_t i = begin; i < end; ++i) {
      const Packing packing =
          kernels_[i] && kernels_[i]->packs.describe ? kernels_[i]->packs.describe(nodes_[i]) : Packing{};
      weights |= packing.bytes > 0;
      chain.row_tile = std::max<int64_t>(chain.row_tile, packing.row_tile);
      if (packing.bytes) chain.row_block = std::max<int64_t>(chain.row_block, packing.row_block);
      if (packing.bytes) chain.row_least = std::max<int64_t>(chain.row_least, packing.row_least);
    }
    if (!weights) continue;
    std::vector<Interval> intervals;
    for (size_t i = begin; i < end; ++i)
      for (const std::vector<int>* values : {&desc_.nodes[i].inputs, &desc_.nodes[i].outputs})
        for (int v : *values) {
          if (v < 0 || offset_[root_[v]] == npos) continue;
          const int r = root_[v];
          const int a = static_cast<int>(begin), b = static_cast<int>(end) - 1;
          if (first[r] >= a && last[r] <= b && !kept[r]) {
            if (std::find(chain.own.begin(), chain.own.end(), r) != chain.own.end()) continue;
            const Tensor t{nullptr, desc_.values[r].dtype, resolve(r, desc_.symbols)};
            chain.own.push_back(r);
            intervals.push_back(
                {t.shape[0] > 0 ? padded(t.bytes() / static_cast<size_t>(t.shape[0])) : 0, first[r], last[r]});
          } else if (first[r] <= b && last[r] >= a) {  // blocks are at different nodes at one time
            chain.shared.push_back(r);
          }
        }
    const Plan memory = plan_memory(intervals);
    chain.offsets = memory.offsets, chain.row_bytes = memory.bytes;
    chains_.push_back(std::move(chain));
  }
  for (const Chain& c : chains_)
    for (int r : c.shared)
      first[r] = std::min(first[r], static_cast<int>(c.begin)),
      last[r] = std::max(last[r], static_cast<int>(c.end) - 1);
}

// Scratch of one thread's kernels for whole blocks.
size_t Executable::chain_kernel_bytes(const Chain& c) const {
  size_t most = 0;
  for (size_t i = c.begin; i < c.end; ++i) {
    if (!kernels_[i] || !kernels_[i]->scratch || program_->still_[i]) continue;
    Node block = program_->nodes_[i];
    const int mask = program_->ops_[i]->by_rows(block);
    for (size_t k = 0; k < block.in.size(); ++k)
      if (block.has_input(k) && mask >> k & 1) block.in[k].shape.dims[0] = std::min(block.in[k].shape[0], c.row_block);
    for (Tensor& t : block.out) t.shape.dims[0] = std::min(t.shape[0], c.row_block);
    most = std::max(most, kernels_[i]->scratch(block, 1));
  }
  return padded(most);
}
// Memory of one thread: its kernels' scratch, then the chain's values.
size_t Executable::chain_thread_bytes(size_t chain) const {
  return chain_bytes_[chain] +
         program_->chains_[chain].row_bytes * static_cast<size_t>(program_->chains_[chain].row_block);
}

// Runs the chain, except for the sums that are `done`. Returns false without effect if it has too few rows for the
// threads, or a weight is not packed yet. The same if the bits would differ from running node by node.
bool Executable::run_chain(size_t chain, const std::vector<char>& done, Context& context) {
  const ProgramDesc& d = program_->desc_;
  const Chain& c = program_->chains_[chain];
  const int64_t rows = nodes_[c.begin].out[0].shape[0];
  const int threads = context.pool.threads();
  if (rows < least_rows * threads) return false;
  for (size_t i = c.begin; i < c.end; ++i) {
    if (kernels_[i] && kernels_[i]->packs.describe && !nodes_[i].packed && !program_->still_[i]) return false;
    // its bits are those of an unrounded product (run_sum)
    if (sum_[i] && nodes_[i].out[0].dtype != DType::f32) return false;
  }
  const int64_t row_step = c.row_tile, fit = threads * (c.row_block - row_step);
  const int64_t parts = threads * ((rows + fit - 1) / fit);
  const auto cut = [&](int64_t part) {
    return part == parts ? rows : (rows * part / parts + row_step / 2) / row_step * row_step;
  };
  for (int64_t part = 0; part < parts; ++part)
    if (cut(part + 1) - cut(part) < c.row_least) return false;
  const size_t kernel_bytes = chain_bytes_[chain], thread_bytes = chain_thread_bytes(chain);
  ChainTimes times(Profile::on() ? c.end - c.begin : 0);
  context.pool.run(parts, [&](int64_t part, int thread) {
    const int64_t from = cut(part), count = cut(part + 1) - from;
    char* const scratch = static_cast<char*>(context.scratch) + static_cast<size_t>(thread) * thread_bytes;
    const auto sliced = [&](Tensor t, int v) {
      const auto own = std::find(c.own.begin(), c.own.end(), program_->root_[v]);
      const size_t row = t.bytes() / static_cast<size_t>(rows);
      if (own != c.own.end())
        t.data = scratch + kernel_bytes +
                 c.offsets[static_cast<size_t>(own - c.own.begin())] * static_cast<size_t>(c.row_block);
      else t.data = static_cast<char*>(t.data) + static_cast<size_t>(from) * row;
      t.shape.dims[0] = count;
      return t;
    };
    Pool alone(1);
    Context inner{alone, scratch, nullptr, context.node};
    Node block[most_grouped];
    const Node* group[most_grouped];
    for (size_t i = c.begin; i < c.end;) {
      const size_t together = std::min(group_[i], c.end - i);
      if (program_->still_[i] || done[i]) {
        ++i;
        continue;
      }
      for (size_t j = 0; j < together; ++j) {
        block[j] = nodes_[i + j], group[j] = &block[j];
        const NodeDesc& n = d.nodes[i + j];
        const int mask = program_->ops_[i + j]->by_rows(block[j]);
        for (size_t k = 0; k < n.inputs.size(); ++k)
          if (n.inputs[k] >= 0 && mask >> k & 1) block[j].in[k] = sliced(block[j].in[k], n.inputs[k]);
        for (size_t k = 0; k < n.outputs.size(); ++k) block[j].out[k] = sliced(block[j].out[k], n.outputs[k]);
      }
      const Stopwatch watch;
      if (together > 1) kernels_[i]->run_group(group, together, inner);
      else kernels_[i]->run(block[0], inner);
      times.add(i - c.begin, watch);
      i += together;
    }
  });
  times.each([&](size_t at, double seconds) {
    const size_t i = c.begin + at;
    Profile::add(d.nodes[i].op, kernels_[i], &nodes_[i], std::min(group_[i], c.end - i), seconds);
  });
  return true;
}

}  // namespace heddle
