// Scaled dot-product attention over whole sequences (training, prompts without a cache) and its gradients.
// Grouped queries: head h of H reads key/value head h / (H / KH).
#include "ops/attention.h"

namespace heddle {
namespace {

// q (N, H, D), k and v (N, KH, D). N is a multiple of sequenceLength. If sequenceLength is 0, all rows are one
// sequence. Rows of different sequences do not see each other.
void check_operands(const Check& c, Operand q, Operand k, Operand v) {
  c.rank(q, 3), c.dtype(q, activation_types);
  c.positive(q, 1), c.positive(q, 2);
  c.rank(k, 3), c.dtype(k, activation_types), c.same_dim(k, 0, q, 0), c.same_dim(k, 2, q, 2), c.positive(k, 1);
  c.same_shape(v, k), c.dtype(v, activation_types);
  if (q.shape()[1] % k.shape()[1] != 0)
    c.mismatch("heads of q: expected a multiple of k's " + std::to_string(k.shape()[1]) + ", got " +
               std::to_string(q.shape()[1]));
  const int64_t T = c.attr_int("sequenceLength", 0, int64_t{1} << 31);
  if (T > 0 && q.shape()[0] % T != 0)
    c.mismatch("rows of q: expected a multiple of sequenceLength " + std::to_string(T) + ", got " +
               std::to_string(q.shape()[0]));
  AttentionAttributes::check(c);
}

// documents (N) i32 has a document id per row, see visible(). sinks (H) has a logit per head, see softmax_in_place().
void check_documents(const Check& c, Operand documents, Operand q) {
  c.rank(documents, 1), c.dtype(documents, i32_only), c.same_dim(documents, 0, q, 0);
}
void check_sinks(const Check& c, Operand sinks, Operand q) {
  c.rank(sinks, 1), c.dtype(sinks, float_types), c.same_dim(sinks, 0, q, 1);
}

// q, k, v, documents?, sinks? -> o (N, H, D), lse (N, H) f32: the log of the sum of exponentials of a row's scores and
// of its head's sink. A row that sees nothing has o = 0.
void check_attention(const Node& n) {
  Check c("attention", n, 3, 5, 2, 2);
  const Operand q = c.in(0, "q"), o = c.out(0, "o"), lse = c.out(1, "lse");
  check_operands(c, q, c.in(1, "k"), c.in(2, "v"));
  if (c.has(3)) check_documents(c, c.in(3, "documents"), q);
  if (c.has(4)) check_sinks(c, c.in(4, "sinks"), q);
  c.same_shape(o, q), c.dtype(o, activation_types);
  c.dtype(lse, f32_only), c.shape(lse, {q.shape()[0], q.shape()[1]});
}

void attention(const Node& n) {
  const Tensor &q = n.in[0], &k = n.in[1], &v = n.in[2], &o = n.out[0], &lse = n.out[1];
  const int64_t N = q.shape[0], H = q.shape[1], D = q.shape[2], KH = k.shape[1], T = sequence_length(n, q);
  const AttentionAttributes a(n);
  const Tensor* documents = n.has_input(3) ? &n.in[3] : nullptr;
  const Row sinks = n.has_input(4) ? load_all(n.in[4]) : Row();
  const Row ks = load_all(k), vs = load_all(v);  // (N, KH, D)
  Row query(D), out(D), p(T);
  for (int64_t i = 0; i < N; ++i) {
    const int64_t start = i / T * T;
    const auto [first, last] = visible(a, documents, start, T, i - start);
    for (int64_t h = 0; h < H; ++h) {
      const int64_t kh = h / (H / KH);
      const auto at = [&](int64_t j) { return ((start + j) * KH + kh) * D; };
      load_row(q, (i * H + h) * D, D, query.data());
      for (int64_t j = first; j < last; ++j) p[j] = a.score(dot(query.data(), &ks[at(j)], D));
      const double log_sum = softmax_in_place(&p[first], last - first, sinks.empty() ? nullptr : &sinks[h]);
      out.assign(D, 0);
      for (int64_t j = first; j < last; ++j)
        for (int64_t d = 0; d < D; ++d) out[d] += p[j] * vs[at(j) + d];
      store_row(o, (i * H + h) * D, out);
      store_float(lse, i * H + h, static_cast<float>(log_sum));
    }
  }
}

// do, q, k, v, o, lse, documents?, sinks? -> dq, dk, dv
void check_attention_backward(const Node& n) {
  Check c("attention_backward", n, 6, 8, 3, 3);
  const Operand dout = c.in(0, "do"), q = c.in(1, "q"), k = c.in(2, "k"), v = c.in(3, "v"), o = c.in(4, "o"),
                lse = c.in(5, "lse");
  check_operands(c, q, k, v);
  c.same_shape(dout, q), c.dtype(dout, activation_types);
  c.same_shape(o, q), c.dtype(o, activation_types);
  c.dtype(lse, f32_only), c.shape(lse, {q.shape()[0], q.shape()[1]});
  if (c.has(6)) check_documents(c, c.in(6, "documents"), q);
  if (c.has(7)) check_sinks(c, c.in(7, "sinks"), q);
  const Operand dq = c.out(0, "dq"), dk = c.out(1, "dk"), dv = c.out(2, "dv");
  c.same_shape(dq, q), c.dtype(dq, activation_types);
  c.same_shape(dk, k), c.dtype(dk, activation_types);
  c.same_shape(dv, v), c.dtype(dv, activation_types);
}

// Probabilities are recomputed in double, because lse carries the kernel's rounding.
void attention_backward(const Node& n) {
  const Tensor &q = n.in[1], &k = n.in[2];
  const int64_t N = q.shape[0], H = q.shape[1], D = q.shape[2], KH = k.shape[1], T = sequence_length(n, q);
  const AttentionAttributes a(n);
  const Tensor* documents = n.has_input(6) ? &n.in[6] : nullptr;
  const Row sinks = n.has_input(7) ? load_all(n.in[7]) : Row();
  const Row ks = load_all(k), vs = load_all(n.in[3]);
  Row dk(ks.size()), dv(vs.size()), dout(D), query(D), dq(D), output(D), score(T), p(T);
  for (int64_t i = 0; i < N; ++i) {
    const int64_t start = i / T * T;
    const auto [first, last] = visible(a, documents, start, T, i - start);
    for (int64_t h = 0; h < H; ++h) {
      const int64_t kh = h / (H / KH);
      const auto at = [&](int64_t j) { return ((start + j) * KH + kh) * D; };
      load_row(q, (i * H + h) * D, D, query.data());
      load_row(n.in[0], (i * H + h) * D, D, dout.data());
      for (int64_t j = first; j < last; ++j) p[j] = score[j] = a.score(dot(query.data(), &ks[at(j)], D));
      softmax_in_place(&p[first], last - first, sinks.empty() ? nullptr : &sinks[h]);
      load_row(n.in[4], (i * H + h) * D, D, output.data());
      const double mean = dot(dout.data(), output.data(), D);  // expectation of dL/dp under p (Dao 2022, appendix B)
      dq.assign(D, 0);
      for (int64_t j = first; j < last; ++j) {
        const double dp = dot(dout.data(), &vs[at(j)], D);
        const double dproduct = p[j] * (dp - mean) * a.score_gradient(score[j]);
        for (int64_t d = 0; d < D; ++d) {
          dq[d] += dproduct * ks[at(j) + d];
          dk[at(j) + d] += dproduct * query[d];
          dv[at(j) + d] += p[j] * dout[d];
        }
      }
      store_row(n.out[0], (i * H + h) * D, dq);
    }
  }
  store_row(n.out[1], 0, dk);
  store_row(n.out[2], 0, dv);
}

// do, o (N, H, D), lse (N, H) f32, sinks (H) -> dsinks (H) f32. A sink takes a probability p but has no value vector.
// Its gradient is therefore the sum over rows of -p * dot(do, o).
void check_sinks_backward(const Node& n) {
  Check c("attention_sinks_backward", n, 4, 4, 1, 1);
  const Operand dout = c.in(0, "do"), o = c.in(1, "o"), lse = c.in(2, "lse"), sinks = c.in(3, "sinks"),
                d = c.out(0, "dsinks");
  c.rank(dout, 3), c.dtype(dout, activation_types), c.positive(dout, 2);
  c.same_shape(o, dout), c.dtype(o, activation_types);
  c.dtype(lse, f32_only), c.shape(lse, {dout.shape()[0], dout.shape()[1]});
  check_sinks(c, sinks, dout);
  c.same_shape(d, sinks), c.dtype(d, f32_only);
}

void sinks_backward(const Node& n) {
  const Tensor &dout = n.in[0], &o = n.in[1];
  const int64_t N = dout.shape[0], H = dout.shape[1], D = dout.shape[2];
  const Row lse = load_all(n.in[2]), sinks = load_all(n.in[3]);
  Row sum(H);
  for (int64_t i = 0; i < N * H; ++i)
    sum[i % H] -=
        std::exp(sinks[i % H] - lse[i]) * dot(load_row(dout, i * D, D).data(), load_row(o, i * D, D).data(), D);
  store_row(n.out[0], 0, sum);
}

HEDDLE_OP(attention_op, {"attention", 3, 5, 2, check_attention, attention});
HEDDLE_OP(attention_backward_op, {"attention_backward", 6, 8, 3, check_attention_backward, attention_backward});
HEDDLE_OP(attention_sinks_backward_op, {"attention_sinks_backward", 4, 4, 1, check_sinks_backward, sinks_backward});

}  // namespace
}  // namespace heddle
