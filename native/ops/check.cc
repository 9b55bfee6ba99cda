#include "ops/check.h"

#include <cmath>
#include <cstdio>

namespace heddle {
namespace {

std::string axis_name(const Operand& a, int axis) {
  return (axis == a.shape().rank - 1 ? std::string("last dimension of ")
                                     : "dimension " + std::to_string(axis) + " of ") +
         a.name;
}

std::string type_names(unsigned types) {
  std::string text;
  for (unsigned i = 0; i <= static_cast<unsigned>(DType::u8); ++i)
    if (types & (1u << i)) text += (text.empty() ? "" : " or ") + std::string(dtype_name(static_cast<DType>(i)));
  return types & block_bits ? text + " or a quantized type" : text;
}

std::string count_range(int low, int high) {
  if (low == high) return std::to_string(low);
  if (high == any_number) return "at least " + std::to_string(low);
  return std::to_string(low) + " to " + std::to_string(high);
}

std::string number(double v) {
  if (std::floor(v) == v && std::fabs(v) < 1e15) return std::to_string(static_cast<int64_t>(v));
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", v);
  return text;
}

}  // namespace

Check::Check(const char* op, const Node& node, int min_inputs, int max_inputs, int min_outputs, int max_outputs)
    : op_(op), node_(node) {
  const int ins = static_cast<int>(node.in.size()), outs = static_cast<int>(node.out.size());
  if (ins < min_inputs || (max_inputs != any_number && ins > max_inputs))
    invalid("inputs: expected " + count_range(min_inputs, max_inputs) + ", got " + std::to_string(ins));
  if (outs < min_outputs || (max_outputs != any_number && outs > max_outputs))
    invalid("outputs: expected " + count_range(min_outputs, max_outputs) + ", got " + std::to_string(outs));
}

Operand Check::in(size_t i, const char* name) const {
  if (i >= node_.in.size() || !node_.has_input(i)) invalid(std::string(name) + ": expected a tensor, got nothing");
  return {name, &node_.in[i]};
}

Operand Check::out(size_t i, const char* name) const {
  if (i >= node_.out.size()) invalid(std::string(name) + ": expected a tensor, got nothing");
  return {name, &node_.out[i]};
}

void Check::rank(Operand a, int rank) const {
  if (a.shape().rank != rank)
    mismatch(std::string(a.name) + ": expected " + std::to_string(rank) + " dimensions, got " + to_string(a.shape()));
}

void Check::rank_at_least(Operand a, int rank) const {
  if (a.shape().rank < rank)
    mismatch(std::string(a.name) + ": expected at least " + std::to_string(rank) + " dimensions, got " +
             to_string(a.shape()));
}

void Check::dtype(Operand a, unsigned types) const {
  if (!(types & type_bit(a.dtype())))
    invalid(std::string(a.name) + ": expected " + type_names(types) + ", got " + dtype_name(a.dtype()));
}

void Check::same_dtype(Operand a, Operand b) const {
  if (a.dtype() != b.dtype())
    invalid(std::string(a.name) + ": expected " + dtype_name(b.dtype()) + " like " + b.name + ", got " +
            dtype_name(a.dtype()));
}

void Check::same_dtype_or_bf16(Operand a, Operand b) const {
  if (a.dtype() != DType::bf16) same_dtype(a, b);
}

void Check::dim(Operand a, int axis, int64_t expected) const {
  if (a.shape()[axis] != expected)
    mismatch(
        axis_name(a, axis) + ": expected " + std::to_string(expected) + ", got " + std::to_string(a.shape()[axis]));
}

void Check::same_dim(Operand a, int i, Operand b, int j) const {
  if (a.shape()[i] != b.shape()[j])
    mismatch(axis_name(a, i) + ": expected " + std::to_string(b.shape()[j]) + " like " + b.name + ", got " +
             std::to_string(a.shape()[i]));
}

void Check::same_shape(Operand a, Operand b) const {
  if (a.shape() != b.shape())
    mismatch(std::string("shape of ") + a.name + ": expected " + to_string(b.shape()) + " like " + b.name + ", got " +
             to_string(a.shape()));
}

void Check::shape(Operand a, std::initializer_list<int64_t> dims) const {
  Shape expected;
  for (int64_t d : dims) expected.dims[expected.rank++] = d;
  if (a.shape() != expected)
    mismatch(std::string("shape of ") + a.name + ": expected " + to_string(expected) + ", got " + to_string(a.shape()));
}

void Check::positive(Operand a, int axis) const {
  if (a.shape()[axis] < 1)
    mismatch(axis_name(a, axis) + ": expected at least 1, got " + std::to_string(a.shape()[axis]));
}

double Check::attr(const char* name, double low, double high) const {
  const double v = node_.attr(name);
  if (!(v >= low && v <= high))  // also catches NaN
    invalid(std::string(name) + ": expected a number in [" + number(low) + ", " + number(high) + "], got " + number(v));
  return v;
}

int64_t Check::attr_int(const char* name, int64_t low, int64_t high) const {
  const double v = attr(name, static_cast<double>(low), static_cast<double>(high));
  if (v != std::floor(v)) invalid(std::string(name) + ": expected an integer, got " + number(v));
  return static_cast<int64_t>(v);
}

void Check::mismatch(const std::string& message) const { throw shape_mismatch(std::string(op_) + ": " + message); }
void Check::invalid(const std::string& message) const { throw invalid_argument(std::string(op_) + ": " + message); }

void check_elementwise(const char* op, const Node& node, std::initializer_list<const char*> inputs, bool rounds) {
  const int n = static_cast<int>(inputs.size());
  Check c(op, node, n, n, 1, 1);
  const Operand first = c.in(0, *inputs.begin()), y = c.out(0, "output");
  c.dtype(first, activation_types);
  for (int i = 1; i < n; ++i) {
    const Operand other = c.in(i, inputs.begin()[i]);
    c.same_shape(other, first);
    c.same_dtype(other, first);
  }
  c.same_shape(y, first);
  rounds ? c.same_dtype_or_bf16(y, first) : c.same_dtype(y, first);
}

}  // namespace heddle
