#include "ops/quant.h"

#include <cmath>
#if defined(__F16C__)
#include <immintrin.h>
#endif

#include "runtime/error.h"

namespace heddle {
namespace {

#include "ops/unpack-inl.h"

using Dequantise = void (*)(const void*, int64_t, float*);
constexpr Dequantise dequantisers[] = {
#define HEDDLE_ROW(name, ...) dequantise_blocks<DType::name>,
    HEDDLE_BLOCK_TYPES(HEDDLE_ROW)
#undef HEDDLE_ROW
};

}  // namespace

void dequantise(DType type, const void* from, int64_t n, float* to) {
  if (!is_quantised(type) || type >= DType::count || n % block_type(type).elements)
    throw internal_error(std::string("dequantise: expected whole blocks, got ") + std::to_string(n) + " of " + dtype_name(type));
  dequantisers[static_cast<int>(type) - static_cast<int>(DType::u8) - 1](from, n, to);
}

void round_activations(float* x, int64_t n) {
  for (int64_t begin = 0; begin < n; begin += activation_group) {
    const int64_t end = begin + activation_group < n ? begin + activation_group : n;
    float largest = 0;
    bool finite = true;
    for (int64_t i = begin; i < end; ++i) largest = std::fmax(largest, std::fabs(x[i])), finite &= std::isfinite(x[i]);
    const float inverse = largest > least_activation ? 127.0f / largest : 0.0f, scale = largest / 127.0f;
    for (int64_t i = begin; i < end; ++i) x[i] = finite ? std::nearbyint(x[i] * inverse) * scale : NAN;
  }
}

}  // namespace heddle
