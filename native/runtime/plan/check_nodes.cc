#include "runtime/plan/passes.h"

namespace heddle {
namespace {

void check_values(const ProgramDesc& desc) {
  for (int64_t bound : desc.symbols)
    if (bound < 0) throw invalid_argument("symbol: expected a bound of at least 0, got " + std::to_string(bound));
  for (const ValueDesc& v : desc.values) {
    int64_t elements = 1;
    for (int i = 0; i < v.shape.rank; ++i) {
      int64_t d = v.shape.dims[i];
      if (d < -static_cast<int64_t>(desc.symbols.size()))
        throw internal_error("program: expected one of " + std::to_string(desc.symbols.size()) +
                             " symbols, got number " + std::to_string(-(d + 1)));
      if (d < 0) d = desc.symbols[-(d + 1)];
      if (d && elements > (int64_t{1} << 46) / d)
        throw shape_mismatch("program: expected a value of fewer than 2^46 elements, got " + to_string(v.shape));
      elements *= d;
    }
    if (is_quantized(v.dtype) &&
        (v.shape.rank == 0 || v.shape.last() < 0 || v.shape.last() % block_type(v.dtype).elements))
      throw shape_mismatch("program: expected rows of a multiple of " + std::to_string(block_type(v.dtype).elements) +
                           " for " + dtype_name(v.dtype) + ", got " + to_string(v.shape));
  }
}

uint64_t symbols_of(const ProgramDesc& desc, const NodeDesc& n) {
  uint64_t symbols = 0;
  for (const std::vector<int>* values : {&n.inputs, &n.outputs})
    for (int v : *values)
      for (int i = 0; v >= 0 && i < desc.values[v].shape.rank; ++i)
        if (const int64_t d = desc.values[v].shape.dims[i]; d < 0) symbols |= symbol_bit(static_cast<size_t>(-(d + 1)));
  return symbols;
}

}  // namespace

void check_nodes(const ProgramDesc& desc, ExecutionPlan& plan) {
  check_values(desc);
  const int count = static_cast<int>(desc.values.size());
  std::vector<char> defined(count, 0);
  const auto define = [&](int v) {
    if (v < 0 || v >= count || defined[v])
      throw internal_error(
          "program: expected the number of a known value that is not defined yet, got " + std::to_string(v));
    defined[v] = 1;
  };
  for (int v : desc.bound) define(v);
  for (int v : desc.inputs) define(v);
  for (const NodeDesc& n : desc.nodes) {
    PlannedNode planned;
    planned.op = Registry::find(n.op);
    if (!planned.op) throw Error("UNSUPPORTED", "op: expected a known op, got " + n.op);
    const OpDef& op = *planned.op;
    plan.uses_ranks |= op.uses_ranks;
    const int inputs = static_cast<int>(n.inputs.size()), outputs = static_cast<int>(n.outputs.size());
    if (inputs < op.min_inputs || (op.max_inputs >= 0 && inputs > op.max_inputs))
      throw shape_mismatch(n.op + ": expected " + std::to_string(op.min_inputs) +
                           (op.max_inputs < 0 ? " or more" : " to " + std::to_string(op.max_inputs)) +
                           " operands, got " + std::to_string(inputs));
    if (op.outputs >= 0 && outputs > op.outputs)
      throw internal_error(
          n.op + ": expected at most " + std::to_string(op.outputs) + " outputs, got " + std::to_string(outputs));
    Node& node = planned.bounds;
    for (int v : n.inputs) {
      if (v >= count || (v >= 0 && !defined[v]))
        throw internal_error(n.op + ": expected a defined value as operand, got number " + std::to_string(v));
      node.present.push_back(v >= 0);
      node.in.push_back(v < 0 ? Tensor{} : desc.largest(v));
    }
    for (int v : n.outputs) {
      define(v);
      if (is_quantized(desc.values[v].dtype))
        throw invalid_argument(
            n.op + ": expected an output of single elements, got " + dtype_name(desc.values[v].dtype));
      node.out.push_back(desc.largest(v));
    }
    node.attributes = &n.attributes;
    planned.symbols = symbols_of(desc, n);
    plan.nodes.push_back(std::move(planned));
  }
  for (int v : desc.outputs)
    if (v < 0 || v >= count || !defined[v])
      throw internal_error("program: expected a defined value as output, got number " + std::to_string(v));
  for (size_t i = 0; i < plan.nodes.size(); ++i) {
    PlannedNode& n = plan.nodes[i];
    try {
      n.op->check(n.bounds);
    } catch (const Error& e) {
      throw Error(e.code(), e.what() + desc.nodes[i].made_at());
    }
    n.kernel = n.op->view ? nullptr : Registry::pick(desc.nodes[i].op, n.bounds);
  }
}

}  // namespace heddle
