// Helpers for the `check` of every op. Each kind of mistake has one wording.
#pragma once
#include <initializer_list>
#include <string>

#include "ops/op.h"

namespace heddle {

// Value of `OpDef::max_inputs` and `OpDef::outputs` for an op with any number of tensors.
constexpr int any_number = -1;

// Sets of element types.
constexpr unsigned type_bit(DType t) { return 1u << static_cast<unsigned>(t); }
constexpr unsigned f32_only = type_bit(DType::f32);
constexpr unsigned i32_only = type_bit(DType::i32);
constexpr unsigned activation_types = f32_only | type_bit(DType::bf16);
constexpr unsigned float_types = activation_types | type_bit(DType::f16);
constexpr unsigned block_bits = (type_bit(DType::count) - 1) & ~(type_bit(DType::q8_0) - 1);
constexpr unsigned weight_types = float_types | block_bits;  // for matrices that keep their stored layout
static_assert(static_cast<unsigned>(DType::count) < 32, "sets of element types are bits of an unsigned");

// An operand and its name in error messages.
struct Operand {
  const char* name;
  const Tensor* tensor;
  const Shape& shape() const { return tensor->shape; }
  DType dtype() const { return tensor->dtype; }
};

class Check {
 public:
  // Throws unless the numbers of inputs and outputs are within their bounds. any_number as a maximum allows any number.
  Check(const char* op, const Node& node, int min_inputs, int max_inputs, int min_outputs, int max_outputs);

  bool has(size_t i) const { return node_.has_input(i); }
  Operand in(size_t i, const char* name) const;  // throws INVALID_ARGUMENT when absent
  Operand out(size_t i, const char* name) const;

  void rank(Operand a, int rank) const;
  void rank_at_least(Operand a, int rank) const;
  void dtype(Operand a, unsigned types) const;
  void same_dtype(Operand a, Operand b) const;          // a must have b's dtype
  void same_dtype_or_bf16(Operand a, Operand b) const;  // for a result that may be stored in bf16
  void dim(Operand a, int axis, int64_t expected) const;
  void same_dim(Operand a, int i, Operand b, int j) const;  // "op: last dimension of a: expected 576 like b, got 512"
  void same_shape(Operand a, Operand b) const;
  void shape(Operand a, std::initializer_list<int64_t> dims) const;
  void positive(Operand a, int axis) const;

  double attr(const char* name, double low, double high) const;  // finite and within [low, high]
  int64_t attr_int(const char* name, int64_t low, int64_t high) const;
  bool attr_flag(const char* name) const { return attr_int(name, 0, 1) != 0; }

  [[noreturn]] void mismatch(const std::string& message) const;  // SHAPE_MISMATCH "op: message"
  [[noreturn]] void invalid(const std::string& message) const;   // INVALID_ARGUMENT "op: message"

 private:
  const char* op_;
  const Node& node_;
};

// Checks of elementwise ops: all inputs and output 0 have one shape and one activation type. With `rounds`, output 0
// may also be bf16.
void check_elementwise(
    const char* op, const Node& node, std::initializer_list<const char*> inputs, bool rounds = false);

}  // namespace heddle
