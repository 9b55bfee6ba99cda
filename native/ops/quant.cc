#include "ops/quant.h"

#include <cmath>
#if defined(__F16C__)
#include <immintrin.h>
#endif

#include "core/error.h"

namespace heddle {
namespace {

#include "ops/unpack-inl.h"

using Dequantize = void (*)(const void*, int64_t, float*);
constexpr Dequantize dequantizers[] = {
#define HEDDLE_ROW(name, ...) dequantize_blocks<DType::name>,
    HEDDLE_BLOCK_TYPES(HEDDLE_ROW)
#undef HEDDLE_ROW
};

}  // namespace

void dequantize(DType type, const void* from, int64_t n, float* to) {
  if (!is_quantized(type) || type >= DType::count || n % block_type(type).elements)
    throw internal_error(
        std::string("dequantize: expected whole blocks, got ") + std::to_string(n) + " of " + dtype_name(type));
  dequantizers[static_cast<int>(type) - static_cast<int>(DType::u8) - 1](from, n, to);
}

namespace {
// Returns the squared error of rounding n <= 32 numbers to multiples of the step 1 / inverse, in units of the squared
// step. Adds in the order that quant.h gives.
float squared_error(const float* x, int64_t n, float inverse) {
  float error[activation_group] = {}, sum[activation_group / 2];
  for (int64_t i = 0; i < n; ++i) error[i] = std::fma(x[i], inverse, -std::nearbyint(x[i] * inverse));
  for (int i = 0; i < 16; ++i) sum[i] = std::fma(error[i + 16], error[i + 16], error[i] * error[i]);
  for (int distance : {2, 1, 8, 4})
    for (int i = 0; i < 16; ++i)
      if (!(i & distance)) sum[i] = sum[i ^ distance] = sum[i] + sum[i ^ distance];
  return sum[0];
}
}  // namespace

void round_activations(float* x, int64_t n) {
  for (int64_t begin = 0; begin < n; begin += activation_group) {
    const int64_t end = begin + activation_group < n ? begin + activation_group : n;
    float largest = 0;
    bool finite = true;
    for (int64_t i = begin; i < end; ++i) largest = std::fmax(largest, std::fabs(x[i])), finite &= std::isfinite(x[i]);
    const auto inverse_of = [&](float steps) { return largest > least_activation ? steps / largest : 0.0f; };
    float steps = activation_steps[0];
    if (finite && second_steps_leave_less(squared_error(x + begin, end - begin, inverse_of(steps)),
                      squared_error(x + begin, end - begin, inverse_of(activation_steps[1]))))
      steps = activation_steps[1];
    const float inverse = inverse_of(steps), scale = largest / steps;
    for (int64_t i = begin; i < end; ++i) x[i] = finite ? std::nearbyint(x[i] * inverse) * scale : NAN;
  }
}

}  // namespace heddle
