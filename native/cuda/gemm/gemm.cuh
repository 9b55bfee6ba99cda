// Matrix products with an epilogue, for linear layers and token log-probabilities.
#pragma once
#include "core/round.h"
#include "cuda/runtime/decoded_weights.h"
#include "cuda/rows/math.cuh"

namespace heddle {
namespace cuda {

// The epilogue: operations on f32 sums in registers before they are stored. All (m, n) operands have c's layout.
struct Epilogue {
  int activation = -1;                      // the number that activate_run() takes; -1: none
  View residual{nullptr, DType::f32};       // (m, n), added last; may be c's own memory
  Out pre_activation{nullptr, DType::f32};  // (m, n): receives the activation's input
  // A gated product: c = activation(a b + bias) * (a up + up_bias). `up` has b's layout.
  View up{nullptr, DType::f32}, up_bias{nullptr, DType::f32};
  Out up_output{nullptr, DType::f32};  // (m, n): receives the second factor
};

// c (m, n) = a (m, k) b (k, n) + bias (n), then the epilogue. With `accumulate`, c's previous content is added. Sums
// are in f32.
struct Gemm {
  View a, b, bias;  // bias.data may be null
  Out c;            // for a gated product, data may be null: only the factors are stored then
  int64_t m, n, k;
  int64_t lda, ldb, ldc;            // leading dimensions, in elements
  bool a_transposed, b_transposed;  // if true, a is stored as (k, m), b as (n, k)
  bool accumulate;
  bool rowwise = false;  // a row of c must not depend on the number of rows
  // Memory for the partial sums of split-k. At most gemm_workspace(m, n, k) bytes are used, with n doubled for a gated
  // product. For the gradient of a weight, the limit is gradient_workspace(m, n, k). Without a workspace the product is
  // not split.
  void* workspace = nullptr;
  size_t workspace_bytes = 0;
  Epilogue epilogue = {};
  // Memory for decoded weights, of decoded_scratch() bytes. Without it, CUDA cores compute products with coded weights,
  // which are quantized blocks or 8-bit floats.
  void* decoded = nullptr;
  bool rounds_decoded = false;  // decoded weights may be rounded to bf16
  // An element of b is the sum of this many elements, its terms. Along k, b has all first terms, then all second terms,
  // and so on. With several terms, each is padded with zeros to a multiple of gemm_depth.
  int b_terms = 1;

  __host__ __device__ bool gated() const { return epilogue.up.data != nullptr; }
  // Returns the elements of b along k, of all terms.
  __host__ __device__ int64_t b_depth() const { return b_terms == 1 ? k : b_terms * term_depth(); }
  // Returns the elements of a padded term along k.
  __host__ __device__ int64_t term_depth() const { return round_up(k, gemm_depth); }
};

// Whether a product with the attribute `bf16` rounds its first input to bf16 before it multiplies.
inline bool rounds_to_bf16(const Node& n) { return n.attributes->get("bf16", 0) != 0 && n.in[0].dtype == DType::f32; }
// Rounds x to bf16. Requires bf16_bytes(x) of memory at `to`.
View round_to_bf16(const Context& context, const char* name, const Tensor& x, void* to);
inline size_t bf16_bytes(const Tensor& x) { return padded_to_line(static_cast<size_t>(x.shape.size()) * 2); }
// Returns the memory that a node's rounded input needs, or 0.
inline size_t rounded_bytes(const Node& n) { return rounds_to_bf16(n) ? bf16_bytes(n.in[0]) : 0; }

// Launches the kernel that choose_gemm selects.
void gemm(const Context& context, const char* name, const Gemm& g);

// Maximum size of a strip of decoded weights, in bytes. A strip has at least 128 columns, even if these exceed the
// limit. The limit is small in the emulator, so that tests have several strips.
constexpr size_t most_decoded = HEDDLE_EMULATED ? size_t{256} << 10 : size_t{64} << 20;
// Returns the bytes of Gemm::decoded that a product with coded weights needs. a, c: the types of activations and
// result.
inline size_t decoded_scratch(int64_t m, int64_t n, int64_t k, DType a, DType c, bool rounded = false) {
  return decoded_bytes(m, n, k, a, c, most_decoded, rounded);
}
// Whether a product with coded weights decodes them into g.decoded, and then uses tensor cores. The answer does not
// depend on g.b.
bool decodes_weights(const Context& context, const Gemm& g);
// Computes a product that decodes the quantized weights b.
void gemm_decoded(const Context& context, const char* name, const Gemm& g);

void gemm_few_rows(const Context& context, const char* name, const Gemm& g);
void gemm_multiply_add(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice);
void gemm_tensor(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice);
void gemm_tf32(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice);
void gemm_warpgroup(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice);

// Advances x, a View or an Out, by a number of elements. Does nothing if its address is null.
template <class X> void skip(X& x, int64_t elements) {
  if (x.data)
    x.data = const_cast<char*>(static_cast<const char*>(x.data)) + elements * static_cast<int64_t>(dtype_bytes(x.type));
}

// Calls run(strip) for each strip of at most 65535 * tile_m rows of the product, because a grid's second dimension is
// limited to 65535. A product of several strips has too many tiles for split-k.
template <class F> void in_strips(const Gemm& g, int tile_m, F run) {
  const int64_t most = int64_t{65535} * tile_m;
  for (int64_t row = 0; row < g.m; row += most) {
    Gemm strip = g;
    strip.m = g.m - row < most ? g.m - row : most;
    skip(strip.a, row * (g.a_transposed ? 1 : g.lda));
    skip(strip.c, row * g.ldc), skip(strip.epilogue.residual, row * g.ldc);
    skip(strip.epilogue.pre_activation, row * g.ldc), skip(strip.epilogue.up_output, row * g.ldc);
    run(strip);
  }
}

// Returns the part of a split-k product that blocks with this blockIdx.z compute. Its k range begins at blockIdx.z *
// part and ends at the returned k. Its sums go to their place in the workspace. A gated product stores the sums of the
// second factor after those of the first. Without split-k (gridDim.z = 1), returns g.
__device__ inline Gemm part_of(Gemm g, int64_t part) {
  if (gridDim.z == 1) return g;
  const int64_t begin = blockIdx.z * part, elements = g.m * g.n;
  const View up = g.epilogue.up;
  float* sums = static_cast<float*>(g.workspace) + blockIdx.z * elements * (up.data ? 2 : 1);
  g.epilogue = {};
  if (up.data) {
    g.epilogue.up = up;
    g.epilogue.pre_activation = {sums, DType::f32}, g.epilogue.up_output = {sums + elements, DType::f32};
    g.c.data = nullptr;
  } else {
    g.c = {sums, DType::f32};
  }
  g.ldc = g.n;
  g.bias.data = nullptr;
  if (g.k > begin + part) g.k = begin + part;
  return g;
}
// Launches the kernel that adds the partial sums of split-k in order and applies the epilogue.
void add_parts(const Context& context, const char* name, const Gemm& g, int parts);

}  // namespace cuda
}  // namespace heddle
