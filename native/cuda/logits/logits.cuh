// Logits over a vocabulary, which stay in registers. The logits of hidden rows h (N, C) are h W^T with W (V, C), scaled
// and soft-capped. In bf16, tensor cores compute a tile of them, and the tile's epilogue reduces it: to a part of the
// softmax (softmax_part.cuh), or to the gradient of the products in bf16 (logit_gradient.cuh).
//
// logits_sm90.cu and logits_tensor.cu have the kernels of both epilogues. The accumulators of a warp's 16 rows consist
// of fragments with 8 columns. A lane holds the rows lane / 4 and lane / 4 + 8. Of each fragment, it holds two columns
// from lane % 4 * 2 on. Epilogues access them by at(f, half, e): the fragment, the row, and the column.
#pragma once
#include "cuda/attention/attention_tensor.cuh"
#include "cuda/gemm/gemm.cuh"

namespace heddle {
namespace cuda {
namespace logits {

// The operands of a product h W^T, in bf16 with 16-byte aligned rows.
struct Operands {
  const uint16_t *h, *w;  // (N, C), (V, C)
  int64_t N, V, C;
};

// Returns the number to subtract from logits before exp, given their maximum. It is finite even if all logits are -inf.
__device__ inline float base_of(float largest) { return largest == -INFINITY ? 0.0f : largest; }

// A part of a row's softmax: the largest of its logits, and the sum of exponentials relative to base_of(largest).
struct Part {
  float largest, sum;

  // Returns the sum relative to another maximum, which is at least `largest`.
  __device__ float sum_for(float maximum) const {
    return sum * ptx::power_of_two((largest - base_of(maximum)) * log2_e);
  }
};

struct Softmax {
  Operands of;
  const float* bias;       // (V), added to the products; may be null
  const int32_t* targets;  // (N); negative ones are ignored
  Scores scores;
  Part* parts;       // (N, tiles): receives a part for each tile of the vocabulary
  float* of_target;  // (N): receives the logits of valid targets
  int64_t tiles;
};

struct Gradient {
  Operands of;  // w has the entries [begin, begin + V) of the vocabulary
  int64_t begin;
  const int32_t* targets;  // (N)
  const float* lse;        // (N): log-sum-exp of a row's logits
  const float* upstream;   // (N): d loss / d log-probability of the target
  const float* of_lse;     // (N): d loss / d log-sum-exp; may be null
  float scale;             // of the logits, which have no bias and no softcap
  uint16_t* to;            // (N, ld): receives d loss / d product in bf16, in the first V columns
  int64_t ld;              // a multiple of 8
};

// Launch the kernels of GemmKernel::tensor and GemmKernel::warpgroup, with the tiles of `choice`.
void softmax_parts_tensor(const Context& context, const char* name, const Softmax& s, const GemmChoice& choice);
void softmax_parts_warpgroup(const Context& context, const char* name, const Softmax& s, const GemmChoice& choice);
void gradients_tensor(const Context& context, const char* name, const Gradient& g, const GemmChoice& choice);
void gradients_warpgroup(const Context& context, const char* name, const Gradient& g, const GemmChoice& choice);

// Combines the parts of each row. Replaces the logits of targets by log-probabilities, and stores log-sum-exps (N) to
// `lse`. Targets of at least V are a fault.
void combine_parts(const Context& context, const char* name, const Softmax& s, float* lse);

}  // namespace logits
}  // namespace cuda
}  // namespace heddle
