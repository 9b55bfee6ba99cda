#include "runtime/program.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "runtime/plan/planner.h"
#include "runtime/profile.h"

namespace heddle {
namespace {

constexpr size_t npos = static_cast<size_t>(-1);
constexpr size_t guard_bytes = 64;

constexpr uint64_t symbol_bit(size_t symbol) { return uint64_t{1} << std::min<size_t>(symbol, 63); }

}  // namespace

Program::Program(ProgramDesc desc) : desc_(std::move(desc)) {
  const char* check = std::getenv("HEDDLE_CHECK");
  checking_ = check && *check && std::strcmp(check, "0") != 0;
  validate();
  plan();
}

Shape Program::resolve(int value, const std::vector<int64_t>& symbols) const {
  Shape s = desc_.values[value].shape;
  for (int i = 0; i < s.rank; ++i)
    if (s.dims[i] < 0) s.dims[i] = symbols[-s.dims[i] - 1];
  return s;
}

void Program::validate() {
  const int count = static_cast<int>(desc_.values.size());
  for (int64_t bound : desc_.symbols)
    if (bound < 0) throw invalid_argument("symbol: expected a bound of at least 0, got " + std::to_string(bound));
  for (const ValueDesc& v : desc_.values) {
    int64_t elements = 1;
    for (int i = 0; i < v.shape.rank; ++i) {
      int64_t d = v.shape.dims[i];
      if (d < -static_cast<int64_t>(desc_.symbols.size())) throw internal_error("program: unknown symbol");
      if (d < 0) d = desc_.symbols[-d - 1];
      if (d && elements > (int64_t{1} << 46) / d)
        throw shape_mismatch("program: expected a value of fewer than 2^46 elements, got " + to_string(v.shape));
      elements *= d;
    }
    if (is_quantised(v.dtype) &&
        (v.shape.rank == 0 || v.shape.last() < 0 || v.shape.last() % block_type(v.dtype).elements))
      throw shape_mismatch("program: expected rows of a multiple of " + std::to_string(block_type(v.dtype).elements) +
                           " for " + dtype_name(v.dtype) + ", got " + to_string(v.shape));
  }
  std::vector<char> defined(count, 0);
  auto define = [&](int v) {
    if (v < 0 || v >= count || defined[v])
      throw internal_error("program: value " + std::to_string(v) + " defined twice or unknown");
    defined[v] = 1;
  };
  for (int v : desc_.bound) define(v);
  for (int v : desc_.inputs) define(v);
  for (const NodeDesc& n : desc_.nodes) {
    const OpDef* op = Registry::find(n.op);
    if (!op) throw Error("UNSUPPORTED", "op: expected one that the runtime knows, got " + n.op);
    const int inputs = static_cast<int>(n.inputs.size()), outputs = static_cast<int>(n.outputs.size());
    if (inputs < op->min_inputs || (op->max_inputs >= 0 && inputs > op->max_inputs))
      throw shape_mismatch(n.op + ": expected " + std::to_string(op->min_inputs) + " to " +
                           std::to_string(op->max_inputs) + " operands, got " + std::to_string(inputs));
    if (op->outputs >= 0 && outputs > op->outputs) throw internal_error(n.op + ": too many outputs");
    Node node;
    for (int v : n.inputs) {
      if (v >= count || (v >= 0 && !defined[v])) throw internal_error(n.op + ": operand used before it is made");
      node.present.push_back(v >= 0);
      node.in.push_back(v < 0 ? Tensor{} : Tensor{nullptr, desc_.values[v].dtype, resolve(v, desc_.symbols)});
    }
    for (int v : n.outputs) {
      define(v);
      if (is_quantised(desc_.values[v].dtype))
        throw invalid_argument(
            n.op + ": expected an output of single elements, got " + dtype_name(desc_.values[v].dtype));
      node.out.push_back({nullptr, desc_.values[v].dtype, resolve(v, desc_.symbols)});
    }
    uint64_t symbols = 0;
    for (const std::vector<int>* values : {&n.inputs, &n.outputs})
      for (int v : *values)
        for (int i = 0; v >= 0 && i < desc_.values[v].shape.rank; ++i)
          if (const int64_t d = desc_.values[v].shape.dims[i]; d < 0)
            symbols |= symbol_bit(static_cast<size_t>(-d - 1));
    if (symbols) sized_.push_back({nodes_.size(), symbols});
    nodes_.push_back(std::move(node));
    ops_.push_back(op);
  }
  for (int v : desc_.outputs)
    if (v < 0 || v >= count || !defined[v]) throw internal_error("program: unknown output");
  for (size_t i = 0; i < nodes_.size(); ++i) {
    nodes_[i].attributes = &desc_.nodes[i].attributes;
    try {
      ops_[i]->check(nodes_[i]);
    } catch (const Error& e) {
      throw Error(e.code(), e.what() + desc_.nodes[i].made_at());
    }
    kernels_.push_back(ops_[i]->view ? nullptr : Registry::pick(desc_.nodes[i].op, nodes_[i]));
  }
}

void Program::plan() {
  const int count = static_cast<int>(desc_.values.size()), end = static_cast<int>(desc_.nodes.size());
  root_.resize(count);
  for (int v = 0; v < count; ++v) root_[v] = v;
  still_.assign(end, 0), written_.assign(desc_.bound.size(), 0);
  for (int i = 0; i < end; ++i)
    if (ops_[i]->view) root_[desc_.nodes[i].outputs[0]] = root_[desc_.nodes[i].inputs[0]], still_[i] = 1;

  std::vector<int> first(count, -1), last(count, -1);
  std::vector<char> in_arena(count, 0), kept(count, 0);
  auto lifetimes = [&] {
    std::fill(last.begin(), last.end(), -1);
    for (int i = 0; i < end; ++i) {
      for (int v : desc_.nodes[i].inputs)
        if (v >= 0) last[root_[v]] = i;
      for (int v : desc_.nodes[i].outputs)
        if (last[root_[v]] < i) last[root_[v]] = i;
    }
    for (int v : desc_.outputs) {
      last[root_[v]] = end;
      kept[root_[v]] = 1;
    }
  };
  for (int i = 0; i < end; ++i)
    for (int v : desc_.nodes[i].outputs)
      if (root_[v] == v) {
        in_arena[v] = 1;
        first[v] = i;
      }
  lifetimes();
  // An op that may write over a dying operand does so: less memory, and fewer cache lines touched.
  if (!checking_)
    for (int i = 0; i < end; ++i) {
      if (!ops_[i]->inplace || desc_.nodes[i].outputs.empty()) continue;
      const int out = desc_.nodes[i].outputs[0];
      for (size_t k = 0; k < desc_.nodes[i].inputs.size(); ++k) {
        const int in = desc_.nodes[i].inputs[k];
        if (!ops_[i]->may_share(k) || in < 0) continue;
        const int r = root_[in];
        if (!in_arena[r] || kept[r] || last[r] != i || !in_arena[out]) continue;
        if (desc_.values[in].dtype != desc_.values[out].dtype || desc_.values[in].shape != desc_.values[out].shape)
          continue;
        bool shared = false;  // another operand with the same memory would be overwritten while it is read
        for (size_t j = 0; j < desc_.nodes[i].inputs.size(); ++j)
          shared |= j != k && desc_.nodes[i].inputs[j] >= 0 && root_[desc_.nodes[i].inputs[j]] == r;
        if (shared) continue;
        for (int v = 0; v < count; ++v)
          if (root_[v] == out) root_[v] = r;
        in_arena[out] = 0;
        lifetimes();
        break;
      }
    }

  if (!checking_) move_in(first, last, kept, in_arena);

  offset_.assign(count, npos);
  for (int v = 0; v < count; ++v)
    if (in_arena[v]) offset_[v] = 0;
  if (!checking_) find_chains(first, last, kept);

  std::vector<Interval> intervals;
  std::vector<int> owner;
  for (int v = 0; v < count; ++v) {
    if (!in_arena[v]) continue;
    const Tensor t{nullptr, desc_.values[v].dtype, resolve(v, desc_.symbols)};
    intervals.push_back({t.bytes(), first[v], last[v]});
    owner.push_back(v);
  }
  const Plan memory = plan_memory(intervals, checking_ ? guard_bytes : 0);
  arena_bytes_ = memory.bytes;
  for (size_t i = 0; i < owner.size(); ++i) offset_[owner[i]] = memory.offsets[i];
  for (int v : desc_.inputs) {
    input_offset_.push_back(input_bytes_);
    const Tensor t{nullptr, desc_.values[v].dtype, resolve(v, desc_.symbols)};
    input_bytes_ += (t.bytes() + 63) / 64 * 64;
  }
}

// Computes a value that is only assigned to a tensor (a gradient) directly in the tensor, which saves a copy.
void Program::move_in(const std::vector<int>& first, const std::vector<int>& last, const std::vector<char>& kept,
    std::vector<char>& in_arena) {
  std::vector<int> nodes_of(desc_.values.size(), 0);  // number of operands that use a value's memory
  for (const NodeDesc& n : desc_.nodes)
    for (int v : n.inputs)
      if (v >= 0) ++nodes_of[root_[v]];
  for (size_t i = 0; i < desc_.nodes.size(); ++i) {
    if (!ops_[i]->moves) continue;
    const int to = desc_.nodes[i].inputs[0], from = root_[desc_.nodes[i].inputs[1]];
    const auto place = std::find(desc_.bound.begin(), desc_.bound.end(), to);
    const bool alike = desc_.values[to].dtype == desc_.values[from].dtype &&
                       Tensor{nullptr, desc_.values[to].dtype, resolve(to, desc_.symbols)}.bytes() ==
                           Tensor{nullptr, desc_.values[from].dtype, resolve(from, desc_.symbols)}.bytes();
    // The tensor must be of no concern to any other node, before or after.
    if (place == desc_.bound.end() || nodes_of[to] != 1 || kept[to]) continue;
    if (!in_arena[from] || kept[from] || first[from] < 0 || last[from] != static_cast<int>(i) || !alike) continue;
    for (int& r : root_)
      if (r == from) r = to;
    in_arena[from] = 0, still_[i] = 1, written_[static_cast<size_t>(place - desc_.bound.begin())] = 1;
  }
}

Executable::Executable(std::shared_ptr<Program> program, std::vector<std::shared_ptr<Storage>> bound,
    std::shared_ptr<Accelerator> accelerator)
    : program_(std::move(program)), accelerator_(std::move(accelerator)), bound_(std::move(bound)) {
  const ProgramDesc& d = program_->desc_;
  if (bound_.size() != d.bound.size()) throw internal_error("bind: wrong number of tensors");
  for (size_t i = 0; i < bound_.size(); ++i) {
    const Tensor t{nullptr, d.values[d.bound[i]].dtype, program_->resolve(d.bound[i], d.symbols)};
    if (bound_[i]->bytes() < t.bytes())
      throw shape_mismatch("bind: expected a tensor of " + std::to_string(t.bytes()) + " bytes, got " +
                           std::to_string(bound_[i]->bytes()));
  }
  const auto place = [](const Accelerator* a) { return a ? a->name() : std::string("cpu"); };
  for (const auto& storage : bound_)
    if (storage->accelerator() != accelerator_.get())
      throw invalid_argument(
          "bind: expected tensors of " + place(accelerator_.get()) + ", got one of " + place(storage->accelerator()));
  std::vector<char> written = program_->written_;
  for (size_t i = 0; i < d.nodes.size(); ++i)
    for (size_t k = 0; k < d.nodes[i].inputs.size(); ++k) {
      if (!program_->ops_[i]->writes(k) || d.nodes[i].inputs[k] < 0) continue;
      for (size_t b = 0; b < d.bound.size(); ++b) {
        if (program_->root_[d.nodes[i].inputs[k]] != d.bound[b]) continue;
        written[b] = 1;
        // A value bound to a mapped file may be read only.
        if (!bound_[b]->writable())
          throw invalid_argument(d.nodes[i].op + ": expected a writable tensor, got one mapped from a file");
      }
    }
  // If two names share memory and one is written, results would depend on the order of nodes.
  for (size_t i = 0; i < bound_.size(); ++i)
    for (size_t j = 0; j < bound_.size(); ++j)
      if (written[i] && i != j && bound_[i] == bound_[j])
        throw invalid_argument("bind: expected a tensor that the program writes under one name, got one under two");
  inputs_ = Storage::allocate(program_->input_bytes_, accelerator_);
  nodes_ = program_->nodes_;
  for (size_t i = 0; i < nodes_.size(); ++i) nodes_[i].attributes = &d.nodes[i].attributes;
  pick_kernels();
  find_packings();
  find_groups();
  find_sums();
  find_streams();
  if (accelerator_) prepare_device();
}

void Executable::pick_kernels() {
  kernels_ = program_->kernels_;
  if (!accelerator_) return;
  const ProgramDesc& d = program_->desc_;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (program_->still_[i]) continue;
    kernels_[i] = Registry::pick(d.nodes[i].op, nodes_[i], DeviceKind::cuda);
    if (kernels_[i] || Registry::references_only()) continue;
    std::string operands;
    for (size_t k = 0; k < nodes_[i].in.size(); ++k)
      if (nodes_[i].has_input(k))
        operands += (operands.empty() ? "" : ", ") + std::string(dtype_name(nodes_[i].in[k].dtype)) +
                    to_string(nodes_[i].in[k].shape);
    throw Error("UNSUPPORTED", d.nodes[i].op + ": expected a kernel of " + accelerator_->name() +
                                   ", got none for operands " + operands + d.nodes[i].made_at());
  }
}

// Products of one x by several weights: their kernel may run them as one. All but x must be tensors that nobody writes
// here, since the arena may give what dies with one of them to the next.
void Executable::find_groups() {
  const ProgramDesc& d = program_->desc_;
  group_.assign(nodes_.size(), 1);
  if (accelerator_ || program_->checking_) return;
  std::vector<char> bound(d.values.size(), 0);
  for (int v : d.bound) bound[v] = 1;
  const auto joins = [&](size_t i) {
    if (!kernels_[i] || !kernels_[i]->run_group || program_->still_[i]) return false;
    for (size_t k = 1; k < d.nodes[i].inputs.size(); ++k)
      if (const int v = d.nodes[i].inputs[k]; v >= 0 && !bound[program_->root_[v]]) return false;
    return true;
  };
  for (size_t i = 0; i < nodes_.size(); i += group_[i])
    while (joins(i) && group_[i] < most_grouped && i + group_[i] < nodes_.size()) {
      const size_t next = i + group_[i];
      if (!joins(next) || kernels_[next] != kernels_[i] || d.nodes[next].inputs[0] != d.nodes[i].inputs[0] ||
          !(d.nodes[next].attributes == d.nodes[i].attributes))
        break;
      ++group_[i];
    }
}

// Follows from the program's bounds: told once.
size_t Executable::scratch_bytes(int threads) {
  if (scratch_threads_ == threads) return scratch_;
  scratch_ = 0;
  for (size_t i = 0; i < kernels_.size(); ++i)
    if (kernels_[i] && kernels_[i]->scratch)
      scratch_ = std::max(scratch_, kernels_[i]->scratch(program_->nodes_[i], threads));
  if (!accelerator_) {
    chain_bytes_.clear();
    for (const Chain& c : program_->chains_) {
      chain_bytes_.push_back(chain_kernel_bytes(c));
      scratch_ = std::max(scratch_, static_cast<size_t>(threads) * chain_thread_bytes(chain_bytes_.size() - 1));
    }
  }
  scratch_threads_ = threads;
  return scratch_;
}

void Executable::validate(const RunArguments& a) const {
  const ProgramDesc& d = program_->desc_;
  if (a.symbols.size() != d.symbols.size()) throw internal_error("run: wrong number of symbols");
  for (size_t i = 0; i < a.symbols.size(); ++i)
    if (a.symbols[i] < 0 || a.symbols[i] > d.symbols[i])
      throw shape_mismatch("run: expected a dimension of 0 to " + std::to_string(d.symbols[i]) + ", got " +
                           std::to_string(a.symbols[i]));
  if (a.inputs.size() != d.inputs.size() || a.outputs.size() != d.outputs.size())
    throw internal_error("run: wrong number of operands");
  auto bytes = [&](int v) { return Tensor{nullptr, d.values[v].dtype, program_->resolve(v, a.symbols)}.bytes(); };
  for (size_t i = 0; i < a.inputs.size(); ++i)
    if (a.inputs[i].size() != bytes(d.inputs[i]))
      throw shape_mismatch("run: expected input " + std::to_string(i) + " of " + std::to_string(bytes(d.inputs[i])) +
                           " bytes, got " + std::to_string(a.inputs[i].size()));
  for (size_t i = 0; i < a.outputs.size(); ++i)
    if (a.outputs[i].bytes != bytes(d.outputs[i])) throw internal_error("run: wrong size of output");
}

// Checks shapes again for the sizes of a run. Conditions that hold at the bounds may fail below: two symbols with equal
// bounds, one dimension that is at most another, a number of rows that is a multiple. Scratch may also grow as sizes
// shrink.
void Executable::check_sizes(uint64_t changed, int threads) {
  if (threads != sizes_threads_) sizes_scratch_ = 0, sizes_threads_ = threads, changed = ~uint64_t{0};
  for (const auto& [i, symbols] : program_->sized_) {
    if (!(symbols & changed)) continue;
    const NodeDesc& n = program_->desc_.nodes[i];
    try {
      program_->ops_[i]->check(nodes_[i]);
      const KernelDef* kernel = kernels_[i];
      if (!kernel || accelerator_) continue;
      if (kernel->supports && !kernel->supports(nodes_[i]))
        throw Error("UNSUPPORTED",
            n.op + ": expected sizes that its kernel " + kernel->name + " takes, as it does the bounds, got others");
      if (kernel->scratch) sizes_scratch_ = std::max(sizes_scratch_, kernel->scratch(nodes_[i], threads));
    } catch (const Error& e) {
      throw Error(e.code(), e.what() + n.made_at());
    }
  }
}

void Executable::resolve(const std::vector<int64_t>& symbols, unsigned char* arena, int threads) {
  if (arena == arena_ && symbols == symbols_ && !values_.empty()) return;
  const ProgramDesc& d = program_->desc_;
  const bool sizes_known = symbols == symbols_ && threads == sizes_threads_ && !values_.empty();
  uint64_t changed = 0;
  for (size_t i = 0; i < symbols.size(); ++i)
    if (symbols_.size() != symbols.size() || symbols_[i] != symbols[i]) changed |= symbol_bit(i);
  values_.resize(d.values.size());
  for (size_t v = 0; v < values_.size(); ++v) {
    values_[v].dtype = d.values[v].dtype;
    values_[v].shape = program_->resolve(static_cast<int>(v), symbols);
    const size_t offset = program_->offset_[program_->root_[v]];
    values_[v].data = offset == npos ? nullptr : arena + offset;
  }
  for (size_t i = 0; i < d.bound.size(); ++i) values_[d.bound[i]].data = bound_[i]->data();
  for (size_t i = 0; i < d.inputs.size(); ++i) values_[d.inputs[i]].data = inputs_->data() + program_->input_offset_[i];
  for (size_t v = 0; v < values_.size(); ++v) values_[v].data = values_[program_->root_[v]].data;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    for (size_t k = 0; k < nodes_[i].in.size(); ++k)
      if (d.nodes[i].inputs[k] >= 0) nodes_[i].in[k] = values_[d.nodes[i].inputs[k]];
    for (size_t k = 0; k < nodes_[i].out.size(); ++k) nodes_[i].out[k] = values_[d.nodes[i].outputs[k]];
  }
  arena_ = arena;
  if (sizes_known) return;
  symbols_.clear();  // no run's, where a check throws
  check_sizes(changed, threads);
  symbols_ = symbols;
}

void Executable::run(RunArguments& a, Lane& lane) {
  const ProgramDesc& d = program_->desc_;
  Accelerator* const device = accelerator_.get();
  if (lane.accelerator().get() != device)
    throw invalid_argument("run: expected the lane that the executable is bound to, got another");
  for (const auto& storage : bound_) storage->check();
  resolve(a.symbols, lane.arena(program_->arena_bytes_ + 64), lane.threads());
  Context context{lane.pool(), lane.scratch(std::max(scratch_bytes(lane.threads()), sizes_scratch_) + 64), device};
  if (device) return run_on_device(a, lane, context);
  for (size_t i = 0; i < a.inputs.size(); ++i)
    if (!a.inputs[i].empty()) std::memcpy(values_[d.inputs[i]].data, a.inputs[i].data(), a.inputs[i].size());
  pack_operands(a, lane);
  const Stopwatch watch;
  run_nodes(a, lane, context);
  pace_.end(watch.seconds());
  for (const auto& storage : bound_) storage->check_whole();
  for (size_t i = 0; i < a.outputs.size(); ++i)
    if (a.outputs[i].bytes) std::memcpy(a.outputs[i].data, values_[d.outputs[i]].data, a.outputs[i].bytes);
}

}  // namespace heddle
