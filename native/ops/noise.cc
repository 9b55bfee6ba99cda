// Seeded noise of training: dropout (Srivastava et al. 2014) and uniform noise (NEFTune, Jain et al. 2023). An
// element's noise depends only on (seed, step, micro-batch, stream, position). The backward pass, a resumed run and any
// number of threads therefore see the same noise.
#include "ops/check.h"
#include "ops/noise.h"
#include "ops/philox.h"
#include "ops/reference.h"

namespace heddle {
namespace {

// x (any), noise (3) i32 = [seed, step, micro-batch] -> y like x
void check_noise(const char* op, const Node& n) {
  Check c(op, n, 2, 2, 1, 1);
  const Operand x = c.in(0, "x"), noise = c.in(1, "noise"), y = c.out(0, "y");
  c.rank_at_least(x, 1), c.dtype(x, activation_types);
  c.dtype(noise, i32_only), c.shape(noise, {3});
  c.same_shape(y, x), c.same_dtype(y, x);
  c.attr_int("stream", 0, 0xffffffff);
}

uint32_t word_of(const NoiseKey& k, int64_t element) {
  const auto words =
      philox4x32_10({static_cast<uint32_t>(element / 4), k.stream, k.step, k.micro}, {k.seed, noise_key});
  return words[element % 4];
}

template <class F> void map_noise(const Node& n, F f) {
  const Tensor &x = n.in[0], &y = n.out[0];
  const NoiseKey key = noise_key_of(n);
  for (int64_t i = 0; i < x.shape.size(); ++i) {
    double v;
    load_row(x, i, 1, &v);
    v = f(v, word_of(key, i));
    store_row(y, i, 1, &v);
  }
}

// y = x / (1 - p) if the draw keeps the element, otherwise 0
void check_dropout(const Node& n) {
  check_noise("dropout", n);
  Check("dropout", n, 2, 2, 1, 1).attr("p", 0, 0.999999);
}
void dropout(const Node& n) {
  const double scale = 1 / (1 - n.attr("p"));
  const uint32_t dropped = dropped_below(n.attr("p"));
  map_noise(n, [&](double x, uint32_t word) { return word < dropped ? 0.0 : x * scale; });
}

// y = x + scale * u with u uniform in [-1, 1)
void check_uniform_noise(const Node& n) {
  check_noise("uniform_noise", n);
  Check("uniform_noise", n, 2, 2, 1, 1).attr("scale", 0, 1e6);
}
void uniform_noise(const Node& n) {
  const double scale = n.attr("scale");
  map_noise(n, [&](double x, uint32_t word) { return x + scale * (word * 0x1p-31 - 1); });
}

HEDDLE_OP(dropout_op, {"dropout", 2, 2, 1, check_dropout, dropout, 0, 0b1});
HEDDLE_OP(uniform_noise_op, {"uniform_noise", 2, 2, 1, check_uniform_noise, uniform_noise, 0, 0b1});

}  // namespace
}  // namespace heddle
