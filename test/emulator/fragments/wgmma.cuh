// Tests of wgmma, its descriptors and its swizzle (section 9.7.15.5).
#pragma once
#include "cuda/rows/math.cuh"
#include "cuda/ptx/ptx_sm90.cuh"
#include "conversions.cuh"
#include "device.cuh"

namespace heddle {
namespace cuda {

// Figure "128B swizzle": a line has 128 bytes, in chunks of 16. Chunk c of line r is stored at chunk c ^ (r mod 8).
__device__ inline int swizzled_byte(int line, int byte) {
  return line * 128 + ((byte / 16) ^ (line % 8)) * 16 + byte % 16;
}
// Figure "WGMMA .m64nNk16 register fragment layout for accumulator matrix D".
__device__ inline Place place_d(int thread, int i) {
  const int warp = thread / 32, lane = thread % 32;
  return {16 * warp + (lane >> 2) + 8 * ((i >> 1) & 1), (i >> 2) * 8 + (lane % 4) * 2 + (i & 1)};
}

// d (64, N) = a (64, 64) b (64, N). a and b are row-major in global memory, and K-major or MN-major in shared memory.
// With in_registers, a is in registers, 16 elements along k per product.
template <bool a_mn_major, bool b_mn_major, int N, bool in_registers>
__global__ void __launch_bounds__(128) warpgroup_once(const uint16_t* a, const uint16_t* b, float* d) {
#if HEDDLE_SM90A
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  unsigned char* a_tile = memory + (1024 - ptx::shared_address(memory) % 1024) % 1024;
  unsigned char* b_tile = a_tile + 64 * 128;
  const int thread = static_cast<int>(threadIdx.x);
  const auto put = [](unsigned char* tile, int line, int at, uint16_t v) {
    *reinterpret_cast<uint16_t*>(tile + swizzled_byte(line, 2 * at)) = v;
  };
  for (int i = thread; i < 64 * 64; i += 128)
    put(a_tile, a_mn_major ? i % 64 : i / 64, a_mn_major ? i / 64 : i % 64, a[i]);
  for (int i = thread; i < 64 * N; i += 128) {
    const int k = i / N, n = i % N;
    if (b_mn_major) put(b_tile + n / 64 * 8192, k, n % 64, b[i]);
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
  for (int i = 0; i < N / 2; ++i) sum[i] = 1e30f;  // the first product must overwrite this
  ptx::fence_products();
  // Strides in bytes: 8192 between boxes of 64 columns (LBO), 1024 between groups of 8 lines (SBO). A step of 16 along
  // k is 16 lines (2048 bytes) if MN-major, and 32 bytes of each line if K-major.
  HEDDLE_UNROLL
  for (int k = 0; k < 4; ++k)
    if constexpr (in_registers) {
      ptx::multiply_registers<b_mn_major>(
          sum, left[k], ptx::describe_tile(b_tile + k * (b_mn_major ? 2048 : 32), 8192, 1024), k > 0);
    } else {
      ptx::multiply_tiles<a_mn_major, b_mn_major>(sum,
          ptx::describe_tile(a_tile + k * (a_mn_major ? 2048 : 32), 8192, 1024),
          ptx::describe_tile(b_tile + k * (b_mn_major ? 2048 : 32), 8192, 1024), k > 0);
    }
  ptx::commit_products();
  ptx::wait_products<0>();
  HEDDLE_UNROLL
  for (int i = 0; i < N / 2; ++i) ptx::pin(sum[i]);
  HEDDLE_UNROLL
  for (int i = 0; i < N / 2; ++i) d[place_d(thread, i).row * N + place_d(thread, i).column] = sum[i];
#endif
}

template <bool a_mn_major, bool b_mn_major, int N, bool in_registers = false>
void test_warpgroup(Device& device, const char* what) {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> draw(-1, 1);
  Shared<uint16_t> a(device, 64 * 64), b(device, 64 * N);
  Shared<float> d(device, 64 * N);
  for (auto& v : a.host) v = to_bf16(draw(random)).bits;
  for (auto& v : b.host) v = to_bf16(draw(random)).bits;
  const size_t bytes = 1024 + 64 * 128 + (N + 63) / 64 * 8192;
  launch(device.context, "wgmma", {1, 128, bytes}, warpgroup_once<a_mn_major, b_mn_major, N, in_registers>,
      a.to_device(), b.to_device(), d.to_device());
  d.back();
  double worst = 0;
  for (size_t i = 0; i < 64; ++i)
    for (size_t j = 0; j < N; ++j) {
      double want = 0;
      for (size_t k = 0; k < 64; ++k)
        want += static_cast<double>(to_float(bf16{a.host[i * 64 + k]})) * to_float(bf16{b.host[k * N + j]});
      worst = std::fmax(worst, std::fabs(want - d.host[i * N + j]));
    }
  expect(worst < 64 * 64 * 1.2e-7, what);  // as in test_mma
}

// Returns the offset of element (k, n) of b in the manual's canonical layouts (section 9.7.15.5.1.2.1.3, 128B
// swizzling, T = 8 elements of 16 bits). In CuTe's notation, shape : strides in elements, they are
//   MN-major  ((T, 8, m), (8, k)) : ((1, T, LBO), (8 T, SBO))      K-major  ((8, m), (T, 2 k)) : ((8 T, SBO), (1, T))
// m counts atoms of 64 columns. Then Swizzle<3, 4, 3> XORs bits 7 to 9 of the offset in bytes into bits 4 to 6. For
// N = 96, b has only half of the columns of the second atom. They are spread over all eight chunks of a line.
inline size_t canonical_byte(bool mn_major, int n, int k, int lbo, int sbo) {
  const int element = mn_major ? n % 8 + n / 8 % 8 * 8 + n / 64 * lbo + k % 8 * 64 + k / 8 * sbo
                               : n % 8 * 64 + n / 8 * sbo + k % 8 + k / 8 * 8;
  const int byte = 2 * element;
  return static_cast<size_t>(byte ^ (byte >> 7 & 7) << 4);
}

constexpr int image_bytes = 32768;
// d (64, N) = a (64, 16) b (16, N). `image` is the content of shared memory with b.
template <bool b_mn_major, int N>
__global__ void __launch_bounds__(128)
    image_once(const uint16_t* a, const uint32_t* image, unsigned lbo, unsigned sbo, float* d) {
#if HEDDLE_SM90A
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  unsigned char* tile = memory + (1024 - ptx::shared_address(memory) % 1024) % 1024;
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < image_bytes / 4; i += 128) reinterpret_cast<uint32_t*>(tile)[i] = image[i];
  ptx::fence_async();
  __syncthreads();
  uint32_t left[4];
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int row = thread / 32 * 16 + thread % 32 / 4 + i % 2 * 8, depth = thread % 4 * 2 + i / 2 * 8;
    left[i] = a[row * 16 + depth] | static_cast<uint32_t>(a[row * 16 + depth + 1]) << 16;
  }
  float sum[N / 2];
  HEDDLE_UNROLL
  for (int i = 0; i < N / 2; ++i) sum[i] = 1e30f;
  ptx::fence_products();
  ptx::multiply_registers<b_mn_major>(sum, left, ptx::describe_tile(tile, lbo, sbo), false);
  ptx::commit_products();
  ptx::wait_products<0>();
  HEDDLE_UNROLL
  for (int i = 0; i < N / 2; ++i) ptx::pin(sum[i]);
  HEDDLE_UNROLL
  for (int i = 0; i < N / 2; ++i) d[place_d(thread, i).row * N + place_d(thread, i).column] = sum[i];
#endif
}

template <bool b_mn_major, int N> void test_canonical(Device& device, const char* what) {
  std::mt19937 random(9);
  std::uniform_real_distribution<float> draw(-1, 1);
  bool ok = true;
  // Pairs of LBO and SBO, in elements, for atoms of 1024 bytes. First adjacent boxes, as in the kernels. Then adjacent
  // atoms of one group along k, with a gap between groups. Then atoms far apart. Skips a pair if a K-major operand
  // would not fit into the image.
  for (const auto& [lbo, sbo] : {std::pair<int, int>{4096, 512}, {512, 1536}, {6144, 2048}}) {
    if (!b_mn_major && (sbo * (N / 8) > image_bytes / 2)) continue;
    Shared<uint16_t> a(device, 64 * 16);
    Shared<uint32_t> image(device, image_bytes / 4);
    Shared<float> d(device, 64 * N);
    std::vector<uint16_t> b(16 * N);
    for (auto& v : a.host) v = to_bf16(draw(random)).bits;
    for (auto& v : b) v = to_bf16(draw(random)).bits;
    std::fill(image.host.begin(), image.host.end(), 0x7fc07fc0u);  // NaN outside the operand
    std::vector<bool> taken(image_bytes);
    for (int k = 0; k < 16; ++k)
      for (int n = 0; n < N; ++n) {
        const size_t at = canonical_byte(b_mn_major, n, k, lbo, sbo);
        if (at + 1 >= taken.size() || taken[at])
          throw std::runtime_error("a canonical layout has two elements at one address, or one beyond the image");
        taken[at] = true;
        std::memcpy(reinterpret_cast<char*>(image.host.data()) + at, &b[static_cast<size_t>(k * N + n)], 2);
      }
    launch(device.context, "wgmma", {1, 128, 1024 + image_bytes}, image_once<b_mn_major, N>, a.to_device(),
        image.to_device(), static_cast<unsigned>(2 * lbo), static_cast<unsigned>(2 * sbo), d.to_device());
    d.back();
    for (size_t i = 0; i < 64; ++i)
      for (size_t j = 0; j < N; ++j) {
        double want = 0;
        for (size_t k = 0; k < 16; ++k)
          want += static_cast<double>(to_float(bf16{a.host[i * 16 + k]})) * to_float(bf16{b[k * N + j]});
        ok &= std::fabs(want - d.host[i * N + j]) < 16 * 16 * 1.2e-7;
      }
  }
  expect(ok, what);
}

// d (64, 128) = a (64, 128) b (128, 128) in e4m3. Both operands are K-major: a (64, k), b (128, k).
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
  for (int i = 0; i < 64; ++i) sum[i] = 1e30f;  // the first product must overwrite this
  ptx::fence_products();
  HEDDLE_UNROLL
  for (int k = 0; k < 4; ++k)
    ptx::multiply_e4m3_tiles(
        sum, ptx::describe_tile(a_tile + k * 32, 1024, 1024), ptx::describe_tile(b_tile + k * 32, 1024, 1024), k > 0);
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
  // Magnitudes of at most 2 keep the error of truncated sums small.
  for (auto* bytes : {&a.host, &b.host})
    for (auto& v : *bytes) v = static_cast<uint8_t>(random() % 2 * 128 + random() % 65);
  launch(device.context, "wgmma.e4m3", {1, 128, 1024 + 192 * 128}, warpgroup_e4m3_once, a.to_device(), b.to_device(),
      d.to_device());
  d.back();
  double worst = 0;
  for (size_t i = 0; i < 64; ++i)
    for (size_t j = 0; j < 128; ++j) {
      double want = 0;
      for (size_t k = 0; k < 128; ++k)
        want += static_cast<double>(e4m3_to_float(a.host[i * 128 + k])) * e4m3_to_float(b.host[j * 128 + k]);
      worst = std::fmax(worst, std::fabs(want - d.host[i * 128 + j]));
    }
  // The hardware keeps 13 fraction bits of a product when it adds it to 31 others. A product of at most 4 thus loses up
  // to 2^-11. 128 products lose up to 128 / 2048, and the tolerance is four times as large.
  expect(worst < 128 * 4.0 / 2048, "wgmma of e4m3: the product");
}

}  // namespace cuda
}  // namespace heddle
