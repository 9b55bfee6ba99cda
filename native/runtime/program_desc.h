// A traced graph as TypeScript describes it.
#pragma once
#include <string>
#include <vector>

#include "core/tensor.h"
#include "ops/op.h"

namespace heddle {

// A dimension of 0 or more is fixed. A dimension of -(i + 1) is symbol i. Each run gives the symbol's value, which is
// at most ProgramDesc::symbols[i].
struct ValueDesc {
  DType dtype;
  Shape shape;
};

struct NodeDesc {
  std::string op;
  std::vector<int> inputs;  // value ids; -1: an absent optional operand
  std::vector<int> outputs;
  Attributes attributes;
  std::string origin;  // the TypeScript line that created the node, if it was recorded
  std::string made_at() const { return origin.empty() ? "" : " (made at " + origin + ")"; }
};

struct ProgramDesc {
  std::vector<int64_t> symbols;  // upper bounds
  std::vector<ValueDesc> values;
  std::vector<NodeDesc> nodes;  // in an executable order
  std::vector<int> bound;       // values stored in tensors that are given to Executable
  std::vector<int> inputs;      // values that each run copies in
  std::vector<int> outputs;     // values that each run copies out

  // Returns a value without data, with its symbolic dimensions replaced by `sizes`.
  Tensor resolve(int value, const std::vector<int64_t>& sizes) const {
    Tensor t{nullptr, values[value].dtype, values[value].shape};
    for (int i = 0; i < t.shape.rank; ++i)
      if (t.shape.dims[i] < 0) t.shape.dims[i] = sizes[-t.shape.dims[i] - 1];
    return t;
  }
  // Returns a value without data, with symbols at their upper bounds.
  Tensor largest(int value) const { return resolve(value, symbols); }
};

}  // namespace heddle
