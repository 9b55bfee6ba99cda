// A product and the sum that it goes into, as one: what it is added to is read and written once, and the product itself
// never.
#include "runtime/program.h"

namespace heddle {
namespace {
constexpr size_t npos = static_cast<size_t>(-1);
}  // namespace

// Sum j of an executable's node i, where the sum lies where its other operand did, and nobody else reads the product.
// The sum is then made when the product is due: until j nothing reads or writes that memory.
void Executable::find_sums() {
  const ProgramDesc& d = program_->desc_;
  const std::vector<int>& root = program_->root_;
  sum_.assign(nodes_.size(), 0);
  if (accelerator_ || program_->checking_) return;
  std::vector<int> readers(d.values.size(), 0), reader(d.values.size(), -1);
  for (size_t i = 0; i < d.nodes.size(); ++i)
    for (int v : d.nodes[i].inputs)
      if (v >= 0) ++readers[root[v]], reader[root[v]] = static_cast<int>(i);
  for (int v : d.outputs) readers[root[v]] = 2;
  const auto touches = [&](const NodeDesc& n, int memory) {
    for (const std::vector<int>* values : {&n.inputs, &n.outputs})
      for (int v : *values)
        if (v >= 0 && root[v] == memory) return true;
    return false;
  };
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (!kernels_[i] || !kernels_[i]->run_onto || d.nodes[i].outputs.size() != 1) continue;
    const int product = d.nodes[i].outputs[0];
    if (root[product] != product || readers[product] != 1 || program_->offset_[product] == npos) continue;
    const size_t j = static_cast<size_t>(reader[product]);
    const NodeDesc& sum = d.nodes[j];
    if (sum.op != "add" || program_->still_[j]) continue;
    const int other = sum.inputs[sum.inputs[0] == product ? 1 : 0], memory = root[other];
    if (sum.inputs[0] != product && sum.inputs[1] != product) continue;  // a view of it
    if (memory == product || root[sum.outputs[0]] != memory || program_->offset_[memory] == npos) continue;
    if (d.values[other].dtype != d.values[product].dtype || touches(d.nodes[i], memory)) continue;
    bool made = false, quiet = true;  // the other operand is there before i, and rests until j
    for (size_t k = 0; k < i; ++k)
      for (int v : d.nodes[k].outputs) made |= v == other;
    for (size_t k = i + 1; k < j; ++k) quiet = quiet && !touches(d.nodes[k], memory);
    if (made && quiet) sum_[i] = j;
  }
}

// Whether node i has been added to what its sum adds it to. `done` says of which sums.
bool Executable::run_sum(size_t i, Context& context, std::vector<char>& done) {
  if (!sum_[i]) return false;
  Node onto = nodes_[i];
  onto.out[0] = nodes_[sum_[i]].out[0];
  if (!kernels_[i]->run_onto(onto, context)) return false;
  done[sum_[i]] = 1;
  return true;
}

}  // namespace heddle
