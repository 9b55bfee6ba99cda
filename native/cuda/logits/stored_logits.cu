// token_logprob and its gradient with logits in memory, see stored_logits.cuh.
#include "cuda/logits/stored_logits.cuh"

#include <algorithm>
#include <cfloat>

#include "cuda/attention/attention.cuh"
#include "cuda/logits/gradient_products.cuh"
#include "cuda/logits/strips.h"

namespace heddle {
namespace cuda {
namespace logits {
namespace {

constexpr int threads = 256;
// Maximum number of logits per part. It is small in the emulator, so that tests have several parts.
constexpr int64_t most_logits = HEDDLE_EMULATED ? 256 : int64_t{16} << 20;

// Returns the number of vocabulary entries per part: V, or a multiple of 64, which is the tile size of the matrix
// product.
int64_t part_size(int64_t N, int64_t V) { return std::min(V, strip_width(most_logits, N, 64)); }
// Returns an upper bound of the number of products in a part, for up to N rows.
int64_t most_products(int64_t N, int64_t V) { return std::min(N * V, strip_bound(most_logits, N, 64)); }

struct PartArguments {
  const float* product;    // (N, width): h W^T for vocabulary entries [begin, begin + width)
  const float* bias;       // (V), added to the products; may be null
  const int32_t* targets;  // (N)
  float* running;        // (N, 3): the largest logit so far, the sum of exponentials relative to it, the target's logit
  float *logprob, *lse;  // (N), written with the last part
  int64_t width, begin, V;
  bool first, last;
  Scores scores;
  Fault fault;
};

// Returns the product, plus the bias of vocabulary entry v if `bias` is not null.
__device__ float biased(const float* product, const float* bias, int64_t v) {
  return bias ? *product + bias[v] : *product;
}

// Updates `running` with one part of the vocabulary. One block per row.
__global__ void __launch_bounds__(threads) logprob_part_kernel(PartArguments a) {
  const int64_t row = blockIdx.x;
  const int32_t target = a.targets[row];
  if (target >= a.V && threadIdx.x == 0) a.fault.report();
  const float* product = a.product + row * a.width;
  const auto logit_of = [&](int64_t v) { return a.scores.of(biased(product + v, a.bias, a.begin + v)); };
  float largest = a.first ? -INFINITY : a.running[row * 3];
  const float before = largest, sum_before = a.first ? 0.0f : a.running[row * 3 + 1];
  for (int64_t v = threadIdx.x; v < a.width; v += threads) largest = fmaxf(largest, logit_of(v));
  BlockReduction<threads> block;
  largest = fmaxf(block.max(largest), -FLT_MAX);  // finite, so that exponentials of -inf logits are 0
  float sum = 0;
  for (int64_t v = threadIdx.x; v < a.width; v += threads) sum += expf(logit_of(v) - largest);
  sum = block.sum(sum) + sum_before * expf(before - largest);
  if (threadIdx.x != 0) return;
  float logit = a.first ? 0.0f : a.running[row * 3 + 2];
  if (target >= a.begin && target < a.begin + a.width) logit = logit_of(target - a.begin);
  a.running[row * 3] = largest;
  a.running[row * 3 + 1] = sum;
  a.running[row * 3 + 2] = logit;
  if (!a.last) return;
  const float log_sum = logf(sum);
  // Subtracts the maximum first, because largest + log_sum would lose digits of log_sum. Rows with a negative target
  // are ignored.
  a.logprob[row] = target < 0 ? 0.0f : logit - largest - log_sum;
  a.lse[row] = target < 0 ? 0.0f : largest + log_sum;
}

// product (N, width) = h (N, C) w[begin, begin + width)^T
void part_product(const Context& c, const char* name, const Tensor& h, const Tensor& w, int64_t begin, int64_t width,
    float* product, void* decoded) {
  const int64_t N = h.shape[0], C = h.shape[1];
  Gemm g{view(h), from_row(w, begin), {nullptr, DType::f32}, {product, DType::f32}, N, width, C, C, C, width, false,
      true, false};
  g.decoded = decoded;
  gemm(c, name, g);
}

constexpr size_t alignment = 64;  // of decoded weights
// Returns the bytes that part_product's `decoded` takes at the end of the scratch.
size_t decoded_bytes(const Tensor& h, const Tensor& w) {
  const int64_t N = h.shape[0], V = w.shape[0];
  if (!is_quantized(w.dtype)) return 0;
  // Assumes parts of V entries, because runs with fewer rows have wider parts.
  const size_t bytes = decoded_scratch(N, V, h.shape[1], h.dtype, DType::f32);
  return bytes ? bytes + alignment : 0;
}
// Returns the first aligned address from `end` on, or null if no weights are decoded.
void* decoded_after(const void* end, const Tensor& h, const Tensor& w) {
  const uintptr_t at = round_up(reinterpret_cast<uintptr_t>(end), alignment);
  return decoded_bytes(h, w) ? reinterpret_cast<void*>(at) : nullptr;
}

struct PartGradientArguments {
  Out to;  // (N, ld): receives d loss / d product; may alias product
  int64_t ld;
  float* product;          // (N, width); holds h W^T
  const float* bias;       // (V); may be null
  const float* upstream;   // (N): d loss / d log-probability of the target
  const float* of_lse;     // (N): d loss / d log-sum-exp; null: zeros
  const int32_t* targets;  // (N)
  const float* lse;        // (N)
  int64_t N, width, begin, V;
  Scores scores;
  Fault fault;
};

// Computes d loss / d product. Blocks with different blockIdx.y take different rows. Blocks with the same blockIdx.y
// share the elements of a row.
__global__ void __launch_bounds__(threads) logprob_gradient_kernel(PartGradientArguments a) {
  for (int64_t row = blockIdx.y; row < a.N; row += gridDim.y) {
    const int32_t target = a.targets[row];
    if (target >= a.V) a.fault.report();
    const float lse = a.lse[row], upstream = a.upstream[row], of_lse = a.of_lse ? a.of_lse[row] : 0.0f;
    const float* product = a.product + row * a.width;
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; i < a.width;
        i += static_cast<int64_t>(gridDim.x) * threads) {
      const int64_t v = a.begin + i;
      const float own = biased(product + i, a.bias, v);
      const float p = expf(a.scores.of(own) - lse), d = upstream * ((v == target ? 1.0f : 0.0f) - p) + of_lse * p;
      a.to.store(row * a.ld + i, target < 0 ? 0.0f : d * a.scores.gradient(own));
    }
  }
}

// to (width) = the sums of the columns of x (N, width). One thread per column.
__global__ void __launch_bounds__(threads) part_sum_kernel(const float* x, float* to, int64_t N, int64_t width) {
  const int64_t v = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (v >= width) return;
  float sum = 0;
  for (int64_t row = 0; row < N; ++row) sum += x[row * width + v];
  to[v] = sum;
}

}  // namespace

// The scratch holds products (N, part), running (N, 3), and decoded weights.
size_t stored_softmax_scratch(const Node& n) {
  const int64_t N = n.in[0].shape[0];
  return static_cast<size_t>(most_products(N, n.in[1].shape[0]) + 3 * N) * sizeof(float) +
         decoded_bytes(n.in[0], n.in[1]);
}

void stored_softmax(const Node& n, Context& c) {
  const Tensor &h = n.in[0], &w = n.in[1];
  const int64_t N = h.shape[0], V = w.shape[0], part = part_size(N, V);
  float* product = static_cast<float*>(c.scratch);
  void* const decoded = decoded_after(product + N * (part + 3), h, w);
  for (int64_t begin = 0; begin < V; begin += part) {
    const int64_t width = V - begin < part ? V - begin : part;
    part_product(c, "token_logprob", h, w, begin, width, product, decoded);
    PartArguments a{product, n.has_input(3) ? n.in[3].as<float>() : nullptr, n.in[2].as<int32_t>(), product + N * part,
        n.out[0].as<float>(), n.out[1].as<float>(), width, begin, V, begin == 0, begin + width == V, Scores(n),
        fault_of(c)};
    launch(c, "token_logprob", {dim3(static_cast<unsigned>(N)), dim3(threads)}, logprob_part_kernel, a);
  }
}

// The scratch holds products (N, part) and dh (N, C) in f32. The latter is used if dh's type is not f32. Then comes the
// gradient of a part's logits (N, narrow_ld(part)) in bf16, aligned to 16 bytes, and then decoded weights.
size_t stored_gradient_scratch(const Node& n) {
  const int64_t N = n.in[1].shape[0], most = most_products(N, n.in[2].shape[0]);
  return static_cast<size_t>(most + N * n.in[1].shape[1]) * sizeof(float) + 16 + static_cast<size_t>(most + 7 * N) * 2 +
         decoded_bytes(n.in[1], n.in[2]);
}

void stored_gradient(const Node& n, Context& c, bool narrow) {
  const Tensor &h = n.in[1], &w = n.in[2];
  const int64_t N = h.shape[0], C = h.shape[1], V = w.shape[0], part = part_size(N, V);
  const char* name = "token_logprob_backward";
  float* product = static_cast<float*>(c.scratch);
  const GradientProducts products(n, product + N * part);
  const uintptr_t behind = reinterpret_cast<uintptr_t>(product + N * (part + C));
  void* const rounded = reinterpret_cast<void*>(round_up(behind, uintptr_t{16}));
  void* const decoded = decoded_after(static_cast<uint16_t*>(rounded) + N * narrow_ld(part), h, w);
  for (int64_t begin = 0; begin < V; begin += part) {
    const int64_t width = V - begin < part ? V - begin : part;
    part_product(c, name, h, w, begin, width, product, decoded);
    const float* of_lse = n.has_input(5) ? n.in[5].as<float>() : nullptr;
    const int64_t ld = narrow ? narrow_ld(width) : width;
    const Out to = narrow ? Out{rounded, DType::bf16} : Out{product, DType::f32};
    const float* bias = n.has_input(6) ? n.in[6].as<float>() : nullptr;
    PartGradientArguments a{to, ld, product, bias, n.in[0].as<float>(), of_lse, n.in[3].as<int32_t>(),
        n.in[4].as<float>(), N, width, begin, V, Scores(n), fault_of(c)};
    // Each thread computes up to eight elements of a row, so that it loads the row's target and lse only once.
    const unsigned most_rows = 65535, rows = N < most_rows ? static_cast<unsigned>(N) : most_rows;
    launch(c, name, {dim3(blocks_for(width, 8 * threads), rows), dim3(threads)}, logprob_gradient_kernel, a);
    // The bias gradient reads the gradient of the logits from `product`. It is there in f32, because `narrow` is false
    // for a product with a bias.
    if (const size_t of_bias = logprob_bias_gradient(n))
      launch(c, name, {dim3(blocks_for(width, threads)), dim3(threads)}, part_sum_kernel, product,
          n.out[of_bias].as<float>() + begin, N, width);
    products.add(c, name, {to.data, to.type}, ld, begin, width);
  }
  products.finish(c, name);
}

}  // namespace logits
}  // namespace cuda
}  // namespace heddle
