#include "runtime/executable.h"

#include <algorithm>
#include <cstring>

#include "runtime/profile.h"

namespace heddle {

Executable::Executable(std::shared_ptr<Program> program, std::vector<std::shared_ptr<Storage>> bound,
    std::shared_ptr<Accelerator> accelerator)
    : program_(std::move(program)), accelerator_(std::move(accelerator)), bound_(std::move(bound)),
      plan_(program_->plan()) {
  check_bound();
  inputs_ = Storage::allocate(plan_->input_bytes, accelerator_);
  if (accelerator_) plan_ = plan_for(*accelerator_, program_->desc(), *plan_);
  for (const PlannedNode& n : plan_->nodes) nodes_.push_back(n.bounds);
  if (accelerator_) prepare_device();
  else packed_ = find_packings(program_->desc(), *plan_, bound_);
}

void Executable::check_bound() const {
  const ProgramDesc& d = program_->desc();
  if (bound_.size() != d.bound.size())
    throw internal_error(
        "bind: expected " + std::to_string(d.bound.size()) + " tensors, got " + std::to_string(bound_.size()));
  for (size_t i = 0; i < bound_.size(); ++i) {
    const size_t bytes = d.largest(d.bound[i]).bytes();
    if (bound_[i]->bytes() < bytes)
      throw shape_mismatch(
          "bind: expected a tensor of " + std::to_string(bytes) + " bytes, got " + std::to_string(bound_[i]->bytes()));
  }
  const auto place = [](const Accelerator* a) { return a ? a->name() : std::string("cpu"); };
  for (const auto& storage : bound_)
    if (storage->accelerator() != accelerator_.get())
      throw invalid_argument(
          "bind: expected tensors of " + place(accelerator_.get()) + ", got one of " + place(storage->accelerator()));
  std::vector<char> written(bound_.size(), 0);
  for (size_t i = 0; i < d.nodes.size(); ++i)
    for (size_t k = 0; k < d.nodes[i].inputs.size(); ++k) {
      if (!plan_->nodes[i].op->writes(k) || d.nodes[i].inputs[k] < 0) continue;
      for (size_t b = 0; b < d.bound.size(); ++b) {
        if (plan_->values[d.nodes[i].inputs[k]].root != d.bound[b]) continue;
        written[b] = 1;
        // A tensor that the program writes must be writable. A tensor mapped from a file is not writable.
        if (!bound_[b]->writable())
          throw invalid_argument(d.nodes[i].op + ": expected a writable tensor, got one mapped from a file");
      }
    }
  // If two bound values share memory and one is written, results would depend on the order of nodes.
  for (size_t i = 0; i < bound_.size(); ++i)
    for (size_t j = 0; j < bound_.size(); ++j)
      if (written[i] && i != j && bound_[i] == bound_[j])
        throw invalid_argument("bind: expected one name for a tensor that the program writes, got two");
}

// Returns the scratch size that all nodes and chains need at the symbols' upper bounds.
size_t Executable::scratch_bytes(int threads) {
  if (scratch_threads_ == threads) return scratch_;
  scratch_ = 0;
  for (const PlannedNode& n : plan_->nodes)
    if (n.kernel && n.kernel->scratch) scratch_ = std::max(scratch_, n.kernel->scratch(n.bounds, threads));
  for (const RowChain& chain : plan_->chains)
    scratch_ = std::max(scratch_, static_cast<size_t>(threads) * chain.thread_bytes());
  scratch_threads_ = threads;
  return scratch_;
}

void Executable::validate(const RunArguments& a) const {
  const ProgramDesc& d = program_->desc();
  if (a.symbols.size() != d.symbols.size())
    throw internal_error(
        "run: expected " + std::to_string(d.symbols.size()) + " symbols, got " + std::to_string(a.symbols.size()));
  for (size_t i = 0; i < a.symbols.size(); ++i)
    if (a.symbols[i] < 0 || a.symbols[i] > d.symbols[i])
      throw shape_mismatch("run: expected a dimension of 0 to " + std::to_string(d.symbols[i]) + ", got " +
                           std::to_string(a.symbols[i]));
  if (a.inputs.size() != d.inputs.size() || a.outputs.size() != d.outputs.size())
    throw internal_error("run: expected " + std::to_string(d.inputs.size()) + " inputs and " +
                         std::to_string(d.outputs.size()) + " outputs, got " + std::to_string(a.inputs.size()) +
                         " and " + std::to_string(a.outputs.size()));
  const auto bytes = [&](int v) { return d.resolve(v, a.symbols).bytes(); };
  for (size_t i = 0; i < a.inputs.size(); ++i)
    if (a.inputs[i].size() != bytes(d.inputs[i]))
      throw shape_mismatch("run: expected input " + std::to_string(i) + " of " + std::to_string(bytes(d.inputs[i])) +
                           " bytes, got " + std::to_string(a.inputs[i].size()));
  for (size_t i = 0; i < a.outputs.size(); ++i)
    if (a.outputs[i].bytes != bytes(d.outputs[i]))
      throw internal_error("run: expected output " + std::to_string(i) + " of " + std::to_string(bytes(d.outputs[i])) +
                           " bytes, got " + std::to_string(a.outputs[i].bytes));
}

// Checks shapes again for the sizes of a run. Conditions that hold at the symbols' upper bounds may fail at smaller
// sizes. For example, two symbols may have to be equal, or rows a multiple of the sequence length. Scratch may also
// grow as sizes shrink.
void Executable::check_sizes(uint64_t changed, int threads) {
  if (threads != sizes_threads_) sizes_scratch_ = 0, sizes_threads_ = threads, changed = ~uint64_t{0};
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (!(plan_->nodes[i].symbols & changed)) continue;
    const NodeDesc& n = program_->desc().nodes[i];
    try {
      plan_->nodes[i].op->check(nodes_[i]);
      const KernelDef* kernel = plan_->nodes[i].kernel;
      if (!kernel || accelerator_) continue;
      if (kernel->supports && !kernel->supports(nodes_[i]))
        throw Error("UNSUPPORTED", n.op + ": kernel " + kernel->name + " does not support the sizes of this run");
      if (kernel->scratch) sizes_scratch_ = std::max(sizes_scratch_, kernel->scratch(nodes_[i], threads));
    } catch (const Error& e) {
      throw Error(e.code(), e.what() + n.made_at());
    }
  }
}

void Executable::resolve(const std::vector<int64_t>& symbols, unsigned char* arena, int threads) {
  uint64_t moves = 0;
  for (const auto& storage : bound_) moves += storage->moves();
  if (arena == arena_ && symbols == symbols_ && moves == moves_ && !values_.empty()) return;
  if (moves != moves_) forget_recordings();  // they have the old addresses
  moves_ = moves;
  const ProgramDesc& d = program_->desc();
  const bool sizes_known = symbols == symbols_ && threads == sizes_threads_ && !values_.empty();
  uint64_t changed = 0;
  for (size_t i = 0; i < symbols.size(); ++i)
    if (symbols_.size() != symbols.size() || symbols_[i] != symbols[i]) changed |= symbol_bit(i);
  values_.resize(d.values.size());
  for (size_t v = 0; v < values_.size(); ++v) {
    values_[v] = d.resolve(static_cast<int>(v), symbols);
    const size_t offset = plan_->values[v].offset;
    values_[v].data = offset == npos ? nullptr : arena + offset;
  }
  for (size_t i = 0; i < d.bound.size(); ++i) values_[d.bound[i]].data = bound_[i]->data();
  for (size_t i = 0; i < d.inputs.size(); ++i) values_[d.inputs[i]].data = inputs_->data() + plan_->input_offsets[i];
  for (size_t v = 0; v < values_.size(); ++v) values_[v].data = values_[plan_->values[v].root].data;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    for (size_t k = 0; k < nodes_[i].in.size(); ++k)
      if (d.nodes[i].inputs[k] >= 0) nodes_[i].in[k] = values_[d.nodes[i].inputs[k]];
    for (size_t k = 0; k < nodes_[i].out.size(); ++k) nodes_[i].out[k] = values_[d.nodes[i].outputs[k]];
  }
  arena_ = arena;
  if (sizes_known) return;
  symbols_.clear();  // if a check throws, the sizes stay unknown
  check_sizes(changed, threads);
  symbols_ = symbols;
}

void Executable::run(RunArguments& a, Lane& lane) {
  const ProgramDesc& d = program_->desc();
  Accelerator* const device = accelerator_.get();
  if (lane.accelerator().get() != device)
    throw invalid_argument("run: expected the lane that the executable is bound to, got another");
  for (const auto& storage : bound_) storage->check();
  resolve(a.symbols, lane.arena(plan_->arena_bytes + 64), lane.threads());
  Context context{
      lane.pool(), lane.scratch(std::max(scratch_bytes(lane.threads()), sizes_scratch_) + 64), device, 0, lane.sums()};
  if (device) return run_on_device(a, lane, context);
  for (size_t i = 0; i < a.inputs.size(); ++i)
    if (!a.inputs[i].empty()) std::memcpy(values_[d.inputs[i]].data, a.inputs[i].data(), a.inputs[i].size());
  pack_weights(a, lane);
  const Stopwatch watch;
  run_nodes(a, lane, context);
  store_waited_seconds(context);
  if (!packed_.empty()) lane.packing_budget().end(watch.seconds());
  for (const auto& storage : bound_) storage->check_mapping();
  for (size_t i = 0; i < a.outputs.size(); ++i)
    if (a.outputs[i].bytes) std::memcpy(a.outputs[i].data, values_[d.outputs[i]].data, a.outputs[i].bytes);
}

}  // namespace heddle
