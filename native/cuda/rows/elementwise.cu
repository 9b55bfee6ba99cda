// Elementwise ops, and those of the optimizer.
#include "cuda/rows/elementwise.cuh"
#include "cuda/rows/philox.cuh"
#include "ops/noise.h"

namespace heddle {
namespace cuda {

void elementwise::copy_elements(const Context& c, const char* name, const View& x, const Out& y, int64_t n) {
  map(c, name, Copy{}, Operands<1, 1>{{x}, {y}, n});
}

namespace {

using namespace elementwise;

// ---- sums, products, bounds

void add(const Node& n, Context& c) { map<2, 1>(c, "add", n, Add{}); }

struct Mul : Stateless {
  __device__ void operator()(int64_t, const float (&x)[2], float (&y)[1]) const { y[0] = x[0] * x[1]; }
};
void mul(const Node& n, Context& c) { map<2, 1>(c, "mul", n, Mul{}); }

struct Affine : Stateless {
  float factor, offset;
  __device__ void operator()(int64_t, const float (&x)[1], float (&y)[1]) const { y[0] = x[0] * factor + offset; }
};
void affine(const Node& n, Context& c) {
  map<1, 1>(c, "affine", n, Affine{{}, static_cast<float>(n.attr("factor")), static_cast<float>(n.attr("offset"))});
}

struct Minimum : Stateless {
  __device__ void operator()(int64_t, const float (&x)[2], float (&y)[1]) const {
    y[0] = x[0] != x[0] || x[0] < x[1] ? x[0] : x[1];
  }
};
void minimum(const Node& n, Context& c) { map<2, 1>(c, "minimum", n, Minimum{}); }

// dy, a, b -> da, db
struct MinimumBackward : Stateless {
  __device__ void operator()(int64_t, const float (&x)[3], float (&y)[2]) const {
    const float share = x[1] < x[2] ? 1.0f : x[1] > x[2] ? 0.0f : 0.5f;
    y[0] = x[0] * share, y[1] = x[0] * (1.0f - share);
  }
};
void minimum_backward(const Node& n, Context& c) { map<3, 2>(c, "minimum_backward", n, MinimumBackward{}); }

struct Clamp : Stateless {
  float low, high;
  __device__ void operator()(int64_t, const float (&x)[1], float (&y)[1]) const {
    y[0] = x[0] < low ? low : x[0] > high ? high : x[0];
  }
};
void clamp(const Node& n, Context& c) {
  map<1, 1>(c, "clamp", n, Clamp{{}, static_cast<float>(n.attr("low")), static_cast<float>(n.attr("high"))});
}

// dy, x -> dx
struct ClampBackward : Stateless {
  float low, high;
  __device__ void operator()(int64_t, const float (&x)[2], float (&y)[1]) const {
    y[0] = x[1] >= low && x[1] <= high ? x[0] : 0.0f;
  }
};
void clamp_backward(const Node& n, Context& c) {
  map<2, 1>(
      c, "clamp_backward", n, ClampBackward{{}, static_cast<float>(n.attr("low")), static_cast<float>(n.attr("high"))});
}

// ---- functions of one operand

struct Softcap : Stateless {
  float cap;
  __device__ void operator()(int64_t, const float (&x)[1], float (&y)[1]) const { y[0] = cap * tanhf(x[0] / cap); }
};
void softcap(const Node& n, Context& c) { map<1, 1>(c, "softcap", n, Softcap{{}, static_cast<float>(n.attr("cap"))}); }

// dy, x -> dx
struct SoftcapBackward : Stateless {
  float cap;
  __device__ void operator()(int64_t, const float (&x)[2], float (&y)[1]) const {
    y[0] = x[0] * tanh_slope(x[1] / cap);
  }
};
void softcap_backward(const Node& n, Context& c) {
  map<2, 1>(c, "softcap_backward", n, SoftcapBackward{{}, static_cast<float>(n.attr("cap"))});
}

struct Gelu : Stateless {
  bool tanh_approximation;
  __device__ void operator()(int64_t, const float (&x)[1], float (&y)[1]) const {
    y[0] = (tanh_approximation ? gelu_tanh(x[0]) : gelu_erf(x[0])).value;
  }
};
void gelu(const Node& n, Context& c) { map<1, 1>(c, "gelu", n, Gelu{{}, n.attr_flag("tanh")}); }

// dy, x -> dx
struct GeluBackward : Stateless {
  bool tanh_approximation;
  __device__ void operator()(int64_t, const float (&x)[2], float (&y)[1]) const {
    y[0] = x[0] * (tanh_approximation ? gelu_tanh(x[1]) : gelu_erf(x[1])).derivative;
  }
};
void gelu_backward(const Node& n, Context& c) {
  map<2, 1>(c, "gelu_backward", n, GeluBackward{{}, n.attr_flag("tanh")});
}

// The values are those of the attribute in native/ops/unary.cc.
enum Function { exp_, log_, sigmoid_, log_sigmoid_, tanh_, relu_, abs_, sqrt_, reciprocal_, log1mexp_ };

__device__ float sigmoid(float x) {
  const float e = expf(-fabsf(x));  // never overflows
  return x >= 0 ? 1.0f / (1.0f + e) : e / (1.0f + e);
}

__device__ float apply(int function, float x) {
  switch (function) {
    case exp_: return expf(x);
    case log_: return logf(x);
    case sigmoid_: return sigmoid(x);
    case log_sigmoid_: return fminf(x, 0.0f) - log1pf(expf(-fabsf(x)));
    case tanh_: return tanhf(x);
    case relu_: return x > 0 || x != x ? x : 0.0f;
    case abs_: return fabsf(x);
    case sqrt_: return sqrtf(x);
    case reciprocal_: return 1.0f / x;
    // log(1 - e^x). Each of the two forms is exact on its side of -log 2 (Mächler 2012, "Accurately Computing log(1 -
    // exp(-|a|))").
    default: return x > -0.6931472f ? logf(-expm1f(x)) : log1pf(-expf(x));
  }
}

__device__ float derivative(int function, float x) {
  switch (function) {
    case exp_: return expf(x);
    case log_: return 1.0f / x;
    case sigmoid_: return sigmoid(x) * sigmoid(-x);
    case log_sigmoid_: return sigmoid(-x);
    case tanh_: return tanh_slope(x);
    case relu_: return x > 0 ? 1.0f : 0.0f;
    case abs_: return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f;
    case sqrt_: return 0.5f / sqrtf(x);
    case reciprocal_: return -1.0f / (x * x);
    default: return 1.0f / -expm1f(-x);
  }
}

struct Unary : Stateless {
  int function;
  __device__ void operator()(int64_t, const float (&x)[1], float (&y)[1]) const { y[0] = apply(function, x[0]); }
};
void unary(const Node& n, Context& c) { map<1, 1>(c, "unary", n, Unary{{}, static_cast<int>(n.attr_int("function"))}); }

// dy, x -> dx
struct UnaryBackward : Stateless {
  int function;
  __device__ void operator()(int64_t, const float (&x)[2], float (&y)[1]) const {
    y[0] = x[0] == 0 ? 0.0f : x[0] * derivative(function, x[1]);  // 0 * infinity would be NaN
  }
};
void unary_backward(const Node& n, Context& c) {
  map<2, 1>(c, "unary_backward", n, UnaryBackward{{}, static_cast<int>(n.attr_int("function"))});
}

// ---- gated linear units

// gate, up -> y
struct Glu : Stateless {
  int activation;
  __device__ void operator()(int64_t, const float (&x)[2], float (&y)[1]) const {
    y[0] = activate(activation, x[0]).value * x[1];
  }
};
void glu(const Node& n, Context& c) { map<2, 1>(c, "glu", n, Glu{{}, static_cast<int>(n.attr_int("activation"))}); }

// dy, gate, up -> dgate, dup
struct GluBackward : Stateless {
  int activation;
  __device__ void operator()(int64_t, const float (&x)[3], float (&y)[2]) const {
    const Activated a = activate(activation, x[1]);
    y[0] = x[0] * x[2] * a.derivative;
    y[1] = x[0] * a.value;
  }
};
void glu_backward(const Node& n, Context& c) {
  map<3, 2>(c, "glu_backward", n, GluBackward{{}, static_cast<int>(n.attr_int("activation"))});
}

// ---- copies

void cast(const Node& n, Context& c) { map<1, 1>(c, "cast", n, Copy{}); }

struct Broadcast {
  View x;
  float value = 0;
  __device__ bool begin() {
    value = x[0];
    return true;
  }
  __device__ void operator()(int64_t, const float (&)[1], float (&y)[1]) const { y[0] = value; }
};
void broadcast(const Node& n, Context& c) { map<0, 1>(c, "broadcast", n, Broadcast{view(n.in[0])}); }

// ---- optimizer: these kernels leave the state unchanged if the run has reported a fault

// state, g, keep (1) -> state = keep * state + g. If keep is 0, NaN in the old state does not matter.
struct Accumulate {
  const float* keep;
  Fault fault;
  float factor = 0;
  __device__ bool begin() {
    factor = *keep;
    return !fault.reported();
  }
  __device__ void operator()(int64_t, const float (&x)[2], float (&y)[1]) const {
    y[0] = factor == 0 ? x[1] : factor * x[0] + x[1];
  }
};
void accumulate(const Node& n, Context& c) {
  const Tensor& state = n.in[0];
  map(c, "accumulate", Accumulate{n.in[2].as<float>(), fault_of(c)},
      Operands<2, 1>{{view(state), view(n.in[1])}, {out(state)}, state.shape.size()});
}

void assign(const Node& n, Context& c) {
  const Tensor& state = n.in[0];
  map(c, "assign", Assign{{}, fault_of(c)}, Operands<1, 1>{{view(n.in[1])}, {out(state)}, state.shape.size()});
}

// AdamW (Loshchilov & Hutter 2019): param, grad, m, v -> param, m, v. hyper (7): learning rate, beta1, beta2, eps,
// weight decay, 1 - beta1^t, 1 - beta2^t. factor (1): the gradient is multiplied by it.
struct AdamW {
  const float *hyper, *factor;
  bool decay;
  Fault fault;
  float lr = 0, beta1 = 0, beta2 = 0, eps = 0, kept = 0, correction1 = 0, correction2 = 0, scale = 0;
  __device__ bool begin() {
    lr = hyper[0], beta1 = hyper[1], beta2 = hyper[2], eps = hyper[3], correction1 = hyper[5], correction2 = hyper[6];
    kept = 1.0f - lr * (decay ? hyper[4] : 0.0f);
    scale = *factor;
    return !fault.reported();
  }
  __device__ void operator()(int64_t, const float (&x)[4], float (&y)[3]) const {
    const float g = x[1] * scale;
    const float mean = beta1 * x[2] + (1.0f - beta1) * g;
    const float square = beta2 * x[3] + (1.0f - beta2) * g * g;
    const float step = mean / correction1 / (sqrtf(square / correction2) + eps);
    y[0] = x[0] * kept - lr * step;  // applies the decay before the step, as PyTorch's AdamW does
    y[1] = mean, y[2] = square;
  }
};
void adamw(const Node& n, Context& c) {
  const Tensor &param = n.in[0], &m = n.in[2], &v = n.in[3];
  map(c, "adamw", AdamW{n.in[4].as<float>(), n.in[5].as<float>(), n.attr_flag("decay"), fault_of(c)},
      Operands<4, 3>{{view(param), view(n.in[1]), view(m), view(v)}, {out(param), out(m), out(v)}, param.shape.size()});
}

// norm, max -> factor = min(1, max / (norm + 1e-6)), as in PyTorch's clip_grad_norm_. The factor is 1 if max is not
// above 0. NaN stays NaN.
struct ClipFactor : Stateless {
  __device__ void operator()(int64_t, const float (&x)[2], float (&y)[1]) const {
    const float f = x[1] / (x[0] + 1e-6f);
    y[0] = x[1] > 0 && !(f >= 1.0f) ? f : 1.0f;
  }
};
void clip_factor(const Node& n, Context& c) { map<2, 1>(c, "clip_factor", n, ClipFactor{}); }

// ---- seeded noise

// Dropout, or the addition of uniform noise in [-scale, scale]. The random word of an element depends only on `key`,
// `stream` and the element's index (ops/noise.h).
struct Noise {
  const uint32_t* key;  // (3): seed, step, micro-batch
  uint32_t stream, drop_below;
  float scale;
  bool dropout;
  uint32_t seed = 0, step = 0, batch = 0;
  int64_t group = -1;  // `words` holds the random words of elements 4 group to 4 group + 3
  uint32_t words[4] = {};

  __device__ bool begin() {
    seed = key[0], step = key[1], batch = key[2];
    return true;
  }
  __device__ uint32_t word(int64_t element) {
    if (element / 4 != group) {
      group = element / 4;
      words[0] = static_cast<uint32_t>(group), words[1] = stream, words[2] = step, words[3] = batch;
      philox4x32_10(words, seed, noise_key);
    }
    // Selects the word by comparisons, because an array index would put `words` into local memory.
    const int64_t i = element % 4;
    return i == 0 ? words[0] : i == 1 ? words[1] : i == 2 ? words[2] : words[3];
  }
  __device__ void operator()(int64_t i, const float (&x)[1], float (&y)[1]) {
    const uint32_t w = word(i);
    if (dropout) y[0] = w < drop_below ? 0.0f : x[0] * scale;
    else y[0] = x[0] + scale * (static_cast<float>(w) * 4.65661287e-10f - 1.0f);  // 2^-31
  }
};
void noise(const Node& n, Context& c, bool dropout, float scale) {
  map<1, 1>(c, dropout ? "dropout" : "uniform_noise", n,
      Noise{n.in[1].as<uint32_t>(), static_cast<uint32_t>(n.attr_int("stream")),
          dropout ? dropped_below(n.attr("p")) : 0u, scale, dropout});
}
void dropout(const Node& n, Context& c) { noise(n, c, true, static_cast<float>(1 / (1 - n.attr("p")))); }
void uniform_noise(const Node& n, Context& c) { noise(n, c, false, static_cast<float>(n.attr("scale"))); }

const RegisterKernel kernels[] = {
    {"add", "cuda_add", supports_unquantized, add},
    {"mul", "cuda_mul", supports_unquantized, mul},
    {"affine", "cuda_affine", supports_unquantized, affine},
    {"minimum", "cuda_minimum", supports_unquantized, minimum},
    {"minimum_backward", "cuda_minimum_backward", supports_unquantized, minimum_backward},
    {"clamp", "cuda_clamp", supports_unquantized, clamp},
    {"clamp_backward", "cuda_clamp_backward", supports_unquantized, clamp_backward},
    {"softcap", "cuda_softcap", supports_unquantized, softcap},
    {"softcap_backward", "cuda_softcap_backward", supports_unquantized, softcap_backward},
    {"gelu", "cuda_gelu", supports_unquantized, gelu},
    {"gelu_backward", "cuda_gelu_backward", supports_unquantized, gelu_backward},
    {"unary", "cuda_unary", supports_unquantized, unary},
    {"unary_backward", "cuda_unary_backward", supports_unquantized, unary_backward},
    {"glu", "cuda_glu", supports_unquantized, glu},
    {"glu_backward", "cuda_glu_backward", supports_unquantized, glu_backward},
    {"cast", "cuda_cast", supports_unquantized, cast},
    {"broadcast", "cuda_broadcast", supports_unquantized, broadcast},
    {"accumulate", "cuda_accumulate", supports_unquantized, accumulate},
    {"assign", "cuda_assign", supports_unquantized, assign},
    {"adamw", "cuda_adamw", supports_unquantized, adamw},
    {"clip_factor", "cuda_clip_factor", supports_unquantized, clip_factor},
    {"dropout", "cuda_dropout", supports_unquantized, dropout},
    {"uniform_noise", "cuda_uniform_noise", supports_unquantized, uniform_noise},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
