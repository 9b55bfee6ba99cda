// Functions of single elements. A thread computes eight adjacent elements at a time. Outputs may alias inputs.
#pragma once
#include "cuda/rows/math.cuh"

namespace heddle {
namespace cuda {
namespace elementwise {

constexpr int threads = 256;

// The operands of an op: `in` inputs and `outs` outputs, each of n elements.
template <int in, int outs> struct Operands {
  View x[in > 0 ? in : 1];
  Out y[outs];
  int64_t n;
};

// Calls f(i, x, y) for each i, where x holds element i of each input, and y receives element i of each output. The
// first `vectors` groups of eight adjacent elements are loaded and stored as vectors. A thread loads the group of all
// inputs before it stores any output. Each thread first calls f.begin(), and computes nothing if that returns false.
template <class F, int in, int outs>
__global__ void __launch_bounds__(threads, 3)
    map_kernel(PreviousKernel previous, F given, Operands<in, outs> o, int64_t vectors) {
  previous.wait();
  F f = given;
  if (!f.begin()) return;
  constexpr int inputs = in > 0 ? in : 1;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * threads,
                first = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  HEDDLE_ROLLED
  for (int64_t i = first * vector_elements; i < vectors * vector_elements; i += stride * vector_elements) {
    float x[inputs][vector_elements], y[outs][vector_elements];
    HEDDLE_UNROLL
    for (int k = 0; k < in; ++k) load_vector(o.x[k], i, x[k]);
    HEDDLE_UNROLL
    for (int e = 0; e < vector_elements; ++e) {
      float from[inputs], to[outs];
      HEDDLE_UNROLL
      for (int k = 0; k < in; ++k) from[k] = x[k][e];
      f(i + e, from, to);
      HEDDLE_UNROLL
      for (int k = 0; k < outs; ++k) y[k][e] = to[k];
    }
    HEDDLE_UNROLL
    for (int k = 0; k < outs; ++k) store_elements(o.y[k], i, y[k]);
  }
  HEDDLE_ROLLED
  for (int64_t i = vectors * vector_elements + first; i < o.n; i += stride) {
    float from[inputs], to[outs];
    HEDDLE_UNROLL
    for (int k = 0; k < in; ++k) from[k] = o.x[k][i];
    f(i, from, to);
    HEDDLE_UNROLL
    for (int k = 0; k < outs; ++k) o.y[k].store(i, to[k]);
  }
}

template <class F, int in, int outs>
void map(const Context& c, const char* name, const F& f, const Operands<in, outs>& o) {
  bool whole = true;
  for (int k = 0; k < in; ++k) whole = whole && has_vectors(o.x[k]);
  for (int k = 0; k < outs; ++k) whole = whole && has_vectors(o.y[k]);
  const int64_t vectors = whole ? o.n / vector_elements : 0, items = vectors > 0 ? vectors : o.n;
  const unsigned most = 1u << 16, wanted = blocks_for(items < (int64_t{1} << 40) ? items : int64_t{1} << 40, threads);
  launch(c, name, {dim3(wanted < most ? wanted : most), dim3(threads)}, map_kernel<F, in, outs>, f, o, vectors);
}
// Maps f over the first `in` inputs and the first `outs` outputs of a node.
template <int in, int outs, class F> void map(const Context& c, const char* name, const Node& n, const F& f) {
  Operands<in, outs> o{};
  for (int k = 0; k < in; ++k) o.x[k] = view(n.in[static_cast<size_t>(k)]);
  for (int k = 0; k < outs; ++k) o.y[k] = out(n.out[static_cast<size_t>(k)]);
  o.n = n.out[0].shape.size();
  map(c, name, f, o);
}

// A base of functions without anything to do in begin().
struct Stateless {
  __device__ bool begin() { return true; }
};

inline bool supports_unquantized(const Node& n) { return no_quantized(n); }

struct Add : Stateless {
  __device__ void operator()(int64_t, const float (&x)[2], float (&y)[1]) const { y[0] = x[0] + x[1]; }
};

struct Copy : Stateless {
  __device__ void operator()(int64_t, const float (&x)[1], float (&y)[1]) const { y[0] = x[0]; }
};

// Stores n elements of x as y's type.
void copy_elements(const Context& c, const char* name, const View& x, const Out& y, int64_t n);

// Leaves the output unchanged if the run has reported a fault.
struct Assign : Copy {
  Fault fault;
  __device__ bool begin() { return !fault.reported(); }
};

}  // namespace elementwise
}  // namespace cuda
}  // namespace heddle
