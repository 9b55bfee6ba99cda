// The fragment layouts of cuda/ptx.cuh against the tables of "Parallel Thread Execution ISA", section 9.7.14.5, written here a
// second time as the manual gives them: row and column of the i-th element that a lane holds. Matrices go in and come out
// through those tables, so that a wrapper with another layout gives another product.
//
// The same program for the emulator and, compiled by nvcc, for a GPU: a misreading that this file, a wrapper and a kernel share
// shows there alone. A test is a __global__ function over device memory, launched as the package launches its kernels.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "cuda/devices.h"
#include "cuda/fp8.cuh"
#include "cuda/math.cuh"
#include "cuda/ptx_sm90.cuh"
#include "cuda/tensor_map.h"
#include "runtime/pool.h"

namespace heddle {
namespace cuda {

int failures = 0;
void expect(bool ok, const char* what) {
  if (ok) return;
  std::printf("FAILED %s\n", what);
  ++failures;
}

struct Device {
  std::shared_ptr<Accelerator> accelerator = open_cuda(0);
  Pool pool{1};
  Context context{pool, nullptr, accelerator.get()};
};

// Device memory with a copy on the host, which holds the results after back().
template <class T> class Shared {
 public:
  Shared(Device& device, size_t count) : host(count), device_(device.accelerator), data_(static_cast<T*>(device_->allocate(count * sizeof(T)))) {}
  ~Shared() { device_->release(data_); }
  T* to_device() {
    device_->upload(data_, host.data(), host.size() * sizeof(T));
    return data_;
  }
  void back() { device_->download(host.data(), data_, host.size() * sizeof(T)); }
  std::vector<T> host;

 private:
  std::shared_ptr<Accelerator> device_;
  T* data_;
};

// Figures 80 to 82: .bf16 fragments of mma.m16n8k16. groupID = %laneid >> 2, threadID_in_group = %laneid % 4.
struct Place {
  int row, column;
};
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

__global__ void mma_once(const uint16_t* a, const uint16_t* b, float* c) {  // (16, 16), (16, 8), (16, 8)
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t left[4] = {}, right[2] = {};
  float sum[4];
  HEDDLE_UNROLL
  for (int i = 0; i < 8; ++i) left[i / 2] |= static_cast<uint32_t>(a[place_a(lane, i).row * 16 + place_a(lane, i).column]) << (16 * (i % 2));
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) right[i / 2] |= static_cast<uint32_t>(b[place_b(lane, i).row * 8 + place_b(lane, i).column]) << (16 * (i % 2));
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
      for (size_t k = 0; k < 16; ++k) want += static_cast<double>(to_float(bf16{a.host[i * 16 + k]})) * to_float(bf16{b.host[k * 8 + j]});
      worst = std::fmax(worst, std::fabs(want - c.host[i * 8 + j]));
    }
  // Tensor cores cut off where a processor rounds: one unit in the last place for each addition.
  expect(worst < 16 * 16 * 1.2e-7, "mma.m16n8k16: the product");
}

// Figures 73 to 75: .tf32 fragments of mma.m16n8k8; c's are those of the other types.
__device__ inline Place place_a_tf32(int lane, int i) {  // i in 0..3
  const int group = lane >> 2, thread = lane % 4;
  return {i == 0 || i == 2 ? group : group + 8, i < 2 ? thread : thread + 4};
}
__device__ inline Place place_b_tf32(int lane, int i) {  // i in 0..1
  const int group = lane >> 2, thread = lane % 4;
  return {i == 0 ? thread : thread + 4, group};
}

__global__ void mma_tf32_once(const float* a, const float* b, float* c) {  // (16, 8), (8, 8), (16, 8)
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t left[4], right[2];
  float sum[4];
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) left[i] = ptx::round_to_tf32(__float_as_uint(a[place_a_tf32(lane, i).row * 8 + place_a_tf32(lane, i).column]));
  HEDDLE_UNROLL
  for (int i = 0; i < 2; ++i) right[i] = ptx::round_to_tf32(__float_as_uint(b[place_b_tf32(lane, i).row * 8 + place_b_tf32(lane, i).column]));
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) sum[i] = c[place_c(lane, i).row * 8 + place_c(lane, i).column];
  ptx::mma_tf32(sum, left, right);
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) c[place_c(lane, i).row * 8 + place_c(lane, i).column] = sum[i];
}

// To 10 bits after the point, ties away from zero: in steps of 2^-10 of the power of two below.
float nearest_tf32(float f) {
  if (f == 0 || !std::isfinite(f)) return f;
  int exponent;
  std::frexp(f, &exponent);
  const float step = std::ldexp(1.0f, exponent - 11 < -136 ? -136 : exponent - 11);
  return std::round(f / step) * step;  // exact: step is a power of two, std::round takes ties away from zero
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
      for (size_t k = 0; k < 8; ++k) want += static_cast<double>(nearest_tf32(a.host[i * 8 + k])) * nearest_tf32(b.host[k * 8 + j]);
      worst = std::fmax(worst, std::fabs(want - c.host[i * 8 + j]));
    }
  expect(worst < 8 * 8 * 1.2e-7, "mma.m16n8k8.tf32: the product");  // as in test_mma
}

__global__ void round_tf32_once(const float* from, uint32_t* to, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) to[i] = ptx::round_to_tf32(__float_as_uint(from[i]));
}

// Floats of every exponent, with ties and what lies beside them.
void test_round_tf32(Device& device) {
  constexpr size_t count = 65536;
  Shared<float> from(device, count);
  Shared<uint32_t> to(device, count);
  for (size_t i = 0; i < count; ++i) {
    const uint32_t low = i % 4 == 0 ? 0x1000u : i % 4 == 1 ? 0x0fffu : i % 4 == 2 ? 0x3000u : static_cast<uint32_t>(i * 2654435761u) & 0xffffu;
    const uint32_t bits = static_cast<uint32_t>(i) << 16 | low;
    std::memcpy(&from.host[i], &bits, 4);
  }
  launch(device.context, "cvt.rna.tf32", {static_cast<unsigned>(count / 256), 256}, round_tf32_once, from.to_device(), to.to_device(), static_cast<int>(count));
  to.back();
  bool ok = true;
  for (size_t i = 0; i < count; ++i) {
    const float f = from.host[i];
    float got;
    const uint32_t bits = to.host[i];
    std::memcpy(&got, &bits, 4);
    ok &= std::isnan(f) ? std::isnan(got) : got == nearest_tf32(f) && (bits & 0x1fff) == 0;
  }
  expect(ok, "cvt.rna.tf32.f32");
}

// The .e4m3 fragments of mma.m16n8k32, by byte (9.7.14.5.10); c's are those of the other types.
__device__ inline Place place_a_e4m3(int lane, int i) {  // i in 0..15
  const int row = (i >= 0 && i < 4) || (i >= 8 && i < 12) ? lane >> 2 : (lane >> 2) + 8;
  return {row, i < 8 ? lane % 4 * 4 + (i & 3) : lane % 4 * 4 + (i & 3) + 16};
}
__device__ inline Place place_b_e4m3(int lane, int i) {  // i in 0..7
  return {i < 4 ? lane % 4 * 4 + (i & 3) : lane % 4 * 4 + (i & 3) + 16, lane >> 2};
}

__global__ void mma_e4m3_once(const uint8_t* a, const uint8_t* b, float* c) {  // (16, 32), (32, 8), (16, 8)
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t left[4] = {}, right[2] = {};
  float sum[4];
  HEDDLE_UNROLL
  for (int i = 0; i < 16; ++i) left[i / 4] |= static_cast<uint32_t>(a[place_a_e4m3(lane, i).row * 32 + place_a_e4m3(lane, i).column]) << 8 * (i % 4);
  HEDDLE_UNROLL
  for (int i = 0; i < 8; ++i) right[i / 4] |= static_cast<uint32_t>(b[place_b_e4m3(lane, i).row * 8 + place_b_e4m3(lane, i).column]) << 8 * (i % 4);
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
    std::printf("mma of e4m3: NOT RUN, it needs a device of compute capability 8.9 or 12.0 and code for it\n");
    return;
  }
  std::mt19937 random(5);
  Shared<uint8_t> a(device, 16 * 32), b(device, 32 * 8);
  Shared<float> c(device, 16 * 8);
  // Multiples of 2^-9 up to 1/8, of either sign: a place mistaken for another shows by far more than the few bits that hardware may drop.
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
      for (size_t k = 0; k < 32; ++k) want += static_cast<double>(e4m3_to_float(a.host[i * 32 + k])) * e4m3_to_float(b.host[k * 8 + j]);
      worst = std::fmax(worst, std::fabs(want - c.host[i * 8 + j]));
    }
  expect(worst < 1e-3, "mma.m16n8k32.e4m3: the product");  // 13 bits after the point of the largest term, 4, are 5e-4
}

// Figures 89 to 91: .s8 fragments of mma.m16n8k16; c's are those of the other types.
__device__ inline Place place_a_int8(int lane, int i) {  // i in 0..7
  return {i < 4 ? lane >> 2 : (lane >> 2) + 8, lane % 4 * 4 + (i & 3)};
}
__device__ inline Place place_b_int8(int lane, int i) {  // i in 0..3
  return {lane % 4 * 4 + i, lane >> 2};
}

__global__ void mma_int8_once(const int8_t* a, const int8_t* b, int* c) {  // (16, 16), (16, 8), (16, 8)
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t left[2] = {}, right = 0;
  int sum[4];
  HEDDLE_UNROLL
  for (int i = 0; i < 8; ++i)
    left[i / 4] |= static_cast<uint32_t>(static_cast<uint8_t>(a[place_a_int8(lane, i).row * 16 + place_a_int8(lane, i).column])) << 8 * (i % 4);
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i)
    right |= static_cast<uint32_t>(static_cast<uint8_t>(b[place_b_int8(lane, i).row * 8 + place_b_int8(lane, i).column])) << 8 * i;
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

template <bool transposed> __global__ void ldmatrix_once(uint32_t* got) {  // (32, 4)
  HEDDLE_SHARED(uint16_t, tile, [4][8][8]);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = 0; i < 8; ++i) tile[lane / 8][lane % 8][i] = static_cast<uint16_t>(lane / 8 * 100 + lane % 8 * 10 + i);
  __syncwarp();
  uint32_t to[4];
  ptx::load_matrices<transposed>(to, tile[lane / 8][lane % 8]);
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) got[lane * 4 + i] = to[i];
}

// Section 9.7.14.5.15: "Each row of a matrix is 16 bytes; thread 4 i + j of the warp receives elements 2 j and 2 j + 1 of row i".
void test_ldmatrix(Device& device) {
  for (const bool transposed : {false, true}) {
    Shared<uint32_t> got(device, 32 * 4);
    launch(device.context, "ldmatrix", {1, 32}, transposed ? ldmatrix_once<true> : ldmatrix_once<false>, got.to_device());
    got.back();
    bool ok = true;
    for (int i = 0; i < 8; ++i)
      for (int j = 0; j < 4; ++j)
        for (int matrix = 0; matrix < 4; ++matrix)
          for (int e = 0; e < 2; ++e) {
            const int row = transposed ? 2 * j + e : i, column = transposed ? i : 2 * j + e;
            ok &= ((got.host[static_cast<size_t>((4 * i + j) * 4 + matrix)] >> (16 * e)) & 0xffff) ==
                  static_cast<uint32_t>(matrix * 100 + row * 10 + column);
          }
    expect(ok, transposed ? "ldmatrix.trans" : "ldmatrix");
  }
}

__global__ void copy_once(const uint32_t* from, uint32_t* to) {  // (32, 4): lane i copies i % 17 bytes
  HEDDLE_SHARED(uint32_t, tile, [32][4]);
  const int lane = static_cast<int>(threadIdx.x);
  ptx::copy_async_16(tile[lane], from + lane * 4, lane % 17);
  ptx::commit_copies();
  ptx::wait_copies<0>();
  for (int i = 0; i < 4; ++i) to[lane * 4 + i] = tile[lane][i];
}

void test_cp_async(Device& device) {
  Shared<uint32_t> from(device, 32 * 4), to(device, 32 * 4);
  for (size_t i = 0; i < from.host.size(); ++i) from.host[i] = 0x01020304u * static_cast<uint32_t>(i % 50 + 1);
  launch(device.context, "cp.async", {1, 32}, copy_once, from.to_device(), to.to_device());
  to.back();
  bool ok = true;
  for (size_t lane = 0; lane < 32; ++lane) {
    unsigned char want[16] = {};
    std::memcpy(want, &from.host[lane * 4], lane % 17);
    ok &= std::memcmp(want, &to.host[lane * 4], 16) == 0;
  }
  expect(ok, "cp.async: bytes that are not read become zeros");
}

__global__ void convert_once(const float* from, uint16_t* half, float* back, uint16_t* brain, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  half[i] = ptx::float_to_half(from[i]);
  back[i] = ptx::half_to_float(static_cast<uint16_t>(i));
  brain[i] = float_to_bf16(from[i]);
}

// All halves, and floats of every exponent with the ties between halves among them.
void test_conversions(Device& device) {
  constexpr size_t count = 65536;
  Shared<float> from(device, count), back(device, count);
  Shared<uint16_t> half(device, count), brain(device, count);
  for (size_t i = 0; i < count; ++i) {
    const uint32_t bits = (static_cast<uint32_t>(i) << 16) | (i % 3 == 0 ? 0x1000u : i % 3 == 1 ? 0x8000u : static_cast<uint32_t>(i * 2654435761u) & 0xffffu);
    std::memcpy(&from.host[i], &bits, 4);
  }
  launch(device.context, "conversions", {static_cast<unsigned>(count / 256), 256}, convert_once, from.to_device(), half.to_device(), back.to_device(),
         brain.to_device(), static_cast<int>(count));
  half.back(), back.back(), brain.back();
  bool to_half = true, from_half = true, to_brain = true;
  for (size_t i = 0; i < count; ++i) {
    const float f = from.host[i], wide = to_float(f16{static_cast<uint16_t>(i)});
    const auto is_nan = [](uint16_t h) { return (h & 0x7fff) > 0x7c00; };
    to_half &= std::isnan(f) ? is_nan(half.host[i]) : half.host[i] == to_f16(f).bits;
    from_half &= std::isnan(wide) ? std::isnan(back.host[i]) : std::memcmp(&wide, &back.host[i], 4) == 0;
    to_brain &= std::isnan(f) ? std::isnan(to_float(bf16{brain.host[i]})) : brain.host[i] == to_bf16(f).bits;
  }
  expect(to_half, "cvt.rn.f16.f32");
  expect(from_half, "cvt.f32.f16");
  expect(to_brain, "float to bf16");
}

// ---- sm_90a: section 9.7.15.5 -------------------------------------------------------------------------------------------------

// Figure "128B swizzle": in lines of 128 bytes, chunk c of line r lies in the place of chunk c ^ (r mod 8).
__device__ inline int swizzled_byte(int line, int byte) { return line * 128 + ((byte / 16) ^ (line % 8)) * 16 + byte % 16; }
// Figure "WGMMA .m64nNk16 register fragment layout for accumulator matrix D".
__device__ inline Place place_d(int thread, int i) {
  const int warp = thread / 32, lane = thread % 32;
  return {16 * warp + (lane >> 2) + 8 * ((i >> 1) & 1), (i >> 2) * 8 + (lane % 4) * 2 + (i & 1)};
}

// d (64, N) = a (64, 64) b (64, N), both from global memory in rows; written into shared memory with either dimension innermost, or a's 16
// depths at a time in registers.
template <bool a_turned, bool b_turned, int N, bool in_registers> __global__ void __launch_bounds__(128) warpgroup_once(const uint16_t* a, const uint16_t* b, float* d) {
#if HEDDLE_SM90A
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  unsigned char* a_tile = memory + (1024 - ptx::shared_address(memory) % 1024) % 1024;
  unsigned char* b_tile = a_tile + 64 * 128;
  const int thread = static_cast<int>(threadIdx.x);
  const auto put = [](unsigned char* tile, int line, int at, uint16_t v) { *reinterpret_cast<uint16_t*>(tile + swizzled_byte(line, 2 * at)) = v; };
  for (int i = thread; i < 64 * 64; i += 128) put(a_tile, a_turned ? i % 64 : i / 64, a_turned ? i / 64 : i % 64, a[i]);
  for (int i = thread; i < 64 * N; i += 128) {
    const int k = i / N, n = i % N;
    if (b_turned) put(b_tile + n / 64 * 8192, k, n % 64, b[i]);
    else put(b_tile, n, k, b[i]);
  }
  ptx::fence_async();
  __syncthreads();
  // Figure "WGMMA .m64nNk16 register fragment layout for matrix A".
  uint32_t left[4][4];
  HEDDLE_UNROLL
  for (int i = 0; i < 16; ++i) {
    const int row = thread / 32 * 16 + thread % 32 / 4 + i % 2 * 8, depth = i / 4 * 16 + thread % 4 * 2 + i % 4 / 2 * 8;
    left[i / 4][i % 4] = a[row * 64 + depth] | static_cast<uint32_t>(a[row * 64 + depth + 1]) << 16;
  }
  float sum[N / 2];
  HEDDLE_UNROLL
  for (int i = 0; i < N / 2; ++i) sum[i] = 1e30f;  // which the first product must not add to
  ptx::fence_products();
  HEDDLE_UNROLL
  for (int k = 0; k < 4; ++k)
    if constexpr (in_registers) {
      ptx::multiply_registers<b_turned>(sum, left[k], ptx::describe_tile(b_tile + k * (b_turned ? 2048 : 32), 8192, 1024), k > 0);
    } else {
      ptx::multiply_tiles<a_turned, b_turned>(sum, ptx::describe_tile(a_tile + k * (a_turned ? 2048 : 32), 8192, 1024),
                                              ptx::describe_tile(b_tile + k * (b_turned ? 2048 : 32), 8192, 1024), k > 0);
    }
  ptx::commit_products();
  ptx::wait_products<0>();
  HEDDLE_UNROLL
  for (int i = 0; i < N / 2; ++i) ptx::pin(sum[i]);
  HEDDLE_UNROLL
  for (int i = 0; i < N / 2; ++i) d[place_d(thread, i).row * N + place_d(thread, i).column] = sum[i];
#endif
}

template <bool a_turned, bool b_turned, int N, bool in_registers = false> void test_warpgroup(Device& device, const char* what) {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> draw(-1, 1);
  Shared<uint16_t> a(device, 64 * 64), b(device, 64 * N);
  Shared<float> d(device, 64 * N);
  for (auto& v : a.host) v = to_bf16(draw(random)).bits;
  for (auto& v : b.host) v = to_bf16(draw(random)).bits;
  const size_t bytes = 1024 + 64 * 128 + (N + 63) / 64 * 8192;
  launch(device.context, "wgmma", {1, 128, bytes}, warpgroup_once<a_turned, b_turned, N, in_registers>, a.to_device(), b.to_device(), d.to_device());
  d.back();
  double worst = 0;
  for (size_t i = 0; i < 64; ++i)
    for (size_t j = 0; j < N; ++j) {
      double want = 0;
      for (size_t k = 0; k < 64; ++k) want += static_cast<double>(to_float(bf16{a.host[i * 64 + k]})) * to_float(bf16{b.host[k * N + j]});
      worst = std::fmax(worst, std::fabs(want - d.host[i * N + j]));
    }
  expect(worst < 64 * 64 * 1.2e-7, what);  // as in test_mma
}

// d (64, 128) = a (64, 128) b (128, 128) of e4m3 bytes, b given by columns; both with the depth innermost.
__global__ void __launch_bounds__(128) warpgroup_e4m3_once(const uint8_t* a, const uint8_t* b, float* d) {
#if HEDDLE_SM90A
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  unsigned char* a_tile = memory + (1024 - ptx::shared_address(memory) % 1024) % 1024;
  unsigned char* b_tile = a_tile + 64 * 128;
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < 64 * 128; i += 128) a_tile[swizzled_byte(i / 128, i % 128)] = a[i];
  for (int i = thread; i < 128 * 128; i += 128) b_tile[swizzled_byte(i / 128, i % 128)] = b[i];
  ptx::fence_async();
  __syncthreads();
  float sum[64];
  HEDDLE_UNROLL
  for (int i = 0; i < 64; ++i) sum[i] = 1e30f;  // which the first product must not add to
  ptx::fence_products();
  HEDDLE_UNROLL
  for (int k = 0; k < 4; ++k)
    ptx::multiply_e4m3_tiles(sum, ptx::describe_tile(a_tile + k * 32, 1024, 1024), ptx::describe_tile(b_tile + k * 32, 1024, 1024), k > 0);
  ptx::commit_products();
  ptx::wait_products<0>();
  HEDDLE_UNROLL
  for (int i = 0; i < 64; ++i) ptx::pin(sum[i]);
  HEDDLE_UNROLL
  for (int i = 0; i < 64; ++i) d[place_d(thread, i).row * 128 + place_d(thread, i).column] = sum[i];
#endif
}

void test_warpgroup_e4m3(Device& device) {
  std::mt19937 random(8);
  Shared<uint8_t> a(device, 64 * 128), b(device, 128 * 128);
  Shared<float> d(device, 64 * 128);
  // Magnitudes of at most 2: sums of few bits then miss little of them.
  for (auto* bytes : {&a.host, &b.host})
    for (auto& v : *bytes) v = static_cast<uint8_t>(random() % 2 * 128 + random() % 65);
  launch(device.context, "wgmma.e4m3", {1, 128, 1024 + 192 * 128}, warpgroup_e4m3_once, a.to_device(), b.to_device(), d.to_device());
  d.back();
  double worst = 0;
  for (size_t i = 0; i < 64; ++i)
    for (size_t j = 0; j < 128; ++j) {
      double want = 0;
      for (size_t k = 0; k < 128; ++k) want += static_cast<double>(e4m3_to_float(a.host[i * 128 + k])) * e4m3_to_float(b.host[j * 128 + k]);
      worst = std::fmax(worst, std::fabs(want - d.host[i * 128 + j]));
    }
  // A product of at most 4 keeps 13 bits after the point where it is added to 31 others: a unit of 2^-11 lost for each.
  expect(worst < 128 * 4.0 / 2048, "wgmma of e4m3: the product");
}

// Every byte as a number, and numbers of every exponent, with the ties between bytes among them, as bytes.
__global__ void e4m3_once(const float* from, uint8_t* bytes, float* numbers, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  bytes[i] = float_to_fp8(from[i]);
  if (i < 256) numbers[i] = fp8_to_float(static_cast<uint8_t>(i));
}

// The format's definition: 4 bits of exponent from 7 on, 3 after the point, S.1111.111 not a number.
double e4m3_value(int byte) {
  const int exponent = byte >> 3 & 15, fraction = byte & 7;
  const double magnitude = (byte & 0x7f) == 0x7f ? NAN : exponent ? std::ldexp(8 + fraction, exponent - 10) : std::ldexp(fraction, -9);
  return byte & 0x80 ? -magnitude : magnitude;
}

void test_e4m3(Device& device) {
  constexpr size_t count = 65536;
  Shared<float> from(device, count), numbers(device, 256);
  Shared<uint8_t> bytes(device, count);
  for (size_t i = 0; i < count; ++i) {
    const uint32_t bits = static_cast<uint32_t>(i) << 16 | (i % 3 == 0 ? 0u : i % 3 == 1 ? 1u : static_cast<uint32_t>(i * 2654435761u) & 0xffffu);
    std::memcpy(&from.host[i], &bits, 4);
  }
  launch(device.context, "e4m3", {static_cast<unsigned>(count / 256), 256}, e4m3_once, from.to_device(), bytes.to_device(), numbers.to_device(), static_cast<int>(count));
  bytes.back(), numbers.back();
  bool read = true, written = true;
  for (int i = 0; i < 256; ++i) {
    const double want = e4m3_value(i);
    read &= std::isnan(want) ? std::isnan(numbers.host[static_cast<size_t>(i)]) && std::isnan(e4m3_to_float(static_cast<uint8_t>(i)))
                             : numbers.host[static_cast<size_t>(i)] == want && e4m3_to_float(static_cast<uint8_t>(i)) == want;
  }
  for (size_t i = 0; i < count; ++i) {
    const float f = from.host[i];
    const int got = bytes.host[i];
    written &= got == float_to_e4m3(f);
    if (std::isnan(f)) {
      written &= (got & 0x7f) == 0x7f;
      continue;
    }
    // The nearest of all; of two, the even one; 448 for what is larger.
    const double magnitude = std::fmin(std::fabs(f), 448);
    int want = 0;
    for (int m = 1; m < 0x7f; ++m) {
      const double nearer = std::fabs(e4m3_value(m) - magnitude) - std::fabs(e4m3_value(want) - magnitude);
      if (nearer < 0 || (nearer == 0 && m % 2 == 0)) want = m;
    }
    written &= got == (want | (std::signbit(f) ? 0x80 : 0));
  }
  expect(read, "e4m3 to float");
  expect(written, "float to e4m3");
}

// A box of 64 columns and `lines` rows from (column, row) on, as its bytes lie in shared memory.
__global__ void __launch_bounds__(32) box_once(const __grid_constant__ CUtensorMap map, int column, int row, int lines, uint16_t* to) {
#if HEDDLE_SM90A
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  HEDDLE_SHARED(uint64_t, barrier, [1]);
  unsigned char* tile = memory + (1024 - ptx::shared_address(memory) % 1024) % 1024;
  if (threadIdx.x == 0) {
    ptx::init_barrier(barrier, 1);
    ptx::fence_async();
  }
  __syncthreads();
  for (unsigned phase = 0; phase < 3; ++phase) {  // the same thrice: a barrier's phases have parities 0, 1, 0
    if (threadIdx.x == 0) {
      ptx::arrive_expecting(barrier, static_cast<unsigned>(lines) * 128);
      ptx::copy_box(tile, &map, column, row, barrier);
    }
    ptx::wait_barrier(barrier, phase % 2);
    __syncthreads();
  }
  for (int i = static_cast<int>(threadIdx.x); i < lines * 64; i += 32) to[i] = reinterpret_cast<const uint16_t*>(tile)[i];
#endif
}

void test_boxes(Device& device) {
  constexpr int rows = 50, columns = 72, lines = 40;
  Shared<uint16_t> matrix(device, rows * columns), got(device, lines * 64);
  for (size_t i = 0; i < matrix.host.size(); ++i) matrix.host[i] = static_cast<uint16_t>(i + 1);
  const CUtensorMap map = map_of_matrix(matrix.to_device(), rows, columns, columns, lines);
  bool ok = true;
  for (const auto& [column, row] : {std::pair<int, int>{0, 0}, {64, 32}, {8, 17}, {128, 0}}) {  // within, over both edges, unaligned, outside
    launch(device.context, "copy by TMA", {1, 32, 1024 + lines * 128}, box_once, map, column, row, static_cast<int>(lines), got.to_device());
    got.back();
    for (int r = 0; r < lines; ++r)
      for (int c = 0; c < 64; ++c) {
        const bool inside = row + r < rows && column + c < columns;
        const int want = inside ? (row + r) * columns + column + c + 1 : 0;
        const int chunk = c / 8 ^ r % 8;
        ok &= got.host[static_cast<size_t>(r * 64 + chunk * 8 + c % 8)] == want;
      }
  }
  expect(ok, "a box by TMA: its bytes with the 128-byte swizzle, zeros outside the matrix");
}

void test_sm90() {
#if HEDDLE_EMULATED
  setenv("HEDDLE_EMULATE_CUDA", "sm_90", 1);
#endif
  Device device;
  if (!static_cast<CudaAccelerator*>(device.accelerator.get())->properties().sm90a) {
    std::printf("wgmma and TMA: NOT RUN, they need a device of compute capability 9.0 and code for it\n");
    return;
  }
  test_boxes(device);
  test_warpgroup<false, false, 128>(device, "wgmma, both with the depth innermost");
  test_warpgroup<false, false, 256>(device, "wgmma of 256 columns");
  test_warpgroup<true, false, 128>(device, "wgmma, rows of a innermost");
  test_warpgroup<false, true, 128>(device, "wgmma, columns of b innermost");
  test_warpgroup<true, true, 256>(device, "wgmma, neither depth innermost");
  test_warpgroup<false, false, 64>(device, "wgmma of 64 columns");
  test_warpgroup<false, true, 64, true>(device, "wgmma of 64 columns, a in registers, columns of b innermost");
  test_warpgroup<false, true, 96, true>(device, "wgmma of 96 columns, a in registers, columns of b innermost");
  test_warpgroup<false, false, 128, true>(device, "wgmma of 128 columns, a in registers");
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
    test_mma_e4m3();
    test_sm90();
  } catch (const std::exception& e) {
    std::printf("FAILED %s\n", e.what());
    ++failures;
  }
  if (!failures) std::printf("the fragments are those of the manual\n");
  return failures ? 1 : 0;
}
