// What the gradient kernels of attention share: their operands, and what is made before them.
#pragma once
#include "cuda/attention/attention.cuh"

namespace heddle {
namespace cuda {

struct BackwardArguments {
  View dout, q, k, v, o;  // (N, H, D), k and v (N, KH, D)
  const float* lse;       // (N, H)
  const RowSpan* spans;   // (N)
  float* mean;            // (N, H): do . o, the mean of d loss / d p under p
  Out dq, dk, dv;
  int64_t N, T, H, KH, D;
  Scores scores;
};

// Queues the kernels that fill spans and means, which lie in the scratch.
BackwardArguments prepare_backward(const Node& n, Context& c);
size_t backward_scratch(const Node& n, int threads);

// On sm_90a alone: attention_gradients_take_warpgroups says where. Operands of bf16; scratch of its own, at a multiple of 16.
void attention_backward_warpgroup(const Context& c, const BackwardArguments& a, void* scratch);
size_t warpgroup_backward_scratch(const Node& n);

}  // namespace cuda
}  // namespace heddle
