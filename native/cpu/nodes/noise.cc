// Dropout and uniform noise. Computes many blocks of Philox4x32-10 in parallel, so that compilers vectorize it.
#include "core/round.h"
#include "cpu/nodes/nodes.h"
#include "ops/noise.h"

namespace heddle {
namespace cpu {
namespace {

constexpr int lanes = 32;             // blocks of four words at a time
constexpr int64_t chunk = 4 * lanes;  // elements per call of `draw`

// Computes words[k][l], word k of block first + l.
void draw(const NoiseKey& key, uint32_t first, uint32_t (*words)[lanes]) {
  uint32_t *c0 = words[0], *c1 = words[1], *c2 = words[2], *c3 = words[3];
  for (int l = 0; l < lanes; ++l) c0[l] = first + l, c1[l] = key.stream, c2[l] = key.step, c3[l] = key.micro;
  uint32_t k0 = key.seed, k1 = noise_key;
  for (int round = 0; round < 10; ++round) {
    for (int l = 0; l < lanes; ++l) {
      const uint64_t a = uint64_t{0xD2511F53} * c0[l], b = uint64_t{0xCD9E8D57} * c2[l];
      const uint32_t n0 = static_cast<uint32_t>(b >> 32) ^ c1[l] ^ k0, n2 = static_cast<uint32_t>(a >> 32) ^ c3[l] ^ k1;
      c1[l] = static_cast<uint32_t>(b), c3[l] = static_cast<uint32_t>(a), c0[l] = n0, c2[l] = n2;
    }
    k0 += 0x9E3779B9, k1 += 0xBB67AE85;
  }
}

float widen(float x) { return x; }
float widen(bf16 x) { return to_float(x); }
void narrow(float x, float* to) { *to = x; }
void narrow(float x, bf16* to) { *to = to_bf16(x); }

template <class T, class F> void map(const Node& n, Context& c, F f) {
  const T* x = n.in[0].as<T>();
  T* y = n.out[0].as<T>();
  const int64_t size = n.in[0].shape.size();
  const NoiseKey key = noise_key_of(n);
  c.pool.range(ceil_div(size, chunk), 16, [&](int64_t begin, int64_t end, int) {
    uint32_t words[4][lanes];
    for (int64_t i = begin; i < end; ++i) {
      draw(key, static_cast<uint32_t>(i * lanes), words);
      const int64_t from = i * chunk, count = size - from < chunk ? size - from : chunk;
      // Element j of the chunk uses word j % 4 of block j / 4.
      for (int64_t j = 0; j < count; ++j) narrow(f(widen(x[from + j]), words[j & 3][j >> 2]), &y[from + j]);
    }
  });
}

template <class F> void map(const Node& n, Context& c, F f) {
  if (n.in[0].dtype == DType::f32) map<float>(n, c, f);
  else map<bf16>(n, c, f);
}

bool supports(const Node& n) { return is_activation(n.in[0]); }

void dropout(const Node& n, Context& c) {
  const float scale = static_cast<float>(1 / (1 - n.attr("p")));
  const uint32_t dropped = dropped_below(n.attr("p"));
  map(n, c, [=](float x, uint32_t word) { return word < dropped ? 0.0f : x * scale; });
}

void uniform_noise(const Node& n, Context& c) {
  const float scale = static_cast<float>(n.attr("scale"));
  map(n, c, [=](float x, uint32_t word) {  // maps the word to [-1, 1]
    return x + scale * (static_cast<float>(static_cast<int32_t>(word ^ 0x80000000u)) * 0x1p-31f);
  });
}

}  // namespace

void register_noise() {
  add_kernel("dropout", "dropout", supports, nullptr, dropout);
  add_kernel("uniform_noise", "uniform_noise", supports, nullptr, uniform_noise);
}

}  // namespace cpu
}  // namespace heddle
