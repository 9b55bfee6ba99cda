// Chooses the next token of each row, like native/ops/sample.cc. Tokens are ordered by their distance from the best
// logit, then by id. top_k, top_p and min_p each keep a prefix of this order. The tokens are not sorted. A token's key
// is the bits of its distance, then its id. The end of a prefix, or the drawn token, is the smallest key up to which
// there are enough tokens or mass. It is found bit by bit, with one pass over the row per bit. One block per row.
#include "cuda/rows/math.cuh"
#include "cuda/rows/philox.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int threads = 256, parameters = 9;

struct SampleArguments {
  const float *logits, *params;       // (R, V), (R, 9)
  const int32_t *history, *bias_ids;  // (R, L), (R, B)
  const float* bias_values;           // (R, B)
  const uint32_t* rng;                // (R, 3)
  float* adjusted;                    // (R, V): logits after bias and penalties
  int32_t *token, *top_ids;           // (R), (R, K)
  float *logprob, *top_logprobs;      // (R), (R, K)
  int64_t V, L, B, K;
  Fault fault;
};

// The order of tokens: the bits of the distance in the upper half, the id in the lower half. Bits of floats >= 0 sort
// like the floats.
using Key = unsigned long long;

// Returns the smallest key of the block to all threads.
__device__ Key smallest(Key key) {
  HEDDLE_SHARED(Key, partial, [threads / warp_size]);
  const auto lesser = [](Key a, Key b) { return a < b ? a : b; };
  for (int lanes = 16; lanes > 0; lanes /= 2) key = lesser(key, __shfl_xor_sync(all_lanes, key, lanes));
  if (threadIdx.x % warp_size == 0) partial[threadIdx.x / warp_size] = key;
  __syncthreads();
  Key best = partial[0];
  for (int w = 1; w < threads / warp_size; ++w) best = lesser(best, partial[w]);
  __syncthreads();
  return best;
}

// A product that the compiler cannot fuse with an addition. nvcc would do so, and the result would differ from that of
// the CPU.
__device__ float times(float a, float b) {
#if HEDDLE_EMULATED
  return a * b;
#else
  return __fmul_rn(a, b);
#endif
}

// exp(-x) for x >= 0, 0 from 87 on. The arithmetic is that of native/ops/logit_scan.h, so that both devices return the
// same bits.
__device__ float exp_negative(float x) {
  if (!(x < 87.0f)) return 0.0f;
  const int k = static_cast<int>(times(x, 1.44269504f) + 0.5f);
  const float kf = static_cast<float>(k), r = (x - times(kf, 0.693145752f)) - times(kf, 1.42860677e-6f);
  float p = 0.00138888671f;
  for (const float c : {0.00833452121f, 0.0416664854f, 0.166666657f, 0.5f, 1.0f, 1.0f}) p = c - times(r, p);
  return times(p, __uint_as_float(static_cast<unsigned>(127 - k) << 23));
}

// The tokens of a row in their order. temperature divides the distances.
struct Candidates {
  const float* logits;  // (V)
  int64_t V;
  float largest, temperature;

  __device__ Key key(int64_t i) const {
    return static_cast<Key>(__float_as_uint((largest - logits[i]) / temperature)) << 32 | static_cast<unsigned>(i);
  }
  __device__ float distance(Key k) const { return __uint_as_float(static_cast<unsigned>(k >> 32)); }

  // Number of tokens with a key up to `limit`. All threads get the result.
  __device__ double count(Key limit) const {
    double n = 0;
    for (int64_t i = threadIdx.x; i < V; i += threads) n += key(i) <= limit ? 1.0 : 0.0;
    return block_sum<threads>(n);
  }
  // Sum of exp(-distance) of the tokens with a key up to `limit`. All threads get the result.
  __device__ double mass(Key limit) const {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < V; i += threads) {
      const Key k = key(i);
      if (k <= limit) sum += exp_negative(distance(k));
    }
    return block_sum<threads>(sum);
  }
};

// Returns the smallest key up to `most` for which enough(key) is true, or `most` if there is none. Searches the
// distance, then the id.
template <class F> __device__ Key first_key(Key most, int64_t V, F enough) {
  Key low = 0, high = most >> 32;  // the answer is in [low, high]
  while (low < high) {
    const Key middle = (low + high) / 2;
    if (enough(middle << 32 | 0xffffffffu)) high = middle;
    else low = middle + 1;
  }
  const Key distance = low << 32;
  low = 0, high = static_cast<Key>(V - 1);
  while (low < high) {
    const Key middle = (low + high) / 2;
    if (enough(distance | middle)) high = middle;
    else low = middle + 1;
  }
  return (distance | low) < most ? distance | low : most;
}

struct Parameters {
  float temperature, top_k, top_p, min_p, repetition, presence, frequency, prompt_length, history_length;
};

__device__ bool valid(const Parameters& s, int64_t L) {
  const auto finite = [](float v) { return fabsf(v) < INFINITY; };
  const auto count = [](float v) { return v >= 0 && v <= 2147483520.0f && v == floorf(v); };
  return s.temperature >= 0 && finite(s.temperature) && count(s.top_k) && s.top_p > 0 && s.top_p <= 1 && s.min_p >= 0 &&
         s.min_p <= 1 && s.repetition > 0 && finite(s.repetition) && finite(s.presence) && finite(s.frequency) &&
         count(s.history_length) && s.history_length <= static_cast<float>(L) && count(s.prompt_length) &&
         s.prompt_length <= s.history_length;
}

// Whether position i of ids is the first with its id.
__device__ bool first_of_its_id(const int32_t* ids, int64_t i) {
  for (int64_t before = 0; before < i; ++before)
    if (ids[before] == ids[i]) return false;
  return true;
}

// Applies bias and penalties in the order of Hugging Face's processors, and stores the logits to `to`. Each distinct id
// is handled by one thread.
__device__ void adjust(const SampleArguments& a, int64_t row, const Parameters& s, float* to) {
  const int32_t* history = a.history + row * a.L;
  const int64_t length = static_cast<int64_t>(s.history_length), prompt = static_cast<int64_t>(s.prompt_length);
  for (int64_t i = threadIdx.x; i < a.V; i += threads) to[i] = a.logits[row * a.V + i];
  __syncthreads();
  if (threadIdx.x == 0)
    for (int64_t b = 0; b < a.B; ++b)
      if (a.bias_ids[row * a.B + b] != -1) to[a.bias_ids[row * a.B + b]] += a.bias_values[row * a.B + b];
  __syncthreads();
  if (s.repetition != 1)
    for (int64_t i = threadIdx.x; i < length; i += threads) {
      if (!first_of_its_id(history, i)) continue;
      float& logit = to[history[i]];
      logit = logit > 0 ? logit / s.repetition : logit * s.repetition;
    }
  __syncthreads();
  if (s.presence != 0 || s.frequency != 0)
    for (int64_t i = prompt + threadIdx.x; i < length; i += threads) {
      if (!first_of_its_id(history + prompt, i - prompt)) continue;
      int occurrences = 0;
      for (int64_t j = i; j < length; ++j) occurrences += history[j] == history[i] ? 1 : 0;
      to[history[i]] -= s.presence + times(s.frequency, static_cast<float>(occurrences));
    }
  __syncthreads();
}

struct Range {
  float largest;
  bool usable;  // no NaN and no +infinity, and not all are -infinity
};

__device__ Range range_of(const float* x, int64_t V) {
  float largest = -INFINITY, bad = 0;
  for (int64_t i = threadIdx.x; i < V; i += threads) {
    const float v = x[i];
    if (v != v) bad = 1;
    largest = fmaxf(largest, v);
  }
  largest = block_max<threads>(largest);
  bad = block_max<threads>(bad);
  return {largest, bad == 0 && largest != INFINITY && largest != -INFINITY};
}

__global__ void __launch_bounds__(threads) sample_kernel(SampleArguments a) {
  const int64_t row = blockIdx.x;
  const float* raw = a.logits + row * a.V;
  const float* p = a.params + row * parameters;
  const Parameters s{p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8]};
  const int64_t length = valid(s, a.L) ? static_cast<int64_t>(s.history_length) : 0;
  const bool counted = (s.presence != 0 || s.frequency != 0) && length > static_cast<int64_t>(s.prompt_length);
  const bool penalised = (s.repetition != 1 && length > 0) || counted;
  float wrong = valid(s, a.L) ? 0.0f : 1.0f, biased = 0;
  for (int64_t b = threadIdx.x; b < a.B; b += threads) {
    const int32_t id = a.bias_ids[row * a.B + b];
    if (id == -1) continue;
    biased = 1;
    if (id < 0 || id >= a.V) wrong = 1;
  }
  if (penalised)
    for (int64_t i = threadIdx.x; i < length; i += threads)
      if (a.history[row * a.L + i] < 0 || a.history[row * a.L + i] >= a.V) wrong = 1;
  wrong = block_max<threads>(wrong);
  biased = block_max<threads>(biased);
  const Range raw_range = range_of(raw, a.V);
  if (wrong != 0 || !raw_range.usable) {  // uniform over the block
    if (threadIdx.x == 0) a.fault.report();
    return;
  }
  const float* logits = raw;
  Range range = raw_range;
  if (penalised || biased != 0) {
    adjust(a, row, s, a.adjusted + row * a.V);
    logits = a.adjusted + row * a.V;
    range = range_of(logits, a.V);
    if (!range.usable) {
      if (threadIdx.x == 0) a.fault.report();
      return;
    }
  }

  // Adds in the order of the CPU: four exponentials, four elements apart, in float, and the rest in double.
  double sum = 0;
  for (int64_t i = threadIdx.x; i < a.V / 16 * 4; i += threads) {
    const float* x = raw + i / 4 * 16 + i % 4;
    const auto e = [&](int j) { return exp_negative(raw_range.largest - x[4 * j]); };
    sum += (e(0) + e(1)) + (e(2) + e(3));
  }
  for (int64_t i = a.V / 16 * 16 + threadIdx.x; i < a.V; i += threads) sum += exp_negative(raw_range.largest - raw[i]);
  const double log_sum = static_cast<double>(raw_range.largest) + log(block_sum<threads>(sum));

  Key chosen;
  if (s.temperature == 0) {
    Key best = ~Key{0};
    for (int64_t i = threadIdx.x; i < a.V; i += threads)
      if (logits[i] == range.largest) best = static_cast<Key>(i) < best ? static_cast<Key>(i) : best;
    chosen = smallest(best);
  } else {
    const Candidates all{logits, a.V, range.largest, s.temperature};
    // the last key of the kept prefix; tokens with a larger distance have no weight
    Key last = static_cast<Key>(__float_as_uint(88.0f)) << 32;
    if (s.top_k > 0 && s.top_k < static_cast<float>(a.V))
      last = first_key(last, a.V, [&](Key k) { return all.count(k) >= s.top_k; });
    double mass = all.mass(last);
    if (s.top_p < 1) {
      const double wanted = static_cast<double>(s.top_p) * mass;
      last = first_key(last, a.V, [&](Key k) { return all.mass(k) >= wanted; });
      mass = all.mass(last);
    }
    if (s.min_p > 0) {
      const float limit = static_cast<float>(-log(static_cast<double>(s.min_p)));
      const Key furthest = static_cast<Key>(__float_as_uint(limit)) << 32 | 0xffffffffu;
      last = furthest < last ? furthest : last;
      mass = all.mass(last);
    }
    const uint32_t* rng = a.rng + row * 3;
    const double below = nextafter(mass, 0.0), point = philox_uniform(rng[0], rng[1], rng[2]) * mass;
    const double wanted = point < below ? point : below;
    chosen = first_key(last, a.V, [&](Key k) { return all.mass(k) > wanted; }) & 0xffffffffu;
  }
  // If rounding leaves every sum too small, first_key returns the last key of the prefix. It may not be that of a
  // token, so the id is clamped.
  if (threadIdx.x == 0) {
    const int64_t token = static_cast<int64_t>(chosen) < a.V ? static_cast<int64_t>(chosen) : a.V - 1;
    a.token[row] = static_cast<int32_t>(token);
    a.logprob[row] = static_cast<float>(raw[token] - log_sum);
  }

  // Finds the K most probable tokens of the unadjusted distribution, one after another.
  const Candidates plain{raw, a.V, raw_range.largest, 1.0f};
  Key previous = 0;
  for (int64_t k = 0; k < a.K; ++k) {
    Key best = ~Key{0};
    for (int64_t i = threadIdx.x; i < a.V; i += threads) {
      const Key key = plain.key(i);
      if ((k == 0 || key > previous) && key < best) best = key;
    }
    previous = smallest(best);
    if (threadIdx.x == 0) {
      const int64_t id = static_cast<int64_t>(previous & 0xffffffffu);
      a.top_ids[row * a.K + k] = static_cast<int32_t>(id);
      a.top_logprobs[row * a.K + k] = static_cast<float>(raw[id] - log_sum);
    }
  }
}

size_t scratch(const Node& n, int) { return static_cast<size_t>(n.in[0].shape.size()) * sizeof(float); }

void sample(const Node& n, Context& c) {
  const bool top = n.out.size() == 4;
  SampleArguments a{n.in[0].as<float>(), n.in[1].as<float>(), n.in[2].as<int32_t>(), n.in[3].as<int32_t>(),
      n.in[4].as<float>(), n.in[5].as<uint32_t>(), static_cast<float*>(c.scratch), n.out[0].as<int32_t>(),
      top ? n.out[2].as<int32_t>() : nullptr, n.out[1].as<float>(), top ? n.out[3].as<float>() : nullptr,
      n.in[0].shape[1], n.in[2].shape[1], n.in[3].shape[1], top ? n.out[2].shape[1] : 0, fault_of(c)};
  launch(c, "sample", {dim3(static_cast<unsigned>(n.in[0].shape[0])), dim3(threads)}, sample_kernel, a);
}

const RegisterKernel kernels[] = {{"sample", "cuda_sample", nullptr, sample, scratch}};

}  // namespace
}  // namespace cuda
}  // namespace heddle
