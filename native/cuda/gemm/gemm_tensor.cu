// The bf16 matrix product on tensor cores (sm_80 and later), with the main loop of gemm_multistage.cuh.
#include "cuda/gemm/gemm_multistage.cuh"

namespace heddle {
namespace cuda {
namespace {

struct Bf16 : multistage::Pairs {
  static __device__ void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    ptx::mma_bf16(c, a, b);
  }
};

}  // namespace

void gemm_tensor(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice) {
  multistage::multiply<Bf16>(context, name, g, choice);
}

}  // namespace cuda
}  // namespace heddle
