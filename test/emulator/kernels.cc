// Small cases of the kernels with shared memory, tiles and pipelines, run beside their references: on a GPU, or on the emulated device
// under every order of events that it knows. This program is what the planted mistakes of mutants.mjs are built into.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>

#include "cuda/devices.h"
#include "ops/fp8.h"
#include "ops/quant.h"
#include "runtime/program.h"

using namespace heddle;

namespace {

struct Builder {
  ProgramDesc desc;
  std::vector<std::vector<unsigned char>> data;  // of the bound values
  std::mt19937 random{7};

  int value(DType type, std::initializer_list<int64_t> dims) {
    ValueDesc v{type, {}};
    for (int64_t d : dims) v.shape.dims[v.shape.rank++] = d;
    desc.values.push_back(v);
    return static_cast<int>(desc.values.size()) - 1;
  }
  int floats(DType type, std::initializer_list<int64_t> dims) {
    const int v = value(type, dims);
    Tensor t{nullptr, type, desc.values[static_cast<size_t>(v)].shape};
    data.emplace_back(t.bytes());
    t.data = data.back().data();
    std::uniform_real_distribution<float> draw(-1, 1);
    for (int64_t i = 0; i < t.shape.size(); ++i) store_float(t, i, draw(random));
    desc.bound.push_back(v);
    return v;
  }
  // Rows of blocks that stand for such numbers.
  int blocks(DType type, std::initializer_list<int64_t> dims) {
    const int v = value(type, dims);
    const Shape& shape = desc.values[static_cast<size_t>(v)].shape;
    std::vector<float> numbers(static_cast<size_t>(shape.size()));
    std::uniform_real_distribution<float> draw(-1, 1);
    for (float& x : numbers) x = draw(random);
    data.emplace_back(bytes_of_elements(type, shape.size()));
    quantise(type, numbers.data(), shape.size(), data.back().data());
    desc.bound.push_back(v);
    return v;
  }
  int integers(std::initializer_list<int64_t> dims, std::vector<int32_t> numbers) {
    const int v = value(DType::i32, dims);
    const unsigned char* bytes = reinterpret_cast<const unsigned char*>(numbers.data());
    data.emplace_back(bytes, bytes + numbers.size() * 4);
    desc.bound.push_back(v);
    return v;
  }
  void node(const char* op, std::vector<int> inputs, std::vector<int> outputs, std::initializer_list<std::pair<const char*, double>> attributes) {
    NodeDesc n{op, std::move(inputs), std::move(outputs), {}, ""};
    for (const auto& [name, number] : attributes) n.attributes.set(name, number);
    desc.nodes.push_back(std::move(n));
  }
};

// HEDDLE_CHECK compares every node with its reference, and its outputs' ends with what lay there.
void run(const Builder& b, const std::shared_ptr<Accelerator>& device, Lane& lane) {
  std::vector<std::shared_ptr<Storage>> bound;
  for (const auto& bytes : b.data) {
    bound.push_back(Storage::allocate(bytes.size(), device));
    device->upload(bound.back()->data(), bytes.data(), bytes.size());
  }
  std::exception_ptr failure;
  bool done = false;
  std::mutex mutex;
  std::condition_variable settled;
  lane.post([&] {
    try {
      Executable executable(std::make_shared<Program>(b.desc), bound, device);
      RunArguments arguments;
      executable.run(arguments, lane);
    } catch (...) {
      failure = std::current_exception();
    }
    std::lock_guard<std::mutex> lock(mutex);
    done = true;
    settled.notify_one();
  });
  std::unique_lock<std::mutex> lock(mutex);
  settled.wait(lock, [&] { return done; });
  if (failure) std::rethrow_exception(failure);
}

Builder linear(DType type, int64_t N, int64_t K, int64_t M, bool transposed) {
  Builder b;
  const int x = b.floats(type, {N, K}), w = transposed ? b.floats(type, {K, M}) : b.floats(type, {M, K}), bias = b.floats(DType::f32, {M});
  b.node("linear", {x, w, bias}, {b.value(type, {N, M})}, {{"transposed", transposed}});
  const int dy = b.floats(type, {N, M});
  b.node("linear_backward_input", {dy, w}, {b.value(type, {N, K})}, {{"transposed", transposed}});
  b.node("linear_backward_weight", {dy, x}, {transposed ? b.value(DType::f32, {K, M}) : b.value(DType::f32, {M, K})}, {{"transposed", transposed}});
  return b;
}

// Products with what follows them: every activation, something added, a gate; what is kept for a backward pass, and biases, or neither.
Builder ended(DType type, int64_t N, int64_t K, int64_t M) {
  Builder b;
  const int x = b.floats(type, {N, K}), w = b.floats(type, {M, K}), up = b.floats(type, {M, K}), onto = b.floats(type, {N, M});
  const int bias = b.floats(DType::f32, {M}), up_bias = b.floats(DType::f32, {M}), dy = b.floats(type, {N, M}), dx = b.floats(type, {N, K});
  const auto y = [&] { return b.value(type, {N, M}); };
  for (int activation = 0; activation < 5; ++activation)
    b.node("linear_activation", {x, w, activation % 2 ? bias : -1}, activation % 2 ? std::vector<int>{y()} : std::vector<int>{y(), y()},
           {{"transposed", 0}, {"activation", activation}});
  b.node("linear_add", {x, w, bias, onto}, {y()}, {{"transposed", 0}});
  b.node("linear_glu", {x, w, up, bias, up_bias}, {y(), y(), y()}, {{"transposed", 0}, {"activation", 0}});
  b.node("linear_glu", {x, w, up, -1, -1}, {y()}, {{"transposed", 0}, {"activation", 2}});
  b.node("linear_backward_input_add", {dy, w, dx}, {b.value(type, {N, K})}, {{"transposed", 0}});
  return b;
}

Builder norms(int64_t rows, int64_t C) {
  Builder b;
  const int x = b.floats(DType::f32, {rows, C}), r = b.floats(DType::f32, {rows, C}), w = b.floats(DType::f32, {C}), bias = b.floats(DType::f32, {C});
  const int h = b.value(DType::f32, {rows, C});
  b.node("rms_norm", {x, w, r}, {b.value(DType::f32, {rows, C}), h}, {{"eps", 1e-5}, {"offset", 0}});
  b.node("layer_norm", {x, w, bias, r}, {b.value(DType::f32, {rows, C}), b.value(DType::f32, {rows, C})}, {{"eps", 1e-5}});
  b.node("rms_norm_backward", {x, h, w, r}, {b.value(DType::f32, {rows, C}), b.value(DType::f32, {C})}, {{"eps", 1e-5}, {"offset", 0}});
  b.node("layer_norm_backward", {x, h, w, r}, {b.value(DType::f32, {rows, C}), b.value(DType::f32, {C}), b.value(DType::f32, {C})}, {{"eps", 1e-5}});
  b.node("softmax", {x}, {b.value(DType::f32, {rows, C})}, {});
  b.node("column_sum", {x}, {b.value(DType::f32, {C})}, {});
  b.node("global_norm", {x, r}, {b.value(DType::f32, {1})}, {});
  return b;
}

Builder attention(DType type, int64_t T, int64_t H, int64_t KH, int64_t D, double window, bool sinks = false, double softcap = 0, int64_t sequences = 2) {
  Builder b;
  const int64_t N = sequences * T;
  const int q = b.floats(type, {N, H, D}), k = b.floats(type, {N, KH, D}), v = b.floats(type, {N, KH, D});
  const int dout = b.floats(type, {N, H, D}), o = b.value(type, {N, H, D}), lse = b.value(DType::f32, {N, H});
  const int sink = sinks ? b.floats(DType::f32, {H}) : -1;
  b.node("attention", {q, k, v, -1, sink}, {o, lse}, {{"sequenceLength", static_cast<double>(T)}, {"causal", 1}, {"window", window}, {"scale", 0.6}, {"softcap", softcap}});
  b.node("attention_backward", {dout, q, k, v, o, lse, -1, sink}, {b.value(type, {N, H, D}), b.value(type, {N, KH, D}), b.value(type, {N, KH, D})},
         {{"sequenceLength", static_cast<double>(T)}, {"causal", 1}, {"window", window}, {"scale", 0.6}, {"softcap", softcap}});
  return b;
}

// Forward alone, of as many sequences as N / T.
Builder attention_forward(int64_t N, int64_t T, int64_t H, int64_t KH, int64_t D, double window, double softcap, bool sinks) {
  Builder b;
  const DType type = DType::bf16;
  const int q = b.floats(type, {N, H, D}), k = b.floats(type, {N, KH, D}), v = b.floats(type, {N, KH, D});
  const int sink = sinks ? b.floats(DType::f32, {H}) : -1;
  b.node("attention", {q, k, v, -1, sink}, {b.value(type, {N, H, D}), b.value(DType::f32, {N, H})},
         {{"sequenceLength", static_cast<double>(T)}, {"causal", 1}, {"window", window}, {"scale", 0.6}, {"softcap", softcap}});
  return b;
}

// type: of queries and of the cache.
Builder cached(int64_t past, int64_t D, int64_t rows, DType type = DType::f32, DType cache = DType::f32) {
  Builder b;
  const int64_t L = past + rows;
  const int q = b.floats(type, {rows, 4, D}), k = b.floats(cache, {2, 2, L, D}), v = b.floats(cache, {2, 2, L, D});
  const int segments = b.integers({1, 4}, {0, static_cast<int32_t>(rows), 1, static_cast<int32_t>(past)});
  b.node("cached_attention", {q, k, v, segments}, {b.value(type, {rows, 4, D})}, {{"causal", 1}, {"window", 0}, {"scale", 0.5}, {"softcap", 0}});
  return b;
}

// A window over part of three sequences, some heads with sinks; the last segment has a row of the one before.
Builder cached_window(DType type, DType cache, int64_t D, int64_t H, int64_t KH, double softcap) {
  Builder b;
  const int64_t L = 460, rows = 9;
  const int q = b.floats(type, {rows, H, D}), k = b.floats(cache, {3, KH, L, D}), v = b.floats(cache, {3, KH, L, D}), sinks = b.floats(DType::f32, {H});
  const int segments = b.integers({4, 4}, {0, 4, 2, 430, 4, 1, 1, 3, 5, 4, 0, 215, 8, 1, 1, 90});
  b.node("cached_attention", {q, k, v, segments, sinks}, {b.value(type, {rows, H, D})}, {{"causal", 1}, {"window", 226}, {"scale", 0.5}, {"softcap", softcap}});
  return b;
}

// Two sequences in pages, which share their first; half of the table's entries name none.
Builder paged(DType type, int64_t page, int64_t past, int64_t D, int64_t rows, DType of_rows = DType::f32) {
  Builder b;
  const int64_t L = past + rows, entries = (L + page - 1) / page, pages = 2 * entries + 1, bytes = D + 4;
  std::vector<int32_t> table;
  for (int64_t slot = 0; slot < 2; ++slot)
    for (int64_t i = 0; i < 2 * entries; ++i) table.push_back(i >= entries ? -1 : i == 0 ? 3 % static_cast<int32_t>(pages) : static_cast<int32_t>(pages - 1 - 2 * (i - 1) - slot));
  const auto cache = [&] {
    if (type != DType::u8) return b.floats(type, {pages, 2, page, D});
    const int v = b.value(DType::u8, {pages, 2, page, bytes});
    b.data.emplace_back(static_cast<size_t>(pages * 2 * page * bytes));
    b.desc.bound.push_back(v);
    return v;
  };
  const int x = b.floats(of_rows, {2 * rows, 2, D}), q = b.floats(of_rows, {2 * rows, 4, D}), k = cache(), v = cache();
  const int r = static_cast<int>(rows), segments = b.integers({2, 4}, {0, r, 1, static_cast<int32_t>(past), r, r, 0, static_cast<int32_t>(past)});
  const int pages_of = b.integers({2, 2 * entries}, table);
  for (const int to : {k, v}) b.node("cache_write", {to, x, segments, pages_of}, {}, {{"ring", 0}});
  b.node("cached_attention", {q, k, v, segments, -1, pages_of}, {b.value(of_rows, {2 * rows, 4, D})}, {{"causal", 1}, {"window", 0}, {"scale", 0.5}, {"softcap", 0}});
  return b;
}

Builder cached_q8(int64_t D) {
  Builder b;
  const int64_t rows = 3, L = 9;
  const int x = b.floats(DType::f32, {rows, 2, D}), q = b.floats(DType::f32, {rows, 4, D});
  const auto cache = [&] {
    const int v = b.value(DType::u8, {2, 2, L, D + 4});
    b.data.emplace_back(static_cast<size_t>(2 * 2 * L * (D + 4)));
    b.desc.bound.push_back(v);
    return v;
  };
  const int k = cache(), v = cache(), segments = b.integers({1, 4}, {0, static_cast<int32_t>(rows), 1, 8});  // past the ring's end
  for (const int to : {k, v}) b.node("cache_write", {to, x, segments}, {}, {{"ring", 5}});
  b.node("cached_attention", {q, k, v, segments}, {b.value(DType::f32, {rows, 4, D})}, {{"causal", 1}, {"window", 5}, {"ring", 5}, {"scale", 0.5}, {"softcap", 0}});
  return b;
}

Builder quantised(DType type, int64_t N, int64_t K, int64_t M) {
  Builder b;
  const int x = b.floats(DType::f32, {N, K}), w = b.blocks(type, {M, K}), bias = b.floats(DType::f32, {M}), dy = b.floats(DType::f32, {N, M});
  for (const double int8 : {0, 1}) b.node("linear", {x, w, bias}, {b.value(DType::f32, {N, M})}, {{"transposed", 0}, {"int8", int8}});
  b.node("linear_backward_input", {dy, w}, {b.value(DType::f32, {N, K})}, {{"transposed", 0}});
  const int ids = b.integers({3}, {1, 0, 1});
  b.node("embedding", {w, ids}, {b.value(DType::f32, {3, K})}, {{"scale", 2}});
  return b;
}

Builder fp8(DType type, int64_t N, int64_t K, int64_t M) {
  Builder b;
  const int x = b.floats(type, {N, K}), w = b.value(DType::u8, {M, K});
  std::vector<float> numbers(static_cast<size_t>(M * K)), scales(static_cast<size_t>(fp8_blocks(M) * fp8_blocks(K)));
  std::uniform_real_distribution<float> draw(-1, 1);
  for (int64_t i = 0; i < M * K; ++i) numbers[i] = draw(b.random) * static_cast<float>(1 + i / K / 128 + i % K / 128);  // blocks of their own sizes
  b.data.emplace_back(numbers.size());
  fp8_quantise(numbers.data(), M, K, b.data.back().data(), scales.data());
  b.desc.bound.push_back(w);
  const int scale = b.floats(DType::f32, {fp8_blocks(M), fp8_blocks(K)});
  std::memcpy(b.data.back().data(), scales.data(), scales.size() * sizeof(float));
  const int bias = b.floats(DType::f32, {M}), dy = b.floats(type, {N, M});
  for (const double rounded : {0, 1}) b.node("fp8_linear", {x, w, scale, bias}, {b.value(type, {N, M})}, {{"fp8", rounded}, {"rowwise", 0}});
  b.node("fp8_linear_backward_input", {dy, w, scale}, {b.value(type, {N, K})}, {});
  return b;
}

Builder experts(int64_t N, int64_t M, bool per_slot) {
  Builder b;
  const int64_t E = 5, k = 3, K = 20;
  const DType f = DType::f32;
  const int logits = b.floats(f, {N, E});
  float* numbers = reinterpret_cast<float*>(b.data.back().data());
  for (int64_t i = 0; i < N * E; ++i) numbers[i] = std::round(4 * numbers[i]) / 4;  // with ties
  const int w = b.floats(f, {E, M, K}), bias = b.floats(f, {E, M});
  const int x = per_slot ? b.floats(f, {N, k, K}) : b.floats(f, {N, K}), dy = b.floats(f, {N, k, M}), dout = b.floats(f, {N, M});
  const int weights = b.value(f, {N, k}), chosen = b.value(DType::i32, {N, k}), y = b.value(f, {N, k, M});
  b.node("route_experts", {logits}, {weights, chosen}, {{"normalise", 1}});
  b.node("route_experts_backward", {weights, logits, chosen}, {b.value(f, {N, E})}, {{"normalise", 0}});
  b.node("expert_linear", {x, w, chosen, bias}, {y}, {{"rowwise", 0}});
  b.node("expert_linear_backward_input", {dy, w, chosen}, {per_slot ? b.value(f, {N, k, K}) : b.value(f, {N, K})}, {});
  b.node("expert_linear_backward_weight", {dy, x, chosen}, {b.value(f, {E, M, K})}, {});
  b.node("expert_bias_sum", {dy, chosen}, {b.value(f, {E, M})}, {});
  b.node("combine_experts", {y, weights}, {b.value(f, {N, M})}, {});
  b.node("combine_experts_backward", {dout, y, weights}, {b.value(f, {N, k, M}), b.value(f, {N, k})}, {});
  return b;
}

// In parts of the vocabulary, whose gradients add up.
Builder logprob(int64_t N, int64_t C, int64_t V) {
  Builder b;
  const int h = b.floats(DType::bf16, {N, C}), w = b.floats(DType::bf16, {V, C}), upstream = b.floats(DType::f32, {N});
  std::vector<int32_t> of_rows(static_cast<size_t>(N));
  for (int64_t i = 0; i < N; ++i) of_rows[i] = static_cast<int32_t>(i * 37 % V);
  const int targets = b.integers({N}, of_rows);
  b.node("token_logprob_with_gradient", {upstream, h, w, targets},
         {b.value(DType::f32, {N}), b.value(DType::f32, {N}), b.value(DType::bf16, {N, C}), b.value(DType::f32, {V, C})}, {{"scale", 0.1}, {"softcap", 0}});
  return b;
}

Builder rows() {
  Builder b;
  const int table = b.floats(DType::f32, {9, 40}), ids = b.integers({6}, {3, 0, 8, 3, 3, 1}), dy = b.floats(DType::f32, {6, 40});
  b.node("embedding", {table, ids}, {b.value(DType::f32, {6, 40})}, {{"scale", 2}});
  b.node("embedding_backward", {dy, ids}, {b.value(DType::f32, {9, 40})}, {{"scale", 2}});
  b.node("embedding_backward", {dy, ids, table}, {b.value(DType::f32, {9, 40})}, {{"scale", 2}});
  const int frequencies = b.floats(DType::f32, {6}), x = b.floats(DType::f32, {6, 3, 16});
  b.node("rope", {x, ids, frequencies}, {b.value(DType::f32, {6, 3, 16})}, {{"interleaved", 0}, {"inverse", 0}, {"scale", 1}});
  const int h = b.floats(DType::f32, {6, 24}), w = b.floats(DType::f32, {70, 24}), targets = b.integers({6}, {69, 0, -1, 64, 63, 5});
  const int logprob = b.value(DType::f32, {6}), lse = b.value(DType::f32, {6});
  b.node("token_logprob", {h, w, targets}, {logprob, lse}, {{"scale", 3}, {"softcap", 0}});
  b.node("token_logprob_backward", {logprob, h, w, targets, lse}, {b.value(DType::f32, {6, 24}), b.value(DType::f32, {70, 24})}, {{"scale", 3}, {"softcap", 0}});
  return b;
}

using Case = std::pair<const char*, Builder (*)()>;  // its beginning is what mutants.mjs chooses by

int run_all(const std::string& beginning, bool first_failure) {
  setenv("HEDDLE_EMULATE_CUDA", "1", 1);
  setenv("HEDDLE_CHECK", "1", 1);
  const std::vector<Case> everywhere = {
      {"linear f32", [] { return linear(DType::f32, 70, 37, 66, false); }},     {"linear f32, transposed", [] { return linear(DType::f32, 9, 20, 70, true); }},
      {"linear f32, few rows", [] { return linear(DType::f32, 3, 70, 20, false); }},           {"linear f32, few rows of whole loads", [] { return linear(DType::f32, 4, 328, 20, false); }},
      {"linear bf16, few rows of whole loads", [] { return linear(DType::bf16, 2, 264, 20, false); }},
      {"linear bf16", [] { return linear(DType::bf16, 72, 208, 80, false); }},  {"linear bf16, transposed", [] { return linear(DType::bf16, 80, 72, 136, true); }},
      {"linear f32, parts", [] { return linear(DType::f32, 20, 1100, 30, false); }},
      {"linear bf16, parts", [] { return linear(DType::bf16, 24, 1096, 40, false); }},      {"linear bf16, parts of the input's gradient", [] { return linear(DType::bf16, 16, 24, 1096, true); }},
      {"linear bf16, parts of the weight's gradient", [] { return linear(DType::bf16, 1090, 24, 16, false); }},
      {"linear bf16, parts of large tiles", [] { return linear(DType::bf16, 72, 1544, 80, false); }},
      {"ended f32", [] { return ended(DType::f32, 70, 37, 66); }},              {"ended f32, few rows", [] { return ended(DType::f32, 3, 70, 20); }},
      {"ended f32, parts", [] { return ended(DType::f32, 20, 1100, 30); }},     {"ended bf16, few rows", [] { return ended(DType::bf16, 2, 264, 24); }},
      {"ended bf16", [] { return ended(DType::bf16, 72, 208, 88); }},           {"ended bf16, odd columns", [] { return ended(DType::bf16, 40, 72, 37); }},
      {"ended bf16, parts", [] { return ended(DType::bf16, 24, 1096, 40); }},   {"ended bf16, parts of large tiles", [] { return ended(DType::bf16, 72, 1544, 80); }},
      {"norms", [] { return norms(11, 300); }},                                 {"attention", [] { return attention(DType::f32, 37, 4, 2, 20, 0); }},
      {"attention, window", [] { return attention(DType::f32, 40, 2, 2, 70, 5); }},         {"cached attention", [] { return cached(300, 40, 3); }},
      {"cached attention, parts in one block", [] { return cached(300, 40, 5); }},
      {"attention bf16", [] { return attention(DType::bf16, 150, 2, 1, 40, 0); }},
      {"attention bf16, window, sinks", [] { return attention(DType::bf16, 70, 2, 2, 72, 40, true); }},
      {"cached attention, q8 ring", [] { return cached_q8(37); }},
      {"cached attention in pages, parts", [] { return paged(DType::bf16, 16, 300, 40, 1); }},
      {"cached attention in pages, q8", [] { return paged(DType::u8, 5, 37, 20, 3); }},
      {"cached tensor, bf16, parts", [] { return cached(600, 64, 2, DType::bf16, DType::bf16); }},
      {"cached tensor, f32 over bf16, parts in one block", [] { return cached(430, 72, 9, DType::f32, DType::bf16); }},
      {"cached tensor, f32 over f16", [] { return cached(150, 40, 9, DType::f32, DType::f16); }},
      {"cached tensor, heads of 256", [] { return cached(250, 256, 5, DType::bf16, DType::bf16); }},
      {"cached tensor, window, sinks, parts", [] { return cached_window(DType::bf16, DType::bf16, 40, 1, 1, 0); }},
      {"cached tensor, window, sinks, cap", [] { return cached_window(DType::bf16, DType::f16, 64, 6, 2, 3); }},
      {"cached tensor, pages, parts", [] { return paged(DType::bf16, 16, 300, 96, 1, DType::bf16); }},
      {"cached tensor, pages", [] { return paged(DType::bf16, 7, 150, 128, 9, DType::bf16); }},
      {"cached tensor, pages, q8", [] { return paged(DType::u8, 5, 237, 64, 3, DType::bf16); }},
      {"cached tensor, pages, f32 over q8", [] { return paged(DType::u8, 16, 437, 96, 1); }},
      {"rows", [] { return rows(); }},                                          {"rows: log-probability, bf16", [] { return logprob(20, 40, 140); }},
      {"quantised q8_0, few rows", [] { return quantised(DType::q8_0, 3, 96, 20); }},
      {"quantised q8_0, parts", [] { return quantised(DType::q8_0, 20, 1120, 30); }},
      {"quantised q4_0", [] { return quantised(DType::q4_0, 37, 160, 70); }},   {"quantised q4_k", [] { return quantised(DType::q4_k, 70, 256, 66); }},
      {"quantised q5_0", [] { return quantised(DType::q5_0, 5, 96, 20); }},     {"quantised q6_k", [] { return quantised(DType::q6_k, 3, 512, 9); }},
      {"fp8, few rows", [] { return fp8(DType::f32, 3, 272, 20); }},            {"fp8, few rows of no whole pieces", [] { return fp8(DType::bf16, 4, 133, 20); }},
      {"fp8", [] { return fp8(DType::f32, 70, 200, 140); }},                    {"fp8, bf16, rows of no whole pieces", [] { return fp8(DType::bf16, 9, 133, 66); }},
      {"experts, few", [] { return experts(4, 20, false); }},                   {"experts", [] { return experts(90, 70, false); }},
      {"experts of slots", [] { return experts(90, 20, true); }},
  };
  // Attention of warpgroups: one to three tiles of keys, heads of either width and neither, sequences that end within a tile.
  // Products of warpgroups: each with its gradients, so that either operand lies either way; tiles of either width, more of them than
  // multiprocessors; depths of more tiles than stages; odd rows.
  const std::vector<Case> on_sm90 = {
      {"sm_90: wide tiles", [] { return linear(DType::bf16, 300, 328, 264, false); }},
      {"sm_90: half tiles, transposed", [] { return linear(DType::bf16, 768, 456, 104, true); }},
      {"sm_90: odd columns", [] { return linear(DType::bf16, 300, 72, 131, false); }},
      {"sm_90: four stages of large tiles, parts", [] { return linear(DType::bf16, 72, 1544, 80, false); }},
      {"sm_90: added to what is there", [] { return logprob(300, 264, 140); }},
      {"sm_90 ended: wide tiles", [] { return ended(DType::bf16, 300, 328, 264); }},
      {"sm_90 ended: half tiles, odd columns", [] { return ended(DType::bf16, 260, 136, 67); }},
      {"sm_90 fp8", [] { return fp8(DType::f32, 300, 1104, 264); }},            {"sm_90 fp8, bf16, odd columns", [] { return fp8(DType::bf16, 140, 272, 131); }},
      {"sm_90 fp8, few rows", [] { return fp8(DType::f32, 3, 272, 20); }},
      {"sm_90 attention", [] { return attention_forward(400, 400, 2, 1, 128, 0, 0, false); }},
      {"sm_90 attention, sequences, heads of 40", [] { return attention_forward(280, 140, 2, 2, 40, 0, 0, true); }},
      {"sm_90 attention, heads of 96, four tiles", [] { return attention_forward(450, 450, 1, 1, 96, 0, 0, false); }},
      {"sm_90 attention, heads of 256", [] { return attention_forward(300, 150, 2, 1, 256, 100, 0, true); }},
      {"sm_90 gradients", [] { return attention(DType::bf16, 290, 2, 1, 128, 0, false, 0, 1); }},
      {"sm_90 gradients, sequences, sinks, heads of 40", [] { return attention(DType::bf16, 140, 4, 2, 40, 0, true); }},
      {"sm_90 gradients, window, softcap, heads of 72", [] { return attention(DType::bf16, 400, 1, 1, 72, 90, false, 2, 1); }},
      {"sm_90 attention, window, softcap, heads of 72", [] { return attention_forward(260, 260, 4, 2, 72, 150, 2, false); }},
  };
  // Products of f32 where the caller allows tf32.
  const std::vector<Case> allowing_tf32 = {
      {"tf32: small tiles", [] { return linear(DType::f32, 40, 72, 56, false); }},  {"tf32: small tiles, transposed", [] { return linear(DType::f32, 40, 56, 72, true); }},
      {"tf32: large tiles", [] { return linear(DType::f32, 132, 44, 200, false); }}, {"tf32: large tiles, transposed", [] { return linear(DType::f32, 200, 132, 76, true); }},
      {"tf32: rows of no whole pieces", [] { return linear(DType::f32, 20, 37, 66, false); }},
      {"tf32: parts", [] { return linear(DType::f32, 24, 1100, 40, false); }}, {"tf32: parts of the weight's gradient", [] { return linear(DType::f32, 1090, 24, 16, false); }},
      {"tf32 ended", [] { return ended(DType::f32, 40, 72, 56); }},             {"tf32 ended, large tiles", [] { return ended(DType::f32, 132, 44, 200); }},
      {"tf32 ended, parts", [] { return ended(DType::f32, 24, 1100, 40); }},
      {"tf32: parts of large tiles", [] { return linear(DType::f32, 72, 1544, 80, false); }},
  };
  // Products of 8-bit floats by mma.sync: tiles of either size, a ring that turns, columns and rows of no whole tile.
  const std::vector<Case> on_sm89 = {
      {"sm_89 fp8", [] { return fp8(DType::f32, 70, 400, 140); }}, {"sm_89 fp8, large tiles, bf16", [] { return fp8(DType::bf16, 270, 784, 200); }},
      {"sm_89 fp8, odd columns", [] { return fp8(DType::f32, 9, 144, 67); }},
  };
  int failed = 0;
  const auto run_on = [&](const std::shared_ptr<Accelerator>& device, const char* order, const std::vector<Case>& cases) {
    Lane lane(1, device);
    for (const auto& [name, build] : cases) {
      if (std::string(name).rfind(beginning, 0) != 0 || (failed && first_failure)) continue;
      try {
        run(build(), device, lane);
      } catch (const std::exception& e) {
        std::printf("FAILED %s (%s): %s\n", name, order, e.what());
        ++failed;
      }
    }
  };
  // A GPU has its own order of events, and is what it is.
  const bool emulated = cuda_devices()[0].name.rfind("emulated", 0) == 0;
  const std::vector<const char*> orders = emulated ? std::vector<const char*>{"lazy", "eager", "random:1", "random:2"} : std::vector<const char*>{"hardware"};
  for (const char* order : orders) {
    setenv("HEDDLE_EMULATOR", order, 1);
    setenv("HEDDLE_EMULATE_CUDA", "1", 1);
    run_on(open_cuda(0), order, everywhere);
    run_on(open_cuda(0, true), order, allowing_tf32);
    setenv("HEDDLE_EMULATE_CUDA", "sm_89", 1);
    run_on(open_cuda(0), order, on_sm89);
    setenv("HEDDLE_EMULATE_CUDA", "sm_90", 1);
    run_on(open_cuda(0), order, on_sm90);
    if (failed) break;
  }
  if (!failed) std::printf("every kernel agrees with its reference on %s\n", cuda_devices()[0].name.c_str());
  return failed ? 1 : 0;
}

}  // namespace

// emulator_kernels [BEGINNING [first]]: only the cases whose name begins so; until the first that fails
int main(int count, char** arguments) {
  try {
    return run_all(count > 1 ? arguments[1] : "", count > 2);
  } catch (const std::exception& e) {
    std::printf("FAILED %s\n", e.what());
    return 1;
  }
}
