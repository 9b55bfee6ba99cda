// The matrix product of 8-bit floats (e4m3) by mma.sync (HEDDLE_E4M3: sm_89 and sm_120), with the main loop of
// gemm_multistage.cuh. A stage has 128 elements along k, which share a scale. As in gemm_fp8_sm90.cu, the sums of each
// stage are scaled and then added to f32 totals ("DeepSeek-V3 Technical Report" 2024, 3.3.2).
//
// In fragments of m16n8k32, a register holds four bytes. In fragments of bf16's m16n8k16, the same register holds two
// elements at the same place in memory. Tiles and loads therefore treat a pair of bytes as one bf16 element.
#include "cuda/quant/fp8.cuh"
#include "cuda/gemm/gemm_multistage.cuh"

namespace heddle {
namespace cuda {

struct E4m3 : multistage::Pairs {
  static __device__ void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    ptx::mma_e4m3(c, a, b);
  }
};

namespace {

using namespace multistage;

static_assert(2 * E4m3::depth == fp8_block, "the elements of a stage must share a scale");

template <class T>
__global__ void __launch_bounds__(T::threads, 1) tensor_e4m3_kernel(PreviousKernel previous, Fp8Gemm g) {
#if HEDDLE_E4M3
  previous.wait();
  static_assert(fp8_block % T::n == 0, "the columns of a tile must share a scale of the weight");
  HEDDLE_DYNAMIC_SHARED(uint16_t, memory);
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * T::m, column0 = static_cast<int64_t>(blockIdx.x) * T::n;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const auto pairs = [](const uint8_t* q) { return reinterpret_cast<const uint16_t*>(q); };
  const Sides<E4m3> sides{
      pairs(g.rounded.q), pairs(g.w.q), nullptr, g.rounded.ld / 2, g.w.ld / 2, g.m, g.n, 0, g.k / 2};
  float sum[T::rows][T::columns][4] = {}, total[T::rows][T::columns][4] = {};
  multiply_stages<E4m3, T, false, true, false>(memory, sides, row0, column0, sum, [&](int64_t t) {
    const float of_weight = g.w.scale_at(column0, t * fp8_block);
    HEDDLE_UNROLL
    for (int i = 0; i < T::rows; ++i) {
      HEDDLE_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int64_t row = row0 + warp / T::warps_n * T::warp_m + i * 16 + half * 8 + lane / 4;
        const float scale = row < g.m ? of_weight * g.rounded.scale_at(row, t * fp8_block) : 0.0f;
        HEDDLE_UNROLL
        for (int j = 0; j < T::columns; ++j) {
          HEDDLE_UNROLL
          for (int e = 2 * half; e < 2 * half + 2; ++e) total[i][j][e] += scale * sum[i][j][e], sum[i][j][e] = 0;
        }
      }
    }
  });
  epilogue_tile<T, false>(g.epilogue(), reinterpret_cast<float*>(memory), row0, column0, total);
#endif
}

template <class T> void run(const Context& context, const char* name, const Fp8Gemm& g) {
  launch(context, name, {dim3(blocks_for(g.n, T::n), blocks_for(g.m, T::m)), dim3(T::threads), T::bytes},
      tensor_e4m3_kernel<T>, g);
}

}  // namespace

bool has_e4m3_code() {
  cudaFuncAttributes attributes;
  check_cuda(cudaFuncGetAttributes(&attributes, tensor_e4m3_kernel<SmallTile>), "cudaFuncGetAttributes");
  // Not binaryVersion, which is that of the device if the driver compiled PTX of an older version. The kernel is empty
  // then.
  return attributes.ptxVersion == 89 || attributes.ptxVersion >= 120;
}

void gemm_fp8_tensor(const Context& context, const char* name, const Fp8Gemm& g) {
  if (fp8_takes_large_tiles(g.m, g.n, properties_of(context))) run<LargeTile>(context, name, g);
  else run<SmallTile>(context, name, g);
}

}  // namespace cuda
}  // namespace heddle
