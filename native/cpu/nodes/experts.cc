// Routed experts: gathers the rows that chose an expert, multiplies them by its matrix in one product, and scatters the
// results. An expert chosen by a single row reads and writes that row in place.
#include <algorithm>
#include <cstring>

#include "core/round.h"
#include "cpu/nodes/nodes.h"
#include "ops/experts.h"
#include "ops/indices.h"

namespace heddle {
namespace cpu {
namespace {

int64_t size_of(const Tensor& t) { return static_cast<int64_t>(dtype_bytes(t.dtype)); }
size_t aligned(int64_t bytes) { return static_cast<size_t>(padded_to_line(bytes)); }

ExpertShape shape_of(const Tensor& x, const Tensor& w, const Tensor& experts) {
  return {experts.shape[0], experts.shape[1], w.shape[0], w.shape[2], w.shape[1], x.shape.rank == 3};
}

// Pairs of (row, slot), sorted by expert and then by row with a counting sort. start[e] is the first pair of expert e.
struct Groups {
  int32_t* start;  // (E + 1)
  int32_t* pair;   // (pairs)

  static size_t bytes(const ExpertShape& s) { return aligned(4 * (s.experts + 1 + s.pairs())); }
  Groups(const ExpertShape& s, const int32_t* expert, void* memory)
      : start(static_cast<int32_t*>(memory)), pair(start + s.experts + 1) {
    for (int64_t e = 0; e <= s.experts; ++e) start[e] = 0;
    for (int64_t p = 0; p < s.pairs(); ++p) ++start[expert[p] + 1];
    for (int64_t e = 0; e < s.experts; ++e) start[e + 1] += start[e];
    for (int64_t p = 0; p < s.pairs(); ++p) pair[start[expert[p]]++] = static_cast<int32_t>(p);
    // Now start[e] is the end of group e, which is the start of the next group.
    for (int64_t e = s.experts; e > 0; --e) start[e] = start[e - 1];
    start[0] = 0;
  }
};

// Copies rows of `bytes` bytes from at(i) to consecutive rows of `to`.
template <class At> void gather(Pool& pool, int64_t count, int64_t bytes, char* to, At at) {
  pool.range(count, (1 << 16) / (bytes + 1) + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) std::memcpy(to + i * bytes, at(i), static_cast<size_t>(bytes));
  });
}

// The scratch of a node: the groups, the gathered operands, the results, and the scratch of a product for each thread.
// Operands and results have a row per pair, in the order of the groups.
struct Scratch {
  char *groups, *left, *right, *products;
  size_t product;  // bytes
  static size_t bytes(const ExpertShape& s, int64_t left_row, int64_t right_row, size_t product, int threads) {
    return Groups::bytes(s) + aligned(s.pairs() * left_row) + aligned(s.pairs() * right_row) +
           aligned(static_cast<int64_t>(product)) * static_cast<size_t>(threads);
  }
  Scratch(const ExpertShape& s, int64_t left_row, int64_t right_row, size_t product_bytes, void* memory)
      : groups(static_cast<char*>(memory)), product(aligned(static_cast<int64_t>(product_bytes))) {
    left = groups + Groups::bytes(s), right = left + aligned(s.pairs() * left_row),
    products = right + aligned(s.pairs() * right_row);
  }
};

// Calls fn(expert, pool, scratch of a product) for all experts (`all`), or for those that some row chose. Many experts
// run in parallel, each on one thread, so that threads synchronize once. Few experts run one after the other on all
// threads.
template <class F>
void each_expert(const ExpertShape& s, const Groups& groups, const Scratch& m, Pool& pool, bool all, F fn) {
  int64_t active = 0;
  for (int64_t e = 0; e < s.experts; ++e) active += all || groups.start[e + 1] > groups.start[e];
  const auto wanted = [&](int64_t e) { return all || groups.start[e + 1] > groups.start[e]; };
  if (active < 2 * pool.threads()) {
    for (int64_t e = 0; e < s.experts; ++e)
      if (wanted(e)) fn(e, pool, m.products);
    return;
  }
  pool.run(s.experts, [&](int64_t e, int thread) {
    if (!wanted(e)) return;
    Pool alone(1);
    fn(e, alone, m.products + m.product * static_cast<size_t>(thread));
  });
}

bool floats(const Node& n) {
  for (size_t i = 0; i < n.in.size(); ++i)
    if (n.has_input(i) && !is_float(n.in[i]) && n.in[i].dtype != DType::i32) return false;
  return is_activation(n.out[0]);
}

// Returns the larger of two scratch sizes: a product on all threads, and a product on one thread.
size_t product_bytes(int64_t m, int64_t n, int64_t k, int threads) {
  return std::max(active().gemm_scratch(m, n, k, threads), active().gemm_scratch(m, n, k, 1));
}

size_t linear_product(const ExpertShape& s, int threads) {
  return product_bytes(s.pairs(), s.outputs, s.inputs, threads);
}
// Whether expert_linear rounds an f32 x to bf16. The copy is at the end of the scratch.
bool rounds(const Node& n) { return n.attributes->flag("bf16") && n.in[0].dtype == DType::f32; }
int64_t x_row_bytes(const Node& n, const ExpertShape& s) { return s.inputs * (rounds(n) ? 2 : size_of(n.in[0])); }
size_t unrounded_scratch(const Node& n, int threads) {
  const ExpertShape s = shape_of(n.in[0], n.in[1], n.in[2]);
  return Scratch::bytes(s, x_row_bytes(n, s), s.outputs * size_of(n.out[0]), linear_product(s, threads), threads);
}
size_t linear_scratch(const Node& n, int threads) {
  const size_t copy = rounds(n) ? static_cast<size_t>(n.in[0].shape.size()) * 2 : 0;
  return padded_to_line(unrounded_scratch(n, threads)) + copy;
}
void linear(const Node& n, Context& c) {
  const Tensor &x = n.in[0], &w = n.in[1], &y = n.out[0];
  const ExpertShape s = shape_of(x, w, n.in[2]);
  check_indices("expert_linear", "expert", n.in[2], s.experts);
  const int64_t x_row = x_row_bytes(n, s), y_row = s.outputs * size_of(y);
  const Scratch m(s, x_row, y_row, linear_product(s, c.pool.threads()), c.scratch);
  const Groups groups(s, n.in[2].as<int32_t>(), m.groups);
  const char* rows = x.as<char>();
  DType type = x.dtype;
  if (rounds(n)) {
    char* copy = static_cast<char*>(c.scratch) + padded_to_line(unrounded_scratch(n, c.pool.threads()));
    c.pool.range(x.shape.size(), 16384, [&](int64_t begin, int64_t end, int) {
      active().convert(x.as<float>() + begin, DType::f32, copy + 2 * begin, DType::bf16, end - begin);
    });
    rows = copy, type = DType::bf16;
  }
  each_expert(s, groups, m, c.pool, false, [&](int64_t e, Pool& pool, char* product) {
    const int64_t start = groups.start[e], count = groups.start[e + 1] - start;
    const int32_t* pair = groups.pair + start;
    const auto x_at = [&](int64_t i) { return rows + s.x_row(pair[i]) * x_row; };
    const auto y_at = [&](int64_t i) { return y.as<char>() + pair[i] * y_row; };
    Gemm g{};
    g.m = count, g.n = s.outputs, g.k = s.inputs;
    g.a_type = type, g.lda = s.inputs;
    g.b = w.as<char>() + e * s.outputs * s.inputs * size_of(w), g.b_type = w.dtype, g.ldb = s.inputs,
    g.b_transposed = true;
    g.c_type = y.dtype, g.ldc = s.outputs;
    g.rowwise = n.attributes->get("rowwise", 0) != 0;
    if (n.has_input(3)) g.bias = n.in[3].as<char>() + e * s.outputs * size_of(n.in[3]), g.bias_type = n.in[3].dtype;
    if (count == 1) {
      g.a = x_at(0), g.c = y_at(0);
      active().gemm(g, pool, product);
      return;
    }
    char *left = m.left + start * x_row, *right = m.right + start * y_row;
    gather(pool, count, x_row, left, x_at);
    g.a = left, g.c = right;
    active().gemm(g, pool, product);
    pool.range(count, (1 << 16) / (y_row + 1) + 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) std::memcpy(y_at(i), right + i * y_row, static_cast<size_t>(y_row));
    });
  });
}

size_t input_product(const ExpertShape& s, int threads) {
  return product_bytes(s.pairs(), s.inputs, s.outputs, threads);
}
size_t backward_input_scratch(const Node& n, int threads) {
  const ExpertShape s = shape_of(n.out[0], n.in[1], n.in[2]);
  const size_t all = aligned(4 * s.pairs() * s.inputs);
  return all + Scratch::bytes(s, s.outputs * size_of(n.in[0]), 4 * s.inputs, input_product(s, threads), threads);
}
// Computes the gradient of each pair in f32. Then adds up, for each row of x, the gradients of its slots in order.
void backward_input(const Node& n, Context& c) {
  const Tensor &dy = n.in[0], &w = n.in[1], &dx = n.out[0];
  const ExpertShape s = shape_of(dx, w, n.in[2]);
  check_indices("expert_linear_backward_input", "expert", n.in[2], s.experts);
  const int64_t dy_row = s.outputs * size_of(dy), row = 4 * s.inputs;
  float* all = static_cast<float*>(c.scratch);  // (pairs, K)
  const Scratch m(s, dy_row, row, input_product(s, c.pool.threads()),
      static_cast<char*>(c.scratch) + aligned(4 * s.pairs() * s.inputs));
  const Groups groups(s, n.in[2].as<int32_t>(), m.groups);
  each_expert(s, groups, m, c.pool, false, [&](int64_t e, Pool& pool, char* product) {
    const int64_t start = groups.start[e], count = groups.start[e + 1] - start;
    const int32_t* pair = groups.pair + start;
    char *left = m.left + start * dy_row, *right = m.right + start * row;
    gather(pool, count, dy_row, left, [&](int64_t i) { return dy.as<char>() + pair[i] * dy_row; });
    Gemm g{};
    g.m = count, g.n = s.inputs, g.k = s.outputs;
    g.a = left, g.a_type = dy.dtype, g.lda = s.outputs;
    g.b = w.as<char>() + e * s.outputs * s.inputs * size_of(w), g.b_type = w.dtype, g.ldb = s.inputs;
    g.c = right, g.c_type = DType::f32, g.ldc = s.inputs;
    active().gemm(g, pool, product);
    pool.range(count, (1 << 16) / (row + 1) + 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i)
        std::memcpy(all + pair[i] * s.inputs, right + i * row, static_cast<size_t>(row));
    });
  });
  const int64_t parts = s.per_slot ? 1 : s.slots, rows = s.pairs() / parts;
  c.pool.range(rows, (1 << 14) / (parts * s.inputs + 1) + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      float* sum = all + r * parts * s.inputs;
      for (int64_t j = 1; j < parts; ++j)
        for (int64_t i = 0; i < s.inputs; ++i) sum[i] += sum[j * s.inputs + i];
      active().convert(sum, DType::f32, dx.as<char>() + r * s.inputs * size_of(dx), dx.dtype, s.inputs);
    }
  });
}

size_t weight_product(const ExpertShape& s, int threads) {
  return product_bytes(s.outputs, s.inputs, s.pairs(), threads);
}
size_t backward_weight_scratch(const Node& n, int threads) {
  const ExpertShape s = shape_of(n.in[1], n.out[0], n.in[2]);
  return Scratch::bytes(
      s, s.outputs * size_of(n.in[0]), s.inputs * size_of(n.in[1]), weight_product(s, threads), threads);
}
void backward_weight(const Node& n, Context& c) {
  const Tensor &dy = n.in[0], &x = n.in[1], &dw = n.out[0];
  const ExpertShape s = shape_of(x, dw, n.in[2]);
  check_indices("expert_linear_backward_weight", "expert", n.in[2], s.experts);
  const int64_t dy_row = s.outputs * size_of(dy), x_row = s.inputs * size_of(x);
  const Scratch m(s, dy_row, x_row, weight_product(s, c.pool.threads()), c.scratch);
  const Groups groups(s, n.in[2].as<int32_t>(), m.groups);
  each_expert(s, groups, m, c.pool, true, [&](int64_t e, Pool& pool, char* product) {
    const int64_t start = groups.start[e], count = groups.start[e + 1] - start;
    const int32_t* pair = groups.pair + start;
    float* to = dw.as<float>() + e * s.outputs * s.inputs;
    if (count == 0) {
      std::memset(to, 0, static_cast<size_t>(4 * s.outputs * s.inputs));
      return;
    }
    char *left = m.left + start * dy_row, *right = m.right + start * x_row;
    gather(pool, count, dy_row, left, [&](int64_t i) { return dy.as<char>() + pair[i] * dy_row; });
    gather(pool, count, x_row, right, [&](int64_t i) { return x.as<char>() + s.x_row(pair[i]) * x_row; });
    Gemm g{};
    g.m = s.outputs, g.n = s.inputs, g.k = count;
    g.a = left, g.a_type = dy.dtype, g.lda = s.outputs, g.a_transposed = true;
    g.b = right, g.b_type = x.dtype, g.ldb = s.inputs;
    g.c = to, g.c_type = DType::f32, g.ldc = s.inputs;
    active().gemm(g, pool, product);
  });
}

bool route_supports(const Node& n) { return is_activation(n.in[0]); }
void route(const Node& n, Context& c) {
  const int64_t N = n.in[0].shape[0], E = n.in[0].shape[1], k = n.out[0].shape[1];
  const bool normalize = n.attr_flag("normalize");
  c.pool.range(N, (1 << 12) / (E * k) + 1, [&](int64_t begin, int64_t end, int) {
    Row logit(static_cast<size_t>(E));
    for (int64_t r = begin; r < end; ++r) {
      load_row(n.in[0], r * E, E, logit.data());
      route_row(logit.data(), E, k, normalize, n.out[0].as<float>() + r * k, n.out[1].as<int32_t>() + r * k);
    }
  });
}

// combine() sums this number of columns at a time, in f32 on the stack.
constexpr int64_t combine_block = 256;

bool combine_supports(const Node& n) { return is_activation(n.in[0]) && is_activation(n.out[0]); }
void combine(const Node& n, Context& c) {
  const Tensor &y = n.in[0], &out = n.out[0];
  const int64_t k = y.shape[1], M = y.shape[2];
  const float* weights = n.in[1].as<float>();
  c.pool.range(y.shape[0], (1 << 14) / (k * M + 1) + 1, [&](int64_t begin, int64_t end, int) {
    float sum[combine_block], part[combine_block];
    for (int64_t r = begin; r < end; ++r)
      for (int64_t m = 0; m < M; m += combine_block) {
        const int64_t count = M - m < combine_block ? M - m : combine_block;
        for (int64_t i = 0; i < count; ++i) sum[i] = 0;
        for (int64_t j = 0; j < k; ++j) {
          active().convert(y.as<char>() + ((r * k + j) * M + m) * size_of(y), y.dtype, part, DType::f32, count);
          const float weight = weights[r * k + j];
          for (int64_t i = 0; i < count; ++i) sum[i] += weight * part[i];
        }
        active().convert(sum, DType::f32, out.as<char>() + (r * M + m) * size_of(out), out.dtype, count);
      }
  });
}

void combine_backward(const Node& n, Context& c) {
  c.pool.range(n.in[1].shape[0], (1 << 13) / (n.in[1].shape[1] * n.in[1].shape[2] + 1) + 1,
      [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) combine_backward_row(n.in[0], n.in[1], n.in[2], n.out[0], n.out[1], r);
  });
}

}  // namespace

void register_experts() {
  add_kernel("expert_linear", "grouped_gemm_expert_linear", floats, linear_scratch, linear);
  add_kernel("expert_linear_backward_input", "grouped_gemm_expert_linear_backward_input", floats,
      backward_input_scratch, backward_input);
  add_kernel("expert_linear_backward_weight", "grouped_gemm_expert_linear_backward_weight", floats,
      backward_weight_scratch, backward_weight);
  add_kernel("route_experts", "route_experts", route_supports, nullptr, route);
  add_kernel("combine_experts", "combine_experts", combine_supports, nullptr, combine);
  add_kernel("combine_experts_backward", "combine_experts_backward", combine_supports, nullptr, combine_backward);
}

}  // namespace cpu
}  // namespace heddle
