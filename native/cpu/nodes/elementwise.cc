// Elementwise ops, sums, and the optimizer's ops.
#include <algorithm>
#include <cmath>

#include "core/round.h"
#include "cpu/nodes/nodes.h"
#include "ops/double_terms.h"
#include "ops/rank_ops.h"

namespace heddle {
namespace cpu {
namespace {

// Whether all operands are f32, or all bf16.
bool one_type(const Node& n) {
  for (size_t i = 0; i < n.in.size(); ++i)
    if (n.in[i].dtype != n.in[0].dtype) return false;
  for (const Tensor& t : n.out)
    if (t.dtype != n.in[0].dtype) return false;
  return is_activation(n.in[0]);
}

bool activation_supports(const Node& n) {
  return is_activation(n.in[0]) && n.in.back().dtype == n.in[0].dtype && same_or_bf16(n.in[0], n.out[0]);
}

Elementwise describe(const Node& n) {
  Elementwise e{};
  e.size = n.in[0].shape.size(), e.type = n.in[0].dtype;
  e.a = n.in[0].data;
  if (n.in.size() > 1) e.b = n.in[1].data;
  if (n.in.size() > 2) e.c = n.in[2].data;
  if (n.out.size() > 0) e.y = n.out[0].data, e.out_type = n.out[0].dtype;
  if (n.out.size() > 1) e.z = n.out[1].data;
  return e;
}

void add(const Node& n, Context& c) { active().add(describe(n), c.pool); }
void mul(const Node& n, Context& c) { active().mul(describe(n), c.pool); }
void affine(const Node& n, Context& c) {
  Elementwise e = describe(n);
  e.factor = static_cast<float>(n.attr("factor")), e.offset = static_cast<float>(n.attr("offset"));
  active().affine(e, c.pool);
}
Elementwise capped(const Node& n) {
  Elementwise e = describe(n);
  e.factor = static_cast<float>(n.attr("cap"));
  return e;
}
void softcap(const Node& n, Context& c) { active().softcap(capped(n), c.pool); }
void softcap_backward(const Node& n, Context& c) { active().softcap_backward(capped(n), c.pool); }
Elementwise activated(const Node& n) {
  Elementwise e = describe(n);
  e.activation = static_cast<int>(n.attr_int("activation"));
  return e;
}
void glu(const Node& n, Context& c) { active().glu(activated(n), c.pool); }
void glu_backward(const Node& n, Context& c) { active().glu_backward(activated(n), c.pool); }
Elementwise gelu_described(const Node& n) {
  Elementwise e = describe(n);
  e.activation = n.attr_flag("tanh") ? 1 : 2;
  return e;
}
void gelu(const Node& n, Context& c) { active().gelu(gelu_described(n), c.pool); }
void gelu_backward(const Node& n, Context& c) { active().gelu_backward(gelu_described(n), c.pool); }

bool cast_supports(const Node& n) { return is_float(n.in[0]) && is_float(n.out[0]); }
void cast(const Node& n, Context& c) { active().cast(describe(n), c.pool); }

bool sum_supports(const Node& n) { return is_activation(n.in[0]); }
void sum(const Node& n, Context& c) { *n.out[0].as<float>() = static_cast<float>(active().sum(describe(n), c.pool)); }

bool always(const Node&) { return true; }
void broadcast(const Node& n, Context& c) {
  const Tensor& y = n.out[0];
  const float value = *n.in[0].as<float>();
  c.pool.range(y.shape.size(), 1 << 15, [&](int64_t begin, int64_t end, int) {
    if (y.dtype == DType::f32)
      for (int64_t i = begin; i < end; ++i) y.as<float>()[i] = value;
    else
      for (int64_t i = begin; i < end; ++i) y.as<bf16>()[i] = to_bf16(value);
  });
}
bool broadcast_supports(const Node& n) { return is_activation(n.out[0]); }

void global_norm(const Node& n, Context& c) {
  double total = 0;
  for (const Tensor& g : n.in) {
    Elementwise e{};
    e.size = g.shape.size(), e.type = g.dtype, e.a = g.data;
    total += active().sum_squares(e, c.pool);
  }
  *n.out[0].as<float>() = static_cast<float>(std::sqrt(total));
}

// One thread adds up each piece, in the order of additions of global_norm.
void square_sums(const Node& n, Context& c) {
  const int64_t piece = n.attr_int("piece"), size = n.in[0].shape.size(), pieces = n.out[0].shape[0];
  const float* g = n.in[0].as<float>();
  float* y = n.out[0].as<float>();
  c.pool.run(pieces, [&](int64_t k, int) {
    Pool alone(1);
    Elementwise e{};
    e.size = std::min(piece, size - k * piece), e.type = n.in[0].dtype, e.a = g + k * piece;
    store_terms(active().sum_squares(e, alone), y + k * double_terms);
  });
}

bool accumulate_supports(const Node& n) { return is_activation(n.in[1]); }
void accumulate(const Node& n, Context& c) {
  Elementwise e{};
  e.size = n.in[0].shape.size(), e.type = n.in[1].dtype, e.a = n.in[1].data, e.y = n.in[0].data;
  e.factor = *n.in[2].as<float>();
  active().accumulate(e, c.pool);
}

void reduce_scatter(const Node& n, Context& c) {
  const RankRanges ranges = scattered_ranges(n, c.sums);
  if (!c.sums || c.sums->size() == 1) return Registry::find("reduce_scatter")->reference(n);
  c.sums->start(n.in[0].as<float>(), ranges, n.has_input(1) ? n.in[1].as<float>() : nullptr, n.attr_flag("add"));
}

// Returns a function that converts this rank's range to the result's type.
RankSums::Fill own_range(const Node& n, Context& c) {
  return [&](void* to) {
    Elementwise e{};
    e.size = n.in[0].shape.size(), e.type = n.in[0].dtype, e.a = n.in[0].data, e.y = to, e.out_type = n.out[0].dtype;
    active().cast(e, c.pool);
  };
}
void all_gather(const Node& n, Context& c) {
  const RankRanges ranges = gathered_ranges(n, c.sums);
  if (!c.sums || c.sums->size() == 1) return Registry::find("all_gather")->reference(n);
  c.sums->gather(own_range(n, c), ranges, bytes_of_elements(n.out[0].dtype, 1), n.out[0].data);
}
void start_all_gather(const Node& n, Context& c) {
  if (!c.sums || c.sums->size() == 1) return;
  c.sums->prefetch(own_range(n, c), gathered_ranges(n, c.sums), bytes_of_elements(n.out[0].dtype, 1));
}
void all_reduce(const Node& n, Context& c) { start_all_reduce(n, c.sums); }

bool assign_supports(const Node& n) { return is_float(n.in[0]) && is_float(n.in[1]); }
void assign(const Node& n, Context& c) {
  Elementwise e{};
  e.size = n.in[0].shape.size(), e.type = n.in[1].dtype, e.a = n.in[1].data, e.y = n.in[0].data,
  e.out_type = n.in[0].dtype;
  active().cast(e, c.pool);
}

// Writes one byte of each page without changing it, so that the system allocates each page once. Otherwise the first
// read would map a shared page of zeros. The first write would replace it, with a TLB shootdown that interrupts the
// other CPUs.
void own_pages(float* data, int64_t count, Pool& pool) {
  constexpr int64_t step = 4096 / sizeof(float);  // the smallest page size
  pool.range(ceil_div(count, step), 64, [&](int64_t begin, int64_t end, int) {
    for (int64_t page = begin; page < end; ++page) {
      uint8_t* byte = reinterpret_cast<uint8_t*>(data + page * step);
#if defined(__x86_64__)
      asm volatile("lock orb $0, %0" : "+m"(*byte));  // compilers would turn a write that changes nothing into a read
#else
      __atomic_fetch_or(byte, 0, __ATOMIC_RELAXED);
#endif
    }
  });
}

bool adamw_supports(const Node& n) { return is_activation(n.in[0]); }
void adamw(const Node& n, Context& c) {
  AdamW a{};
  a.size = n.in[0].shape.size(), a.type = n.in[0].dtype, a.param = n.in[0].data;
  a.grad = n.in[1].as<float>(), a.m = n.in[2].as<float>(), a.v = n.in[3].as<float>();
  a.hyper = n.in[4].as<float>(), a.factor = n.in[5].as<float>(), a.decay = n.attr_flag("decay");
  // hyper[5] is 1 - beta1^t. At t = 1 nothing has written m and v yet.
  const bool first_step = a.hyper[5] >= 0.999f * (1 - a.hyper[1]) && a.hyper[5] <= 1.001f * (1 - a.hyper[1]);
  if (first_step) own_pages(a.m, a.size, c.pool), own_pages(a.v, a.size, c.pool);
  active().adamw(a, c.pool);
}

}  // namespace

void register_elementwise() {
  add_kernel("add", "add", one_type, nullptr, add);
  add_kernel("mul", "mul", one_type, nullptr, mul);
  add_kernel("affine", "affine", one_type, nullptr, affine);
  add_kernel("softcap", "softcap", one_type, nullptr, softcap);
  add_kernel("softcap_backward", "softcap_backward", one_type, nullptr, softcap_backward);
  add_kernel("glu", "glu", activation_supports, nullptr, glu);
  add_kernel("glu_backward", "glu_backward", one_type, nullptr, glu_backward);
  add_kernel("gelu", "gelu", activation_supports, nullptr, gelu);
  add_kernel("gelu_backward", "gelu_backward", one_type, nullptr, gelu_backward);
  add_kernel("cast", "cast", cast_supports, nullptr, cast);
  add_kernel("sum", "sum", sum_supports, nullptr, sum);
  add_kernel("broadcast", "broadcast", broadcast_supports, nullptr, broadcast);
}

void register_optimizer() {
  add_kernel("global_norm", "global_norm", always, nullptr, global_norm);
  add_kernel("square_sums", "square_sums", always, nullptr, square_sums);
  add_kernel("accumulate", "accumulate", accumulate_supports, nullptr, accumulate);
  add_kernel("all_reduce", "all_reduce", always, nullptr, all_reduce);
  add_kernel("reduce_scatter", "reduce_scatter", always, nullptr, reduce_scatter);
  add_kernel("all_gather", "all_gather", always, nullptr, all_gather, {}, nullptr, nullptr, start_all_gather);
  add_kernel("assign", "assign", assign_supports, nullptr, assign);
  add_kernel("adamw", "adamw", adamw_supports, nullptr, adamw);
}

}  // namespace cpu
}  // namespace heddle
