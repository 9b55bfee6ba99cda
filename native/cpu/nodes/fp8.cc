// Products with weights of 8-bit floats (ops/fp8.h). The weight is converted to f32 one panel at a time, and the f32
// kernels multiply by each panel.
#include "core/round.h"
#include "cpu/nodes/nodes.h"
#include "ops/fp8.h"

namespace heddle {
namespace cpu {
namespace {

constexpr int64_t panel = 2 * fp8_block;  // rows of w, or columns in the gradient

const float* numbers() {
  static const float* const table = [] {
    float* made = new float[256];
    for (int i = 0; i < 256; ++i) made[i] = e4m3_to_float(static_cast<uint8_t>(i));
    return made;
  }();
  return table;
}

size_t panel_bytes(int64_t deep) { return padded_to_line(static_cast<size_t>(panel * deep) * sizeof(float)); }
size_t rounded_bytes(const Node& n) {
  return n.attr_flag("fp8") ? padded_to_line(static_cast<size_t>(n.in[0].shape.size()) * sizeof(float)) : 0;
}

// Converts rows [row0, row_end) and columns [column0, column_end) of w to f32.
void widen(const Node& n, int64_t row0, int64_t row_end, int64_t column0, int64_t column_end, float* to, Pool& pool) {
  const Tensor& w = n.in[1];
  const int64_t K = w.shape[1], wide = column_end - column0;
  const float *scale = n.in[2].as<float>(), *table = numbers();
  pool.range(row_end - row0, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const uint8_t* bytes = w.as<uint8_t>() + (row0 + i) * K;
      const float* scales = scale + (row0 + i) / fp8_block * fp8_blocks(K);
      float* row = to + i * wide;
      for (int64_t k = column0; k < column_end; ++k) row[k - column0] = scales[k / fp8_block] * table[bytes[k]];
    }
  });
}

bool supports(const Node& n) {
  return is_activation(n.in[0]) && is_activation(n.out[0]) && (!n.has_input(3) || is_float(n.in[3]));
}

size_t linear_scratch(const Node& n, int threads) {
  const int64_t N = n.in[0].shape[0], K = n.in[0].shape[1];
  return rounded_bytes(n) + panel_bytes(K) + active().gemm_scratch(N, panel, K, threads);
}

// y (N, M) = x (N, K) w^T + bias
void linear_run(const Node& n, Context& c) {
  const Tensor &x = n.in[0], &y = n.out[0];
  const int64_t N = x.shape[0], K = x.shape[1], M = y.shape[1];
  float* rounded = static_cast<float*>(c.scratch);
  float* wide = reinterpret_cast<float*>(static_cast<char*>(c.scratch) + rounded_bytes(n));
  void* scratch = reinterpret_cast<char*>(wide) + panel_bytes(K);
  Gemm g{};
  g.m = N, g.k = K;
  g.a = x.data, g.a_type = x.dtype, g.lda = K;
  if (n.attr_flag("fp8")) {
    c.pool.range(N, 4, [&](int64_t begin, int64_t end, int) {
      active().convert(static_cast<const char*>(x.data) + begin * K * static_cast<int64_t>(dtype_bytes(x.dtype)),
          x.dtype, rounded + begin * K, DType::f32, (end - begin) * K);
      for (int64_t i = begin; i < end; ++i) round_to_fp8(rounded + i * K, K);
    });
    g.a = rounded, g.a_type = DType::f32;
  }
  g.b = wide, g.b_type = DType::f32, g.ldb = K, g.b_transposed = true;
  g.c_type = y.dtype, g.ldc = M;
  g.rowwise = n.attr_flag("rowwise");
  for (int64_t m = 0; m < M; m += panel) {
    g.n = m + panel < M ? panel : M - m;
    widen(n, m, m + g.n, 0, K, wide, c.pool);
    g.c = static_cast<char*>(y.data) + m * static_cast<int64_t>(dtype_bytes(y.dtype));
    if (n.has_input(3)) {
      const Tensor& bias = n.in[3];
      g.bias = static_cast<const char*>(bias.data) + m * static_cast<int64_t>(dtype_bytes(bias.dtype)),
      g.bias_type = bias.dtype;
    }
    active().gemm(g, c.pool, scratch);
  }
}

size_t backward_scratch(const Node& n, int threads) {
  const int64_t N = n.in[0].shape[0], M = n.in[0].shape[1];
  return panel_bytes(M) + active().gemm_scratch(N, panel, M, threads);
}

// dx (N, K) = dy (N, M) w
void backward_run(const Node& n, Context& c) {
  const Tensor &dy = n.in[0], &dx = n.out[0];
  const int64_t M = dy.shape[1], K = dx.shape[1];
  float* wide = static_cast<float*>(c.scratch);
  void* scratch = static_cast<char*>(c.scratch) + panel_bytes(M);
  Gemm g{};
  g.m = dy.shape[0], g.k = M;
  g.a = dy.data, g.a_type = dy.dtype, g.lda = M;
  g.b = wide, g.b_type = DType::f32;
  g.c_type = dx.dtype, g.ldc = K;
  for (int64_t k = 0; k < K; k += panel) {
    g.n = g.ldb = k + panel < K ? panel : K - k;
    widen(n, 0, M, k, k + g.n, wide, c.pool);
    g.c = static_cast<char*>(dx.data) + k * static_cast<int64_t>(dtype_bytes(dx.dtype));
    active().gemm(g, c.pool, scratch);
  }
}

}  // namespace

void register_fp8() {
  add_kernel("fp8_linear", "fp8_linear", supports, linear_scratch, linear_run);
  add_kernel("fp8_linear_backward_input", "fp8_linear_backward_input", supports, backward_scratch, backward_run);
}

}  // namespace cpu
}  // namespace heddle
