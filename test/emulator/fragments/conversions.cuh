// Tests of conversions between f16, bf16, tf32, e4m3 and f32.
#pragma once
#include "cuda/quant/fp8.cuh"
#include "cuda/rows/math.cuh"
#include "device.cuh"

namespace heddle {
namespace cuda {

// Rounds to 10 fraction bits, to nearest, ties away from zero. 2^-136 is the spacing of subnormal tf32 numbers.
float nearest_tf32(float f) {
  if (f == 0 || !std::isfinite(f)) return f;
  int exponent;
  std::frexp(f, &exponent);
  const float step = std::ldexp(1.0f, exponent - 11 < -136 ? -136 : exponent - 11);
  return std::round(f / step) * step;  // exact: step is a power of two, std::round takes ties away from zero
}

__global__ void round_tf32_once(const float* from, uint32_t* to, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) to[i] = ptx::round_to_tf32(__float_as_uint(from[i]));
}

// Converts floats of every exponent, among them ties between tf32 numbers and the floats next to them.
void test_round_tf32(Device& device) {
  constexpr size_t count = 65536;
  Shared<float> from(device, count);
  Shared<uint32_t> to(device, count);
  for (size_t i = 0; i < count; ++i) {
    const uint32_t low = i % 4 == 0   ? 0x1000u
                         : i % 4 == 1 ? 0x0fffu
                         : i % 4 == 2 ? 0x3000u
                                      : static_cast<uint32_t>(i * 2654435761u) & 0xffffu;
    const uint32_t bits = static_cast<uint32_t>(i) << 16 | low;
    std::memcpy(&from.host[i], &bits, 4);
  }
  launch(device.context, "cvt.rna.tf32", {static_cast<unsigned>(count / 256), 256}, round_tf32_once, from.to_device(),
      to.to_device(), static_cast<int>(count));
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

__global__ void convert_once(
    const float* from, uint16_t* half, float* back, uint16_t* brain, uint32_t* pairs, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  half[i] = ptx::float_to_half(from[i]);
  back[i] = ptx::half_to_float(static_cast<uint16_t>(i));
  brain[i] = float_to_bf16(from[i]);
  pairs[i] = ptx::pack_bf16(from[i], from[count - 1 - i]);
}

// Converts all f16 numbers, and floats of every exponent, among them ties between f16 numbers.
void test_conversions(Device& device) {
  constexpr size_t count = 65536;
  Shared<float> from(device, count), back(device, count);
  Shared<uint16_t> half(device, count), brain(device, count);
  Shared<uint32_t> pairs(device, count);
  for (size_t i = 0; i < count; ++i) {
    const uint32_t bits =
        (static_cast<uint32_t>(i) << 16) | (i % 3 == 0      ? 0x1000u
                                               : i % 3 == 1 ? 0x8000u
                                                            : static_cast<uint32_t>(i * 2654435761u) & 0xffffu);
    std::memcpy(&from.host[i], &bits, 4);
  }
  launch(device.context, "conversions", {static_cast<unsigned>(count / 256), 256}, convert_once, from.to_device(),
      half.to_device(), back.to_device(), brain.to_device(), pairs.to_device(), static_cast<int>(count));
  half.back(), back.back(), brain.back(), pairs.back();
  bool to_half = true, from_half = true, to_brain = true, to_pairs = true;
  for (size_t i = 0; i < count; ++i) {
    const float f = from.host[i], wide = to_float(f16{static_cast<uint16_t>(i)});
    const auto is_nan = [](uint16_t h) { return (h & 0x7fff) > 0x7c00; };
    to_half &= std::isnan(f) ? is_nan(half.host[i]) : half.host[i] == to_f16(f).bits;
    from_half &= std::isnan(wide) ? std::isnan(back.host[i]) : std::memcmp(&wide, &back.host[i], 4) == 0;
    to_brain &= brain.host[i] == (std::isnan(f) ? 0x7fff : to_bf16(f).bits);
    to_pairs &= pairs.host[i] == (brain.host[i] | static_cast<uint32_t>(brain.host[count - 1 - i]) << 16);
  }
  expect(to_half, "cvt.rn.f16.f32");
  expect(from_half, "cvt.f32.f16");
  expect(to_brain, "cvt.rn.bf16.f32");
  expect(to_pairs, "cvt.rn.bf16x2.f32");
}

// Decodes all bytes, and encodes floats of every exponent, among them ties between e4m3 numbers.
__global__ void e4m3_once(const float* from, uint8_t* bytes, float* numbers, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  bytes[i] = float_to_fp8(from[i]);
  if (i < 256) numbers[i] = fp8_to_float(static_cast<uint8_t>(i));
}

// Decodes E4M3, which has 4 exponent bits with bias 7 and 3 fraction bits. NaN has ones in all bits except the sign.
double e4m3_value(int byte) {
  const int exponent = byte >> 3 & 15, fraction = byte & 7;
  const double magnitude = (byte & 0x7f) == 0x7f ? NAN
                           : exponent            ? std::ldexp(8 + fraction, exponent - 10)
                                                 : std::ldexp(fraction, -9);
  return byte & 0x80 ? -magnitude : magnitude;
}

void test_e4m3(Device& device) {
  constexpr size_t count = 65536;
  Shared<float> from(device, count), numbers(device, 256);
  Shared<uint8_t> bytes(device, count);
  for (size_t i = 0; i < count; ++i) {
    const uint32_t bits =
        static_cast<uint32_t>(i) << 16 | (i % 3 == 0      ? 0u
                                             : i % 3 == 1 ? 1u
                                                          : static_cast<uint32_t>(i * 2654435761u) & 0xffffu);
    std::memcpy(&from.host[i], &bits, 4);
  }
  launch(device.context, "e4m3", {static_cast<unsigned>(count / 256), 256}, e4m3_once, from.to_device(),
      bytes.to_device(), numbers.to_device(), static_cast<int>(count));
  bytes.back(), numbers.back();
  bool read = true, written = true;
  for (int i = 0; i < 256; ++i) {
    const double want = e4m3_value(i);
    read &= std::isnan(want)
                ? std::isnan(numbers.host[static_cast<size_t>(i)]) && std::isnan(e4m3_to_float(static_cast<uint8_t>(i)))
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
    // Round to nearest even, saturating at 448.
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

}  // namespace cuda
}  // namespace heddle
