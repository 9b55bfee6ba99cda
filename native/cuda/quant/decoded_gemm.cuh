// Products with coded weights (quantized blocks or 8-bit floats) on tensor cores: strip by strip, a kernel decodes the
// weights into Gemm::decoded, and the product of float operands follows. bitsandbytes does this for QLoRA (Dettmers et
// al. 2023), with weights rounded to bf16. Here, they are sums of bf16 terms, see decoded_weights.h.
#pragma once
#include "cuda/gemm/gemm.cuh"

namespace heddle {
namespace cuda {
namespace decoding {

// A thread decodes a run: adjacent elements of a row of w.
constexpr int threads = 256, run = 16;

// The part of a weight to decode, from (row0, column0) on. column0 is a multiple of `run`. Beyond `rows` and `columns`,
// the lines and runs of `to` become zeros.
struct Strip {
  void* to;
  int64_t ld;  // of `to`, in elements
  int64_t row0, column0;
  unsigned rows, columns;
  unsigned lines, runs;  // rows of w and runs of a row to write, with padding
  int terms;
  bool k_major;  // columns of w are elements along k. Otherwise, rows are.
};

// Stores a run at an address that is a multiple of 16.
__device__ inline void store_floats(float* to, const float (&v)[run]) {
  HEDDLE_UNROLL
  for (int e = 0; e < run; e += 4) {
    const uint32_t words[4] = {
        __float_as_uint(v[e]), __float_as_uint(v[e + 1]), __float_as_uint(v[e + 2]), __float_as_uint(v[e + 3])};
    ptx::store_words(to + e, words);
  }
}
// Rounds a run to bf16 and stores it at an address that is a multiple of 16. Leaves what was rounded off in v.
__device__ inline void store_term(uint16_t* to, float (&v)[run]) {
  HEDDLE_UNROLL
  for (int e = 0; e < run; e += 8) {
    uint32_t words[4];
    HEDDLE_UNROLL
    for (int i = 0; i < 4; ++i) {
      float &low = v[e + 2 * i], &high = v[e + 2 * i + 1];
      words[i] = ptx::pack_bf16(low, high);
      low -= __uint_as_float(words[i] << 16), high -= __uint_as_float(words[i] & 0xffff0000u);
    }
    ptx::store_words(to + e, words);
  }
}

// Decodes a strip. In the order of Gemm::b_terms, the smallest terms come first. Their products are then added first,
// so that the sums lose less to rounding.
template <class Weights, DType type> __global__ void __launch_bounds__(threads) decode_kernel(Weights w, Strip s) {
  const unsigned i = blockIdx.x * threads + threadIdx.x, line = i / s.runs, column = i % s.runs * run;
  if (line >= s.lines) return;
  float v[run] = {};
  if (line < s.rows && column < s.columns)
    w.decode(s.row0 + line, s.column0 + column, static_cast<int>(s.columns - column), v);
  if constexpr (type == DType::f32) {
    store_floats(static_cast<float*>(s.to) + line * s.ld + column, v);
  } else {
    const int64_t step = s.k_major ? s.runs * run : s.lines * s.ld;  // from one term to the next
    uint16_t* to = static_cast<uint16_t*>(s.to) + line * s.ld + column + s.terms * step;
    HEDDLE_ROLLED
    for (int t = 0; t < s.terms; ++t) store_term(to -= step, v);
  }
}

// Launches the kernel that decodes a strip to bf16 terms or f32.
template <class Weights>
void decode(const Context& context, const char* name, const Weights& w, DType type, const Strip& s) {
  const Grid grid{dim3(blocks_for(int64_t{s.lines} * s.runs, threads)), dim3(threads)};
  if (type == DType::f32) launch(context, name, grid, decode_kernel<Weights, DType::f32>, w, s);
  else launch(context, name, grid, decode_kernel<Weights, DType::bf16>, w, s);
}
// Launches it for quantized blocks, in rows of `width` elements.
void decode_blocks(const Context& context, const char* name, const View& w, int64_t width, DType type, const Strip& s);

// Computes the product g, whose b is w: (n, k) if g.b_transposed, otherwise (k, n). Requires decodes_weights(context,
// g), and no epilogue. The function w.decode(row, column, left, v) stores the `run` elements of a row from `column` on
// in v. If the row has fewer left, it stores these `left` elements.
template <class Weights>
void multiply_decoded(const Context& context, const char* name, const Gemm& g, const Weights& w) {
  const DecodedWeights d = decoded_weights(g.n, g.k, g.a.type, g.c.type, most_decoded, g.rounds_decoded);
  const unsigned k = static_cast<unsigned>(g.k), padded = static_cast<unsigned>(d.depth / d.terms);
  for (int64_t column = 0; column < g.n; column += d.columns) {
    Gemm strip = g;
    strip.n = g.n - column < d.columns ? g.n - column : d.columns;
    const unsigned n = static_cast<unsigned>(strip.n), runs = ceil_div(n, run);
    const Strip s = g.b_transposed ? Strip{g.decoded, d.depth, column, 0, n, k, n, padded / run, d.terms, true}
                                   : Strip{g.decoded, runs * run, 0, column, k, n, padded, runs, d.terms, false};
    decode(context, name, w, d.type, s);
    strip.b = {g.decoded, d.type}, strip.ldb = s.ld, strip.b_terms = d.terms;
    skip(strip.bias, column), skip(strip.c, column);
    gemm(context, name, strip);
  }
}

}  // namespace decoding
}  // namespace cuda
}  // namespace heddle
