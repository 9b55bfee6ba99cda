// token_logprob and its gradient with logits in memory, in f32. Computes the logits of one strip of the vocabulary at a
// time, so that their memory is bounded. These functions are for operands whose logits cannot stay in registers
// (logits.cuh).
#pragma once
#include "cuda/rows/math.cuh"

namespace heddle {
namespace cuda {
namespace logits {

// n: a token_logprob.
void stored_softmax(const Node& n, Context& c);
size_t stored_softmax_scratch(const Node& n);

// n: a token_logprob_backward. narrow: the gradient of the logits is rounded to bf16 for its products.
void stored_gradient(const Node& n, Context& c, bool narrow);
size_t stored_gradient_scratch(const Node& n);

// Returns the leading dimension of bf16 gradients of `width` entries, whose rows are 16-byte aligned.
inline int64_t narrow_ld(int64_t width) { return round_up(width, 8); }

}  // namespace logits
}  // namespace cuda
}  // namespace heddle
