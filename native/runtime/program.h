// A traced graph, checked and planned once, then run many times on a lane.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "ops/op.h"
#include "runtime/plan/form_space.h"
#include "runtime/lane.h"
#include "core/memory.h"
#include "runtime/plan/packing_pace.h"
#include "core/tensor.h"

namespace heddle {

// A dimension >= 0 is fixed; -(i + 1) is symbol i, whose value each run brings (at most its bound).
struct ValueDesc {
  DType dtype;
  Shape shape;
};

struct NodeDesc {
  std::string op;
  std::vector<int> inputs;  // value ids; -1: an absent optional operand
  std::vector<int> outputs;
  Attributes attributes;
  std::string origin;  // the TypeScript line that made the node, where it was recorded
  std::string made_at() const { return origin.empty() ? "" : " (made at " + origin + ")"; }
};

struct ProgramDesc {
  std::vector<int64_t> symbols;  // upper bounds
  std::vector<ValueDesc> values;
  std::vector<NodeDesc> nodes;  // in an order in which they can run
  std::vector<int> bound;       // values that live in tensors given to Executable
  std::vector<int> inputs;      // values that each run copies in
  std::vector<int> outputs;     // values that each run copies out
};

class Program {
 public:
  explicit Program(ProgramDesc desc);  // throws on any inconsistency, before anything runs

  const ProgramDesc& desc() const { return desc_; }
  Shape resolve(int value, const std::vector<int64_t>& symbols) const;
  size_t arena_bytes() const { return arena_bytes_; }

 private:
  friend class Executable;
  void validate();
  void plan();
  void move_in(const std::vector<int>& first, const std::vector<int>& last, const std::vector<char>& kept,
      std::vector<char>& in_arena);
  // program_chains.cc
  struct Chain {
    size_t begin, end;            // nodes
    int64_t row_tile = 1;         // blocks are cut on multiples of it
    int64_t row_block = 0;        // rows of one, at most
    int64_t row_least = 1;        // and at least
    std::vector<int> own;         // roots of values that nobody else sees
    std::vector<size_t> offsets;  // of these, for each row of a block
    size_t row_bytes = 0;         // of all of them
    std::vector<int> shared;      // roots in the arena that are read or made
  };
  int rows_of_operands(size_t node, int64_t rows) const;
  void find_chains(std::vector<int>& first, std::vector<int>& last, const std::vector<char>& kept);

  ProgramDesc desc_;
  std::vector<Node> nodes_;  // shapes at their upper bounds, no data
  std::vector<const OpDef*> ops_;
  std::vector<const KernelDef*> kernels_;  // of the CPU; null: the reference runs
  std::vector<int> root_;                  // per value: the value whose memory it shares
  std::vector<char> still_;                // per node: nothing runs, a view or a value made where it goes
  struct Sized {
    size_t node;
    uint64_t symbols;  // bit i: symbol i is a dimension of an operand (the last bit: of those beyond, too)
  };
  std::vector<Sized> sized_;          // nodes with symbolic dimensions
  std::vector<Chain> chains_;         // in order, of the CPU
  std::vector<char> written_;         // per entry of desc.bound: a value of the arena's kind is made in it
  std::vector<size_t> offset_;        // per root in the arena; npos elsewhere
  std::vector<size_t> input_offset_;  // per entry of desc.inputs, in the executable's own storage
  size_t arena_bytes_ = 0, input_bytes_ = 0;
  bool checking_ = false;  // HEDDLE_CHECK=1, or what may differ
};

constexpr size_t most_grouped = 8;  // nodes that run as one kernel's group

// Inputs and outputs of one run. Executable::run checks their sizes.
struct RunArguments {
  std::vector<int64_t> symbols;
  std::vector<std::vector<unsigned char>> inputs;
  struct Output {
    unsigned char* data;
    size_t bytes;
  };
  std::vector<Output> outputs;
  AbortFlag abort;  // may be null
};

// A program with the tensors it reads and writes, on the CPU or on an accelerator. Runs only on its lane's thread.
class Executable {
 public:
  // Throws UNSUPPORTED, naming the op, where the accelerator has no kernel for a node.
  Executable(std::shared_ptr<Program> program, std::vector<std::shared_ptr<Storage>> bound,
      std::shared_ptr<Accelerator> accelerator = nullptr);
  const Program& program() const { return *program_; }
  void validate(const RunArguments& arguments) const;  // any thread; throws
  void run(RunArguments& arguments, Lane& lane);       // throws; ABORTED when the flag is set
  // Seconds that an accelerator took for the last run, copies included; 0 on the CPU. Any thread.
  double device_seconds() const { return device_seconds_.load(std::memory_order_relaxed); }
  // How many kinds of run (by their sizes) are queued with one call. Any thread.
  int recordings() const { return recording_count_.load(std::memory_order_relaxed); }

 private:
  // The key under which a recording can be reused: it determines all launch arguments.
  struct RecordingKey {
    std::vector<int64_t> symbols;
    unsigned char *arena = nullptr, *scratch = nullptr;
    bool operator==(const RecordingKey& o) const {
      return symbols == o.symbols && arena == o.arena && scratch == o.scratch;
    }
  };
  void resolve(const std::vector<int64_t>& symbols, unsigned char* arena, int threads);
  void check_sizes(uint64_t changed, int threads);
  void pick_kernels();
  void find_packings();
  struct PackedOperand {
    size_t node;
    Storage* storage;  // of bound_
    Packing packing;
    std::shared_ptr<Storage> form;  // null until it is whole
    bool due = false;               // an earlier run has read the weight
  };
  void pack_operands(const RunArguments& arguments, Lane& lane);
  void pack_some(size_t missing, Pool& pool);
  void pack_parts(const PackedOperand& operand, Storage::PartlyPacked& made, size_t missing, Pool& pool);
  void find_groups();
  void find_sums();
  void find_streams();
  void announce_stream(size_t after, Pool& pool) const;
  size_t scratch_bytes(int threads);
  void run_nodes(const RunArguments& arguments, Lane& lane, Context& context);
  void run_node(size_t node, Context& context);
  void run_group(size_t node, Context& context);
  bool run_one(size_t node, Context& context, std::vector<char>& done);
  void run_profiled(size_t node, Context& context, std::vector<char>& done);
  using Chain = Program::Chain;
  size_t chain_kernel_bytes(const Chain& chain) const;
  size_t chain_thread_bytes(size_t chain) const;
  bool run_chain(size_t chain, const std::vector<char>& done, Context& context);
  bool run_sum(size_t node, Context& context, std::vector<char>& done);
  void run_checked(size_t node, Context& context);
  void run_reference(size_t node, Accelerator& accelerator);
  void explain_fault(int node, Accelerator& accelerator);  // throws
  // The same on an accelerator: device_run.cc.
  void prepare_device();
  void run_on_device(const RunArguments& arguments, Lane& lane, Context& context);
  void queue_run(const RunArguments& arguments, Lane& lane, Context& context);
  void queue_or_replay(const RunArguments& arguments, Lane& lane, Context& context);

  std::shared_ptr<Program> program_;
  std::shared_ptr<Accelerator> accelerator_;  // null: the CPU
  std::vector<const KernelDef*> kernels_;
  std::vector<std::shared_ptr<Storage>> bound_;
  std::shared_ptr<Storage> inputs_;
  std::vector<PackedOperand> packed_;
  std::unique_ptr<FormSpace> form_space_;  // of the forms that this executable begins
  PackingPace pace_;
  struct Stream {  // a weight that a node reads once through
    int node = -1, operand = 0;
  };
  std::vector<size_t> group_;        // per node: how many from it on run at once, as one kernel's group
  std::vector<size_t> sum_;          // per node: the later node that adds its output to something; 0: none
  std::vector<Stream> next_stream_;  // per node: the first after it
  std::vector<size_t> chain_bytes_;  // per chain of the program: what its kernels ask for, of one thread
  int scratch_threads_ = 0;          // that scratch_ holds for; 0: not known yet
  size_t scratch_ = 0;               // of the bounds
  size_t sizes_scratch_ = 0;         // of the sizes that were resolved so far,
  int sizes_threads_ = 0;            // for this number of threads
  std::vector<Node> nodes_;          // with data, as of the last resolve
  std::vector<Tensor> values_;
  std::vector<int64_t> symbols_;  // of the last resolve
  unsigned char* arena_ = nullptr;

  std::unique_ptr<HostMemory> host_;   // of an accelerator's run: inputs, outputs, the fault word
  std::vector<size_t> output_offset_;  // in host_; npos where outputs are too large to be mirrored
  size_t fault_offset_ = 0;
  bool recordable_ = false;
  RecordingKey last_;  // of the last run; a second one like it is recorded
  std::vector<std::pair<RecordingKey, std::shared_ptr<Recording>>> recordings_;  // the latest used last
  std::atomic<double> device_seconds_{0};
  std::atomic<int> recording_count_{0};
};

}  // namespace heddle
