// Finds the optional outputs of token_logprob_backward. Splits a token_logprob_with_gradient into the two nodes that it
// combines, token_logprob and token_logprob_backward.
#pragma once
#include "ops/op.h"

namespace heddle {

// Whether output 1 is dw (V, C).
inline bool logprob_weight_gradient(const Node& n) { return n.out.size() > 1 && n.out[1].shape.rank == 2; }
// The index of the output dbias (V), or 0 if the node does not have it.
inline size_t logprob_bias_gradient(const Node& n) {
  const size_t last = n.out.size() - 1;
  return last > 0 && n.out[last].shape.rank == 1 ? last : 0;
}

inline Node logprob_part(const Node& n) {
  Node part;
  part.attributes = n.attributes;
  part.in = {n.in[1], n.in[2], n.in[3]}, part.present = {true, true, true};
  part.out = {n.out[0], n.out[1]};
  return part;
}

inline Node logprob_gradient_part(const Node& n) {
  Node part;
  part.attributes = n.attributes;
  part.in = {n.in[0], n.in[1], n.in[2], n.in[3], n.out[1]}, part.present = {true, true, true, true, true};
  if (n.has_input(4)) part.in.push_back(n.in[4]), part.present.push_back(true);
  part.out.assign(n.out.begin() + 2, n.out.end());
  return part;
}

}  // namespace heddle
