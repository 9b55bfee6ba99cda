// The bf16 matrix product on tensor cores (sm_80 and later): gemm_multistage.cuh's ring; ldmatrix takes fragments to registers, and its .trans
// turns tiles whose depth is not innermost.
#include "cuda/gemm_multistage.cuh"
#include "cuda/tensor_tile.cuh"

namespace heddle {
namespace cuda {
namespace {

struct Bf16 {
  using Element = uint16_t;
  static constexpr int depth = gemm_depth, step = 16;

  template <int count, bool> static __device__ int place(int r, int p) { return swizzled<count / piece>(r, p); }

  template <bool depth_innermost, int count> static __device__ void load_left(uint32_t (&to)[4], const uint16_t* tile, int row, int k) {
    if (depth_innermost) cuda::load_left<count>(to, tile, row, k);
    else load_left_turned<count>(to, tile, row, k);
  }
  template <bool depth_innermost, int count>
  static __device__ void load_right(uint32_t (&first)[2], uint32_t (&second)[2], const uint16_t* tile, int column, int k) {
    if (depth_innermost) cuda::load_right<count>(first, second, tile, column, k);
    else load_right_turned<count>(first, second, tile, column, k);
  }
  static __device__ void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { ptx::mma_bf16(c, a, b); }
};

}  // namespace

void gemm_tensor(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice) {
  multistage::multiply<Bf16>(context, name, g, choice);
}

}  // namespace cuda
}  // namespace heddle
