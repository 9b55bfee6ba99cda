// linear, its gradients, and their fusions with the ops after them. Each op is one matrix product with an epilogue.
#include "cuda/gemm/gemm.cuh"
#include "cuda/quant/gemm_int8.cuh"
#include "cuda/rows/elementwise.cuh"

namespace heddle {
namespace cuda {

View round_to_bf16(const Context& context, const char* name, const Tensor& x, void* to) {
  elementwise::copy_elements(context, name, view(x), {to, DType::bf16}, x.shape.size());
  return {to, DType::bf16};
}

namespace {

// Whether x is rounded to 8 bits, which only products with a quantized w support.
bool rounds_to_int8(const Node& n) { return n.attributes->flag("int8") && is_quantized(n.in[1].dtype); }
// Bytes of the scratch for decoded weights, for a product of a and w.
size_t decoded_bytes(const Node& n, DType a, int64_t k) {
  const Tensor& result = n.out[0];
  if (!is_quantized(n.in[1].dtype) || n.attributes->flag("rowwise")) return 0;
  return decoded_scratch(result.shape[0], result.shape[1], k, a, result.dtype);
}
// The same for the product of x, or of x rounded to bf16.
size_t decoded_bytes(const Node& n) {
  return decoded_bytes(n, rounds_to_bf16(n) ? DType::bf16 : n.in[0].dtype, n.in[0].shape[1]);
}
// Gives a product `bytes` bytes of the scratch for decoded weights. The workspace of split-k follows.
void place_decoded(Gemm& g, void* scratch, size_t bytes) {
  g.decoded = bytes ? scratch : nullptr;
  g.workspace = static_cast<char*>(scratch) + bytes;
}

// A product of many rows with quantized weights, and the bytes of its scratch. Both operands are rounded to bf16, which
// is more exact than 8 bits. The scratch holds x in bf16, unless x has that type, decoded weights, and the workspace of
// split-k.
struct RoundedProduct {
  Gemm g;
  size_t scratch;
};
RoundedProduct rounded_product(const Node& n, void* scratch) {
  const Tensor &x = n.in[0], &w = n.in[1], &y = n.out[0];
  const int64_t N = x.shape[0], K = x.shape[1], M = y.shape[1];
  const size_t copy = x.dtype == DType::bf16 ? 0 : bf16_bytes(x),
               decoded = n.attributes->flag("rowwise") ? 0 : decoded_scratch(N, M, K, DType::bf16, y.dtype, true),
               workspace = gemm_workspace(N, M, K);
  char* const memory = static_cast<char*>(scratch);
  const View a = copy ? View{memory, DType::bf16} : view(x);
  Gemm g{a, view(w), optional_view(n, 2), out(y), N, M, K, K, K, M, false, true, false};
  g.rowwise = n.attributes->flag("rowwise"), g.rounds_decoded = true;
  place_decoded(g, memory + copy, decoded);
  g.workspace_bytes = workspace;
  return {g, decoded ? copy + decoded + workspace : 0};
}

// The scratch holds x rounded to bf16, decoded weights, and the workspace of split-k.
size_t linear_scratch(const Node& n, int) {
  const Shape& x = n.in[0].shape;
  if (rounds_to_int8(n)) return std::max(int8_scratch(x[0], x[1]), rounded_product(n, nullptr).scratch);
  return rounded_bytes(n) + decoded_bytes(n) + gemm_workspace(x[0], n.out[0].shape[1], x[1]);
}

// Returns the product of a node whose first inputs are x and w, and whose first output is y (N, M). If the node has the
// attribute bf16 and x is f32, launches the rounding of x into the scratch.
Gemm product(const Node& n, Context& c, const char* name, const View& bias, const Epilogue& epilogue) {
  const Tensor &x = n.in[0], &w = n.in[1], &y = n.out[0];
  const View a = rounds_to_bf16(n) ? round_to_bf16(c, name, x, c.scratch) : view(x);
  const int64_t N = x.shape[0], K = x.shape[1], M = y.shape[1];
  Gemm g{a, view(w), bias, out(y), N, M, K, K, w.shape[1], M, false, !n.attr_flag("transposed"), false};
  g.rowwise = n.attributes->flag("rowwise");
  g.epilogue = epilogue;
  place_decoded(g, static_cast<char*>(c.scratch) + rounded_bytes(n), decoded_bytes(n));
  g.workspace_bytes = gemm_workspace(N, epilogue.up.data ? 2 * M : M, K);
  return g;
}

// x (N, K), w (M, K) or, transposed, (K, M), optional bias (M) -> y (N, M)
void linear(const Node& n, Context& c) {
  const Tensor &x = n.in[0], &w = n.in[1], &y = n.out[0];
  if (rounds_to_int8(n)) {
    if (y.shape.size() == 0) return;
    const RoundedProduct product = rounded_product(n, c.scratch);
    if (x.shape[0] > max_rows_in_int8(properties_of(c)) && decodes_weights(c, product.g)) {
      if (x.dtype != DType::bf16) round_to_bf16(c, "linear", x, c.scratch);
      return gemm(c, "linear", product.g);
    }
    return gemm_int8(c, "linear", {view(x), view(w), optional_view(n, 2), out(y), x.shape[0], y.shape[1], x.shape[1]},
        n.attributes->flag("rowwise"));
  }
  gemm(c, "linear", product(n, c, "linear", optional_view(n, 2), {}));
}

// x (N, K), w, optional bias (M) -> act(x W^T + bias) (N, M), and optionally x W^T + bias
void linear_activation(const Node& n, Context& c) {
  Epilogue epilogue;
  epilogue.activation = static_cast<int>(n.attr_int("activation"));
  if (n.out.size() > 1) epilogue.pre_activation = out(n.out[1]);
  gemm(c, "linear_activation", product(n, c, "linear_activation", optional_view(n, 2), epilogue));
}

// x (N, K), w, optional bias (M), onto (N, M) -> x W^T + bias + onto (N, M)
void linear_add(const Node& n, Context& c) {
  Epilogue epilogue;
  epilogue.residual = view(n.in[3]);
  gemm(c, "linear_add", product(n, c, "linear_add", optional_view(n, 2), epilogue));
}

// x (N, K), w_gate (M, K), w_up (M, K), optional biases (M) -> act(gate) * up (N, M), and optionally gate and up
void linear_glu(const Node& n, Context& c) {
  Epilogue epilogue;
  epilogue.activation = static_cast<int>(n.attr_int("activation"));
  epilogue.up = view(n.in[2]), epilogue.up_bias = optional_view(n, 4);
  if (n.out.size() > 1) epilogue.pre_activation = out(n.out[1]), epilogue.up_output = out(n.out[2]);
  gemm(c, "linear_glu", product(n, c, "linear_glu", optional_view(n, 3), epilogue));
}
size_t glu_scratch(const Node& n, int) {
  return rounded_bytes(n) + gemm_workspace(n.in[0].shape[0], 2 * n.out[0].shape[1], n.in[0].shape[1]);
}

// dy (N, M), w -> dx (N, K). linear_backward_input_add has one more input, `onto` (N, K), and returns dx + onto.
void linear_backward_input(const Node& n, Context& c) {
  const Tensor &dy = n.in[0], &w = n.in[1], &dx = n.out[0];
  Gemm g{view(dy), view(w), {nullptr, DType::f32}, out(dx), dy.shape[0], dx.shape[1], dy.shape[1], dy.shape[1],
      w.shape[1], dx.shape[1], false, n.attr_flag("transposed"), false};
  g.epilogue.residual = optional_view(n, 2);
  place_decoded(g, c.scratch, decoded_bytes(n, dy.dtype, dy.shape[1]));
  g.workspace_bytes = gemm_workspace(dx.shape[0], dx.shape[1], dy.shape[1]);
  gemm(c, "linear_backward_input", g);
}
// The scratch holds decoded weights, and the workspace of split-k.
size_t backward_input_scratch(const Node& n, int) {
  const Tensor &dy = n.in[0], &dx = n.out[0];
  return decoded_bytes(n, dy.dtype, dy.shape[1]) + gemm_workspace(dx.shape[0], dx.shape[1], dy.shape[1]);
}

// dy (N, M), x (N, K) -> dw (M, K) = dy^T x, or, transposed, dw (K, M) = x^T dy
void linear_backward_weight(const Node& n, Context& c) {
  const bool transposed = n.attr_flag("transposed");
  const Tensor &left = n.in[transposed ? 1 : 0], &right = n.in[transposed ? 0 : 1], &dw = n.out[0];
  gemm(c, "linear_backward_weight",
      {view(left), view(right), {nullptr, DType::f32}, out(dw), dw.shape[0], dw.shape[1], left.shape[0], left.shape[1],
          right.shape[1], dw.shape[1], true, false, false, false, c.scratch,
          gradient_workspace(dw.shape[0], dw.shape[1], left.shape[0])});
}
size_t backward_weight_scratch(const Node& n, int) {
  return gradient_workspace(n.out[0].shape[0], n.out[0].shape[1], n.in[0].shape[0]);
}

// 8-bit products need w stored as (M, K), because the elements of a block must have adjacent k.
bool supports(const Node& n) { return !(rounds_to_int8(n) && n.attr_flag("transposed")); }

const RegisterKernel kernels[] = {
    {"linear", "cuda_gemm_linear", supports, linear, linear_scratch},
    {"linear_activation", "cuda_gemm_linear_activation", nullptr, linear_activation, linear_scratch},
    {"linear_add", "cuda_gemm_linear_add", nullptr, linear_add, linear_scratch},
    {"linear_glu", "cuda_gemm_linear_glu", nullptr, linear_glu, glu_scratch},
    {"linear_backward_input_add", "cuda_gemm_linear_backward_input_add", nullptr, linear_backward_input,
        backward_input_scratch},
    {"linear_backward_input", "cuda_gemm_linear_backward_input", nullptr, linear_backward_input,
        backward_input_scratch},
    {"linear_backward_weight", "cuda_gemm_linear_backward_weight", nullptr, linear_backward_weight,
        backward_weight_scratch},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
