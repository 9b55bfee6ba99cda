// c = a b + bias with both operands rounded to e4m3 just before the product, for training. The forward product of a
// linear layer and both its gradients are such products ("DeepSeek-V3 Technical Report" 2024, 3.3). The operand a is
// rounded in groups of 128 along k, and b in blocks of 128 x 128. Scales are powers of two (fp8.h).
#include <cmath>

#include "ops/check.h"
#include "ops/fp8.h"
#include "ops/reference.h"

namespace heddle {
namespace {

// a (m, k), or (k, m) if a_transposed is set; b (k, n), or (n, k) if b_transposed is set; bias? (n) -> c (m, n)
void check_product(const Node& n) {
  Check c("fp8_product", n, 2, 3, 1, 1);
  const Operand a = c.in(0, "a"), b = c.in(1, "b"), to = c.out(0, "c");
  const int depth_of_a = c.attr_flag("a_transposed") ? 0 : 1, depth_of_b = c.attr_flag("b_transposed") ? 1 : 0;
  c.rank(a, 2), c.dtype(a, float_types);
  c.rank(b, 2), c.dtype(b, float_types), c.same_dim(a, depth_of_a, b, depth_of_b);
  if (c.has(2)) {
    const Operand bias = c.in(2, "bias");
    c.rank(bias, 1), c.dtype(bias, float_types), c.same_dim(bias, 0, b, 1 - depth_of_b);
  }
  c.dtype(to, activation_types), c.shape(to, {a.shape()[1 - depth_of_a], b.shape()[1 - depth_of_b]});
}

// Returns x as lines along k, rounded to e4m3. `together` lines share the scales of their blocks.
Row rounded_lines(const Tensor& x, bool k_first, int64_t together) {
  const int64_t lines = x.shape[k_first ? 1 : 0], K = x.shape[k_first ? 0 : 1];
  const Row stored = load_all(x);
  Row rounded(stored.size());
  for (int64_t line0 = 0; line0 < lines; line0 += together)
    for (int64_t k0 = 0; k0 < K; k0 += fp8_block) {
      const int64_t line_end = line0 + together < lines ? line0 + together : lines;
      const int64_t k_end = k0 + fp8_block < K ? k0 + fp8_block : K;
      const auto at = [&](int64_t line, int64_t k) {
        return static_cast<float>(stored[k_first ? k * lines + line : line * K + k]);
      };
      float largest = 0;
      bool finite = true;
      for (int64_t line = line0; line < line_end; ++line)
        for (int64_t k = k0; k < k_end; ++k) {
          largest = std::fmax(largest, std::fabs(at(line, k)));
          finite = finite && std::isfinite(at(line, k));
        }
      const Fp8Scale scale = fp8_power_of_two(largest);
      for (int64_t line = line0; line < line_end; ++line)
        for (int64_t k = k0; k < k_end; ++k)
          rounded[line * K + k] =
              finite ? e4m3_to_float(float_to_e4m3(at(line, k) * scale.inverse)) * scale.scale : NAN;
    }
  return rounded;
}

void product(const Node& n) {
  const bool a_transposed = n.attr_flag("a_transposed"), b_transposed = n.attr_flag("b_transposed");
  const Tensor &a = n.in[0], &b = n.in[1], &c = n.out[0];
  const int64_t M = c.shape[0], N = c.shape[1], K = a.shape[a_transposed ? 0 : 1];
  const Row left = rounded_lines(a, a_transposed, 1), right = rounded_lines(b, !b_transposed, fp8_block);
  const Row bias = n.has_input(2) ? load_all(n.in[2]) : Row(static_cast<size_t>(N));
  Row sum(static_cast<size_t>(M * N));
  for (int64_t i = 0; i < M; ++i)
    for (int64_t j = 0; j < N; ++j) sum[i * N + j] = bias[j] + dot(left.data() + i * K, right.data() + j * K, K);
  store_row(c, 0, sum);
}

HEDDLE_OP(fp8_product_op, {"fp8_product", 2, 3, 1, check_product, product});

}  // namespace
}  // namespace heddle
