#include "cpu/weights/weight_source.h"

#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <memory>

#include "ops/fp8.h"
#include "core/error.h"
#include "core/platform/lost_pages.h"

namespace heddle {
namespace {

constexpr int mxfp4_block = 32;

// A thread's buffers, kept between runs.
struct Buffers {
  alignas(64) uint8_t stored[weight_run];
  alignas(64) float wide[weight_run];
};
Buffers& thread_buffers() {
  static thread_local const std::unique_ptr<Buffers> buffers(new Buffers);
  return *buffers;
}

const std::array<float, 256>& e4m3_numbers() {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> made{};
    for (int i = 0; i < 256; ++i) made[static_cast<size_t>(i)] = e4m3_to_float(static_cast<uint8_t>(i));
    return made;
  }();
  return table;
}

// Widens 8-bit floats and applies their scales. Returns how many products of finite factors became infinite.
int64_t widen_fp8(const WeightSource& s, int64_t begin, int64_t n, float* to) {
  uint8_t* bytes = thread_buffers().stored;
  s.stored.read(static_cast<size_t>(begin), static_cast<size_t>(n), bytes);
  const std::array<float, 256>& table = e4m3_numbers();
  const int64_t across = fp8_blocks(s.columns);
  int64_t overflows = 0;
  for (int64_t i = 0; i < n;) {
    const int64_t row = (begin + i) / s.columns, column = (begin + i) % s.columns;
    const int64_t some = std::min({n - i, s.columns - column, fp8_block - column % fp8_block});
    const float scale = s.block_scales[static_cast<size_t>(row / fp8_block * across + column / fp8_block)];
    const int64_t from = i, end = i + some;
    for (; i < end; ++i) to[i] = scale * table[bytes[i]];
    if (std::isfinite(scale) && std::fabs(scale) > FLT_MAX / fp8_largest)
      overflows += std::count_if(to + from, to + end, [](float x) { return std::isinf(x); });
  }
  return overflows;
}

// Interleaves MXFP4 as ggml does: 17 bytes per block, the scale first, and elements j and j + 16 in one byte.
void gather_mxfp4(const WeightSource& s, int64_t begin, int64_t n, uint8_t* to) {
  const int64_t first = begin / mxfp4_block, blocks = n / mxfp4_block;
  uint8_t *halves = thread_buffers().stored, *exponents = reinterpret_cast<uint8_t*>(thread_buffers().wide);
  s.stored.read(static_cast<size_t>(first) * 16, static_cast<size_t>(blocks) * 16, halves);
  s.scales.read(static_cast<size_t>(first), static_cast<size_t>(blocks), exponents);
  for (int64_t b = 0; b < blocks; ++b, halves += 16, to += 17) {
    to[0] = exponents[b];
    for (int j = 0; j < 16; j += 2) {
      const uint8_t low = halves[j / 2], high = halves[8 + j / 2];
      to[1 + j] = static_cast<uint8_t>((low & 15) | high << 4);
      to[2 + j] = static_cast<uint8_t>(low >> 4 | (high & 0xf0));
    }
  }
}

}  // namespace

void StoredBytes::read(size_t at, size_t count, uint8_t* to) const {
  if (file) file->read(offset + at, count, to);
  else if (count) std::memcpy(to, bytes + at, count);
}

void StoredBytes::check() const {
  if (!file) return;
  file->check();
  if (file->data() && has_lost_pages(file->data()))
    throw Error("IO", file->path() + ": the mapped file was truncated while it was in use");
}

size_t WeightSource::stored_bytes(int64_t count) const {
  switch (storage) {
    case Storage::fp8: return static_cast<size_t>(count);
    case Storage::mxfp4: return static_cast<size_t>(count / 2);
    default: return bytes_of_elements(type, count);
  }
}

CastFindings WeightSource::read(int64_t begin, int64_t n, uint8_t* raw) const {
  if (storage == Storage::mxfp4) {
    gather_mxfp4(*this, begin, n, raw);
    return {};
  }
  if (storage == Storage::fp8) {
    float* wide = thread_buffers().wide;
    const int64_t overflows = widen_fp8(*this, begin, n, wide);
    CastFindings found = cast_run(reinterpret_cast<const uint8_t*>(wide), DType::f32, raw, type, 0, n);
    found.overflows += overflows;
    return found;
  }
  stored.read(stored_bytes(begin), stored_bytes(n), raw);
  return {};
}

}  // namespace heddle
