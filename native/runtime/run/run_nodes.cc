// Runs a program's nodes in order: alone, as a group, as a chain, or with a fused add.
#include "runtime/executable.h"
#include "runtime/profile.h"

namespace heddle {

void Executable::run_nodes(const RunArguments& a, Lane& lane, Context& context) {
  if (!plan_->uses_ranks || !context.sums) return run_in_order(a, lane, context);
  context.sums->hold(std::make_shared<const std::vector<std::shared_ptr<Storage>>>(bound_));
  try {
    run_in_order(a, lane, context);
    context.sums->finish();
  } catch (...) {
    context.sums->abandon();
    throw;
  }
}

void Executable::store_waited_seconds(const Context& context) {
  if (!plan_->uses_ranks || !context.sums) return;
  waited_seconds_.store(context.sums->take_waited_seconds(), std::memory_order_relaxed);
}

void Executable::run_in_order(const RunArguments& a, Lane& lane, Context& context) {
  const ProgramDesc& d = program_->desc();
  const Cancellation cancellation = lane.cancellation(a.abort.get());
  const Pool::Watch watch(lane.pool(), cancellation);
  std::vector<char> done(nodes_.size(), 0);  // adds that have run with their product
  const std::vector<RowChain>& chains = plan_->chains;
  const PlannedNode* const planned = plan_->nodes.data();
  const bool profiled = Profile::on();
  size_t chain = 0;
  int announced = -1;
  for (size_t i = 0, next; i < nodes_.size(); i = next) {
    next = i + planned[i].group;
    cancellation.check();
    if (planned[i].is_noop || done[i]) continue;
    try {
      context.node = static_cast<int>(i);
      lane.pool().interrupt(!planned[i].op->mutates);  // an op that writes in place must not be interrupted
      while (chain < chains.size() && chains[chain].begin < i) ++chain;
      const bool chained = chain < chains.size() && chains[chain].begin == i && run_chain(chains[chain], done, context);
      if (chained) next = chains[chain].end;
      if (const int soon = planned[next - 1].next_stream.node; soon != announced)
        announce_stream(next - 1, lane.pool()), announced = soon;
      if (chained) continue;
      if (profiled) run_profiled(i, context, done);
      else run_one(i, context, done);
    } catch (const Error& e) {
      throw Error(e.code(), e.what() + d.nodes[i].made_at());
    }
  }
}

void Executable::announce_stream(size_t after, Pool& pool) const {
  const WeightStream next = plan_->nodes[after].next_stream;
  if (next.node < 0) return;
  const Node& node = nodes_[static_cast<size_t>(next.node)];
  const Tensor& weight = node.in[static_cast<size_t>(next.operand)];
  pool.announce_stream(node.packed ? node.packed : weight.data, weight.bytes());
}

// Runs a node. Returns whether its fused add has run with it.
bool Executable::run_one(size_t i, Context& context, std::vector<char>& done) {
  if (plan_->checking) return run_checked(i, context), false;
  if (plan_->nodes[i].group > 1) return run_group(i, context), false;
  if (run_fused_add(i, context, done)) return true;
  return run_node(i, context), false;
}

// Times a node. Waits for an accelerator after each node, so nodes do not overlap as they do without a profile.
void Executable::run_profiled(size_t i, Context& context, std::vector<char>& done) {
  const Stopwatch watch;
  const bool summed = run_one(i, context, done);
  if (accelerator_) accelerator_->wait();
  const double seconds = watch.seconds();
  const PlannedNode& n = plan_->nodes[i];
  Profile::add(program_->desc().nodes[i].op + (summed ? " + add" : ""), n.kernel, &nodes_[i], n.group, seconds);
}

void Executable::run_group(size_t i, Context& context) {
  const PlannedNode& n = plan_->nodes[i];
  const Node* group[max_grouped];
  for (size_t j = 0; j < n.group; ++j) group[j] = &nodes_[i + j];
  n.kernel->run_group(group, n.group, context);
}

// Runs a product with its fused add. The product is never stored, and its addend is read and written once.
bool Executable::run_fused_add(size_t i, Context& context, std::vector<char>& done) {
  const size_t add = plan_->nodes[i].fused_add;
  if (!add) return false;
  Node onto = nodes_[i];
  onto.out[0] = nodes_[add].out[0];
  if (!plan_->nodes[i].kernel->run_onto(onto, context)) return false;
  done[add] = 1;
  return true;
}

void Executable::run_node(size_t i, Context& context) {
  const PlannedNode& n = plan_->nodes[i];
  if (n.kernel) n.kernel->run(nodes_[i], context);
  else if (accelerator_) run_reference(i, *accelerator_);
  else n.op->reference(nodes_[i]);
  if (n.next_start >= 0) {
    const size_t next = static_cast<size_t>(n.next_start);
    plan_->nodes[next].kernel->start(nodes_[next], context);
  }
}

}  // namespace heddle
