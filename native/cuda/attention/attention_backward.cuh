// Shared by the kernels of attention's gradients: their operands, and the spans and delta, which are computed first.
#pragma once
#include "cuda/attention/attention.cuh"

namespace heddle {
namespace cuda {

struct BackwardArguments {
  View dout, q, k, v, o;  // (N, H, D); k and v (N, KH, D)
  const float* lse;       // (N, H): log-sum-exp of the forward pass
  const RowSpan* spans;   // (N)
  float* delta;           // (N, H): dout . o = the sum over the keys of p * d loss / d p
  Out dq, dk, dv;
  int64_t N, T, H, KH, D;
  Scores scores;
  bool causal;
};

// Launches the kernels that compute spans and delta into the scratch, and returns the operands.
BackwardArguments prepare_backward(const Node& n, Context& c);
size_t backward_scratch(const Node& n, int threads);

// Launches the kernels of attention_backward_sm90.cu. Requires sm_90a, bf16 operands, and sizes that
// attention_gradients_take_warpgroups accepts. `scratch` must be 16-byte aligned and must not overlap the scratch of
// prepare_backward.
void attention_backward_warpgroup(const Context& c, const BackwardArguments& a, void* scratch);
size_t warpgroup_backward_scratch(const Node& n);

}  // namespace cuda
}  // namespace heddle
