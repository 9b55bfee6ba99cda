// Decodes quantized weights for tensor cores, and computes products with them (decoded_gemm.cuh).
#include "cuda/quant/decoded_gemm.cuh"
#include "cuda/quant/quant.cuh"

namespace heddle {
namespace cuda {
namespace {

static_assert(decoding::run == run_elements, "a thread decodes one run of a block");

template <class Rows> struct BlockDecoder {
  Rows rows;

  // Rows consist of whole runs.
  __device__ void decode(int64_t row, int64_t column, int, float (&v)[run_elements]) const {
    const Run run = rows.run(row, column / run_elements);
    HEDDLE_UNROLL
    for (int e = 0; e < run_elements; ++e) v[e] = run[e];
  }
};

}  // namespace

void decoding::decode_blocks(
    const Context& context, const char* name, const View& w, int64_t width, DType type, const Strip& s) {
  with_block_rows(w, width, [&](auto rows) { decode(context, name, BlockDecoder<decltype(rows)>{rows}, type, s); });
}

void gemm_decoded(const Context& context, const char* name, const Gemm& g) {
  with_block_rows(
      g.b, g.ldb, [&](auto rows) { decoding::multiply_decoded(context, name, g, BlockDecoder<decltype(rows)>{rows}); });
}

}  // namespace cuda
}  // namespace heddle
