#include "cpu/weights/weight_run.h"

#include <cfloat>
#include <cmath>
#include <cstring>
#include <memory>

#include "cpu/nodes/nodes.h"
#include "ops/quant.h"
#include "ops/quant_write.h"
#include "ops/element_cast.h"

namespace heddle {
namespace {

// A thread's buffers, kept between runs.
struct Buffers {
  alignas(64) uint8_t raw[weight_run * sizeof(float)];
  alignas(64) float wide[weight_run];
};
Buffers& thread_buffers() {
  static thread_local const std::unique_ptr<Buffers> buffers(new Buffers);
  return *buffers;
}

struct Run {
  const uint8_t* raw;
  DType from;
  uint8_t* out;
  DType to;
  float addend;
  int64_t n;

  bool copied() const { return from == to && addend == 0; }
};

bool is_floating(DType t) { return t == DType::f32 || t == DType::f16 || t == DType::bf16; }

// Returns the largest magnitude that the kernels convert. Larger numbers would become infinite, or are rejected.
float largest_of(DType to) {
  switch (to) {
    case DType::f32: return FLT_MAX;
    case DType::f16: return 0x1.ffdffep15f;    // the last float below 65520
    case DType::bf16: return 0x1.fefffep127f;  // the last float below the midpoint of the largest bf16 and infinity
    default: return largest_quantized;
  }
}

bool misaligned(const void* p, size_t to) { return reinterpret_cast<uintptr_t>(p) % to != 0; }

// Returns the elements plus `addend` as f32. The result is in `to`, or in place if nothing has to change.
const float* widened(const Run& r, float* to) {
  const float* numbers = to;
  if (r.from == DType::f32) {
    if (r.addend == 0 && !misaligned(r.raw, sizeof(float))) numbers = reinterpret_cast<const float*>(r.raw);
    else std::memcpy(to, r.raw, static_cast<size_t>(r.n) * sizeof(float));
  } else if (is_quantized(r.from)) {
    dequantize(r.from, r.raw, r.n, to);
  } else {
    cpu::active().convert(r.raw, r.from, to, DType::f32, r.n);
  }
  if (r.addend != 0)
    for (int64_t i = 0; i < r.n; ++i) to[i] += r.addend;
  return numbers;
}

// Whether all numbers are finite and at most `most` in magnitude.
bool are_within(const float* x, int64_t n, float most) {
  float high = 0, low = 0;
  return cpu::active().logits_range(x, n, &high, &low) && high <= most && low >= -most;
}

// Converts a run with values that the kernels do not accept, one element at a time. Counts overflows and values that
// are not finite.
CastFindings cast_plainly(const Run& r, float* wide) {
  CastFindings found;
  if (r.copied()) std::memcpy(r.out, r.raw, bytes_of_elements(r.from, r.n));
  else found.overflows = cast_elements(r.raw, r.from, r.out, r.to, r.n, r.addend);
  cast_elements(r.raw, r.from, reinterpret_cast<uint8_t*>(wide), DType::f32, r.n, 0);
  for (int64_t i = 0; i < r.n; ++i) found.not_finite += !std::isfinite(wide[i]);
  return found;
}

}  // namespace

CastFindings cast_run(const uint8_t* raw, DType from, uint8_t* out, DType to, float addend, int64_t n) {
  Run r{raw, from, out, to, addend, n};
  const size_t bytes = bytes_of_elements(from, n);
  if (r.copied() && is_quantized(from)) {
    std::memcpy(out, raw, bytes);
    return {};
  }
  Buffers& buffers = thread_buffers();
  if (is_floating(from) && misaligned(raw, dtype_bytes(from))) {
    std::memcpy(buffers.raw, raw, bytes);
    r.raw = buffers.raw;
  }
  // Writes f32 results directly to the output.
  const bool direct = to == DType::f32 && from != DType::f32 && !misaligned(out, sizeof(float));
  const float* numbers = widened(r, direct ? reinterpret_cast<float*>(out) : buffers.wide);
  if (!are_within(numbers, n, r.copied() ? FLT_MAX : largest_of(to))) return cast_plainly(r, buffers.wide);
  if (r.copied()) std::memcpy(out, r.raw, bytes);
  else if (is_quantized(to)) cpu::active().quantize(to, numbers, n, out);
  else if (to != DType::f32) cpu::active().convert(numbers, DType::f32, out, to, n);
  else if (!direct) std::memcpy(out, numbers, static_cast<size_t>(n) * sizeof(float));
  return {};
}

}  // namespace heddle
