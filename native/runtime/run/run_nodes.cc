// A run's nodes, one after the other: alone, as a group, as a chain or with the sum that they go into.
#include "runtime/profile.h"
#include "runtime/program.h"

namespace heddle {

void Executable::run_nodes(const RunArguments& a, Lane& lane, Context& context) {
  const ProgramDesc& d = program_->desc_;
  const Pool::Watch watch(lane.pool(), {a.abort.get(), &lane.stopping_flag()});
  std::vector<char> done(nodes_.size(), 0);
  const std::vector<Chain>& chains = program_->chains_;
  const bool profiled = Profile::on();
  size_t chain = 0;
  int announced = -1;
  for (size_t i = 0, next; i < nodes_.size(); i = next) {
    next = i + group_[i];
    if (lane.stopping() || (a.abort && a.abort->load(std::memory_order_relaxed)))
      throw Error("ABORTED", "run: aborted by its signal");
    if (program_->still_[i] || done[i]) continue;
    try {
      context.node = static_cast<int>(i);
      lane.pool().interrupt(!program_->ops_[i]->mutates);  // what is changed in place is changed as a whole
      while (chain < chains.size() && chains[chain].begin < i) ++chain;
      const bool chained = chain < chains.size() && chains[chain].begin == i && run_chain(chain, done, context);
      if (chained) next = chains[chain].end;
      if (const int soon = next_stream_[next - 1].node; soon != announced)
        announce_stream(next - 1, lane.pool()), announced = soon;
      if (chained) continue;
      if (profiled) run_profiled(i, context, done);
      else run_one(i, context, done);
    } catch (const Error& e) {
      throw Error(e.code(), e.what() + d.nodes[i].made_at());
    }
  }
}

// Whether its sum has been made with it.
bool Executable::run_one(size_t i, Context& context, std::vector<char>& done) {
  if (program_->checking_) return run_checked(i, context), false;
  if (group_[i] > 1) return run_group(i, context), false;
  if (run_sum(i, context, done)) return true;
  return run_node(i, context), false;
}

// An accelerator is waited for after each node: what nodes overlap there is lost, and so is what one call would queue.
void Executable::run_profiled(size_t i, Context& context, std::vector<char>& done) {
  const Stopwatch watch;
  const bool summed = run_one(i, context, done);
  if (accelerator_) accelerator_->wait();
  const double seconds = watch.seconds();
  Profile::add(program_->desc_.nodes[i].op + (summed ? " + add" : ""), kernels_[i], &nodes_[i], group_[i], seconds);
}

void Executable::run_group(size_t i, Context& context) {
  const Node* group[most_grouped];
  for (size_t j = 0; j < group_[i]; ++j) group[j] = &nodes_[i + j];
  kernels_[i]->run_group(group, group_[i], context);
}

void Executable::run_node(size_t i, Context& context) {
  if (kernels_[i]) kernels_[i]->run(nodes_[i], context);
  else if (accelerator_) run_reference(i, *accelerator_);
  else program_->ops_[i]->reference(nodes_[i]);
}

}  // namespace heddle
