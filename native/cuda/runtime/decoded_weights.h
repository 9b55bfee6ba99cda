// Chooses how products with coded weights (quantized blocks or 8-bit floats) use tensor cores. A kernel decodes the
// weights into the scratch, one strip of the product's columns at a time, and a product of float operands follows. This
// header compiles without CUDA. All thresholds are estimates, not measurements.
#pragma once
#include "core/round.h"
#include "cuda/runtime/choice.h"

namespace heddle {
namespace cuda {

// The decoded weights of a strip. bf16 activations need no rounding, but a bf16 number has too few bits for a weight.
// So a weight is stored as a sum of bf16 numbers, its terms. Each term is the remainder after the previous terms,
// rounded to bf16. The relative error of two terms is at most 2^-17. Rounding a result to bf16 has an error 512 times
// as large. Three terms represent the f32 weight exactly. If the caller allows rounding weights, one term is enough.
struct DecodedWeights {
  DType type = DType::bf16;
  int terms = 1;
  int64_t depth = 0;    // elements along k of all terms, padded with zeros to multiples of gemm_depth
  int64_t columns = 0;  // columns of the product per strip: a multiple of 128, or at least all columns

  size_t bytes() const {
    return static_cast<size_t>(depth) * static_cast<size_t>(columns) * (type == DType::f32 ? 4 : 2);
  }
};

// Returns the size of the strips of a product with n columns: the most columns that fit in `most_bytes`, but at least
// 128. It does not depend on the number of rows, so scratch allocated for many rows suffices for fewer. a, c: the types
// of activations and result. f32 activations can only use tensor cores as tf32, for which one f32 number per weight
// suffices. rounded: weights may be rounded to a's type.
inline DecodedWeights decoded_weights(int64_t n, int64_t k, DType a, DType c, size_t most_bytes, bool rounded = false) {
  DecodedWeights d;
  d.type = a;
  d.terms = a == DType::f32 || rounded ? 1 : c == DType::f32 ? 3 : 2;
  d.depth = round_up(k, gemm_depth) * d.terms;
  d.columns = 1;
  const int64_t fitting = static_cast<int64_t>(most_bytes / d.bytes()) / 128 * 128,
                most = fitting > 128 ? fitting : int64_t{128}, all = round_up(n, 16);
  d.columns = all < most ? all : most;
  return d;
}

// Returns the largest number of rows for which CUDA cores decode weights in registers, because this is faster. They
// compute tiles of 64 rows at F operations per second, so up to 64 rows take 128 / F per weight. Decoding moves at
// least 9 bytes per weight (two terms: one byte read, four written, four read). Estimates per weight of decoding and
// of one tile on CUDA cores: 3 ps and 6 ps on an H100, 5 ps and 20 ps on an A100, 10 ps and 5 ps on an RTX 4090. On
// cards with HBM, decoding therefore pays off beyond one tile. On cards with GDDR, it does so beyond two.
inline int64_t max_rows_on_cuda_cores(const DeviceProperties& device) {
  const bool hbm = device.capability == 80 || device.capability == 90 || device.capability == 100;
  return hbm ? 64 : 128;
}
constexpr int64_t rows_never_decoded = 64;  // minimum of max_rows_on_cuda_cores() over all devices
// Returns the largest number of rows for which tensor cores multiply 8-bit activations by quantized weights. With more,
// decoding the weights to bf16 is faster. Estimates for 4096 x 4096 weights of 4 bits, in microseconds: decoding takes
// 23 on an H100, 38 on an A100 and 77 on an RTX 4090. It saves 0.30, 0.35 and 0.04 per row.
inline int64_t max_rows_in_int8(const DeviceProperties& device) {
  return max_rows_on_cuda_cores(device) == rows_never_decoded ? 128 : 1024;
}

// Whether the product g, whose b has coded weights, decodes them for tensor cores. g.b does not matter. g.aligned: the
// rows of a are aligned to 16 bytes, as those of decoded weights always are. A row's bits depend on this choice, and so
// on the number of rows. Therefore rowwise products always use CUDA cores.
inline bool decodes_weights(GemmShape g, const DeviceProperties& device) {
  if (g.rowwise || g.k == 0 || g.m <= max_rows_on_cuda_cores(device)) return false;
  g.b = g.a;
  const GemmKernel kernel = choose_gemm(g, device).kernel;
  return kernel == GemmKernel::tensor || kernel == GemmKernel::tensor_tf32 || kernel == GemmKernel::warpgroup;
}

// Whether expert_linear with quantized weights decodes them for tensor cores. g.tensor_cores: its activations and
// result can use them. An expert's last tile of rows is half empty on average, so the limit per expert is half of
// max_rows_on_cuda_cores(). The weights of unused experts are decoded too. With that many pairs, few experts are
// unused.
inline bool decodes_expert_weights(const ExpertProduct& g, const DeviceProperties& device) {
  return g.tensor_cores && g.forward && !g.rowwise && g.pairs > max_rows_on_cuda_cores(device) / 2 * g.experts;
}

// Returns the most scratch, in bytes, that the decoded weights of a product of at most m rows take on any device.
inline size_t decoded_bytes(
    int64_t m, int64_t n, int64_t k, DType a, DType c, size_t most_bytes, bool rounded = false) {
  if (m <= rows_never_decoded || n == 0 || k == 0) return 0;
  return decoded_weights(n, k, a, c, most_bytes, rounded).bytes();
}

// The decoded weights of one launch of expert products: a strip of the columns of `experts` experts. There are several
// experts only if all their columns fit.
struct DecodedExperts {
  DecodedWeights weights;
  int64_t experts = 0;

  size_t bytes() const { return weights.bytes() * static_cast<size_t>(experts); }
};
// Returns the strips of the products of E experts with weights (M, K). They take at most `most_bytes`, unless 128
// columns of one expert take more.
inline DecodedExperts decoded_experts(
    int64_t E, int64_t M, int64_t K, DType x, DType y, size_t most_bytes, bool rounded = false) {
  DecodedExperts d{decoded_weights(M, K, x, y, most_bytes, rounded), 1};
  if (d.weights.columns < M) return d;
  d.weights.columns = M;
  const int64_t fitting = static_cast<int64_t>(most_bytes / d.weights.bytes());
  d.experts = fitting < 1 ? 1 : fitting < E ? fitting : E;
  return d;
}

}  // namespace cuda
}  // namespace heddle
