// Builds programs of arbitrary nodes over arbitrary values. A program is rejected with a typed error, or runs in one
// planned arena, with views and in-place ops. Its results must equal those of running node by node with separate memory
// for each value.
#include <future>

#include "fuzz.h"
#include "runtime/executable.h"

using namespace heddle;
using namespace heddle::fuzz;

namespace {

struct Arity {
  const char* op;
  int inputs, outputs;
};
const Arity arities[] = {{"add", 2, 1}, {"mul", 2, 1}, {"affine", 1, 1}, {"minimum", 2, 1}, {"clamp", 1, 1},
    {"stop_gradient", 1, 1}, {"reshape", 1, 1}, {"accumulate", 3, 0}, {"assign", 2, 0}, {"split", 1, 2},
    {"concat", 2, 1}, {"gather_rows", 2, 1}, {"sum", 1, 1}};

// Returns a program that is usually valid. With `wild`, sizes are arbitrary.
ProgramDesc program(Input& in, bool wild) {
  ProgramDesc desc;
  if (in.ConsumeBool())
    desc.symbols.push_back(wild ? in.ConsumeIntegral<int64_t>() : in.ConsumeIntegralInRange<int64_t>(0, 5));
  const int64_t width = in.ConsumeIntegralInRange<int64_t>(1, 4);
  const auto value = [&] {
    // A value has 7 rows, 6 rows, or a number of rows that the symbol gives (-1). The symbol's bound is at most 5, and
    // thus differs from 6 and 7. The checks compare bounds, so they would accept a symbolic dimension in place of an
    // equal fixed one. Only lib/graph rejects that.
    ValueDesc v{DType::f32, {2, {in.ConsumeBool() ? 7 : desc.symbols.empty() ? 6 : -1, width}}};
    if (in.ConsumeIntegralInRange<int>(0, 7) == 0) v.shape = {1, {1}};
    if (in.ConsumeIntegralInRange<int>(0, 9) == 0) v.dtype = DType::i32, v.shape = {1, {6 + in.ConsumeBool()}};
    if (in.ConsumeIntegralInRange<int>(0, 5) == 0) v.shape.dims[v.shape.rank - 1] *= 2;
    if (wild) v.shape.dims[0] = in.ConsumeIntegral<int64_t>() >> in.ConsumeIntegralInRange<int>(0, 60);
    desc.values.push_back(v);
    return static_cast<int>(desc.values.size()) - 1;
  };
  const auto any_value = [&] { return in.ConsumeIntegralInRange<int>(0, static_cast<int>(desc.values.size()) - 1); };
  for (int i = in.ConsumeIntegralInRange<int>(1, 3); i > 0; --i) desc.bound.push_back(value());
  for (int i = in.ConsumeIntegralInRange<int>(0, 2); i > 0; --i) desc.inputs.push_back(value());
  for (int i = in.ConsumeIntegralInRange<int>(1, 12); i > 0; --i) {
    const Arity& arity = arities[in.ConsumeIntegralInRange<size_t>(0, sizeof arities / sizeof *arities - 1)];
    NodeDesc node;
    node.op = arity.op;
    node.attributes.set("factor", in.ConsumeIntegralInRange<int>(-2, 2)),
        node.attributes.set("offset", in.ConsumeIntegralInRange<int>(-2, 2));
    node.attributes.set("low", -3), node.attributes.set("high", 3);
    for (int k = 0; k < arity.inputs; ++k) node.inputs.push_back(any_value());
    for (int k = 0; k < arity.outputs; ++k) {
      if (in.ConsumeBool()) value();
      else desc.values.push_back(desc.values[static_cast<size_t>(node.inputs[0])]);
      node.outputs.push_back(static_cast<int>(desc.values.size()) - 1);
    }
    desc.nodes.push_back(node);
  }
  for (int i = in.ConsumeIntegralInRange<int>(0, 3); i > 0; --i) desc.outputs.push_back(any_value());
  return desc;
}

// Whether the elements are equal. -0 equals 0, because a kernel may omit the addition of an offset of 0, which would
// turn -0 into 0.
bool same(DType type, const unsigned char* a, const unsigned char* b, size_t bytes) {
  if (type != DType::f32) return bytes == 0 || std::memcmp(a, b, bytes) == 0;
  for (size_t i = 0; i < bytes; i += sizeof(float)) {
    float x, y;
    std::memcpy(&x, a + i, sizeof x), std::memcpy(&y, b + i, sizeof y);
    if (x != y && std::memcmp(&x, &y, sizeof x) != 0) return false;
  }
  return true;
}

// Prints the program. HEDDLE_FUZZ_SHOW=1 calls it, to debug an input.
void show(const ProgramDesc& desc) {
  for (size_t v = 0; v < desc.values.size(); ++v)
    std::fprintf(
        stderr, "value %zu: %s %s\n", v, dtype_name(desc.values[v].dtype), to_string(desc.values[v].shape).c_str());
  const auto list = [](const char* name, const std::vector<int>& ids) {
    std::fprintf(stderr, " %s", name);
    for (const int v : ids) std::fprintf(stderr, " %d", v);
  };
  for (const NodeDesc& n : desc.nodes) list(n.op.c_str(), n.inputs), list("->", n.outputs), std::fprintf(stderr, "\n");
  list("bound", desc.bound), list("inputs", desc.inputs), list("outputs", desc.outputs), std::fprintf(stderr, "\n");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Lane& lane = *new Lane(1);
  Input in(data, size);
  const bool wild = in.ConsumeIntegralInRange<int>(0, 3) == 0;
  const ProgramDesc desc = program(in, wild);
  if (std::getenv("HEDDLE_FUZZ_SHOW")) show(desc);
  std::shared_ptr<Program> checked;
  // A dimension of a wild program may refer to a symbol that does not exist, which is INTERNAL.
  if (!accepts([&] { checked = std::make_shared<Program>(desc); }, true)) return 0;
  RunArguments arguments;
  for (const int64_t bound : desc.symbols)
    arguments.symbols.push_back(wild ? bound : in.ConsumeIntegralInRange<int64_t>(0, bound));
  const auto bytes = [&](int v, const std::vector<int64_t>& symbols) { return desc.resolve(v, symbols).bytes(); };
  for (size_t v = 0; v < desc.values.size(); ++v)
    if (bytes(static_cast<int>(v), desc.symbols) > 4096) return 0;
  // Returns small integers as floats, so that sums are exact in any order.
  const auto small_floats = [&](size_t n) {
    std::vector<uint8_t> list(n);
    for (size_t i = 0; i + 4 <= n; i += 4) {
      const float f = static_cast<float>(in.ConsumeIntegralInRange<int>(-2, 2));
      std::memcpy(&list[i], &f, 4);
    }
    return list;
  };

  std::vector<std::shared_ptr<Storage>> bound;
  std::vector<Block> reference_memory;  // separate memory of each value
  for (size_t v = 0; v < desc.values.size(); ++v)
    reference_memory.emplace_back(bytes(static_cast<int>(v), desc.symbols));
  for (const int v : desc.bound) {
    const std::vector<uint8_t> content = small_floats(bytes(v, desc.symbols));
    bound.push_back(Storage::allocate(content.size()));
    if (content.empty()) continue;
    std::memcpy(bound.back()->data(), content.data(), content.size());
    std::memcpy(reference_memory[static_cast<size_t>(v)].data(), content.data(), content.size());
  }
  for (const int v : desc.inputs) {
    arguments.inputs.push_back(small_floats(bytes(v, arguments.symbols)));
    if (!arguments.inputs.back().empty())
      std::memcpy(reference_memory[static_cast<size_t>(v)].data(), arguments.inputs.back().data(),
          arguments.inputs.back().size());
  }
  std::vector<Block> outputs;
  for (const int v : desc.outputs)
    outputs.emplace_back(bytes(v, arguments.symbols)),
        arguments.outputs.push_back({outputs.back().data(), outputs.back().size()});

  std::unique_ptr<Executable> executable;
  if (!accepts([&] { executable = std::make_unique<Executable>(checked, bound); })) return 0;
  if (!accepts([&] { executable->validate(arguments); })) return 0;
  std::promise<bool> done;
  lane.post([&] { done.set_value(accepts([&] { executable->run(arguments, lane); })); });
  const bool ran = done.get_future().get();

  std::vector<unsigned char*> addresses;
  for (const Block& b : reference_memory) addresses.push_back(b.data());
  const bool reference_ran = accepts([&] {
    for (const NodeDesc& n : desc.nodes) {
      const OpDef& op = *Registry::find(n.op);
      Node node;
      node.attributes = &n.attributes;
      const auto tensor = [&](int v) {
        Tensor t = desc.resolve(v, arguments.symbols);
        t.data = addresses[static_cast<size_t>(v)];
        return t;
      };
      for (const int v : n.inputs) node.in.push_back(tensor(v)), node.present.push_back(true);
      for (const int v : n.outputs) node.out.push_back(tensor(v));
      op.check(node);  // shapes that match at the symbols' bounds may differ at smaller sizes
      if (op.view) {
        addresses[static_cast<size_t>(n.outputs[0])] = addresses[static_cast<size_t>(n.inputs[0])];
        continue;
      }
      op.reference(node);
    }
  });
  require(ran == reference_ran, "a program runs if and only if its nodes run one by one");
  if (!ran) return 0;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const size_t v = static_cast<size_t>(desc.outputs[i]);
    require(same(desc.values[v].dtype, outputs[i].data(), addresses[v], outputs[i].size()),
        "outputs equal those of running node by node");
  }
  for (size_t i = 0; i < bound.size(); ++i) {
    const size_t v = static_cast<size_t>(desc.bound[i]);
    require(same(desc.values[v].dtype, bound[i]->data(), reference_memory[v].data(), reference_memory[v].size()),
        "bound tensors equal those of running node by node");
  }
  return 0;
}
