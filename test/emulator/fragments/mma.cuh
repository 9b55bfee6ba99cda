// Tests of mma.sync for bf16, tf32, e4m3 and s8.
#pragma once
#include "cuda/ptx/ptx.cuh"
#include "conversions.cuh"
#include "device.cuh"

namespace heddle {
namespace cuda {

// Figures 80 to 82: .bf16 fragments of mma.m16n8k16. The manual calls `group` groupID and `thread` threadID_in_group.
__device__ inline Place place_a(int lane, int i) {  // i in 0..7
  const int group = lane >> 2, thread = lane % 4;
  return {(i < 2 || (i >= 4 && i < 6)) ? group : group + 8, i < 4 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8};
}
__device__ inline Place place_b(int lane, int i) {  // i in 0..3
  const int group = lane >> 2, thread = lane % 4;
  return {i < 2 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8, group};
}
__device__ inline Place place_c(int lane, int i) {  // i in 0..3
  const int group = lane >> 2, thread = lane % 4;
  return {i < 2 ? group : group + 8, thread * 2 + (i & 1)};
}

__global__ void mma_once(const uint16_t* a, const uint16_t* b, float* c) {  // a (16, 16), b (16, 8), c (16, 8)
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t left[4] = {}, right[2] = {};
  float sum[4];
  HEDDLE_UNROLL
  for (int i = 0; i < 8; ++i)
    left[i / 2] |= static_cast<uint32_t>(a[place_a(lane, i).row * 16 + place_a(lane, i).column]) << (16 * (i % 2));
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i)
    right[i / 2] |= static_cast<uint32_t>(b[place_b(lane, i).row * 8 + place_b(lane, i).column]) << (16 * (i % 2));
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) sum[i] = c[place_c(lane, i).row * 8 + place_c(lane, i).column];
  ptx::mma_bf16(sum, left, right);
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) c[place_c(lane, i).row * 8 + place_c(lane, i).column] = sum[i];
}

void test_mma(Device& device) {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> draw(-1, 1);
  Shared<uint16_t> a(device, 16 * 16), b(device, 16 * 8);
  Shared<float> c(device, 16 * 8);
  for (auto& v : a.host) v = to_bf16(draw(random)).bits;
  for (auto& v : b.host) v = to_bf16(draw(random)).bits;
  for (auto& v : c.host) v = draw(random);
  const std::vector<float> before = c.host;
  launch(device.context, "mma", {1, 32}, mma_once, a.to_device(), b.to_device(), c.to_device());
  c.back();
  double worst = 0;
  for (size_t i = 0; i < 16; ++i)
    for (size_t j = 0; j < 8; ++j) {
      double want = before[i * 8 + j];
      for (size_t k = 0; k < 16; ++k)
        want += static_cast<double>(to_float(bf16{a.host[i * 16 + k]})) * to_float(bf16{b.host[k * 8 + j]});
      worst = std::fmax(worst, std::fabs(want - c.host[i * 8 + j]));
    }
  // The tolerance is one ulp (1.2e-7, of a sum of at most 16) per addition, because tensor cores truncate where a CPU
  // rounds.
  expect(worst < 16 * 16 * 1.2e-7, "mma.m16n8k16: the product");
}

// Figures 73 to 75: .tf32 fragments of mma.m16n8k8. c has the same layout for all types.
__device__ inline Place place_a_tf32(int lane, int i) {  // i in 0..3
  const int group = lane >> 2, thread = lane % 4;
  return {i == 0 || i == 2 ? group : group + 8, i < 2 ? thread : thread + 4};
}
__device__ inline Place place_b_tf32(int lane, int i) {  // i in 0..1
  const int group = lane >> 2, thread = lane % 4;
  return {i == 0 ? thread : thread + 4, group};
}

__global__ void mma_tf32_once(const float* a, const float* b, float* c) {  // a (16, 8), b (8, 8), c (16, 8)
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t left[4], right[2];
  float sum[4];
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i)
    left[i] = ptx::round_to_tf32(__float_as_uint(a[place_a_tf32(lane, i).row * 8 + place_a_tf32(lane, i).column]));
  HEDDLE_UNROLL
  for (int i = 0; i < 2; ++i)
    right[i] = ptx::round_to_tf32(__float_as_uint(b[place_b_tf32(lane, i).row * 8 + place_b_tf32(lane, i).column]));
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) sum[i] = c[place_c(lane, i).row * 8 + place_c(lane, i).column];
  ptx::mma_tf32(sum, left, right);
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) c[place_c(lane, i).row * 8 + place_c(lane, i).column] = sum[i];
}

void test_mma_tf32(Device& device) {
  std::mt19937 random(6);
  std::uniform_real_distribution<float> draw(-1, 1);
  Shared<float> a(device, 16 * 8), b(device, 8 * 8), c(device, 16 * 8);
  for (auto& v : a.host) v = draw(random);
  for (auto& v : b.host) v = draw(random);
  for (auto& v : c.host) v = draw(random);
  const std::vector<float> before = c.host;
  launch(device.context, "mma.tf32", {1, 32}, mma_tf32_once, a.to_device(), b.to_device(), c.to_device());
  c.back();
  double worst = 0;
  for (size_t i = 0; i < 16; ++i)
    for (size_t j = 0; j < 8; ++j) {
      double want = before[i * 8 + j];
      for (size_t k = 0; k < 8; ++k)
        want += static_cast<double>(nearest_tf32(a.host[i * 8 + k])) * nearest_tf32(b.host[k * 8 + j]);
      worst = std::fmax(worst, std::fabs(want - c.host[i * 8 + j]));
    }
  expect(worst < 8 * 8 * 1.2e-7, "mma.m16n8k8.tf32: the product");  // as in test_mma
}

// The .e4m3 fragments of mma.m16n8k32, by byte (9.7.14.5.10). c has the same layout for all types.
__device__ inline Place place_a_e4m3(int lane, int i) {  // i in 0..15
  const int row = (i >= 0 && i < 4) || (i >= 8 && i < 12) ? lane >> 2 : (lane >> 2) + 8;
  return {row, i < 8 ? lane % 4 * 4 + (i & 3) : lane % 4 * 4 + (i & 3) + 16};
}
__device__ inline Place place_b_e4m3(int lane, int i) {  // i in 0..7
  return {i < 4 ? lane % 4 * 4 + (i & 3) : lane % 4 * 4 + (i & 3) + 16, lane >> 2};
}

__global__ void mma_e4m3_once(const uint8_t* a, const uint8_t* b, float* c) {  // a (16, 32), b (32, 8), c (16, 8)
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t left[4] = {}, right[2] = {};
  float sum[4];
  HEDDLE_UNROLL
  for (int i = 0; i < 16; ++i)
    left[i / 4] |= static_cast<uint32_t>(a[place_a_e4m3(lane, i).row * 32 + place_a_e4m3(lane, i).column])
                   << 8 * (i % 4);
  HEDDLE_UNROLL
  for (int i = 0; i < 8; ++i)
    right[i / 4] |= static_cast<uint32_t>(b[place_b_e4m3(lane, i).row * 8 + place_b_e4m3(lane, i).column])
                    << 8 * (i % 4);
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) sum[i] = c[place_c(lane, i).row * 8 + place_c(lane, i).column];
  ptx::mma_e4m3(sum, left, right);
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) c[place_c(lane, i).row * 8 + place_c(lane, i).column] = sum[i];
}
void test_mma_e4m3() {
#if HEDDLE_EMULATED
  setenv("HEDDLE_EMULATE_CUDA", "sm_89", 1);
#endif
  Device device;
  if (!static_cast<CudaAccelerator*>(device.accelerator.get())->properties().e4m3) {
    std::printf("mma of e4m3: NOT RUN, because it needs a device of compute capability 8.9 or 12.0 and code for it\n");
    return;
  }
  std::mt19937 random(5);
  Shared<uint8_t> a(device, 16 * 32), b(device, 32 * 8);
  Shared<float> c(device, 16 * 8);
  // Operands are multiples of 2^-9 of either sign, up to 1/8. A misplaced element then causes a larger error than the
  // truncation of sums.
  for (auto* bytes : {&a.host, &b.host})
    for (auto& v : *bytes) v = static_cast<uint8_t>(random() % 2 * 128 + random() % 33);
  for (auto& v : c.host) v = static_cast<float>(random() % 9) - 4;
  const std::vector<float> before = c.host;
  launch(device.context, "mma.e4m3", {1, 32}, mma_e4m3_once, a.to_device(), b.to_device(), c.to_device());
  c.back();
  double worst = 0;
  for (size_t i = 0; i < 16; ++i)
    for (size_t j = 0; j < 8; ++j) {
      double want = before[i * 8 + j];
      for (size_t k = 0; k < 32; ++k)
        want += static_cast<double>(e4m3_to_float(a.host[i * 32 + k])) * e4m3_to_float(b.host[k * 8 + j]);
      worst = std::fmax(worst, std::fabs(want - c.host[i * 8 + j]));
    }
  // Sums keep 13 fraction bits of the largest term, which is at most 4, so the error is at most 5e-4.
  expect(worst < 1e-3, "mma.m16n8k32.e4m3: the product");
}

// Figures 89 to 91: .s8 fragments of mma.m16n8k16. c has the same layout for all types.
__device__ inline Place place_a_int8(int lane, int i) {  // i in 0..7
  return {i < 4 ? lane >> 2 : (lane >> 2) + 8, lane % 4 * 4 + (i & 3)};
}
__device__ inline Place place_b_int8(int lane, int i) {  // i in 0..3
  return {lane % 4 * 4 + i, lane >> 2};
}

__global__ void mma_int8_once(const int8_t* a, const int8_t* b, int* c) {  // a (16, 16), b (16, 8), c (16, 8)
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t left[2] = {}, right = 0;
  int sum[4];
  HEDDLE_UNROLL
  for (int i = 0; i < 8; ++i)
    left[i / 4] |=
        static_cast<uint32_t>(static_cast<uint8_t>(a[place_a_int8(lane, i).row * 16 + place_a_int8(lane, i).column]))
        << 8 * (i % 4);
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i)
    right |=
        static_cast<uint32_t>(static_cast<uint8_t>(b[place_b_int8(lane, i).row * 8 + place_b_int8(lane, i).column]))
        << 8 * i;
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) sum[i] = c[place_c(lane, i).row * 8 + place_c(lane, i).column];
  ptx::mma_int8(sum, left, right);
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) c[place_c(lane, i).row * 8 + place_c(lane, i).column] = sum[i];
}

void test_mma_int8(Device& device) {
  std::mt19937 random(4);
  Shared<int8_t> a(device, 16 * 16), b(device, 16 * 8);
  Shared<int> c(device, 16 * 8);
  for (auto& v : a.host) v = static_cast<int8_t>(random() % 256 - 128);
  for (auto& v : b.host) v = static_cast<int8_t>(random() % 256 - 128);
  for (auto& v : c.host) v = static_cast<int>(random() % 1000) - 500;
  const std::vector<int> before = c.host;
  launch(device.context, "mma.s8", {1, 32}, mma_int8_once, a.to_device(), b.to_device(), c.to_device());
  c.back();
  bool ok = true;
  for (size_t i = 0; i < 16; ++i)
    for (size_t j = 0; j < 8; ++j) {
      int want = before[i * 8 + j];
      for (size_t k = 0; k < 16; ++k) want += a.host[i * 16 + k] * b.host[k * 8 + j];
      ok &= want == c.host[i * 8 + j];
    }
  expect(ok, "mma.m16n8k16.s8: the product");
}

}  // namespace cuda
}  // namespace heddle
