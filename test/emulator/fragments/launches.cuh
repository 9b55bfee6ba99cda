// Tests of kernels that may start before the kernel before them has ended (PreviousKernel).
#pragma once
#include "device.cuh"

namespace heddle {
namespace cuda {

constexpr int chain_threads = 128, chain_size = 40 * chain_threads;

// The value of an element after a step. It depends on two elements, which two blocks of the previous step have written.
__device__ __host__ inline uint32_t next_value(uint32_t own, uint32_t opposite) { return own + 3 * opposite; }

__global__ void waiting_step(PreviousKernel previous, const uint32_t* from, uint32_t* to) {
  previous.wait();
  const int i = static_cast<int>(blockIdx.x) * chain_threads + static_cast<int>(threadIdx.x);
  to[i] = next_value(from[i], from[chain_size - 1 - i]);
}
__global__ void plain_step(const uint32_t* from, uint32_t* to) {
  const int i = static_cast<int>(blockIdx.x) * chain_threads + static_cast<int>(threadIdx.x);
  to[i] = next_value(from[i], from[chain_size - 1 - i]);
}

// A chain of steps: kernels that wait, mixed with kernels without PreviousKernel and with copies. A kernel that starts
// too early reads the result of an earlier step. The chain runs on the stream, then as a recording.
void test_launches(Device& device) {
  constexpr int steps = 60, runs = 3;  // steps and their 6 copies swap the buffers an even number of times
  Accelerator& accelerator = *device.accelerator;
  Shared<uint32_t> values(device, chain_size), spare(device, chain_size);
  for (size_t i = 0; i < chain_size; ++i) values.host[i] = static_cast<uint32_t>(i * i + 1);
  std::vector<uint32_t> want = values.host;
  uint32_t *from = values.to_device(), *to = spare.to_device();
  const auto chain = [&] {
    const Grid grid{dim3(chain_size / chain_threads), dim3(chain_threads)};
    for (int step = 0; step < steps; ++step) {
      if (step % 7 == 3) launch(device.context, "a step", grid, plain_step, from, to);
      else launch(device.context, "a step", grid, waiting_step, from, to);
      std::swap(from, to);
      if (step % 10 != 5) continue;
      accelerator.queue_copy(to, from, chain_size * sizeof(uint32_t), accelerator);
      std::swap(from, to);
    }
  };
  chain();
  accelerator.wait();
  accelerator.begin_recording();
  chain();
  const std::shared_ptr<Recording> recording = accelerator.end_recording();
  for (int run = 1; run < runs; ++run) accelerator.replay(*recording);
  values.back();
  for (int step = 0; step < runs * steps; ++step) {
    const std::vector<uint32_t> before = want;
    for (size_t i = 0; i < chain_size; ++i) want[i] = next_value(before[i], before[chain_size - 1 - i]);
  }
  expect(values.host == want, "a chain of kernels that wait for the one before them");

  auto& cuda = static_cast<CudaAccelerator&>(accelerator);
  expect(cuda.kernels_wait() == (cuda.properties().capability >= 90), "kernels overlap from capability 9.0 on");
  expect(!cuda.stream_for_kernel().second, "a kernel does not overlap the copy before it");
  expect(cuda.stream_for_kernel().second, "a kernel overlaps the kernel before it");
  cuda.wait();
  expect(!cuda.stream_for_kernel().second, "a kernel does not overlap work that was waited for");
}

}  // namespace cuda
}  // namespace heddle
