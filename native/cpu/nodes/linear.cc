// The nodes linear and its gradients. Each is one matrix product, with the operands in different roles.
#include <algorithm>
#include <vector>

#include "core/round.h"
#include "cpu/nodes/nodes.h"

namespace heddle {
namespace cpu {
namespace {

void set_a(Gemm& g, const Tensor& t, bool transposed) {
  g.a = t.data, g.a_type = t.dtype, g.lda = t.shape[1], g.a_transposed = transposed;
}
void set_b(Gemm& g, const Tensor& t, bool transposed) {
  g.b = t.data, g.b_type = t.dtype, g.ldb = t.shape[1], g.b_transposed = transposed;
}
void set_c(Gemm& g, const Tensor& t) {
  g.c = t.data, g.c_type = t.dtype, g.ldc = t.shape[1], g.m = t.shape[0], g.n = t.shape[1];
}

// y (N, M) = x (N, K) w^T + bias, or x w when w is (K, M)
Gemm linear(const Node& n) {
  Gemm g{};
  set_a(g, n.in[0], false);
  set_b(g, n.in[1], !n.attr_flag("transposed"));
  set_c(g, n.out[0]);
  g.k = n.in[0].shape[1];
  g.rowwise = n.attributes->get("rowwise", 0) != 0;
  if (n.has_input(2)) g.bias = n.in[2].data, g.bias_type = n.in[2].dtype;
  g.b_packed = n.packed, g.b_unpacked = n.unpacked;
  return g;
}
// Packs weights as panels of bf16 pairs, for bf16 x. Few rows of x then need no horizontal additions, and many rows
// need no packing per call. Rows of w of `long_row` numbers or more gain too little for the time that packing takes.
constexpr int64_t long_row = 2048;
Packing linear_packing(const Node& n) {
  const Tensor& w = n.in[1];
  if (w.dtype != DType::bf16 || w.shape[1] >= long_row || n.attr_flag("transposed") ||
      !(n.attr_flag("bf16") || n.in[0].dtype == DType::bf16))
    return {};
  const size_t bytes = active().pairs_packed_bytes(w.shape[0], w.shape[1]),
               panel = active().pairs_packed_bytes(1, w.shape[1]);
  if (!bytes) return {};
  Packing p{"pairs", 1, bytes, static_cast<int64_t>(bytes / panel)};
  p.read_only = true, p.row_tile = active().row_tile, p.row_block = active().row_block;
  return p;
}
void linear_pack(const Node& n, void* to, int64_t begin, int64_t end, Pool& pool) {
  active().pairs_pack(linear(n), to, begin, end, pool);
}

// dx (N, K) = dy (N, M) w
Gemm backward_input(const Node& n) {
  Gemm g{};
  set_a(g, n.in[0], false);
  set_b(g, n.in[1], n.attr_flag("transposed"));
  set_c(g, n.out[0]);
  g.k = n.in[0].shape[1];
  return g;
}

// dw (M, K) = dy^T x, or (K, M) = x^T dy
Gemm backward_weight(const Node& n) {
  bool transposed = n.attr_flag("transposed");
  Gemm g{};
  set_a(g, n.in[transposed ? 1 : 0], true);
  set_b(g, n.in[transposed ? 0 : 1], false);
  set_c(g, n.out[0]);
  g.k = n.in[0].shape[0];
  return g;
}

bool supports(const Node& n) {
  if (n.attr_flag("int8")) return false;
  for (size_t i = 0; i < n.in.size(); ++i)
    if (n.has_input(i) && !is_float(n.in[i])) return false;
  return is_activation(n.out[0]);
}

template <Gemm (*describe)(const Node&)> size_t scratch(const Node& n, int threads) {
  Gemm g = describe(n);
  return active().gemm_scratch(g.m, g.n, g.k, threads);
}
template <Gemm (*describe)(const Node&)> void run(const Node& n, Context& c) {
  active().gemm(describe(n), c.pool, c.scratch);
}

template <Gemm (*describe)(const Node&)> bool run_onto(const Node& n, Context& c) {
  Gemm g = describe(n);
  if (g.m == 0 || n.attr_flag("bf16") || !active().gemm_adds(g)) return false;
  g.accumulate = true;
  active().gemm(g, c.pool, c.scratch);
  return true;
}

// Whether linear rounds an f32 x to bf16. The copy is at the end of the scratch.
bool rounds(const Node& n) { return n.attr_flag("bf16") && n.in[0].dtype == DType::f32; }
size_t linear_scratch(const Node& n, int threads) {
  const size_t product = scratch<linear>(n, threads);
  if (!rounds(n)) return product;
  return padded_to_line(product) + static_cast<size_t>(n.in[0].shape.size()) * 2;
}
void round_x(const Node& n, Gemm& g, void* copy, Pool& pool) {
  const float* x = static_cast<const float*>(g.a);
  pool.range(n.in[0].shape.size(), 16384, [&](int64_t begin, int64_t end, int) {
    active().convert(x + begin, DType::f32, static_cast<uint16_t*>(copy) + begin, DType::bf16, end - begin);
  });
  g.a = copy, g.a_type = DType::bf16;
}
// Multiplies one x by several weights. Rounds x once for all nodes that need it.
void linear_group(const Node* const* nodes, size_t count, Context& c) {
  std::vector<Gemm> products;
  size_t scratch = 0;
  for (size_t i = 0; i < count; ++i) {
    const Gemm g = linear(*nodes[i]);
    products.push_back(g);
    scratch = std::max(scratch, padded_to_line(active().gemm_scratch(g.m, g.n, g.k, c.pool.threads())));
  }
  bool rounded = false;
  for (size_t i = 0; i < count; ++i) {
    if (!rounds(*nodes[i])) continue;
    Gemm& g = products[i];
    void* copy = static_cast<char*>(c.scratch) + scratch;
    if (rounded) g.a = copy, g.a_type = DType::bf16;
    else round_x(*nodes[i], g, copy, c.pool);
    rounded = true;
  }
  active().gemms(products.data(), static_cast<int>(count), c.pool, c.scratch);
}
void linear_run(const Node& n, Context& c) {
  const Node* alone = &n;
  linear_group(&alone, 1, c);
}

// A product with fused gelu. Few rows, and shapes with special kernels, take two steps instead: f32 sums, in y or at
// the end of the scratch, and then gelu.
constexpr int64_t max_unfused_rows = 256;  // the largest finite limit of gemm_ends_above
struct ActivatedLinear {
  const Node& n;
  Gemm g;
  const bool rounded, in_y;
  bool is_fused;
  size_t product, x, sums;  // bytes of the scratch
  ActivatedLinear(const Node& node, int threads)
      : n(node), g(linear(node)), rounded(rounds(node)), in_y(node.out[0].dtype == DType::f32) {
    if (rounded) g.a_type = DType::bf16;
    const int64_t above = active().gemm_ends_above(g);
    is_fused = g.m > above;
    product = padded_to_line(active().gemm_scratch(g.m, g.n, g.k, threads));
    x = rounded ? padded_to_line(static_cast<size_t>(n.in[0].shape.size()) * 2) : 0;
    // Assumes the larger limit. Packed panels lower `above`, but it is unknown here whether the run will have them.
    sums = in_y ? 0 : static_cast<size_t>(std::min(g.m, std::max(above, max_unfused_rows)) * g.n) * 4;
  }
};
bool linear_activation_supports(const Node& n) {
  const int64_t activation = n.attr_int("activation");
  return supports(n) && (activation == 1 || activation == 2) && n.out.size() == 1;
}
size_t linear_activation_scratch(const Node& n, int threads) {
  const ActivatedLinear e(n, threads);
  return e.product + e.x + e.sums;
}
void linear_activation_run(const Node& n, Context& c) {
  ActivatedLinear e(n, c.pool.threads());
  Gemm& g = e.g;
  char* const x = static_cast<char*>(c.scratch) + e.product;
  if (e.rounded) round_x(n, g, x, c.pool);
  const int activation = static_cast<int>(n.attr_int("activation"));
  if (e.is_fused) {
    g.end = activation;
    return active().gemm(g, c.pool, c.scratch);
  }
  const Tensor& y = n.out[0];
  g.c = e.in_y ? y.data : x + e.x, g.c_type = DType::f32;
  active().gemm(g, c.pool, c.scratch);
  Elementwise of{};
  of.size = y.shape.size(), of.type = DType::f32, of.out_type = y.dtype, of.a = g.c, of.y = y.data,
  of.activation = activation;
  active().gelu(of, c.pool);
}

bool column_sum_supports(const Node& n) { return is_activation(n.in[0]); }
void column_sum(const Node& n, Context& c) {
  Rows r{n.in[0].shape[0], n.in[0].shape[1], n.in[0].dtype, n.in[0].data, nullptr, n.out[0].data};
  active().column_sum(r, c.pool);
}

}  // namespace

void register_linear() {
  add_kernel("linear", "gemm_linear", supports, linear_scratch, linear_run, {linear_packing, linear_pack}, linear_group,
      run_onto<linear>);
  add_kernel("linear_activation", "gemm_linear_activation", linear_activation_supports, linear_activation_scratch,
      linear_activation_run, {linear_packing, linear_pack});
  add_kernel("linear_backward_input", "gemm_linear_backward_input", supports, scratch<backward_input>,
      run<backward_input>, {}, nullptr, run_onto<backward_input>);
  add_kernel("linear_backward_weight", "gemm_linear_backward_weight", supports, scratch<backward_weight>,
      run<backward_weight>);
  add_kernel("column_sum", "column_sum", column_sum_supports, nullptr, column_sum);
}

}  // namespace cpu
}  // namespace heddle
