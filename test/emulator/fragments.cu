// Tests the fragment layouts of cuda/ptx/ptx.cuh against the tables of "Parallel Thread Execution ISA", section
// 9.7.14.5. The tests contain the tables again, as the row and column of the i-th element of a lane. They load and
// store matrices by these tables, so that a wrapper with another layout gives a wrong product.
//
// The program runs on the emulator and, compiled by nvcc, on a GPU. Only the GPU reveals a misreading that a test
// shares with its wrapper. The tests are in fragments/, one file per instruction family.
#include "fragments/bulk.cuh"
#include "fragments/clusters.cuh"
#include "fragments/conversions.cuh"
#include "fragments/copies.cuh"
#include "fragments/launches.cuh"
#include "fragments/mma.cuh"
#include "fragments/wgmma.cuh"

namespace heddle {
namespace cuda {

void test_sm90() {
#if HEDDLE_EMULATED
  setenv("HEDDLE_EMULATE_CUDA", "sm_90", 1);
#endif
  Device device;
  if (!static_cast<CudaAccelerator*>(device.accelerator.get())->properties().sm90a) {
    std::printf("wgmma and TMA: NOT RUN, because they need a device of compute capability 9.0 and code for sm_90a\n");
    return;
  }
  test_boxes(device);
  test_bulk_writes(device);
  test_stored_boxes(device);
  test_bulk_sums(device);
  test_bulk_sources(device);
  test_words(device);
  test_clusters(device);
  test_warpgroup<false, false, 128>(device, "wgmma, both operands K-major");
  test_warpgroup<false, false, 256>(device, "wgmma of 256 columns");
  test_warpgroup<true, false, 128>(device, "wgmma, a MN-major");
  test_warpgroup<false, true, 128>(device, "wgmma, b MN-major");
  test_warpgroup<true, true, 256>(device, "wgmma, both operands MN-major");
  test_warpgroup<false, false, 64>(device, "wgmma of 64 columns");
  test_warpgroup<false, true, 64, true>(device, "wgmma of 64 columns, a in registers, b MN-major");
  test_warpgroup<false, true, 96, true>(device, "wgmma of 96 columns, a in registers, b MN-major");
  test_warpgroup<false, false, 128, true>(device, "wgmma of 128 columns, a in registers");
  test_canonical<false, 64>(device, "wgmma's canonical layouts: 64 columns, K-major");
  test_canonical<false, 96>(device, "wgmma's canonical layouts: 96 columns, K-major");
  test_canonical<false, 128>(device, "wgmma's canonical layouts: 128 columns, K-major");
  test_canonical<true, 64>(device, "wgmma's canonical layouts: 64 columns, MN-major");
  test_canonical<true, 96>(device, "wgmma's canonical layouts: 96 columns, MN-major, half an atom");
  test_canonical<true, 128>(device, "wgmma's canonical layouts: 128 columns, MN-major");
  test_warpgroup_e4m3(device);
}

}  // namespace cuda
}  // namespace heddle

int main() {
  using namespace heddle::cuda;
#if HEDDLE_EMULATED
  setenv("HEDDLE_EMULATE_CUDA", "1", 1);
#endif
  try {
    Device device;
    std::printf("on %s\n", heddle::cuda_devices()[0].name.c_str());
    test_mma(device);
    test_mma_tf32(device);
    test_round_tf32(device);
    test_mma_int8(device);
    test_ldmatrix(device);
    test_cp_async(device);
    test_conversions(device);
    test_e4m3(device);
    test_launches(device);
    test_mma_e4m3();
    test_sm90();
  } catch (const std::exception& e) {
    std::printf("FAILED %s\n", e.what());
    ++failures;
  }
  if (!failures) std::printf("all fragment layouts agree with the manual\n");
  return failures ? 1 : 0;
}
