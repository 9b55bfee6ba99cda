// Runs every op with operands of arbitrary shapes, types and bytes, and with arbitrary attributes. Either the op's
// check rejects them with a typed error, or the reference, and the kernel if it is linked, access only the operands'
// memory.
#include <cmath>
#include <cstring>

#include "fuzz.h"
#include "ops/op.h"
#include "runtime/pool.h"
#include "runtime/executable.h"

using namespace heddle;
using namespace heddle::fuzz;

namespace {

constexpr size_t most_bytes = 1 << 16;  // maximum total size of the operands of an op that runs

// The attributes of all ops.
const char* const attribute_names[] = {"activation", "cap", "causal", "context", "decay", "eps", "factor", "function",
    "high", "int8", "interleaved", "inverse", "length", "low", "normalize", "offset", "original", "p", "rowwise",
    "scale", "sequenceLength", "softcap", "stream", "tanh", "transposed", "window", "interleaved_out", "bf16", "fp8",
    "piece", "first", "ranks", "add", "end.0", "end.1", "ring", "a_transposed", "b_transposed", "may_round"};

// Draws shapes from a small set of dimensions, so that the shapes of operands often match.
struct Dimensions {
  int64_t pool[4];
  explicit Dimensions(Input& in) {
    for (int64_t& d : pool)
      d = in.ConsumeBool() ? in.ConsumeIntegralInRange<int64_t>(0, 6) : in.ConsumeIntegralInRange<int64_t>(0, 2) * 32;
    if (in.ConsumeIntegralInRange<int>(0, 3) == 0) pool[3] = in.ConsumeIntegralInRange<int64_t>(0, int64_t{1} << 53);
  }
  Shape shape(Input& in) const {
    Shape s;
    s.rank = in.ConsumeIntegralInRange<int>(0, max_rank);
    for (int i = 0; i < s.rank; ++i) {
      const int which = in.ConsumeIntegralInRange<int>(0, 6);
      s.dims[i] = which < 4 ? pool[which] : which == 4 ? 1 : which == 5 ? pool[0] * 2 : 4;
    }
    return s;
  }
};

DType type(Input& in) {
  const int which = in.ConsumeIntegralInRange<int>(0, 9);
  if (which < 5) return DType::f32;
  return which == 5  ? DType::bf16
         : which < 8 ? DType::i32
                     : static_cast<DType>(in.ConsumeIntegralInRange<int>(0, static_cast<int>(DType::count) - 1));
}

// Sets the tensor's memory. With `small`, replaces i32 elements by -1 to 5, and floats by -2 to 2. Other types keep the
// block's bytes.
void fill(Tensor& t, const Block& block, bool small) {
  t.data = block.data();
  if (!small || t.dtype == DType::u8 || is_quantized(t.dtype)) return;
  for (int64_t i = 0; i < t.shape.size(); ++i)
    if (t.dtype == DType::i32) t.as<int32_t>()[i] = block.data()[4 * i] % 7 - 1;
    else store_float(t, i, static_cast<float>(block.data()[(i * 3) % block.size()] % 33 - 16) / 8);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<const OpDef*>& ops = *new std::vector<const OpDef*>(Registry::all());
  static Pool& pool = *new Pool(1);
  Input in(data, size);
  const OpDef& op = *ops[in.ConsumeIntegralInRange<size_t>(0, ops.size() - 1)];
  const Dimensions dimensions(in);
  ProgramDesc desc;
  NodeDesc node;
  node.op = op.name;
  for (const char* name : attribute_names) {
    const double value = in.ConsumeIntegralInRange<int>(0, 3) ? in.ConsumeIntegralInRange<int>(0, 1) : number(in);
    // An op with `ranks` also has a list with the end of each rank's range. A list with fewer ends than ranks would be
    // an INTERNAL error.
    const bool has_ends = std::strcmp(name, "ranks") != 0 || !(value > 2);
    node.attributes.set(name, has_ends ? value : 2);
  }
  const auto add = [&] {
    desc.values.push_back({type(in), dimensions.shape(in)});
    return static_cast<int>(desc.values.size()) - 1;
  };
  // Also tries one input too many or too few, and too few outputs.
  const int max_in = op.max_inputs < 0 ? 4 : op.max_inputs, max_out = op.outputs < 0 ? 4 : op.outputs;
  const int inputs = in.ConsumeIntegralInRange<int>(op.min_inputs > 0 ? op.min_inputs - 1 : 0, max_in + 1),
            outputs = in.ConsumeIntegralInRange<int>(0, max_out + 1);
  for (int i = 0; i < inputs; ++i) {
    if (in.ConsumeIntegralInRange<int>(0, 9) == 0) {
      node.inputs.push_back(-1);
      continue;
    }
    // Operands may have the shape and the type of the first one.
    if (i > 0 && node.inputs[0] >= 0 && in.ConsumeIntegralInRange<int>(0, 3) == 0)
      desc.values.push_back(desc.values[static_cast<size_t>(node.inputs[0])]);
    else add();
    node.inputs.push_back(static_cast<int>(desc.values.size()) - 1), desc.bound.push_back(node.inputs.back());
  }
  for (int i = 0; i < outputs; ++i) {
    if (!node.inputs.empty() && node.inputs[0] >= 0 && in.ConsumeBool())
      desc.values.push_back(desc.values[static_cast<size_t>(node.inputs[0])]),
          node.outputs.push_back(static_cast<int>(desc.values.size()) - 1);
    else node.outputs.push_back(add());
  }
  if (outputs > max_out) return 0;  // more outputs than the op table allows are an INTERNAL error
  desc.nodes.push_back(node);

  std::unique_ptr<Program> program;
  if (!accepts([&] { program = std::make_unique<Program>(desc); })) return 0;
  const bool small = in.ConsumeBool();
  const std::vector<uint8_t> bytes = in.ConsumeRemainingBytes<uint8_t>();
  Node run;
  run.attributes = &desc.nodes[0].attributes;
  std::vector<Block> memory;
  memory.reserve(desc.values.size());
  const auto operand = [&](int v) {
    Tensor t{nullptr, desc.values[static_cast<size_t>(v)].dtype, desc.values[static_cast<size_t>(v)].shape};
    memory.emplace_back(t.bytes(), bytes);
    fill(t, memory.back(), small);
    return t;
  };
  size_t work = 1;  // bounds the loops of every reference
  for (const ValueDesc& v : desc.values) {
    const size_t n = Tensor{nullptr, v.dtype, v.shape}.bytes();
    for (int i = 0; i < v.shape.rank; ++i)
      if (v.shape.dims[i] > (1 << 14)) return 0;
    if (n > most_bytes) return 0;
    work += n;
  }
  if (work > most_bytes) return 0;
  for (const int v : node.inputs) run.present.push_back(v >= 0), run.in.push_back(v < 0 ? Tensor{} : operand(v));
  for (const int v : node.outputs) run.out.push_back(operand(v));
  accepts([&] { op.reference(run); });
  const KernelDef* kernel = op.view ? nullptr : Registry::pick(op.name, run);
  if (!kernel) return 0;
  const Block scratch((kernel->scratch ? kernel->scratch(run, 1) : 0) + 64);
  void* aligned = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) % 64;
  Context context{pool, aligned};
  accepts([&] { kernel->run(run, context); });
  return 0;
}
