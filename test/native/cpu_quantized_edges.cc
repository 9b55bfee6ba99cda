// Runs kernels on quantized weights as they are in a mapped file: unaligned, and at the end of accessible memory.
// Reading beyond the last block crashes. The results must have the same bits as with aligned weights. Blocks are random
// bytes, like those of an untrusted file.
#include "kernel_check.h"

namespace {

struct Product {
  std::string op;
  std::vector<std::pair<std::string, double>> attributes;
  std::vector<Buffer> in, out;
  size_t weight;  // index of the weight among the inputs
};

Buffer random_blocks(DType t, int64_t rows, int64_t columns) {
  Buffer b(t, {rows, columns});
  for (char& byte : b.bytes) byte = static_cast<char>(next_random());
  return b;
}

// Returns the outputs for a weight at the end of accessible memory, or for an aligned weight. With `packed` the kernel
// reads the weight's packed form. With `unpacked` this form is not available yet (Node::unpacked). Returns no outputs
// if there is no kernel, or if the kernel has no packed form and one is asked for.
std::vector<Buffer> outputs_of(const Product& p, bool at_edge, bool packed, bool unpacked) {
  Attributes attributes;
  for (const auto& a : p.attributes) attributes.set(a.first, a.second);
  std::vector<Buffer> in = p.in, out = p.out;
  Node node = node_of(attributes, in, out, std::vector<bool>(in.size(), true));
  const AtEdge edge(p.in[p.weight]);
  if (at_edge) node.in[p.weight] = edge.view();
  const KernelDef* kernel = Registry::pick(p.op, node);
  if (!kernel) return {};
  ++covered[kernel->name];
  Pool pool(2);
  std::vector<char> form;
  if ((packed || unpacked) && !kernel->packs.describe) return {};
  const Packing packing = packed || unpacked ? kernel->packs.describe(node) : Packing{};
  if ((packed || unpacked) && !packing.bytes) return {};
  const auto aligned = [](std::vector<char>& memory) {
    return memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
  };
  if (packed) {
    form.resize(packing.bytes + 64);
    kernel->packs.pack(node, aligned(form), 0, packing.parts, pool);
    node.packed = aligned(form);
  }
  node.unpacked = unpacked;
  std::vector<char> memory((kernel->scratch ? kernel->scratch(node, 2) : 0) + 64);
  Context context{pool, aligned(memory)};
  kernel->run(node, context);
  return out;
}

void check_product(const Product& p, const std::string& label) {
  for (const int form : {0, 1, 2}) {  // stored, packed, not packed yet
    const std::vector<Buffer> apart = outputs_of(p, false, form == 1, form == 2),
                              edge = outputs_of(p, true, form == 1, form == 2);
    if (apart.empty()) continue;
    ++cases;
    for (size_t i = 0; i < apart.size(); ++i)
      if (apart[i].bytes != edge[i].bytes)
        fail({p.op, label, {}, {}, {}, {}, 0, 0, false, {}}, "output depends on the address of the weight");
  }
}

void products(DType type) {
  const int64_t block = block_type(type).elements;
  for (const int64_t columns : {block, 3 * block, 8 * block})
    for (const int64_t rows : {1, 5, 16, 33})
      for (const DType x : {f32, bf})
        for (const int64_t n : {1, 3, 12, 40}) {
          const std::string label = std::string(dtype_name(type)) + " " + std::to_string(n) + "x" +
                                    std::to_string(columns) + "x" + std::to_string(rows);
          const Buffer w = random_blocks(type, rows, columns);
          for (const double int8 : {0.0, 1.0})
            check_product({"linear", {{"transposed", 0}, {"rowwise", 0}, {"int8", int8}}, {filled(x, {n, columns}), w},
                              {Buffer(x, {n, rows})}, 1},
                label);
          check_product(
              {"linear_backward_input", {{"transposed", 0}}, {filled(x, {n, rows}), w}, {Buffer(x, {n, columns})}, 1},
              label);
          check_product({"embedding", {{"scale", 1}}, {w, indices(n, rows)}, {Buffer(x, {n, columns})}, 0}, label);
          check_product({"token_logprob", {{"softcap", 0}, {"scale", 1}},
                            {filled(x, {n, columns}), w, indices(n, rows)}, {Buffer(f32, {n}), Buffer(f32, {n})}, 1},
              label);
        }
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::function<void()>> groups;
  for (int t = static_cast<int>(DType::u8) + 1; t < static_cast<int>(DType::count); ++t)
    groups[dtype_name(static_cast<DType>(t))] = [t] { products(static_cast<DType>(t)); };
  return run_groups(groups, argc, argv);
}
