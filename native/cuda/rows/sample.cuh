// Shared by the kernels of the op sample: its parameters, its scratch, and the order and weights of tokens.
#pragma once
#include "cuda/rows/math.cuh"

namespace heddle {
namespace cuda {
namespace sampling {

// A key sorts tokens. The upper 32 bits are the bits of the token's distance from the best logit, and the lower 32 bits
// its id. The bits of floats that are not negative sort like the floats.
using Key = unsigned long long;

constexpr int threads = 256, parameters = 9;
// Logits of a row per block. A multiple of 16, because sum_parts_kernel adds exponentials in groups of 16.
constexpr int64_t part_logits = 4096;

// Tokens with a distance of 88 or more have no weight, and are not counted. The others are counted in bins, by the
// upper bits of their distance: 16 bins for each power of two.
constexpr unsigned weightless = 0x42b00000;  // 88.0f
constexpr int bin_shift = 19, bins = weightless >> bin_shift;

// Weights are integers in units of 2^-39, so that sums do not depend on the order of additions. A weight is at most 1,
// so the sum of 2^24 weights fits into 64 bits.
constexpr float weight_unit = 549755813888.0f;  // 2^39
// A block adds the low 20 bits of weights and the rest separately, in 32 bits each. Neither sum overflows, because a
// block has at most part_logits weights.
constexpr int low_bits = 20;

// The results of a block for its part of a row.
struct Part {
  // Sums over the raw logits, with d = largest - logit. `mass` sums exp(-d), and `distance` sums d * exp(-d).
  // `distance` is computed only if the node outputs the entropy.
  double mass, distance;
  Key best_raw, best;    // descending() of the best raw and of the best adjusted logit
  int32_t raw_nan, nan;  // whether any raw or any adjusted logit is NaN
};
struct RowState {
  float raw_largest;
  int32_t usable;    // whether parameters and ids are valid, no raw logit is NaN, and the largest one is finite
  int32_t adjusted;  // whether a bias or penalties apply
};

struct Arguments {
  const float *logits, *params;       // (R, V), (R, 9)
  const int32_t *history, *bias_ids;  // (R, L), (R, B)
  const float* bias_values;           // (R, B)
  const uint32_t* rng;                // (R, 3): low and high word of the seed, counter
  int32_t *token, *top_ids;           // (R), (R, K)
  float *logprob, *top_logprobs;      // (R), (R, K)
  float* entropy;                     // (R), or null if the node does not output the K best tokens
  int64_t R, V, L, B, K;
  int parts;  // parts per row
  Fault fault;
  // The scratch.
  Key* top;          // (R, parts, K): descending() of the best raw logits of each part
  Key* mass;         // (R, bins): sums of weights
  Part* part;        // (R, parts)
  RowState* state;   // (R)
  float* adjusted;   // (R, V): logits after bias and penalties
  unsigned* count;   // (R, bins): number of tokens
  unsigned* filled;  // (R, bins): number of places in `ids` that blocks have reserved
  // (R, V): the tokens' ids, grouped by bin, in any order within a bin. Before that, the penalties use this array to
  // count the ids of the history.
  uint32_t* ids;

  __device__ const float* raw(int64_t row) const { return logits + row * V; }
  // Returns the logits from which the token is drawn.
  __device__ const float* used(int64_t row) const { return state[row].adjusted ? adjusted + row * V : raw(row); }
};

// The row and part that a block of a grid (R * parts) has, and the part's logits [begin, end).
struct Place {
  int64_t row, begin, end;
  int part;

  __device__ explicit Place(const Arguments& a)
      : row(blockIdx.x / a.parts), begin(blockIdx.x % a.parts * part_logits),
        end(begin + part_logits < a.V ? begin + part_logits : a.V), part(static_cast<int>(blockIdx.x % a.parts)) {}
};

struct Parameters {
  float temperature, top_k, top_p, min_p, repetition, presence, frequency, prompt_length, history_length;
};
__device__ inline Parameters parameters_of(const Arguments& a, int64_t row) {
  const float* p = a.params + row * parameters;
  return {p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8]};
}

// Returns a * b. nvcc cannot contract this product and an addition to an FMA, whose result would differ from the CPU's.
__device__ inline float times(float a, float b) {
#if HEDDLE_EMULATED
  return a * b;
#else
  return __fmul_rn(a, b);
#endif
}

// Returns exp(-x) for x >= 0. Returns 0 from 87 on. The arithmetic is that of native/ops/logit_scan.h, so that CPU and
// CUDA devices return the same bits.
__device__ inline float exp_negative(float x) {
  if (!(x < 87.0f)) return 0.0f;
  const int k = static_cast<int>(times(x, 1.44269504f) + 0.5f);
  const float kf = static_cast<float>(k), r = (x - times(kf, 0.693145752f)) - times(kf, 1.42860677e-6f);
  float p = 0.00138888671f;
  for (const float c : {0.00833452121f, 0.0416664854f, 0.166666657f, 0.5f, 1.0f, 1.0f}) p = c - times(r, p);
  return times(p, __uint_as_float(static_cast<unsigned>(127 - k) << 23));
}
// Returns the weight of a distance, which is given by its bits, as an integer in units of 1 / weight_unit.
__device__ inline Key weight_of(unsigned distance) {
  return static_cast<Key>(exp_negative(__uint_as_float(distance)) * weight_unit + 0.5f);
}

// Returns a key that sorts logits from the largest to the smallest, and equal logits by id. The logit must not be NaN.
__device__ inline Key descending(float logit, int64_t id) {
  const unsigned bits = __float_as_uint(logit + 0.0f);  // turns -0 into 0, which it is equal to
  const unsigned ascending = bits >> 31 ? ~bits : bits | 0x80000000u;
  return static_cast<Key>(~ascending) << 32 | static_cast<unsigned>(id);
}
__device__ inline int64_t id_of(Key key) { return static_cast<int64_t>(key & 0xffffffffu); }

// The tokens of a row. distance() returns the bits of (largest - logit) / temperature.
struct Candidates {
  const float* logits;  // (V)
  float largest, temperature;

  __device__ unsigned distance(int64_t id) const { return __float_as_uint((largest - logits[id]) / temperature); }
};

// The best adjusted logit of a row. usable: whether no adjusted logit is NaN, and the best one is finite.
struct Best {
  int64_t id;
  float logit;
  bool usable;
};
// Reduces the parts of a row. All threads of the block must call it.
template <int block_threads>
__device__ inline Best best_of(const Arguments& a, int64_t row, BlockReduction<block_threads>& block) {
  Key key = ~Key{0};
  int nans = 0;
  for (int p = threadIdx.x; p < a.parts; p += block_threads) {
    const Part& part = a.part[row * a.parts + p];
    key = part.best < key ? part.best : key;
    nans += part.nan;
  }
  key = block.min(key);
  if (block.sum(nans) > 0) return {0, 0.0f, false};
  const float logit = a.used(row)[id_of(key)] + 0.0f;  // turns -0 into 0, so that no distance is -0
  return {id_of(key), logit, fabsf(logit) < INFINITY};
}

// Launches the kernels that draw a token for each row and write the outputs. The kernels of sample.cu, launched before,
// fill a.part and a.state.
void draw_tokens(const Context& c, const Arguments& a);

}  // namespace sampling
}  // namespace cuda
}  // namespace heddle
