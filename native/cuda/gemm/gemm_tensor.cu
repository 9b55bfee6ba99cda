// The bf16 matrix product on tensor cores (sm_80 and later), with the main loop of gemm_multistage.cuh.
#include "cuda/gemm/gemm_multistage.cuh"

namespace heddle {
namespace cuda {
void gemm_tensor(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice) {
  multistage::multiply<multistage::Bf16>(context, name, g, choice);
}

}  // namespace cuda
}  // namespace heddle
