// Routing of a mixture of experts: selects the experts of each row, and computes the weighted sum of their outputs.
#include "cuda/rows/math.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int threads = 256, warps = threads / warp_size;

// ---- selection of experts

// Returns a logit for comparisons. NaN counts as -infinity, so that the selected indices are valid.
__device__ inline float logit_at(const View& logits, int64_t i) {
  const float v = logits[i];
  return v == v ? v : -INFINITY;
}

// logits (N, E) -> weights (N, k), experts (N, k). One warp per row. Each of the k steps selects the largest logit
// after the previously selected one, in descending order. Equal logits are ordered by index. Weights are the softmax
// over the selected experts if `normalize`, otherwise over all experts.
__global__ void __launch_bounds__(threads) route_kernel(PreviousKernel previous, View logits, float* weights,
    int32_t* experts, int64_t N, int64_t E, int64_t k, bool normalize) {
  previous.wait();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size;
  if (row >= N) return;  // uniform over the warp
  const int lane = threadIdx.x % warp_size;
  float before = INFINITY, largest = 0, sum = 0;
  int64_t chosen = -1;
  for (int64_t j = 0; j < k; ++j) {
    float best = -INFINITY;
    int64_t at = E;
    for (int64_t e = lane; e < E; e += warp_size) {
      const float v = logit_at(logits, row * E + e);
      const bool after = j == 0 || v < before || (v == before && e > chosen);  // after the previously selected expert
      if (after && (at == E || v > best)) best = v, at = e;
    }
    for (int lanes = warp_size / 2; lanes > 0; lanes /= 2) {
      const float other = __shfl_xor_sync(all_lanes, best, lanes);
      const int64_t other_at = __shfl_xor_sync(all_lanes, at, lanes);
      if (other_at < E && (at == E || other > best || (other == best && other_at < at))) best = other, at = other_at;
    }
    before = best, chosen = at;
    if (j == 0) largest = best;
    sum += expf(best - largest);
    if (lane == 0) {
      experts[row * k + j] = static_cast<int32_t>(at);
      weights[row * k + j] = expf(logits[row * E + at] - largest);  // not logit_at, so that NaN stays NaN
    }
  }
  if (!normalize) {
    sum = 0;
    for (int64_t e = lane; e < E; e += warp_size) sum += expf(logits[row * E + e] - largest);
    sum = warp_sum(sum);
  }
  if (lane == 0)
    for (int64_t j = 0; j < k; ++j) weights[row * k + j] /= sum;
}
void route(const Node& n, Context& c) {
  const Tensor &logits = n.in[0], &weights = n.out[0];
  launch(c, "route_experts", {dim3(blocks_for(logits.shape[0], warps)), dim3(threads)}, route_kernel, view(logits),
      weights.as<float>(), n.out[1].as<int32_t>(), logits.shape[0], logits.shape[1], weights.shape[1],
      n.attr_flag("normalize"));
}

// dweights (N, k), logits (N, E), experts (N, k) -> dlogits (N, E). One warp per row.
__global__ void __launch_bounds__(threads) route_backward_kernel(const float* dweights, View logits,
    const int32_t* experts, Out dlogits, int64_t N, int64_t E, int64_t k, bool normalize, Fault fault) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size;
  if (row >= N) return;  // uniform over the warp
  const int lane = threadIdx.x % warp_size;
  const int32_t* chosen = experts + row * k;
  for (int64_t j = 0; j < k; ++j)
    if (chosen[j] < 0 || chosen[j] >= E) {
      if (lane == 0) fault.report();
      return;  // uniform over the warp
    }
  float largest = -INFINITY, sum = 0, mean = 0;
  for (int64_t e = lane; e < E; e += warp_size) largest = fmaxf(largest, logits[row * E + e]);
  largest = warp_max(largest);
  const auto exponential = [&](int64_t e) { return expf(logits[row * E + e] - largest); };
  if (normalize) {
    for (int64_t j = 0; j < k; ++j) sum += exponential(chosen[j]);
  } else {
    for (int64_t e = lane; e < E; e += warp_size) sum += exponential(e);
    sum = warp_sum(sum);
  }
  for (int64_t j = 0; j < k; ++j) mean += exponential(chosen[j]) / sum * dweights[row * k + j];
  // The gradient of the softmax: p * (dweight - mean), where the dweight of an expert that is not selected is 0.
  for (int64_t e = lane; e < E; e += warp_size) {
    const float p = exponential(e) / sum;
    float d = normalize ? 0.0f : -p * mean;
    for (int64_t j = 0; j < k; ++j)
      if (chosen[j] == e) d = p * (dweights[row * k + j] - mean);
    dlogits.store(row * E + e, d);
  }
}
void route_backward(const Node& n, Context& c) {
  const Tensor &dweights = n.in[0], &logits = n.in[1];
  launch(c, "route_experts_backward", {dim3(blocks_for(logits.shape[0], warps)), dim3(threads)}, route_backward_kernel,
      dweights.as<float>(), view(logits), n.in[2].as<int32_t>(), out(n.out[0]), logits.shape[0], logits.shape[1],
      dweights.shape[1], n.attr_flag("normalize"), fault_of(c));
}

// ---- the weighted sum of outputs; a slot is one of a row's k experts

// y (N, k, M), weights (N, k) -> out (N, M). Blocks with different blockIdx.y take different rows.
__global__ void __launch_bounds__(threads) combine_kernel(
    PreviousKernel previous, View y, const float* weights, Out to, int64_t rows, int64_t slots, int64_t M) {
  previous.wait();
  const int64_t m = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (m >= M) return;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    float sum = 0;
    for (int64_t j = row * slots; j < (row + 1) * slots; ++j) sum += weights[j] * y[j * M + m];
    to.store(row * M + m, sum);
  }
}
void combine(const Node& n, Context& c) {
  const Shape& y = n.in[0].shape;
  const unsigned most = 65535, rows = y[0] < most ? static_cast<unsigned>(y[0]) : most;
  launch(c, "combine_experts", {dim3(blocks_for(y[2], threads), rows), dim3(threads)}, combine_kernel, view(n.in[0]),
      n.in[1].as<float>(), out(n.out[0]), y[0], y[1], y[2]);
}

// dout (N, M), y (N, k, M), weights (N, k) -> dy (N, k, M), dweights (N, k). One warp per pair of a row and an expert.
__global__ void __launch_bounds__(threads) combine_backward_kernel(
    View dout, View y, const float* weights, Out dy, float* dweights, int64_t pairs, int64_t slots, int64_t M) {
  const int64_t pair = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size,
                lane = threadIdx.x % warp_size;
  if (pair >= pairs) return;  // uniform over the warp
  float sum = 0;
  for (int64_t m = lane; m < M; m += warp_size) {
    const float from = dout[pair / slots * M + m];
    sum += from * y[pair * M + m];
    dy.store(pair * M + m, weights[pair] * from);
  }
  sum = warp_sum(sum);
  if (lane == 0) dweights[pair] = sum;
}
void combine_backward(const Node& n, Context& c) {
  const Shape& y = n.in[1].shape;
  launch(c, "combine_experts_backward", {dim3(blocks_for(y[0] * y[1], warps)), dim3(threads)}, combine_backward_kernel,
      view(n.in[0]), view(n.in[1]), n.in[2].as<float>(), out(n.out[0]), n.out[1].as<float>(), y[0] * y[1], y[1], y[2]);
}

const RegisterKernel kernels[] = {
    {"route_experts", "cuda_route_experts", nullptr, route},
    {"route_experts_backward", "cuda_route_experts_backward", nullptr, route_backward},
    {"combine_experts", "cuda_combine_experts", nullptr, combine},
    {"combine_experts_backward", "cuda_combine_experts_backward", nullptr, combine_backward},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
