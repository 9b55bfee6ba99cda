// What linear layers' references share: the sums before they are rounded.
#pragma once
#include "ops/reference.h"

namespace heddle {

// The axis of w that holds M (outputs); the other one holds K.
inline int output_axis(bool transposed) { return transposed ? 1 : 0; }

// x W^T + bias (N, M) of a node whose first operand is x and whose attributes are linear's. `bias` may be null.
Row linear_sums(const Node& n, const Tensor& w, const Tensor* bias);
// dy (N, M), w -> (N, K), of a node whose first operands and output are linear_backward_input's.
Row linear_backward_input_sums(const Node& n);

}  // namespace heddle
