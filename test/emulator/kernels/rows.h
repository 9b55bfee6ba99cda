// Programs with row-wise ops: norms, softmax and sums, embeddings, RoPE, log-probabilities in f32, sampling.
#pragma once
#include <string>

#include "builder.h"

namespace heddle {
namespace cases {

inline Builder norms(int64_t rows, int64_t C) {
  Builder b;
  const int x = b.floats(DType::f32, {rows, C}), r = b.floats(DType::f32, {rows, C}), w = b.floats(DType::f32, {C}),
            bias = b.floats(DType::f32, {C});
  const int h = b.value(DType::f32, {rows, C});
  b.node("rms_norm", {x, w, r}, {b.value(DType::f32, {rows, C}), h}, {{"eps", 1e-5}, {"offset", 0}});
  b.node(
      "layer_norm", {x, w, bias, r}, {b.value(DType::f32, {rows, C}), b.value(DType::f32, {rows, C})}, {{"eps", 1e-5}});
  b.node("rms_norm_backward", {x, h, w, r}, {b.value(DType::f32, {rows, C}), b.value(DType::f32, {C})},
      {{"eps", 1e-5}, {"offset", 0}});
  b.node("layer_norm_backward", {x, h, w, r},
      {b.value(DType::f32, {rows, C}), b.value(DType::f32, {C}), b.value(DType::f32, {C})}, {{"eps", 1e-5}});
  for (const char* op : {"softmax", "log_softmax"}) {
    const int y = b.value(DType::f32, {rows, C});
    b.node(op, {x}, {y}, {});
    b.node(std::string(op) == "softmax" ? "softmax_backward" : "log_softmax_backward", {r, y},
        {b.value(DType::f32, {rows, C})}, {});
  }
  b.node("column_sum", {x}, {b.value(DType::f32, {C})}, {});
  b.node("global_norm", {x, r}, {b.value(DType::f32, {1})}, {});
  b.node("square_sums", {x}, {b.value(DType::f32, {(rows * C + 999) / 1000, 3})}, {{"piece", 1000}});
  return b;
}

// Sums of rows by id. Some rows are whole vectors, and a sorting block has one id or several. Some ids have parts, and
// some have more rows than a warp reads at a time.
inline Builder summed_rows() {
  Builder b;
  const int dy = b.floats(DType::f32, {6, 40}), ids = b.integers({6}, {3, 0, 8, 3, 3, 1}),
            onto = b.floats(DType::f32, {9, 40});
  b.node("embedding_backward", {dy, ids}, {b.value(DType::f32, {9, 40})}, {{"scale", 2}});
  b.node("embedding_backward", {dy, ids, onto}, {b.value(DType::f32, {9, 40})}, {{"scale", 2}});
  const int64_t N = 460;
  std::vector<int32_t> few(N), many(N);
  for (int32_t i = 0; i < N; ++i) few[static_cast<size_t>(i)] = i * i % 7, many[static_cast<size_t>(i)] = i * i % 4999;
  const int of_few = b.integers({N}, few), of_many = b.integers({N}, many);
  const int odd = b.floats(DType::f32, {N, 20}), narrow = b.floats(DType::bf16, {N, 8});
  b.node("embedding_backward", {odd, of_few}, {b.value(DType::f32, {9, 20})}, {{"scale", 2}});
  b.node("embedding_backward", {narrow, of_many}, {b.value(DType::f32, {5000, 8})}, {{"scale", 2}});
  b.node("segment_sum", {narrow, of_few}, {b.value(DType::bf16, {8, 8})}, {});
  for (const DType type : {DType::f32, DType::bf16})
    b.node("embedding_backward", {b.floats(type, {N, 264}), of_few}, {b.value(DType::f32, {9, 264})}, {{"scale", 2}});
  return b;
}

inline Builder rows() {
  Builder b;
  const int table = b.floats(DType::f32, {9, 40}), ids = b.integers({6}, {3, 0, 8, 3, 3, 1});
  b.node("embedding", {table, ids}, {b.value(DType::f32, {6, 40})}, {{"scale", 2}});
  const int frequencies = b.floats(DType::f32, {6}), x = b.floats(DType::f32, {6, 3, 16});
  b.node("rope", {x, ids, frequencies}, {b.value(DType::f32, {6, 3, 16})},
      {{"interleaved", 0}, {"interleaved_out", 0}, {"inverse", 0}, {"scale", 1}});
  const int h = b.floats(DType::f32, {6, 24}), w = b.floats(DType::f32, {70, 24}),
            targets = b.integers({6}, {69, 0, -1, 64, 63, 5});
  const int logprob = b.value(DType::f32, {6}), lse = b.value(DType::f32, {6});
  b.node("token_logprob", {h, w, targets}, {logprob, lse}, {{"scale", 3}, {"softcap", 0}});
  b.node("token_logprob_backward", {logprob, h, w, targets, lse},
      {b.value(DType::f32, {6, 24}), b.value(DType::f32, {70, 24})}, {{"scale", 3}, {"softcap", 0}});
  return b;
}

// Samples from two rows of random logits. `parameters` are the nine of native/ops/sample.cc. The last one is the length
// of the history. In a history of more than 4 ids, four ids occur in each warp's part, and the others once.
inline Builder sampled(int64_t V, int32_t top, std::initializer_list<float> parameters) {
  Builder b;
  const int64_t R = 2;
  const int logits = b.floats(DType::f32, {R, V}), params = b.floats(DType::f32, {R, 9});
  float* values = reinterpret_cast<float*>(b.data.back().data());
  for (int64_t row = 0; row < R; ++row) std::copy(parameters.begin(), parameters.end(), values + row * 9);
  std::vector<int32_t> seen{3, 0, 3, 7, 1, 1, 8, 2};
  const auto length = static_cast<int64_t>(*(parameters.end() - 1));
  if (length > 4) seen.resize(static_cast<size_t>(R * length));
  for (size_t i = 8; i < seen.size(); ++i) seen[i] = static_cast<int32_t>(i % 2 ? i / 2 % 4 : 100 + i);
  const int history = b.integers({R, static_cast<int64_t>(seen.size()) / R}, seen),
            ids = b.integers({R, 2}, {5, -1, 4, 6}), bias = b.floats(DType::f32, {R, 2}),
            rng = b.integers({R, 3}, {1, 2, 3, 4, 5, 6});
  b.node("sample", {logits, params, history, ids, bias, rng},
      {b.value(DType::i32, {R}), b.value(DType::f32, {R}), b.value(DType::i32, {R, top}), b.value(DType::f32, {R, top}),
          b.value(DType::f32, {R})},
      {});
  return b;
}

}  // namespace cases
}  // namespace heddle
