// Shared by the gradient kernels of attention: their operands, and the values computed before them.
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

// Queues the kernels that fill spans and means, which are in the scratch.
BackwardArguments prepare_backward(const Node& n, Context& c);
size_t backward_scratch(const Node& n, int threads);

// Only on sm_90a (see attention_gradients_take_warpgroups), for bf16 operands. `scratch` is separate and 16-byte
// aligned.
void attention_backward_warpgroup(const Context& c, const BackwardArguments& a, void* scratch);
size_t warpgroup_backward_scratch(const Node& n);

}  // namespace cuda
}  // namespace heddle
