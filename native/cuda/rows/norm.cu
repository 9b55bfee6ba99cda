// RMS norm and layer norm, with an optional addition of a residual before them. Also softmax and log softmax, and their
// gradients. Each row has one block, which keeps the row in registers if it consists of whole vectors.
#include "cuda/rows/columns.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int threads = 256;
constexpr int64_t chunk = threads * vector_elements;  // elements of a row, if each thread has one vector
constexpr int most_chunks = 4;                        // maximum chunks of a row in registers

template <int n> struct Chunks {
  static constexpr int value = n;
};
// Calls launch_it(Chunks<n>{}) with the smallest n of 1, 2 and 4 for which n chunks hold a row of C elements.
template <class F> void for_row(int64_t C, F launch_it) {
  if (C <= chunk) launch_it(Chunks<1>{});
  else if (C <= 2 * chunk) launch_it(Chunks<2>{});
  else launch_it(Chunks<4>{});
}
bool fits_registers(int64_t C) { return C % vector_elements == 0 && C <= most_chunks * chunk; }

// Calls use(k, j) for each vector of the thread, where j is the first column of the k-th vector.
template <int chunks, class F> __device__ inline void each_vector(int64_t C, F use) {
  HEDDLE_UNROLL
  for (int k = 0; k < chunks; ++k) {
    const int64_t j = (k * threads + threadIdx.x) * static_cast<int64_t>(vector_elements);
    if (j < C) use(k, j);
  }
}
// Calls use(k, e) for each element e of each vector k of the thread.
template <int chunks, class F> __device__ inline void each_element(int64_t C, F use) {
  each_vector<chunks>(C, [&](int k, int64_t) {
    HEDDLE_UNROLL
    for (int e = 0; e < vector_elements; ++e) use(k, e);
  });
}

struct NormArguments {
  View x, w, b, residual;  // x (R, C), w (C); optional: b (C), residual (R, C)
  Out y, h;                // (R, C); h only with a residual
  int64_t C;
  float eps, offset;  // y = normed * (offset + w) + b
  bool centered;      // layer norm: the mean is subtracted
};

// Normalizes rows of any width. A thread reads and writes only its own columns, so that y may alias x or the residual.
__global__ void __launch_bounds__(threads) norm_kernel(PreviousKernel previous, NormArguments a) {
  previous.wait();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * a.C;
  if (a.residual.data)
    for (int64_t j = threadIdx.x; j < a.C; j += threads) a.h.store(row + j, a.x[row + j] + a.residual[row + j]);
  // Normalizes the elements of h after they are rounded to its type, because later nodes read the rounded elements. A
  // thread reads only the elements of h that it wrote, so no barrier is needed.
  const View h = a.residual.data ? View{a.h.data, a.h.type} : a.x;
  BlockReduction<threads> block;
  float mean = 0;
  if (a.centered) {
    for (int64_t j = threadIdx.x; j < a.C; j += threads) mean += h[row + j];
    mean = block.sum(mean) / static_cast<float>(a.C);
  }
  float square = 0;
  for (int64_t j = threadIdx.x; j < a.C; j += threads) {
    const float v = h[row + j] - mean;
    square += v * v;
  }
  const float scale = 1.0f / sqrtf(block.sum(square) / static_cast<float>(a.C) + a.eps);
  for (int64_t j = threadIdx.x; j < a.C; j += threads) {
    const float bias = a.b.data ? a.b[j] : 0.0f;
    a.y.store(row + j, (h[row + j] - mean) * scale * (a.offset + a.w[j]) + bias);
  }
}

// Like norm_kernel, for rows of whole vectors, which are read once and kept in registers.
template <int chunks>
__global__ void __launch_bounds__(threads) norm_vectors_kernel(PreviousKernel previous, NormArguments a) {
  previous.wait();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * a.C;
  float h[chunks][vector_elements];
  each_vector<chunks>(a.C, [&](int k, int64_t j) {
    load_vector(a.x, row + j, h[k]);
    if (!a.residual.data) return;
    float residual[vector_elements];
    load_vector(a.residual, row + j, residual);
    HEDDLE_UNROLL
    for (int e = 0; e < vector_elements; ++e) h[k][e] = rounded_to(a.h.type, h[k][e] + residual[e]);
    store_elements(a.h, row + j, h[k]);
  });
  BlockReduction<threads> block;
  float mean = 0;
  if (a.centered) {
    each_element<chunks>(a.C, [&](int k, int e) { mean += h[k][e]; });
    mean = block.sum(mean) / static_cast<float>(a.C);
  }
  float square = 0;
  each_element<chunks>(a.C, [&](int k, int e) { square += (h[k][e] - mean) * (h[k][e] - mean); });
  const float scale = 1.0f / sqrtf(block.sum(square) / static_cast<float>(a.C) + a.eps);
  each_vector<chunks>(a.C, [&](int k, int64_t j) {
    float w[vector_elements], bias[vector_elements] = {};
    load_vector(a.w, j, w);
    if (a.b.data) load_vector(a.b, j, bias);
    HEDDLE_UNROLL
    for (int e = 0; e < vector_elements; ++e) w[e] = (h[k][e] - mean) * scale * (a.offset + w[e]) + bias[e];
    store_elements(a.y, row + j, w);
  });
}

void norm(const Node& n, Context& c, const char* name, bool centered) {
  const Tensor& x = n.in[0];
  const size_t residual = centered ? 3 : 2;
  NormArguments a{view(x), view(n.in[1]), centered ? optional_view(n, 2) : View{nullptr, DType::f32},
      optional_view(n, residual), out(n.out[0]), n.has_input(residual) ? out(n.out[1]) : Out{nullptr, DType::f32},
      x.shape.last(), static_cast<float>(n.attr("eps")), centered ? 0.0f : static_cast<float>(n.attr("offset")),
      centered};
  const Grid grid{dim3(static_cast<unsigned>(x.shape.rows())), dim3(threads)};
  const bool vectors = fits_registers(a.C) && has_vectors(a.x) && has_vectors(a.w) && has_vectors(a.y) &&
                       has_vectors_or_none(a.b) && has_vectors_or_none(a.residual) && (!a.h.data || has_vectors(a.h));
  if (!vectors) return launch(c, name, grid, norm_kernel, a);
  for_row(a.C, [&](auto chunks) { launch(c, name, grid, norm_vectors_kernel<chunks.value>, a); });
}
void rms_norm(const Node& n, Context& c) { norm(n, c, "rms_norm", false); }
void layer_norm(const Node& n, Context& c) { norm(n, c, "layer_norm", true); }

// ---- softmax and log softmax over the last dimension

// A thread's vectors of one row of each operand: `wide` adjacent elements each. They stay in registers if `chunks` is
// above 0. Otherwise each use loads them again.
template <int operands, int chunks, int wide> class RowVectors {
 public:
  __device__ RowVectors(const View (&x)[operands], int64_t row, int64_t C) : row_(row), C_(C) {
    HEDDLE_UNROLL
    for (int i = 0; i < operands; ++i) x_[i] = x[i];
    if constexpr (chunks > 0) each_vector<chunks>(C, [&](int k, int64_t j) { load(j, kept_[k]); });
  }
  // Calls use(j, v) for each vector of the thread, where j is its first column, and v (operands, wide) its elements.
  template <class F> __device__ void each(F use) const {
    if constexpr (chunks > 0) {
      each_vector<chunks>(C_, [&](int k, int64_t j) { use(j, kept_[k]); });
    } else {
      for (int64_t j = static_cast<int64_t>(threadIdx.x) * wide; j < C_; j += threads * wide) {
        float v[operands][wide];
        load(j, v);
        use(j, v);
      }
    }
  }

 private:
  __device__ void load(int64_t j, float (&v)[operands][wide]) const {
    HEDDLE_UNROLL
    for (int i = 0; i < operands; ++i) columns::load(x_[i], row_ + j, v[i]);
  }
  View x_[operands];
  int64_t row_, C_;
  float kept_[chunks > 0 ? chunks : 1][operands][wide];
};

constexpr int softmax_chunks = 2;  // maximum chunks of a row in registers. Longer rows are read twice
// Calls launch_it(chunks, wide) with the parameters of RowVectors for rows of C elements.
template <class F> void for_vectors(int64_t C, bool vectors, F launch_it) {
  if (!vectors || C % vector_elements != 0) launch_it(Chunks<0>{}, Chunks<1>{});
  else if (C > softmax_chunks * chunk) launch_it(Chunks<0>{}, Chunks<vector_elements>{});
  else launch_it(Chunks<softmax_chunks>{}, Chunks<vector_elements>{});
}

// x, y (R, C): softmax, or log softmax if `log`. y may alias x. One block per row. A thread finds the largest of its
// elements and the sum of their exponentials in one pass. It scales the sum down whenever a larger element appears.
template <int chunks, int wide>
__global__ void __launch_bounds__(threads) softmax_kernel(View x, Out y, int64_t C, bool log) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * C;
  const RowVectors<1, chunks, wide> vectors({x}, row, C);
  float own = -INFINITY, sum = 0;
  vectors.each([&](int64_t, const float(&v)[1][wide]) {
    float larger = own;
    HEDDLE_UNROLL
    for (int e = 0; e < wide; ++e) larger = fmaxf(larger, v[0][e]);
    const float base = larger > -INFINITY ? larger : 0.0f;  // -infinity minus itself would be NaN
    sum *= expf(own - base);
    HEDDLE_UNROLL
    for (int e = 0; e < wide; ++e) sum += expf(v[0][e] - base);
    own = larger;
  });
  BlockReduction<threads> block;
  const float largest = block.max(own);
  sum = block.sum(sum * expf(own - largest));
  const float log_sum = logf(sum), factor = 1.0f / sum;
  vectors.each([&](int64_t j, const float(&v)[1][wide]) {
    float result[wide];
    HEDDLE_UNROLL
    for (int e = 0; e < wide; ++e) result[e] = log ? v[0][e] - largest - log_sum : expf(v[0][e] - largest) * factor;
    columns::store(y, row + j, result);
  });
}
void softmax_of(const Node& n, Context& c, const char* name, bool log) {
  const View x = view(n.in[0]);
  const Out y = out(n.out[0]);
  const Shape& s = n.in[0].shape;
  for_vectors(s.last(), has_vectors(x) && has_vectors(y), [&](auto chunks, auto wide) {
    launch(c, name, {dim3(static_cast<unsigned>(s.rows())), dim3(threads)}, softmax_kernel<chunks.value, wide.value>, x,
        y, s.last(), log);
  });
}
void softmax(const Node& n, Context& c) { softmax_of(n, c, "softmax", false); }
void log_softmax(const Node& n, Context& c) { softmax_of(n, c, "log_softmax", true); }

// dy, y, dx (R, C): dx = y * (dy - sum(dy y)), or dx = dy - exp(y) * sum(dy) if `log`. One block per row.
template <int chunks, int wide>
__global__ void __launch_bounds__(threads) softmax_backward_kernel(View dy, View y, Out dx, int64_t C, bool log) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * C;
  const RowVectors<2, chunks, wide> vectors({dy, y}, row, C);
  float sum = 0;
  vectors.each([&](int64_t, const float(&v)[2][wide]) {
    HEDDLE_UNROLL
    for (int e = 0; e < wide; ++e) sum += log ? v[0][e] : v[0][e] * v[1][e];
  });
  sum = BlockReduction<threads>().sum(sum);
  vectors.each([&](int64_t j, const float(&v)[2][wide]) {
    float result[wide];
    HEDDLE_UNROLL
    for (int e = 0; e < wide; ++e) result[e] = log ? v[0][e] - expf(v[1][e]) * sum : v[1][e] * (v[0][e] - sum);
    columns::store(dx, row + j, result);
  });
}
void softmax_backward_of(const Node& n, Context& c, const char* name, bool log) {
  const View dy = view(n.in[0]), y = view(n.in[1]);
  const Out dx = out(n.out[0]);
  const Shape& s = n.in[0].shape;
  for_vectors(s.last(), has_vectors(dy) && has_vectors(y) && has_vectors(dx), [&](auto chunks, auto wide) {
    launch(c, name, {dim3(static_cast<unsigned>(s.rows())), dim3(threads)},
        softmax_backward_kernel<chunks.value, wide.value>, dy, y, dx, s.last(), log);
  });
}
void softmax_backward(const Node& n, Context& c) { softmax_backward_of(n, c, "softmax_backward", false); }
void log_softmax_backward(const Node& n, Context& c) { softmax_backward_of(n, c, "log_softmax_backward", true); }

const RegisterKernel kernels[] = {
    {"rms_norm", "cuda_rms_norm", no_quantized, rms_norm},
    {"layer_norm", "cuda_layer_norm", no_quantized, layer_norm},
    {"softmax", "cuda_softmax", no_quantized, softmax},
    {"softmax_backward", "cuda_softmax_backward", no_quantized, softmax_backward},
    {"log_softmax", "cuda_log_softmax", no_quantized, log_softmax},
    {"log_softmax_backward", "cuda_log_softmax_backward", no_quantized, log_softmax_backward},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
