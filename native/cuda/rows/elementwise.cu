// Elementwise ops. Each thread computes separate elements. Outputs may alias operands.
#include "cuda/rows/math.cuh"
#include "cuda/rows/philox.cuh"
#include "ops/noise.h"

namespace heddle {
namespace cuda {
namespace {

constexpr int threads = 256;

// Calls f(i) for every i < n.
template <class F> __global__ void map_kernel(F f, int64_t n) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) f(i);
}

template <class F> void map(const Context& c, const char* name, int64_t n, F f) {
  const unsigned most = 1u << 16, wanted = blocks_for(n < (int64_t{1} << 40) ? n : int64_t{1} << 40, threads);
  launch(c, name, {dim3(wanted < most ? wanted : most), dim3(threads)}, map_kernel<F>, f, n);
}

bool supports_unquantized(const Node& n) { return no_quantised(n); }

// ---- sums, products, bounds

struct Add {
  View a, b;
  Out y;
  __device__ void operator()(int64_t i) const { y.store(i, a[i] + b[i]); }
};
void add(const Node& n, Context& c) {
  map(c, "add", n.out[0].shape.size(), Add{view(n.in[0]), view(n.in[1]), out(n.out[0])});
}

struct Mul {
  View a, b;
  Out y;
  __device__ void operator()(int64_t i) const { y.store(i, a[i] * b[i]); }
};
void mul(const Node& n, Context& c) {
  map(c, "mul", n.out[0].shape.size(), Mul{view(n.in[0]), view(n.in[1]), out(n.out[0])});
}

struct Affine {
  View x;
  Out y;
  float factor, offset;
  __device__ void operator()(int64_t i) const { y.store(i, x[i] * factor + offset); }
};
void affine(const Node& n, Context& c) {
  map(c, "affine", n.out[0].shape.size(),
      Affine{view(n.in[0]), out(n.out[0]), static_cast<float>(n.attr("factor")), static_cast<float>(n.attr("offset"))});
}

struct Minimum {
  View a, b;
  Out y;
  __device__ void operator()(int64_t i) const {
    const float p = a[i], q = b[i];
    y.store(i, p != p || p < q ? p : q);
  }
};
void minimum(const Node& n, Context& c) {
  map(c, "minimum", n.out[0].shape.size(), Minimum{view(n.in[0]), view(n.in[1]), out(n.out[0])});
}

struct MinimumBackward {
  View dy, a, b;
  Out da, db;
  __device__ void operator()(int64_t i) const {
    const float g = dy[i], p = a[i], q = b[i];
    const float share = p < q ? 1.0f : p > q ? 0.0f : 0.5f;
    da.store(i, g * share);
    db.store(i, g * (1.0f - share));
  }
};
void minimum_backward(const Node& n, Context& c) {
  map(c, "minimum_backward", n.in[0].shape.size(),
      MinimumBackward{view(n.in[0]), view(n.in[1]), view(n.in[2]), out(n.out[0]), out(n.out[1])});
}

struct Clamp {
  View x;
  Out y;
  float low, high;
  __device__ void operator()(int64_t i) const {
    const float v = x[i];
    y.store(i, v < low ? low : v > high ? high : v);
  }
};
void clamp(const Node& n, Context& c) {
  map(c, "clamp", n.out[0].shape.size(),
      Clamp{view(n.in[0]), out(n.out[0]), static_cast<float>(n.attr("low")), static_cast<float>(n.attr("high"))});
}

struct ClampBackward {
  View dy, x;
  Out dx;
  float low, high;
  __device__ void operator()(int64_t i) const {
    const float v = x[i], g = dy[i];
    dx.store(i, v >= low && v <= high ? g : 0.0f);
  }
};
void clamp_backward(const Node& n, Context& c) {
  map(c, "clamp_backward", n.out[0].shape.size(),
      ClampBackward{view(n.in[0]), view(n.in[1]), out(n.out[0]), static_cast<float>(n.attr("low")),
          static_cast<float>(n.attr("high"))});
}

// ---- functions of one operand

struct Softcap {
  View x;
  Out y;
  float cap;
  __device__ void operator()(int64_t i) const { y.store(i, cap * tanhf(x[i] / cap)); }
};
void softcap(const Node& n, Context& c) {
  map(c, "softcap", n.out[0].shape.size(), Softcap{view(n.in[0]), out(n.out[0]), static_cast<float>(n.attr("cap"))});
}

struct SoftcapBackward {
  View dy, x;
  Out dx;
  float cap;
  __device__ void operator()(int64_t i) const {
    const float t = tanhf(x[i] / cap);
    dx.store(i, dy[i] * (1.0f - t * t));
  }
};
void softcap_backward(const Node& n, Context& c) {
  map(c, "softcap_backward", n.out[0].shape.size(),
      SoftcapBackward{view(n.in[0]), view(n.in[1]), out(n.out[0]), static_cast<float>(n.attr("cap"))});
}

struct Gelu {
  View x;
  Out y;
  bool tanh_approximation;
  __device__ void operator()(int64_t i) const {
    y.store(i, (tanh_approximation ? gelu_tanh(x[i]) : gelu_erf(x[i])).value);
  }
};
void gelu(const Node& n, Context& c) {
  map(c, "gelu", n.out[0].shape.size(), Gelu{view(n.in[0]), out(n.out[0]), n.attr_flag("tanh")});
}

struct GeluBackward {
  View dy, x;
  Out dx;
  bool tanh_approximation;
  __device__ void operator()(int64_t i) const {
    const float v = x[i];
    dx.store(i, dy[i] * (tanh_approximation ? gelu_tanh(v) : gelu_erf(v)).derivative);
  }
};
void gelu_backward(const Node& n, Context& c) {
  map(c, "gelu_backward", n.out[0].shape.size(),
      GeluBackward{view(n.in[0]), view(n.in[1]), out(n.out[0]), n.attr_flag("tanh")});
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
    default: return x > -0.6931472f ? logf(-expm1f(x)) : log1pf(-expf(x));
  }
}

__device__ float derivative(int function, float x) {
  switch (function) {
    case exp_: return expf(x);
    case log_: return 1.0f / x;
    case sigmoid_: return sigmoid(x) * sigmoid(-x);
    case log_sigmoid_: return sigmoid(-x);
    case tanh_: {
      const float e = expf(-2.0f * fabsf(x)), s = 1.0f + e;  // 1 / cosh^2, without overflow or cancellation
      return 4.0f * e / (s * s);
    }
    case relu_: return x > 0 ? 1.0f : 0.0f;
    case abs_: return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f;
    case sqrt_: return 0.5f / sqrtf(x);
    case reciprocal_: return -1.0f / (x * x);
    default: return 1.0f / -expm1f(-x);
  }
}

struct Unary {
  View x;
  Out y;
  int function;
  __device__ void operator()(int64_t i) const { y.store(i, apply(function, x[i])); }
};
void unary(const Node& n, Context& c) {
  map(c, "unary", n.out[0].shape.size(), Unary{view(n.in[0]), out(n.out[0]), static_cast<int>(n.attr_int("function"))});
}

struct UnaryBackward {
  View dy, x;
  Out dx;
  int function;
  __device__ void operator()(int64_t i) const {
    const float g = dy[i];
    dx.store(i, g == 0 ? 0.0f : g * derivative(function, x[i]));  // 0 * infinity would be NaN
  }
};
void unary_backward(const Node& n, Context& c) {
  map(c, "unary_backward", n.out[0].shape.size(),
      UnaryBackward{view(n.in[0]), view(n.in[1]), out(n.out[0]), static_cast<int>(n.attr_int("function"))});
}

// ---- gated linear units

struct Glu {
  View gate, up;
  Out y;
  int activation;
  __device__ void operator()(int64_t i) const { y.store(i, activate(activation, gate[i]).value * up[i]); }
};
void glu(const Node& n, Context& c) {
  map(c, "glu", n.out[0].shape.size(),
      Glu{view(n.in[0]), view(n.in[1]), out(n.out[0]), static_cast<int>(n.attr_int("activation"))});
}

struct GluBackward {
  View dy, gate, up;
  Out dgate, dup;
  int activation;
  __device__ void operator()(int64_t i) const {
    const float g = dy[i], u = up[i];
    const Activated a = activate(activation, gate[i]);
    dgate.store(i, g * u * a.derivative);
    dup.store(i, g * a.value);
  }
};
void glu_backward(const Node& n, Context& c) {
  map(c, "glu_backward", n.in[0].shape.size(),
      GluBackward{view(n.in[0]), view(n.in[1]), view(n.in[2]), out(n.out[0]), out(n.out[1]),
          static_cast<int>(n.attr_int("activation"))});
}

// ---- copies

struct Cast {
  View x;
  Out y;
  __device__ void operator()(int64_t i) const { y.store(i, x[i]); }
};
void cast(const Node& n, Context& c) { map(c, "cast", n.out[0].shape.size(), Cast{view(n.in[0]), out(n.out[0])}); }

struct Broadcast {
  View x;
  Out y;
  __device__ void operator()(int64_t i) const { y.store(i, x[0]); }
};
void broadcast(const Node& n, Context& c) {
  map(c, "broadcast", n.out[0].shape.size(), Broadcast{view(n.in[0]), out(n.out[0])});
}

// ---- optimizer: a run that has reported a fault changes no state

struct Accumulate {
  float* state;
  View g;
  const float* keep;
  Fault fault;
  __device__ void operator()(int64_t i) const {
    if (fault.reported()) return;
    const float k = *keep;
    state[i] = k == 0 ? g[i] : k * state[i] + g[i];
  }
};
void accumulate(const Node& n, Context& c) {
  map(c, "accumulate", n.in[0].shape.size(),
      Accumulate{n.in[0].as<float>(), view(n.in[1]), n.in[2].as<float>(), fault_of(c)});
}

struct Assign {
  Out state;
  View x;
  Fault fault;
  __device__ void operator()(int64_t i) const {
    if (!fault.reported()) state.store(i, x[i]);
  }
};
void assign(const Node& n, Context& c) {
  map(c, "assign", n.in[0].shape.size(), Assign{out(n.in[0]), view(n.in[1]), fault_of(c)});
}

// AdamW (Loshchilov & Hutter 2019). param, grad, m, v have the same shape. hyper (7): learning rate, beta1, beta2, eps,
// weight decay, 1 - beta1^t, 1 - beta2^t. factor (1) multiplies the gradient.
struct AdamW {
  Out param;
  const float* grad;
  float *m, *v;
  const float *hyper, *factor;
  bool decay;
  Fault fault;
  __device__ void operator()(int64_t i) const {
    if (fault.reported()) return;
    const float lr = hyper[0], beta1 = hyper[1], beta2 = hyper[2], eps = hyper[3],
                weight_decay = decay ? hyper[4] : 0.0f;
    const float g = grad[i] * *factor;
    const float mean = beta1 * m[i] + (1.0f - beta1) * g;
    const float square = beta2 * v[i] + (1.0f - beta2) * g * g;
    m[i] = mean;
    v[i] = square;
    const float step = mean / hyper[5] / (sqrtf(square / hyper[6]) + eps);
    param.store(i, param[i] * (1.0f - lr * weight_decay) - lr * step);  // decay first, as in PyTorch's AdamW
  }
};
void adamw(const Node& n, Context& c) {
  map(c, "adamw", n.in[0].shape.size(),
      AdamW{out(n.in[0]), n.in[1].as<float>(), n.in[2].as<float>(), n.in[3].as<float>(), n.in[4].as<float>(),
          n.in[5].as<float>(), n.attr_flag("decay"), fault_of(c)});
}

struct ClipFactor {
  const float *norm, *max;
  float* factor;
  __device__ void operator()(int64_t) const {
    const float f = *max / (*norm + 1e-6f);
    *factor = *max > 0 && !(f >= 1.0f) ? f : 1.0f;
  }
};
void clip_factor(const Node& n, Context& c) {
  map(c, "clip_factor", 1, ClipFactor{n.in[0].as<float>(), n.in[1].as<float>(), n.out[0].as<float>()});
}

// ---- seeded noise

struct Noise {
  View x;
  Out y;
  const uint32_t* key;  // (3): seed, step, micro-batch
  uint32_t stream, drop_below;
  float scale;
  bool dropout;

  __device__ uint32_t word(int64_t element) const {
    uint32_t counter[4] = {static_cast<uint32_t>(element / 4), stream, key[1], key[2]};
    philox4x32_10(counter, key[0], noise_key);
    return counter[element % 4];
  }
  __device__ void operator()(int64_t i) const {
    const uint32_t w = word(i);
    const float v = x[i];
    if (dropout) y.store(i, w < drop_below ? 0.0f : v * scale);
    else y.store(i, v + scale * (static_cast<float>(w) * 4.65661287e-10f - 1.0f));  // 2^-31
  }
};
void noise(const Node& n, Context& c, bool dropout, float scale) {
  map(c, "noise", n.out[0].shape.size(),
      Noise{view(n.in[0]), out(n.out[0]), n.in[1].as<uint32_t>(), static_cast<uint32_t>(n.attr_int("stream")),
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
