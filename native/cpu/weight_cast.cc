#include "cpu/weight_cast.h"

#include <algorithm>
#include <atomic>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <memory>

#include "cpu/nodes.h"
#include "ops/quant.h"
#include "ops/quant_write.h"
#include "runtime/element_cast.h"

namespace heddle {
namespace {

constexpr int64_t piece = 16384;  // elements: with what they become they stay in a core's second cache

// A thread's memory, kept from one cast to the next.
struct Room {
  alignas(64) uint8_t raw[piece * sizeof(float)];
  alignas(64) float wide[piece];
};
Room& room() {
  static thread_local const std::unique_ptr<Room> mine(new Room);
  return *mine;
}

bool is_floating(DType t) { return t == DType::f32 || t == DType::f16 || t == DType::bf16; }

// The largest magnitude that the kernels may be given: below what becomes infinite, or is refused.
float largest_of(DType to) {
  switch (to) {
    case DType::f32: return FLT_MAX;
    case DType::f16: return 0x1.ffdffep15f;    // the last below 65520
    case DType::bf16: return 0x1.fefffep127f;  // the last below the middle of the largest and infinity
    default: return largest_quantised;
  }
}

bool misaligned(const void* p, size_t to) { return reinterpret_cast<uintptr_t>(p) % to != 0; }

// The n elements at `raw` as numbers: at `to`, or where they lie.
const float* widened(const uint8_t* raw, const WeightCast& c, int64_t n, float* to) {
  const float* numbers = to;
  if (c.from == DType::f32) {
    if (c.addend == 0 && !misaligned(raw, sizeof(float))) numbers = reinterpret_cast<const float*>(raw);
    else std::memcpy(to, raw, static_cast<size_t>(n) * sizeof(float));
  } else if (is_quantised(c.from)) {
    dequantise(c.from, raw, n, to);
  } else {
    cpu::active().convert(raw, c.from, to, DType::f32, n);
  }
  if (c.addend != 0)
    for (int64_t i = 0; i < n; ++i) to[i] += c.addend;
  return numbers;
}

// Whether all of them are finite and no larger than `most`.
bool are_within(const float* x, int64_t n, float most) {
  float high = 0, low = 0;
  return cpu::active().logits_range(x, n, &high, &low) && high <= most && low >= -most;
}

// Pieces with numbers that do not go through a kernel: counted, and converted one by one.
CastFindings cast_plainly(const uint8_t* raw, const WeightCast& c, int64_t n, uint8_t* out, float* wide) {
  CastFindings found;
  if (c.from == c.to && c.addend == 0) std::memcpy(out, raw, bytes_of_elements(c.from, n));
  else found.overflows = cast_elements(raw, c.from, out, c.to, n, c.addend);
  cast_elements(raw, c.from, reinterpret_cast<uint8_t*>(wide), DType::f32, n, 0);
  for (int64_t i = 0; i < n; ++i) found.not_finite += !std::isfinite(wide[i]);
  return found;
}

CastFindings cast_piece(const WeightCast& c, int64_t begin, int64_t n) {
  Room& mine = room();
  const size_t at = bytes_of_elements(c.from, begin), bytes = bytes_of_elements(c.from, n);
  uint8_t* out = c.out + bytes_of_elements(c.to, begin);
  const bool copied = c.from == c.to && c.addend == 0;
  const uint8_t* raw = c.bytes ? c.bytes + at : mine.raw;
  if (c.file) {
    c.file->read(c.offset + at, bytes, mine.raw);
  } else if (is_floating(c.from) && misaligned(raw, dtype_bytes(c.from))) {
    std::memcpy(mine.raw, raw, bytes);
    raw = mine.raw;
  }
  if (copied && is_quantised(c.from)) {
    std::memcpy(out, raw, bytes);
    return {};
  }
  // What is wanted as numbers is made where it is wanted.
  const bool direct = c.to == DType::f32 && c.from != DType::f32 && !misaligned(out, sizeof(float));
  const float* numbers = widened(raw, c, n, direct ? reinterpret_cast<float*>(out) : mine.wide);
  if (!are_within(numbers, n, copied ? FLT_MAX : largest_of(c.to))) return cast_plainly(raw, c, n, out, mine.wide);
  if (copied) std::memcpy(out, raw, bytes);
  else if (is_quantised(c.to)) cpu::active().quantise(c.to, numbers, n, out);
  else if (c.to != DType::f32) cpu::active().convert(numbers, DType::f32, out, c.to, n);
  else if (!direct) std::memcpy(out, numbers, static_cast<size_t>(n) * sizeof(float));
  return {};
}

}  // namespace

CastFindings cast_weights(const WeightCast& c, Pool& pool) {
  // Types that are not written are refused before anything is.
  if (is_quantised(c.to) && !(c.from == c.to && c.addend == 0)) quantise(c.to, nullptr, 0, nullptr);
  std::atomic<int64_t> overflows{0}, not_finite{0};
  pool.run((c.count + piece - 1) / piece, [&](int64_t i, int) {
    const CastFindings found = cast_piece(c, i * piece, std::min(piece, c.count - i * piece));
    if (found.overflows) overflows += found.overflows;
    if (found.not_finite) not_finite += found.not_finite;
  });
  return {overflows, not_finite};
}

}  // namespace heddle
