// Programs with matrix products: linear layers with gradients and fused ops, quantized weights, fp8, experts, token
// log-probabilities. N: rows, K: inner dimension, M: output columns.
#pragma once
#include <cmath>
#include <cstring>

#include "builder.h"
#include "ops/fp8.h"

namespace heddle {
namespace cases {

inline Builder linear(DType type, int64_t N, int64_t K, int64_t M, bool transposed) {
  Builder b;
  const int x = b.floats(type, {N, K}), w = transposed ? b.floats(type, {K, M}) : b.floats(type, {M, K}),
            bias = b.floats(DType::f32, {M});
  b.node("linear", {x, w, bias}, {b.value(type, {N, M})}, {{"transposed", transposed}});
  b.node("linear", {x, w}, {b.value(type, {N, M})}, {{"transposed", transposed}});
  const int dy = b.floats(type, {N, M});
  b.node("linear_backward_input", {dy, w}, {b.value(type, {N, K})}, {{"transposed", transposed}});
  b.node("linear_backward_weight", {dy, x}, {transposed ? b.value(DType::f32, {K, M}) : b.value(DType::f32, {M, K})},
      {{"transposed", transposed}});
  return b;
}

// Products with every kind of epilogue: activations, a residual, a gate. Biases, and the outputs that the backward pass
// needs, are sometimes absent.
inline Builder ended(DType type, int64_t N, int64_t K, int64_t M) {
  Builder b;
  const int x = b.floats(type, {N, K}), w = b.floats(type, {M, K}), up = b.floats(type, {M, K}),
            onto = b.floats(type, {N, M});
  const int bias = b.floats(DType::f32, {M}), up_bias = b.floats(DType::f32, {M}), dy = b.floats(type, {N, M}),
            dx = b.floats(type, {N, K});
  const auto y = [&] { return b.value(type, {N, M}); };
  for (int activation = 0; activation < 5; ++activation)
    b.node("linear_activation", {x, w, activation % 2 ? bias : -1},
        activation % 2 ? std::vector<int>{y()} : std::vector<int>{y(), y()},
        {{"transposed", 0}, {"activation", activation}});
  b.node("linear_add", {x, w, bias, onto}, {y()}, {{"transposed", 0}});
  b.node("linear_glu", {x, w, up, bias, up_bias}, {y(), y(), y()}, {{"transposed", 0}, {"activation", 0}});
  b.node("linear_glu", {x, w, up, -1, -1}, {y()}, {{"transposed", 0}, {"activation", 2}});
  b.node("linear_backward_input_add", {dy, w, dx}, {b.value(type, {N, K})}, {{"transposed", 0}});
  return b;
}

inline Builder quantized(DType type, int64_t N, int64_t K, int64_t M) {
  Builder b;
  const int x = b.floats(DType::f32, {N, K}), w = b.blocks(type, {M, K}), bias = b.floats(DType::f32, {M}),
            dy = b.floats(DType::f32, {N, M});
  // The output of the second product may get the memory of the first's. For a product with int8, HEDDLE_CHECK also
  // accepts the results of the one without. So the product with int8 is the first. As the second, its check could miss
  // elements that the kernel does not write.
  for (const double int8 : {1, 0})
    b.node("linear", {x, w, bias}, {b.value(DType::f32, {N, M})}, {{"transposed", 0}, {"int8", int8}});
  b.node("linear_backward_input", {dy, w}, {b.value(DType::f32, {N, K})}, {{"transposed", 0}});
  const int ids = b.integers({3}, {1, 0, 1});
  b.node("embedding", {w, ids}, {b.value(DType::f32, {3, K})}, {{"scale", 2}});
  return b;
}

// Products of bf16 with quantized weights, which tensor cores compute from decoded weights. With `stale`, the scratch
// is filled before each.
inline Builder decoded(DType type, DType result, int64_t N, int64_t K, int64_t M, bool stale = false) {
  Builder b;
  const int x = b.floats(DType::bf16, {N, K}), w = b.blocks(type, {M, K}), bias = b.floats(DType::f32, {M}),
            dy = b.floats(DType::bf16, {N, M});
  if (stale) fill_scratch(b);
  b.node("linear", {x, w, bias}, {b.value(result, {N, M})}, {{"transposed", 0}});
  if (stale) fill_scratch(b);
  b.node("linear_backward_input", {dy, w}, {b.value(result, {N, K})}, {{"transposed", 0}});
  return b;
}

// Log-probabilities of tokens, with quantized weights (V, C) of a vocabulary of V tokens.
inline Builder quantized_logprob(DType type, int64_t N, int64_t C, int64_t V) {
  Builder b;
  const int h = b.floats(DType::bf16, {N, C}), w = b.blocks(type, {V, C}), upstream = b.floats(DType::f32, {N});
  std::vector<int32_t> of_rows(static_cast<size_t>(N));
  for (int64_t i = 0; i < N; ++i) of_rows[i] = static_cast<int32_t>(i * 37 % V);
  const int targets = b.integers({N}, of_rows);
  const int logprob = b.value(DType::f32, {N}), lse = b.value(DType::f32, {N});
  b.node("token_logprob", {h, w, targets}, {logprob, lse}, {{"scale", 0.1}, {"softcap", 0}});
  b.node("token_logprob_backward", {upstream, h, w, targets, lse}, {b.value(DType::f32, {N, C})},
      {{"scale", 0.1}, {"softcap", 0}});
  return b;
}

// `result`: the type of all results, if it is not that of the activations.
inline Builder fp8(DType type, int64_t N, int64_t K, int64_t M, DType result = DType::u8) {
  if (result == DType::u8) result = type;
  Builder b;
  const int x = b.floats(type, {N, K}), w = b.value(DType::u8, {M, K});
  std::vector<float> numbers(static_cast<size_t>(M * K)), scales(static_cast<size_t>(fp8_blocks(M) * fp8_blocks(K)));
  std::uniform_real_distribution<float> draw(-1, 1);
  // The blocks of 128 x 128 elements have different magnitudes, so that their scales differ.
  for (int64_t i = 0; i < M * K; ++i) numbers[i] = draw(b.random) * static_cast<float>(1 + i / K / 128 + i % K / 128);
  b.data.emplace_back(numbers.size());
  fp8_quantize(numbers.data(), M, K, b.data.back().data(), scales.data());
  b.desc.bound.push_back(w);
  const int scale = b.floats(DType::f32, {fp8_blocks(M), fp8_blocks(K)});
  std::memcpy(b.data.back().data(), scales.data(), scales.size() * sizeof(float));
  const int bias = b.floats(DType::f32, {M}), dy = b.floats(type, {N, M});
  for (const double rounded : {0, 1})
    b.node("fp8_linear", {x, w, scale, bias}, {b.value(result, {N, M})}, {{"fp8", rounded}, {"rowwise", 0}});
  b.node("fp8_linear_backward_input", {dy, w, scale}, {b.value(result, {N, K})}, {});
  return b;
}

// The three products of training with operands rounded to e4m3. Magnitudes differ between rows, columns and blocks, so
// that their scales differ. With `stale`, an additional product first fills the scratch (see fill_scratch).
inline Builder rounded_fp8(DType type, int64_t N, int64_t K, int64_t M, bool transposed = false, bool stale = false) {
  Builder b;
  if (stale) {
    const int left = b.floats(DType::f32, {96, 1100}), right = b.floats(DType::f32, {96, 1100});
    b.node("linear", {left, right}, {b.value(DType::f32, {96, 96})}, {{"transposed", 0}});
  }
  const auto sloped = [&](DType of, int64_t rows, int64_t columns) {
    const int v = b.floats(of, {rows, columns});
    const Tensor t{b.data.back().data(), of, b.desc.values[static_cast<size_t>(v)].shape};
    for (int64_t i = 0; i < rows * columns; ++i) {
      const int64_t row = i / columns, column = i % columns;
      const int power = static_cast<int>(2 * (row / 128 % 4) - 3 * (column / 128 % 4) + row % 3 - column % 5);
      store_float(t, i, std::ldexp(load_float(t, i), power));
    }
    return v;
  };
  const int x = sloped(type, N, K), w = transposed ? sloped(type, K, M) : sloped(type, M, K), dy = sloped(type, N, M),
            bias = b.floats(DType::f32, {M});
  const auto product = [&](std::vector<int> operands, int result, int a_transposed, int b_transposed) {
    b.node("fp8_product", operands, {result}, {{"a_transposed", a_transposed}, {"b_transposed", b_transposed}});
  };
  product({x, w, bias}, b.value(type, {N, M}), 0, transposed ? 0 : 1);
  product({dy, w}, b.value(type, {N, K}), 0, transposed ? 1 : 0);
  if (transposed) product({x, dy}, b.value(DType::f32, {K, M}), 1, 0);
  else product({dy, x}, b.value(DType::f32, {M, K}), 1, 0);
  return b;
}

inline Builder experts(int64_t N, int64_t M, bool per_slot) {
  Builder b;
  const int64_t E = 5, k = 3, K = 20;
  const DType f = DType::f32;
  const int logits = b.floats(f, {N, E});
  float* numbers = reinterpret_cast<float*>(b.data.back().data());
  for (int64_t i = 0; i < N * E; ++i) numbers[i] = std::round(4 * numbers[i]) / 4;  // with ties
  const int w = b.floats(f, {E, M, K}), bias = b.floats(f, {E, M});
  const int x = per_slot ? b.floats(f, {N, k, K}) : b.floats(f, {N, K}), dy = b.floats(f, {N, k, M}),
            dout = b.floats(f, {N, M});
  const int weights = b.value(f, {N, k}), chosen = b.value(DType::i32, {N, k}), y = b.value(f, {N, k, M});
  b.node("route_experts", {logits}, {weights, chosen}, {{"normalize", 1}});
  b.node("route_experts_backward", {weights, logits, chosen}, {b.value(f, {N, E})}, {{"normalize", 0}});
  b.node("expert_linear", {x, w, chosen, bias}, {y}, {{"rowwise", 0}});
  b.node("expert_linear_backward_input", {dy, w, chosen}, {per_slot ? b.value(f, {N, k, K}) : b.value(f, {N, K})}, {});
  b.node("expert_linear_backward_weight", {dy, x, chosen}, {b.value(f, {E, M, K})}, {});
  b.node("expert_bias_sum", {dy, chosen}, {b.value(f, {E, M})}, {});
  b.node("combine_experts", {y, weights}, {b.value(f, {N, M})}, {});
  b.node("combine_experts_backward", {dout, y, weights}, {b.value(f, {N, k, M}), b.value(f, {N, k})}, {});
  return b;
}

// Returns the experts of N rows with two slots each. N must be over 100. The first expert has no pair, and the second
// has one pair. The last has 70. Up to five experts between them have the rest.
inline std::vector<int32_t> uneven_pairs(int64_t N, int64_t E) {
  std::vector<int32_t> of_pairs(static_cast<size_t>(N * 2));
  for (int64_t p = 0; p < N * 2; ++p) of_pairs[p] = static_cast<int32_t>(2 + p * 7 % 5 % (E - 3));
  for (int64_t p = 0; p < 70; ++p) of_pairs[p * 2 + 5] = static_cast<int32_t>(E - 1);
  of_pairs[4] = 1;
  return of_pairs;
}

// Expert products in bf16 with uneven_pairs(). Every width must be a multiple of 8, except M of the product without
// gradients.
inline Builder uneven_experts(int64_t N, int64_t E, int64_t K, int64_t M, bool per_slot, bool gradients = true) {
  Builder b;
  const int64_t k = 2;
  const DType h = DType::bf16;
  const int w = b.floats(h, {E, M, K}), bias = b.floats(DType::f32, {E, M}),
            chosen = b.integers({N, k}, uneven_pairs(N, E));
  const int x = per_slot ? b.floats(h, {N, k, K}) : b.floats(h, {N, K}), dy = b.floats(h, {N, k, M});
  b.node("expert_linear", {x, w, chosen, bias}, {b.value(h, {N, k, M})}, {{"rowwise", 0}});
  b.node("expert_linear", {x, w, chosen}, {b.value(DType::f32, {N, k, M})}, {{"rowwise", 1}});
  if (!gradients) return b;
  b.node("expert_linear_backward_input", {dy, w, chosen}, {per_slot ? b.value(h, {N, k, K}) : b.value(h, {N, K})}, {});
  b.node("expert_linear_backward_weight", {dy, x, chosen}, {b.value(DType::f32, {E, M, K})}, {});
  return b;
}

// Expert products of bf16 with quantized weights that are decoded for tensor cores, and with the same weights on CUDA
// cores. They are decoded only if there are more than 32 pairs per expert on average, so 2 * N must be over 32 * E.
inline Builder decoded_experts(DType type, DType result, int64_t N, int64_t E, int64_t K, int64_t M, bool per_slot) {
  Builder b;
  const int64_t k = 2;
  const int w = b.blocks(type, {E, M, K}), bias = b.floats(DType::bf16, {E, M}),
            chosen = b.integers({N, k}, uneven_pairs(N, E)),
            x = per_slot ? b.floats(DType::bf16, {N, k, K}) : b.floats(DType::bf16, {N, K});
  fill_scratch(b);
  b.node("expert_linear", {x, w, chosen, bias}, {b.value(result, {N, k, M})}, {{"rowwise", 0}});
  b.node("expert_linear", {x, w, chosen, bias}, {b.value(result, {N, k, M})}, {{"rowwise", 1}});
  return b;
}

// Log-probabilities of tokens. The op processes the vocabulary in parts and sums the gradients of the parts.
inline Builder logprob(int64_t N, int64_t C, int64_t V) {
  Builder b;
  const int h = b.floats(DType::bf16, {N, C}), w = b.floats(DType::bf16, {V, C}), upstream = b.floats(DType::f32, {N});
  std::vector<int32_t> of_rows(static_cast<size_t>(N));
  for (int64_t i = 0; i < N; ++i) of_rows[i] = static_cast<int32_t>(i * 37 % V);
  const int targets = b.integers({N}, of_rows);
  b.node("token_logprob_with_gradient", {upstream, h, w, targets},
      {b.value(DType::f32, {N}), b.value(DType::f32, {N}), b.value(DType::bf16, {N, C}), b.value(DType::f32, {V, C})},
      {{"scale", 0.1}, {"softcap", 0}});
  return b;
}

// Log-probabilities of tokens whose logits stay in registers. The nodes have a bias, a bias with a soft cap, or
// neither. The last node also computes the gradient of both results. Targets are at the edges of tiles, and every ninth
// row is ignored.
inline Builder logits(int64_t N, int64_t C, int64_t V) {
  Builder b;
  const int h = b.floats(DType::bf16, {N, C}), w = b.floats(DType::bf16, {V, C}), bias = b.floats(DType::f32, {V}),
            upstream = b.floats(DType::f32, {N}), of_lse = b.floats(DType::f32, {N});
  std::vector<int32_t> of_rows(static_cast<size_t>(N));
  const int64_t edges[] = {0, V - 1, 63, 64, 31, 127, 128, 256, 1, 255, 7, 8};
  for (int64_t i = 0; i < N; ++i) of_rows[i] = i % 9 == 8 ? -1 - i : static_cast<int32_t>(edges[i % 12] % V);
  const int targets = b.integers({N}, of_rows);
  for (const double softcap : {0, 2})
    b.node("token_logprob", {h, w, targets, bias}, {b.value(DType::f32, {N}), b.value(DType::f32, {N})},
        {{"scale", -0.7}, {"softcap", softcap}});
  b.node("token_logprob_with_gradient", {upstream, h, w, targets, of_lse},
      {b.value(DType::f32, {N}), b.value(DType::f32, {N}), b.value(DType::bf16, {N, C}), b.value(DType::f32, {V, C})},
      {{"scale", 0.4}, {"softcap", 0}});
  return b;
}

}  // namespace cases
}  // namespace heddle
