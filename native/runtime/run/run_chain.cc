// Runs a chain of row-wise nodes, one block of rows at a time. Values between the nodes stay in the thread's cache, and
// threads do not wait for each other between nodes.
#include <algorithm>
#include <mutex>

#include "core/round.h"
#include "runtime/executable.h"
#include "runtime/profile.h"

namespace heddle {
namespace {

// Each thread of a chain reads all weights. With fewer rows, that costs more than the chain saves.
constexpr int64_t min_rows_per_thread = 48;

// Splits a chain's time among its nodes for a profile, in proportion to the time that threads spent on each.
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

// Runs a chain, except adds that have run with their product (`done`). Returns false without effect if there are too
// few rows for the threads, or if a weight is not packed yet. Also returns false if the bits would differ from running
// node by node.
bool Executable::run_chain(const RowChain& chain, const std::vector<char>& done, Context& context) {
  const ProgramDesc& d = program_->desc();
  const int64_t rows = nodes_[chain.begin].out[0].shape[0];
  const int threads = context.pool.threads();
  if (rows < min_rows_per_thread * threads) return false;
  for (size_t i = chain.begin; i < chain.end; ++i) {
    const PlannedNode& n = plan_->nodes[i];
    if (n.kernel && n.kernel->packs.describe && !nodes_[i].packed && !n.is_noop) return false;
    // A chain rounds a bf16 product before the addition, but run_onto does not.
    if (n.fused_add && nodes_[i].out[0].dtype != DType::f32) return false;
  }
  const int64_t row_step = chain.row_tile, fit = threads * (chain.most_rows - row_step);
  const int64_t parts = threads * ceil_div(rows, fit);
  const auto cut = [&](int64_t part) {
    return part == parts ? rows : (rows * part / parts + row_step / 2) / row_step * row_step;
  };
  for (int64_t part = 0; part < parts; ++part)
    if (cut(part + 1) - cut(part) < chain.min_rows) return false;
  ChainTimes times(Profile::on() ? chain.end - chain.begin : 0);
  context.pool.run(parts, [&](int64_t part, int thread) {
    const int64_t from = cut(part), count = cut(part + 1) - from;
    char* const scratch = static_cast<char*>(context.scratch) + static_cast<size_t>(thread) * chain.thread_bytes();
    char* const locals = scratch + chain.kernel_bytes;
    const auto sliced = [&](Tensor t, int v) {
      const int root = plan_->values[v].root;
      const auto local = std::find_if(
          chain.locals.begin(), chain.locals.end(), [&](const RowChain::Local& l) { return l.root == root; });
      const size_t row = t.bytes() / static_cast<size_t>(rows);
      if (local != chain.locals.end()) t.data = locals + local->offset * static_cast<size_t>(chain.most_rows);
      else t.data = static_cast<char*>(t.data) + static_cast<size_t>(from) * row;
      t.shape.dims[0] = count;
      return t;
    };
    Pool alone(1);
    Context inner{alone, scratch, nullptr, context.node};
    Node block[max_grouped];
    const Node* group[max_grouped];
    for (size_t i = chain.begin; i < chain.end;) {
      const PlannedNode& planned = plan_->nodes[i];
      const size_t together = std::min(planned.group, chain.end - i);
      if (planned.is_noop || done[i]) {
        ++i;
        continue;
      }
      for (size_t j = 0; j < together; ++j) {
        block[j] = nodes_[i + j], group[j] = &block[j];
        const NodeDesc& n = d.nodes[i + j];
        const int mask = plan_->nodes[i + j].op->by_rows(block[j]);
        for (size_t k = 0; k < n.inputs.size(); ++k)
          if (n.inputs[k] >= 0 && mask >> k & 1) block[j].in[k] = sliced(block[j].in[k], n.inputs[k]);
        for (size_t k = 0; k < n.outputs.size(); ++k) block[j].out[k] = sliced(block[j].out[k], n.outputs[k]);
      }
      const Stopwatch watch;
      if (together > 1) planned.kernel->run_group(group, together, inner);
      else planned.kernel->run(block[0], inner);
      times.add(i - chain.begin, watch);
      i += together;
    }
  });
  times.each([&](size_t at, double seconds) {
    const size_t i = chain.begin + at;
    const PlannedNode& n = plan_->nodes[i];
    Profile::add(d.nodes[i].op, n.kernel, &nodes_[i], std::min(n.group, chain.end - i), seconds);
  });
  return true;
}

}  // namespace heddle
