// Rotary position embedding (Su et al. 2021, "RoFormer"), and frequencies that depend on the sequence length.
#include "cuda/rows/math.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int threads = 128;

struct RopeArguments {
  View x;                             // (N, H, D)
  const int32_t* positions;           // (N)
  const float* inv_freq;              // (half) or (N, half)
  Out y;                              // (N, H, D), may alias x
  int64_t H, D, half, frequency_row;  // half: pairs per head; frequency_row: stride of inv_freq's rows, 0 for one row
  float scale, direction;             // direction: 1, or -1 for the inverse rotation
  bool interleaved, interleaved_out;
};

// Computes the sine and cosine of an angle, to float precision even for large angles. The arithmetic is double, because
// sinf and cosf need local memory for large arguments. Subtracts the nearest multiple of pi / 2, in two parts (Cody &
// Waite 1980), then evaluates the Taylor series.
__device__ void sine_cosine(float angle, float* sine, float* cosine) {
  const double quarters = rint(angle * 0.63661977236758134);  // in units of pi / 2
  // The remainder, |r| <= pi / 4. The constants are pi / 2 as a double, and the rest of pi / 2.
  const double r = (angle - quarters * 1.5707963267948966) - quarters * 6.123233995736766e-17, q = r * r;
  const double s = r * (1 + q * (-1.0 / 6 + q * (1.0 / 120 + q * (-1.0 / 5040 + q * (1.0 / 362880 - q / 39916800)))));
  const double c = 1 + q * (-0.5 + q * (1.0 / 24 + q * (-1.0 / 720 + q * (1.0 / 40320 - q / 3628800))));
  const int quadrant = static_cast<int>(static_cast<int64_t>(quarters) & 3);
  const double first = quadrant % 2 ? c : s, second = quadrant % 2 ? s : c;
  *sine = static_cast<float>(quadrant < 2 ? first : -first);
  *cosine = static_cast<float>(quadrant == 0 || quadrant == 3 ? second : -second);
}

constexpr int pairs_a_thread = 4;
constexpr int64_t most_pairs = pairs_a_thread * threads;

// Rotates the pairs of a row, and copies its columns from 2 * half on. One block per row.
__global__ void __launch_bounds__(threads, 8) rope_kernel(PreviousKernel previous, RopeArguments a) {
  previous.wait();
  const int64_t row = blockIdx.x;
  HEDDLE_SHARED(float, cosines, [most_pairs]);
  HEDDLE_SHARED(float, sines, [most_pairs]);
  const float position = static_cast<float>(a.positions[row]);
  // The angle is rounded to f32, as in the frameworks that trained the models. At large positions, such as 8192, an
  // exact angle would change the results.
  for (int64_t j = threadIdx.x; j < a.half; j += threads)
    sine_cosine(position * a.inv_freq[row * a.frequency_row + j], &sines[j], &cosines[j]);
  // Processes as many heads at a time as fit into most_pairs pairs. All pairs are read before any is written, because y
  // may alias x and have the pairs in other places. The barrier in between also makes the sines and cosines visible to
  // all threads.
  const int half = static_cast<int>(a.half), heads = static_cast<int>(most_pairs) / half;
  for (int64_t h0 = 0; h0 < a.H; h0 += heads) {
    const int pairs = static_cast<int>(h0 + heads < a.H ? heads : a.H - h0) * half;
    const int64_t first = (row * a.H + h0) * a.D;
    float p[pairs_a_thread], q[pairs_a_thread];
    HEDDLE_UNROLL
    for (int k = 0; k < pairs_a_thread; ++k) {
      const int i = threadIdx.x + k * threads, j = i % half;
      if (i >= pairs) continue;
      const int64_t head = first + i / half * a.D;
      p[k] = a.x[head + (a.interleaved ? 2 * j : j)];
      q[k] = a.x[head + (a.interleaved ? 2 * j + 1 : j + half)];
    }
    __syncthreads();
    HEDDLE_UNROLL
    for (int k = 0; k < pairs_a_thread; ++k) {
      const int i = threadIdx.x + k * threads, j = i % half;
      if (i >= pairs) continue;
      const int64_t head = first + i / half * a.D;
      const float cosine = cosines[j] * a.scale, sine = sines[j] * a.scale * a.direction;
      a.y.store(head + (a.interleaved_out ? 2 * j : j), p[k] * cosine - q[k] * sine);
      a.y.store(head + (a.interleaved_out ? 2 * j + 1 : j + half), p[k] * sine + q[k] * cosine);
    }
  }
  const int64_t rest = a.D - 2 * a.half;
  for (int64_t h = threadIdx.x / warp_size; h < a.H; h += threads / warp_size) {
    const int64_t at = (row * a.H + h) * a.D + 2 * a.half;
    for (int64_t i = threadIdx.x % warp_size; i < rest; i += warp_size) a.y.store(at + i, a.x[at + i]);
  }
}
void rope(const Node& n, Context& c) {
  const Tensor &x = n.in[0], &inv_freq = n.in[2];
  const int64_t half = inv_freq.shape.last();
  RopeArguments a{view(x), n.in[1].as<int32_t>(), inv_freq.as<float>(), out(n.out[0]), x.shape[1], x.shape[2], half,
      inv_freq.shape.rank > 1 ? half : 0, static_cast<float>(n.attr("scale")), n.attr_flag("inverse") ? -1.0f : 1.0f,
      n.attr_flag("interleaved"), n.attr_flag("interleaved_out")};
  launch(c, "rope", {dim3(static_cast<unsigned>(x.shape[0])), dim3(threads)}, rope_kernel, a);
}

bool supports_rope(const Node& n) { return n.in[2].shape.last() <= most_pairs; }

struct FrequencyArguments {
  const float *near, *far;  // (half): frequencies for lengths up to the original one, and beyond; far is optional
  const int32_t* lengths;   // (N); null: all rows have `length`
  float* y;                 // (N, half)
  int64_t half;
  double length, original, factor;
};

// Selects `far` beyond the original length (LongRoPE, Ding et al. 2024). Without `far`, stretches the base of the
// frequencies with the length instead ("dynamic NTK" scaling). One block per row.
__global__ void __launch_bounds__(threads) rope_frequencies_kernel(PreviousKernel previous, FrequencyArguments a) {
  previous.wait();
  const double length = a.lengths ? a.lengths[blockIdx.x] : a.length;
  const bool beyond = length > a.original;
  const double stretch = beyond ? a.factor * length / a.original - (a.factor - 1) : 1;
  for (int64_t i = threadIdx.x; i < a.half; i += threads) {
    float f = a.near[i];
    if (a.far) f = beyond ? a.far[i] : f;
    else if (beyond && i > 0)
      f = static_cast<float>(f * pow(stretch, -static_cast<double>(i) / static_cast<double>(a.half - 1)));
    a.y[blockIdx.x * a.half + i] = f;
  }
}
void rope_frequencies(const Node& n, Context& c) {
  const bool by_row = n.has_input(2);
  FrequencyArguments a{n.in[0].as<float>(), n.has_input(1) ? n.in[1].as<float>() : nullptr,
      by_row ? n.in[2].as<int32_t>() : nullptr, n.out[0].as<float>(), n.in[0].shape[0], by_row ? 0 : n.attr("length"),
      n.attr("original"), n.attr("factor")};
  launch(c, "rope_frequencies", {dim3(by_row ? static_cast<unsigned>(n.in[2].shape[0]) : 1u), dim3(threads)},
      rope_frequencies_kernel, a);
}

const RegisterKernel kernels[] = {
    {"rope", "cuda_rope", supports_rope, rope},
    {"rope_frequencies", "cuda_rope_frequencies", no_quantized, rope_frequencies},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
