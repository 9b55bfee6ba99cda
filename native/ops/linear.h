// Sums of linear layers in double, shared by the references.
#pragma once
#include "ops/reference.h"

namespace heddle {

// Returns the axis of w that holds M (outputs). The other axis holds K.
inline int output_axis(bool transposed) { return transposed ? 1 : 0; }

// Returns x W^T + bias (N, M), or x W + bias if `transposed` is set. The node's first operand is x, and it has linear's
// attributes. `bias` may be null.
Row linear_sums(const Node& n, const Tensor& w, const Tensor* bias);
// Returns dy W (N, K) for a node whose first operands and output are those of linear_backward_input.
Row linear_backward_input_sums(const Node& n);

}  // namespace heddle
