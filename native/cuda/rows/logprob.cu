// The log-probability of one target token per row under softmax(h W^T), and its gradient. Logits are computed for one
// part of the vocabulary at a time, so that their memory is bounded (Wijmans et al. 2024, "Cut Your Losses in
// Large-Vocabulary Language Models").
#include "cuda/attention/attention.cuh"
#include "cuda/gemm/gemm.cuh"
#include "ops/token_logprob.h"

namespace heddle {
namespace cuda {
namespace {

constexpr int threads = 256;
// Maximum logits per part. It is small in the emulator, so that tests have several parts.
constexpr int64_t most_logits = HEDDLE_EMULATED ? 256 : int64_t{16} << 20;

// Returns the vocabulary entries per part: V, or a multiple of 64, the tile of the matrix product.
int64_t part_size(int64_t N, int64_t V) {
  const int64_t fitting = most_logits / (N > 0 ? N : 1) / 64 * 64, most = fitting > 64 ? fitting : 64;
  return V < most ? V : most;
}

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
  largest = block_max<threads>(largest);
  float sum = 0;
  for (int64_t v = threadIdx.x; v < a.width; v += threads) sum += expf(logit_of(v) - largest);
  sum = block_sum<threads>(sum) + sum_before * expf(before - largest);
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

// Returns the rows of w from `row` on.
View from_row(const Tensor& w, int64_t row) {
  return {w.as<char>() + bytes_of_elements(w.dtype, row * w.shape[1]), w.dtype};
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
// Returns the bytes of the scratch from its end on that part_product's `decoded` takes.
size_t decoded_bytes(const Tensor& h, const Tensor& w) {
  const int64_t N = h.shape[0], V = w.shape[0];
  if (!is_quantised(w.dtype)) return 0;
  const size_t bytes = decoded_scratch(N, part_size(N, V), h.shape[1], h.dtype, DType::f32);
  return bytes ? bytes + alignment : 0;
}
// Returns the first aligned address from `end` on, or null if no weights are decoded.
void* decoded_after(const void* end, const Tensor& h, const Tensor& w) {
  const uintptr_t at = (reinterpret_cast<uintptr_t>(end) + alignment - 1) / alignment * alignment;
  return decoded_bytes(h, w) ? reinterpret_cast<void*>(at) : nullptr;
}

// The scratch holds products (N, part), running (N, 3), and decoded weights.
size_t scratch(const Node& n, int) {
  const int64_t N = n.in[0].shape[0];
  return static_cast<size_t>(N * (part_size(N, n.in[1].shape[0]) + 3)) * sizeof(float) +
         decoded_bytes(n.in[0], n.in[1]);
}

void token_logprob(const Node& n, Context& c) {
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

// Computes d loss / d product. Blocks with different y take different rows. Blocks along x share the elements of a row.
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

__global__ void __launch_bounds__(threads) copy_kernel(const float* from, Out to, int64_t n) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; i < n;
      i += static_cast<int64_t>(gridDim.x) * threads)
    to.store(i, from[i]);
}

// Returns the number of blocks of a grid-stride loop over `items` items.
unsigned some_blocks(int64_t items) { return blocks_for(items < (1 << 22) ? items : 1 << 22, threads); }

// Whether the gradient of the logits is rounded to bf16, so that its two products run on tensor cores. Requires bf16
// operands and no softcap, as on the CPU.
bool narrow(const Node& n) {
  return n.in[1].dtype == DType::bf16 && n.in[2].dtype == DType::bf16 && !(n.attributes->get("softcap", 0) > 0);
}
int64_t narrow_ld(int64_t width) { return (width + 7) / 8 * 8; }

// The scratch holds products (N, part) and dh (N, C) in f32. The latter is used if dh's type is not f32. Then comes the
// gradient of a part's logits (N, narrow_ld(part)) in bf16, aligned to 16 bytes, and then decoded weights.
size_t backward_scratch(const Node& n, int) {
  const int64_t N = n.in[1].shape[0], part = part_size(N, n.in[2].shape[0]);
  return static_cast<size_t>(N * (part + n.in[1].shape[1])) * sizeof(float) + 16 +
         static_cast<size_t>(N * narrow_ld(part)) * 2 + decoded_bytes(n.in[1], n.in[2]);
}

void make_gradient(const Node& n, Context& c, bool narrowed) {
  const Tensor &h = n.in[1], &w = n.in[2], &dh = n.out[0];
  const int64_t N = h.shape[0], C = h.shape[1], V = w.shape[0], part = part_size(N, V);
  const char* name = "token_logprob_backward";
  float* product = static_cast<float*>(c.scratch);
  float* sum = dh.dtype == DType::f32 ? dh.as<float>() : product + N * part;  // sums are kept in f32
  const View none{nullptr, DType::f32};
  const uintptr_t behind = reinterpret_cast<uintptr_t>(product + N * (part + C));
  void* const rounded = reinterpret_cast<void*>((behind + 15) / 16 * 16);
  void* const decoded = decoded_after(static_cast<uint16_t*>(rounded) + N * narrow_ld(part), h, w);
  for (int64_t begin = 0; begin < V; begin += part) {
    const int64_t width = V - begin < part ? V - begin : part;
    part_product(c, name, h, w, begin, width, product, decoded);
    const float* of_lse = n.has_input(5) ? n.in[5].as<float>() : nullptr;
    const int64_t ld = narrowed ? narrow_ld(width) : width;
    const Out to = narrowed ? Out{rounded, DType::bf16} : Out{product, DType::f32};
    const float* bias = n.has_input(6) ? n.in[6].as<float>() : nullptr;
    PartGradientArguments a{to, ld, product, bias, n.in[0].as<float>(), of_lse, n.in[3].as<int32_t>(),
        n.in[4].as<float>(), N, width, begin, V, Scores(n), fault_of(c)};
    // Each thread computes up to eight elements of a row, so that it loads the row's target and lse only once.
    const unsigned most_rows = 65535, rows = N < most_rows ? static_cast<unsigned>(N) : most_rows;
    launch(c, name, {dim3(blocks_for(width, 8 * threads), rows), dim3(threads)}, logprob_gradient_kernel, a);
    // The bias gradient reads the gradient of the logits from `product`. Only token_logprob_backward has a bias, and
    // its gradient of the logits stays there in f32.
    if (const size_t of_bias = logprob_bias_gradient(n))
      launch(c, name, {dim3(blocks_for(width, threads)), dim3(threads)}, part_sum_kernel, product,
          n.out[of_bias].as<float>() + begin, N, width);
    const View gradient{to.data, to.type};
    gemm(c, name,
        {gradient, from_row(w, begin), none, {sum, DType::f32}, N, C, width, ld, C, C, false, false, begin > 0});
    if (logprob_weight_gradient(n))
      gemm(c, name,
          {gradient, view(h), none, {n.out[1].as<float>() + begin * C, DType::f32}, width, C, N, ld, C, C, true, false,
              false});
  }
  if (sum != dh.data) launch(c, name, {dim3(some_blocks(N * C)), dim3(threads)}, copy_kernel, sum, out(dh), N * C);
}

void token_logprob_backward(const Node& n, Context& c) { make_gradient(n, c, false); }

// token_logprob_with_gradient computes the logits of each part twice, because the logits of all parts would be the
// largest tensor of a training step.
size_t fused_scratch(const Node& n, int threads) {
  const size_t forward = scratch(logprob_part(n), threads),
               backward = backward_scratch(logprob_gradient_part(n), threads);
  return forward > backward ? forward : backward;
}

void token_logprob_with_gradient(const Node& n, Context& c) {
  token_logprob(logprob_part(n), c);
  const Node gradient = logprob_gradient_part(n);
  make_gradient(gradient, c, narrow(gradient));
}

const RegisterKernel kernels[] = {
    {"token_logprob", "cuda_token_logprob", nullptr, token_logprob, scratch},
    {"token_logprob_backward", "cuda_token_logprob_backward", nullptr, token_logprob_backward, backward_scratch},
    {"token_logprob_with_gradient", "cuda_token_logprob_with_gradient", nullptr, token_logprob_with_gradient,
        fused_scratch},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
