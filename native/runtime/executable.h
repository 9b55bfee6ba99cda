// A program with its bound tensors, on the CPU or on an accelerator.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "core/memory.h"
#include "runtime/lane.h"
#include "runtime/plan/passes.h"
#include "runtime/program.h"
#include "runtime/run/form_space.h"

namespace heddle {

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

// Functions are for the lane's thread, unless noted. The plan says what runs and where values are stored. All other
// members are the state of runs.
class Executable {
 public:
  // Throws UNSUPPORTED with the name of the op if the accelerator has no kernel for a node.
  Executable(std::shared_ptr<Program> program, std::vector<std::shared_ptr<Storage>> bound,
      std::shared_ptr<Accelerator> accelerator = nullptr);
  const Program& program() const { return *program_; }
  void validate(const RunArguments& arguments) const;  // any thread; throws
  void run(RunArguments& arguments, Lane& lane);       // throws; ABORTED if the flag is set
  // Seconds that the accelerator took for the last run, with the copies of inputs and outputs. 0 on the CPU. Any
  // thread.
  double device_seconds() const { return device_seconds_.load(std::memory_order_relaxed); }
  // Seconds that the last run waited for other ranks (RankSums::take_waited_seconds). Any thread.
  double waited_seconds() const { return waited_seconds_.load(std::memory_order_relaxed); }
  // Number of recordings, one for each combination of sizes and memory (RecordingKey). Any thread.
  int recordings() const { return recording_count_.load(std::memory_order_relaxed); }

 private:
  void check_bound() const;
  void resolve(const std::vector<int64_t>& symbols, unsigned char* arena, int threads);
  void check_sizes(uint64_t changed, int threads);
  size_t scratch_bytes(int threads);
  // run/pack_weights.cc
  void pack_weights(const RunArguments& arguments, Lane& lane);
  void pack_some(size_t missing, Lane& lane);
  void pack_parts(const PackedOperand& operand, Storage::PartlyPacked& made, size_t missing, Lane& lane);
  // run/run_nodes.cc
  void run_nodes(const RunArguments& arguments, Lane& lane, Context& context);
  void run_in_order(const RunArguments& arguments, Lane& lane, Context& context);
  void announce_stream(size_t after, Pool& pool) const;
  bool run_one(size_t node, Context& context, std::vector<char>& done);
  void run_profiled(size_t node, Context& context, std::vector<char>& done);
  void run_group(size_t node, Context& context);
  bool run_fused_add(size_t node, Context& context, std::vector<char>& done);
  void run_node(size_t node, Context& context);
  void store_waited_seconds(const Context& context);
  // run/run_chain.cc
  bool run_chain(const RowChain& chain, const std::vector<char>& done, Context& context);
  // run/run_checked.cc
  void run_checked(size_t node, Context& context);
  void run_reference(size_t node, Accelerator& accelerator);
  void explain_fault(int node, Accelerator& accelerator);  // throws
  // run/device_run.cc
  void prepare_device();
  void run_on_device(const RunArguments& arguments, Lane& lane, Context& context);
  void queue_run(const RunArguments& arguments, Lane& lane, Context& context);
  void queue_or_replay(const RunArguments& arguments, Lane& lane, Context& context);
  void forget_recordings();

  const std::shared_ptr<Program> program_;
  const std::shared_ptr<Accelerator> accelerator_;  // null: the CPU
  const std::vector<std::shared_ptr<Storage>> bound_;
  std::shared_ptr<const ExecutionPlan> plan_;  // the program's plan, or the plan with the accelerator's kernels
  std::shared_ptr<Storage> inputs_;

  std::vector<Node> nodes_;  // with the data pointers of the last resolve()
  std::vector<Tensor> values_;
  std::vector<int64_t> symbols_;  // symbols of the last resolve()
  unsigned char* arena_ = nullptr;
  uint64_t moves_ = 0;  // number of moves of the bound tensors before the last resolve()

  int scratch_threads_ = 0;   // number of threads that scratch_ is for; 0: unknown
  size_t scratch_ = 0;        // bytes for the symbols' upper bounds
  int sizes_threads_ = 0;     // number of threads that sizes_scratch_ is for
  size_t sizes_scratch_ = 0;  // maximum over all resolved sizes so far

  std::vector<PackedOperand> packed_;
  std::unique_ptr<FormSpace> form_space_;  // memory of packed forms that this executable allocates

  // Identifies a recording that can be replayed: it determines all launch arguments.
  struct RecordingKey {
    std::vector<int64_t> symbols;
    unsigned char *arena = nullptr, *scratch = nullptr;
    bool operator==(const RecordingKey& o) const {
      return symbols == o.symbols && arena == o.arena && scratch == o.scratch;
    }
  };
  std::unique_ptr<HostMemory> host_;   // for runs on an accelerator: inputs, outputs and the fault word
  std::vector<size_t> output_offset_;  // offsets in host_; all npos if the outputs are too large to be mirrored there
  size_t fault_offset_ = 0;
  bool recordable_ = false;
  RecordingKey last_;  // key of the last run; a second run with the same key is recorded
  std::vector<std::pair<RecordingKey, std::shared_ptr<Recording>>> recordings_;  // least recently used first
  std::atomic<double> device_seconds_{0}, waited_seconds_{0};
  std::atomic<int> recording_count_{0};
};

}  // namespace heddle
