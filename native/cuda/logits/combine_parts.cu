// Combines the parts of each row's softmax into its log-sum-exp and the log-probability of its target. The order of
// additions depends only on the number of parts.
#include "cuda/logits/logits.cuh"

namespace heddle {
namespace cuda {
namespace logits {
namespace {

constexpr int threads = 128;

// One warp per row.
__global__ void __launch_bounds__(threads)
    combine_parts_kernel(PreviousKernel previous, Softmax s, float* lse, Fault fault) {
  previous.wait();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (threads / warp_size) + threadIdx.x / warp_size;
  if (row >= s.of.N) return;  // uniform over the warp
  const int lane = threadIdx.x % warp_size;
  const Part* parts = s.parts + row * s.tiles;
  Part whole{-INFINITY, 0.0f};
  for (int64_t t = lane; t < s.tiles; t += warp_size) whole.largest = fmaxf(whole.largest, parts[t].largest);
  whole.largest = warp_max(whole.largest);
  for (int64_t t = lane; t < s.tiles; t += warp_size) whole.sum += parts[t].sum_for(whole.largest);
  whole.sum = warp_sum(whole.sum);
  if (lane != 0) return;
  const int32_t target = s.targets[row];
  if (target >= s.of.V) fault.report();
  const bool counts = target >= 0 && target < s.of.V;
  const float log_sum = logf(whole.sum);
  // Subtracts the maximum first, because largest + log_sum would lose digits of log_sum. Rows with a negative target
  // are ignored.
  s.of_target[row] = counts ? s.of_target[row] - whole.largest - log_sum : 0.0f;
  lse[row] = counts ? whole.largest + log_sum : 0.0f;
}

}  // namespace

void combine_parts(const Context& context, const char* name, const Softmax& s, float* lse) {
  launch(context, name, {dim3(blocks_for(s.of.N, threads / warp_size)), dim3(threads)}, combine_parts_kernel, s, lse,
      fault_of(context));
}

}  // namespace logits
}  // namespace cuda
}  // namespace heddle
