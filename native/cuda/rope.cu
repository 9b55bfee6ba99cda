// Rotary position embedding (Su et al. 2021), and its frequencies where they depend on the length.
#include "cuda/math.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int threads = 128;

struct RopeArguments {
  View x;                    // (N, H, D)
  const int32_t* positions;  // (N)
  const float* inv_freq;     // (half), or (N, half)
  Out y;                     // (N, H, D), may be x
  int64_t H, D, half, frequency_row;
  float scale, direction;
  bool interleaved;
};

// A block a row. Each thread turns whole pairs, and copies what lies beyond them.
__global__ void __launch_bounds__(threads) rope_kernel(RopeArguments a) {
  const int64_t row = blockIdx.x;
  const float position = static_cast<float>(a.positions[row]);
  for (int64_t i = threadIdx.x; i < a.H * a.half; i += threads) {
    const int64_t h = i / a.half, j = i % a.half;
    // The angle is the float product, as the models were trained with: at position 8192 its rounding is visible.
    const float angle = position * a.inv_freq[row * a.frequency_row + j];
    const float cosine = cosf(angle) * a.scale, sine = sinf(angle) * a.scale * a.direction;
    const int64_t head = (row * a.H + h) * a.D;
    const int64_t first = head + (a.interleaved ? 2 * j : j), second = head + (a.interleaved ? 2 * j + 1 : j + a.half);
    const float p = a.x[first], q = a.x[second];
    a.y.store(first, p * cosine - q * sine);
    a.y.store(second, p * sine + q * cosine);
  }
  const int64_t rest = a.D - 2 * a.half;
  for (int64_t i = threadIdx.x; i < a.H * rest; i += threads) {
    const int64_t at = (row * a.H + i / rest) * a.D + 2 * a.half + i % rest;
    a.y.store(at, a.x[at]);
  }
}
void rope(const Node& n, Context& c) {
  const Tensor &x = n.in[0], &inv_freq = n.in[2];
  const int64_t half = inv_freq.shape.last();
  RopeArguments a{view(x), n.in[1].as<int32_t>(), inv_freq.as<float>(), out(n.out[0]), x.shape[1], x.shape[2], half,
                  inv_freq.shape.rank > 1 ? half : 0, static_cast<float>(n.attr("scale")), n.attr_flag("inverse") ? -1.0f : 1.0f,
                  n.attr_flag("interleaved")};
  launch(c, "rope", {dim3(static_cast<unsigned>(x.shape[0])), dim3(threads)}, rope_kernel, a);
}

struct FrequencyArguments {
  const float *near, *far;   // (half); far may be null
  const int32_t* lengths;    // (N), or null for `length`
  float* y;                  // (N, half)
  int64_t half;
  double length, original, factor;
};

__global__ void __launch_bounds__(threads) rope_frequencies_kernel(FrequencyArguments a) {
  const double length = a.lengths ? a.lengths[blockIdx.x] : a.length;
  const bool beyond = length > a.original;
  const double stretch = beyond ? a.factor * length / a.original - (a.factor - 1) : 1;
  for (int64_t i = threadIdx.x; i < a.half; i += threads) {
    float f = a.near[i];
    if (a.far) f = beyond ? a.far[i] : f;
    else if (beyond && i > 0) f = static_cast<float>(f * pow(stretch, -static_cast<double>(i) / static_cast<double>(a.half - 1)));
    a.y[blockIdx.x * a.half + i] = f;
  }
}
void rope_frequencies(const Node& n, Context& c) {
  const bool by_row = n.has_input(2);
  FrequencyArguments a{n.in[0].as<float>(), n.has_input(1) ? n.in[1].as<float>() : nullptr, by_row ? n.in[2].as<int32_t>() : nullptr,
                       n.out[0].as<float>(), n.in[0].shape[0], by_row ? 0 : n.attr("length"), n.attr("original"), n.attr("factor")};
  launch(c, "rope_frequencies", {dim3(by_row ? static_cast<unsigned>(n.in[2].shape[0]) : 1u), dim3(threads)}, rope_frequencies_kernel, a);
}

const RegisterKernel kernels[] = {
    {"rope", "cuda_rope", no_quantised, rope},
    {"rope_frequencies", "cuda_rope_frequencies", no_quantised, rope_frequencies},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
