// The log-probability of one target token per row under softmax(h W^T), and its gradient. Logits stay in registers, or
// exist for one strip of the vocabulary at a time, so that their memory is bounded (Wijmans et al. 2024, "Cut Your
// Losses in Large-Vocabulary Language Models").
#include <algorithm>

#include "cuda/logits/gradient_products.cuh"
#include "cuda/logits/logits.cuh"
#include "cuda/logits/stored_logits.cuh"
#include "cuda/logits/strips.h"
#include "ops/token_logprob.h"

namespace heddle {
namespace cuda {
namespace logits {
namespace {

// Limits of the scratch. They are small in the emulator, so that tests have several strips.
constexpr int64_t most_parts = HEDDLE_EMULATED ? 1 : int64_t{8} << 20;  // of the softmax, in a strip of rows
// The gradients of a strip of the vocabulary. Each strip adds to the sums of dh in memory, so few strips are better.
constexpr int64_t most_gradients = HEDDLE_EMULATED ? 8192 : int64_t{128} << 20;
constexpr int64_t least_rows = 256, step = HEDDLE_EMULATED ? 64 : 256;  // rows and vocabulary entries
constexpr int64_t narrowest_tile = 64;

// Returns the number of vocabulary entries of a strip.
int64_t strip_entries(int64_t N, int64_t V) { return std::min(V, strip_width(most_gradients, N, step)); }
// Returns an upper bound of the number of elements of a strip with padded rows, for up to N rows.
int64_t most_elements(int64_t N, int64_t V) {
  return std::min(N * narrow_ld(V), strip_bound(most_gradients, N, step) + 7 * N);
}

// Whether tensor cores compute the logits, which then stay in registers. CUDA cores compute those of few rows. `choice`
// receives the kernel and its tiles.
bool in_registers(const Context& c, const Operands& of, GemmChoice& choice) {
  if (of.N == 0) return false;
  GemmShape shape{of.N, of.V, of.C, DType::bf16, DType::bf16, DType::f32, false, true};
  shape.aligned =
      of.C % 8 == 0 && reinterpret_cast<uintptr_t>(of.h) % 16 == 0 && reinterpret_cast<uintptr_t>(of.w) % 16 == 0;
  choice = choose_gemm(shape, properties_of(c));
  return choice.kernel == GemmKernel::tensor || choice.kernel == GemmKernel::warpgroup;
}
bool is_bf16(const Tensor& h, const Tensor& w) { return h.dtype == DType::bf16 && w.dtype == DType::bf16; }
Operands operands(const Tensor& h, const Tensor& w) {
  return {h.as<uint16_t>(), w.as<uint16_t>(), h.shape[0], w.shape[0], h.shape[1]};
}

// token_logprob with logits in registers. The scratch has the parts of a strip of rows.
size_t softmax_scratch(const Node& n) {
  const int64_t N = n.in[0].shape[0], parts = ceil_div(n.in[1].shape[0], narrowest_tile);
  const size_t stored = stored_softmax_scratch(n);
  if (!is_bf16(n.in[0], n.in[1])) return stored;
  // Wider tiles have fewer parts in a row, and strips of more rows.
  return std::max(
      stored, static_cast<size_t>(std::min(N * parts, strip_bound(most_parts, parts, least_rows))) * sizeof(Part));
}

void softmax_in_registers(const Node& n, Context& c, const Operands& of, const GemmChoice& choice) {
  const int64_t tiles = ceil_div(of.V, choice.tile_n), rows = strip_width(most_parts, tiles, least_rows);
  for (int64_t row = 0; row < of.N; row += rows) {
    Operands strip = of;
    strip.h += row * of.C, strip.N = of.N - row < rows ? of.N - row : rows;
    const Softmax s{strip, n.has_input(3) ? n.in[3].as<float>() : nullptr, n.in[2].as<int32_t>() + row, Scores(n),
        static_cast<Part*>(c.scratch), n.out[0].as<float>() + row, tiles};
    const auto parts = choice.kernel == GemmKernel::warpgroup ? softmax_parts_warpgroup : softmax_parts_tensor;
    parts(c, "token_logprob", s, choice);
    combine_parts(c, "token_logprob", s, n.out[1].as<float>() + row);
  }
}

void token_logprob(const Node& n, Context& c) {
  const Tensor &h = n.in[0], &w = n.in[1];
  GemmChoice choice;
  if (is_bf16(h, w) && in_registers(c, operands(h, w), choice)) softmax_in_registers(n, c, operands(h, w), choice);
  else stored_softmax(n, c);
}

// Whether the gradient of the logits is rounded to bf16, so that its two products run on tensor cores. Requires bf16
// operands and no softcap, as the kernels of the CPU do. Also requires a head without a bias, because the gradient of
// the bias sums unrounded gradients of logits.
bool narrow(const Node& n) {
  return is_bf16(n.in[1], n.in[2]) && !n.has_input(6) && !(n.attributes->get("softcap", 0) > 0);
}

// A token_logprob_backward with gradients in bf16. The scratch has the sums of dh (N, C) in f32, then the gradients of
// a strip of the vocabulary (N, ld), aligned to 16 bytes, and then the workspace of the weight's gradient.
size_t narrow_scratch(const Node& n) {
  const int64_t N = n.in[1].shape[0], C = n.in[1].shape[1], V = n.in[2].shape[0];
  return static_cast<size_t>(N * C) * sizeof(float) + 16 + static_cast<size_t>(most_elements(N, V)) * 2 +
         gradient_workspace(V, C, N);
}

void gradient_in_registers(const Node& n, Context& c, const Operands& of) {
  const char* name = "token_logprob_backward";
  float* sums = static_cast<float*>(c.scratch);
  uint16_t* to = reinterpret_cast<uint16_t*>(round_up(reinterpret_cast<uintptr_t>(sums + of.N * of.C), uintptr_t{16}));
  const int64_t most = strip_entries(of.N, of.V);
  const GradientProducts products(n, sums, to + of.N * narrow_ld(most));
  for (int64_t begin = 0; begin < of.V; begin += most) {
    const int64_t width = of.V - begin < most ? of.V - begin : most, ld = narrow_ld(width);
    const Operands strip{of.h, of.w + begin * of.C, of.N, width, of.C};
    const Gradient g{strip, begin, n.in[3].as<int32_t>(), n.in[4].as<float>(), n.in[0].as<float>(),
        n.has_input(5) ? n.in[5].as<float>() : nullptr, static_cast<float>(n.attr("scale")), to, ld};
    GemmChoice choice;
    in_registers(c, strip, choice);  // true for all strips: it depends on N and C
    const auto gradients = choice.kernel == GemmKernel::warpgroup ? gradients_warpgroup : gradients_tensor;
    gradients(c, name, g, choice);
    products.add(c, name, {to, DType::bf16}, ld, begin, width);
  }
  products.finish(c, name);
}

size_t scratch(const Node& n, int) { return softmax_scratch(n); }
size_t backward_scratch(const Node& n) {
  const size_t stored = stored_gradient_scratch(n), bytes = narrow(n) ? narrow_scratch(n) : 0;
  return bytes > stored ? bytes : stored;
}
size_t backward_scratch(const Node& n, int) { return backward_scratch(n); }
void token_logprob_backward(const Node& n, Context& c) {
  const Operands of = operands(n.in[1], n.in[2]);
  GemmChoice choice;
  if (narrow(n) && in_registers(c, of, choice)) gradient_in_registers(n, c, of);
  else stored_gradient(n, c, narrow(n));
}

// token_logprob_with_gradient computes the logits twice, because the logits of the whole vocabulary would be the
// largest tensor of a training step.
size_t fused_scratch(const Node& n, int) {
  const size_t softmax = softmax_scratch(logprob_part(n)), gradient = backward_scratch(logprob_gradient_part(n));
  return gradient > softmax ? gradient : softmax;
}

void token_logprob_with_gradient(const Node& n, Context& c) {
  token_logprob(logprob_part(n), c);
  token_logprob_backward(logprob_gradient_part(n), c);
}

const RegisterKernel kernels[] = {
    {"token_logprob", "cuda_token_logprob", nullptr, token_logprob, scratch},
    {"token_logprob_backward", "cuda_token_logprob_backward", nullptr, token_logprob_backward, backward_scratch},
    {"token_logprob_with_gradient", "cuda_token_logprob_with_gradient", nullptr, token_logprob_with_gradient,
        fused_scratch},
};

}  // namespace
}  // namespace logits
}  // namespace cuda
}  // namespace heddle
