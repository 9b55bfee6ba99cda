// linear and its gradients: each is one matrix product with the operands in other roles.
#include "cuda/gemm.cuh"
#include "cuda/gemm_int8.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int threads = 256;

__global__ void round_kernel(View x, Out y, int64_t n) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) y.store(i, x[i]);
}

// With the attribute bf16, x is rounded to bf16 first: into the scratch.
bool rounds(const Node& n) { return n.attributes->get("bf16", 0) != 0 && n.in[0].dtype == DType::f32; }
// With the attribute int8 and a quantised w, to 8 bits.
bool rounds_to_int8(const Node& n) { return n.attributes->flag("int8") && is_quantised(n.in[1].dtype); }
size_t rounded_bytes(const Node& n) { return rounds(n) ? (static_cast<size_t>(n.in[0].shape.size()) * 2 + 63) / 64 * 64 : 0; }
size_t linear_scratch(const Node& n, int) {
  const Shape& x = n.in[0].shape;
  if (rounds_to_int8(n)) return int8_scratch(x[0], x[1]);
  return rounded_bytes(n) + gemm_workspace(x[0], n.out[0].shape[1], x[1]);
}

// x (N, K), w (M, K) or, transposed, (K, M), bias? (M) -> y (N, M)
void linear(const Node& n, Context& c) {
  const Tensor &x = n.in[0], &w = n.in[1], &y = n.out[0];
  View a = view(x);
  const bool rowwise = n.attributes->get("rowwise", 0) != 0;
  if (rounds_to_int8(n)) {
    if (y.shape.size() == 0) return;
    const Int8Rows rows = round_to_int8(c, "linear", a, x.shape[0], x.shape[1]);
    return gemm_int8(c, "linear", {rows, view(w), optional_view(n, 2), out(y), x.shape[0], y.shape[1], x.shape[1]}, rowwise);
  }
  if (rounds(n)) {
    const unsigned most = 1u << 16, wanted = blocks_for(x.shape.size(), threads);
    launch(c, "linear", {dim3(wanted < most ? wanted : most), dim3(threads)}, round_kernel, a, Out{c.scratch, DType::bf16}, x.shape.size());
    a = {c.scratch, DType::bf16};
  }
  gemm(c, "linear", {a, view(w), optional_view(n, 2), out(y), x.shape[0], y.shape[1], x.shape[1], x.shape[1], w.shape[1], y.shape[1],
                     false, !n.attr_flag("transposed"), false, rowwise, static_cast<char*>(c.scratch) + rounded_bytes(n),
                     gemm_workspace(x.shape[0], y.shape[1], x.shape[1])});
}

// dy (N, M), w -> dx (N, K)
void linear_backward_input(const Node& n, Context& c) {
  const Tensor &dy = n.in[0], &w = n.in[1], &dx = n.out[0];
  gemm(c, "linear_backward_input", {view(dy), view(w), {nullptr, DType::f32}, out(dx), dy.shape[0], dx.shape[1], dy.shape[1], dy.shape[1],
                                    w.shape[1], dx.shape[1], false, n.attr_flag("transposed"), false, false, c.scratch,
                                    gemm_workspace(dx.shape[0], dx.shape[1], dy.shape[1])});
}
size_t backward_input_scratch(const Node& n, int) { return gemm_workspace(n.out[0].shape[0], n.out[0].shape[1], n.in[0].shape[1]); }

// dy (N, M), x (N, K) -> dw (M, K) = dy^T x or, transposed, (K, M) = x^T dy
void linear_backward_weight(const Node& n, Context& c) {
  const bool transposed = n.attr_flag("transposed");
  const Tensor &left = n.in[transposed ? 1 : 0], &right = n.in[transposed ? 0 : 1], &dw = n.out[0];
  gemm(c, "linear_backward_weight", {view(left), view(right), {nullptr, DType::f32}, out(dw), dw.shape[0], dw.shape[1], left.shape[0],
                                     left.shape[1], right.shape[1], dw.shape[1], true, false, false, false, c.scratch,
                                     gemm_workspace(dw.shape[0], dw.shape[1], left.shape[0])});
}
size_t backward_weight_scratch(const Node& n, int) { return gemm_workspace(n.out[0].shape[0], n.out[0].shape[1], n.in[0].shape[0]); }

// 8-bit products want the depth innermost, where a row of blocks lies.
bool supports(const Node& n) { return !(rounds_to_int8(n) && n.attr_flag("transposed")); }

const RegisterKernel kernels[] = {
    {"linear", "cuda_gemm_linear", supports, linear, linear_scratch},
    {"linear_backward_input", "cuda_gemm_linear_backward_input", nullptr, linear_backward_input, backward_input_scratch},
    {"linear_backward_weight", "cuda_gemm_linear_backward_weight", nullptr, linear_backward_weight, backward_weight_scratch},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
