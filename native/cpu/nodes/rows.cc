// Ops over rows: softmax, embedding, rope, gather, split, concat, and cache_write.
#include <cstring>

#include "cpu/nodes/nodes.h"
#include "ops/indices.h"
#include "ops/q8_rows.h"
#include "ops/segments.h"

namespace heddle {
namespace cpu {
namespace {

constexpr int64_t copy_grain = 1 << 16;  // minimum bytes that are worth a task

bool one_type(const Node& n) {
  for (const Tensor& t : n.in)
    if (t.dtype != n.in[0].dtype) return false;
  return is_activation(n.in[0]) && n.out[0].dtype == n.in[0].dtype;
}

Rows rows(const Node& n) {
  return {n.in[0].shape.rows(), n.in[0].shape.last(), n.in[0].dtype, n.in[0].data,
      n.in.size() > 1 ? n.in[1].data : nullptr, n.out[0].data};
}
void softmax(const Node& n, Context& c) { active().softmax(rows(n), c.pool); }
void softmax_backward(const Node& n, Context& c) { active().softmax_backward(rows(n), c.pool); }
void log_softmax(const Node& n, Context& c) { active().log_softmax(rows(n), c.pool); }
void log_softmax_backward(const Node& n, Context& c) { active().log_softmax_backward(rows(n), c.pool); }

bool embedding_supports(const Node& n) { return is_weight(n.in[0]) && is_activation(n.out[0]); }
void embedding(const Node& n, Context& c) {
  const Tensor &table = n.in[0], &ids = n.in[1], &y = n.out[0];
  check_indices("embedding", "id", ids, table.shape[0]);
  Embedding e{};
  e.rows = ids.shape[0], e.width = table.shape[1], e.vocab = table.shape[0];
  e.type = y.dtype, e.table_type = table.dtype, e.scale = static_cast<float>(n.attr("scale"));
  e.ids = ids.as<int32_t>(), e.table = table.data, e.y = y.data;
  active().embedding(e, c.pool);
}
bool embedding_backward_supports(const Node& n) { return is_activation(n.in[0]); }
void embedding_backward(const Node& n, Context& c) {
  const Tensor &dy = n.in[0], &ids = n.in[1], &dtable = n.out[0];
  check_indices("embedding_backward", "id", ids, dtable.shape[0]);
  Embedding e{};
  e.rows = ids.shape[0], e.width = dtable.shape[1], e.vocab = dtable.shape[0];
  e.type = dy.dtype, e.scale = static_cast<float>(n.attr("scale"));
  e.ids = ids.as<int32_t>(), e.dy = dy.data, e.dtable = dtable.as<float>();
  e.onto = n.has_input(2) ? n.in[2].as<float>() : nullptr;
  active().embedding_backward(e, c.pool);
}

bool rope_supports(const Node& n) {
  return is_activation(n.in[0]) && n.out[0].dtype == n.in[0].dtype && n.in[2].shape.last() <= max_rope_pairs;
}
void rope(const Node& n, Context& c) {
  const Tensor& x = n.in[0];
  Rope r{};
  r.rows = x.shape[0], r.heads = x.shape[1], r.width = x.shape[2], r.rotated = 2 * n.in[2].shape.last();
  r.inv_freq_stride = n.in[2].shape.rank > 1 ? n.in[2].shape.last() : 0;
  r.interleaved = n.attr_flag("interleaved"), r.interleaved_out = n.attr_flag("interleaved_out"),
  r.inverse = n.attr_flag("inverse");
  r.scale = static_cast<float>(n.attr("scale")), r.type = x.dtype;
  r.x = x.data, r.y = n.out[0].data;
  r.positions = n.in[1].as<int32_t>(), r.inv_freq = n.in[2].as<float>();
  active().rope(r, c.pool);
}

bool always(const Node&) { return true; }
void gather_rows(const Node& n, Context& c) {
  const Tensor &x = n.in[0], &index = n.in[1], &y = n.out[0];
  check_indices("gather_rows", "row", index, x.shape[0]);
  const int64_t bytes = x.shape[1] * static_cast<int64_t>(dtype_bytes(x.dtype));
  if (bytes == 0) return;
  c.pool.range(index.shape[0], copy_grain / bytes + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(y.as<char>() + i * bytes, x.as<char>() + index.as<int32_t>()[i] * bytes, static_cast<size_t>(bytes));
  });
}

// Scratch holds a linked list per row of y: the rows of x that are added to it, in order.
bool segment_sum_supports(const Node& n) { return is_activation(n.in[0]) && is_activation(n.out[0]); }
size_t segment_sum_scratch(const Node& n, int threads) {
  const int64_t C = n.in[0].shape[1];
  return sizeof(int32_t) * static_cast<size_t>(n.out[0].shape[0] + n.in[1].shape[0]) +
         sizeof(float) * static_cast<size_t>(2 * C * threads);
}
void segment_sum(const Node& n, Context& c) {
  const Tensor &x = n.in[0], &index = n.in[1], &y = n.out[0];
  const int64_t S = y.shape[0], C = y.shape[1], R = index.shape[0];
  check_indices("segment_sum", "segment", index, S);
  int32_t* head = static_cast<int32_t*>(c.scratch);  // (S) first row of x; -1: none
  int32_t* next = head + S;                          // (R) next row of the same segment
  float* buffers = reinterpret_cast<float*>(next + R);
  for (int64_t i = 0; i < S; ++i) head[i] = -1;
  for (int64_t r = R; r-- > 0;) {
    const int32_t i = index.as<int32_t>()[r];
    next[r] = head[i], head[i] = static_cast<int32_t>(r);
  }
  const auto bytes = [](const Tensor& t) { return static_cast<int64_t>(dtype_bytes(t.dtype)); };
  c.pool.range(S, copy_grain / (4 * C + 1) + 1, [&](int64_t begin, int64_t end, int thread) {
    float* sum = buffers + 2 * C * thread;
    float* row = sum + C;
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < C; ++j) sum[j] = 0;
      for (int32_t r = head[i]; r >= 0; r = next[r]) {
        active().convert(x.as<char>() + r * C * bytes(x), x.dtype, row, DType::f32, C);
        for (int64_t j = 0; j < C; ++j) sum[j] += row[j];
      }
      active().convert(sum, DType::f32, y.as<char>() + i * C * bytes(y), y.dtype, C);
    }
  });
}

// Calls `copy` for each row of `whole` and each piece of it. The pieces lie side by side in the row.
template <class Copy> void each_piece(const Tensor& whole, const std::vector<Tensor>& pieces, Pool& pool, Copy copy) {
  const int64_t size = static_cast<int64_t>(dtype_bytes(whole.dtype)), stride = whole.shape.last() * size;
  pool.range(whole.shape.rows(), copy_grain / (stride + 1) + 1, [&](int64_t begin, int64_t end, int) {
    int64_t at = 0;
    for (const Tensor& piece : pieces) {
      const int64_t bytes = piece.shape.last() * size;
      for (int64_t row = begin; bytes > 0 && row < end; ++row)
        copy(whole.as<char>() + row * stride + at, piece.as<char>() + row * bytes, static_cast<size_t>(bytes));
      at += bytes;
    }
  });
}
void split(const Node& n, Context& c) {
  each_piece(
      n.in[0], n.out, c.pool, [](const char* whole, char* piece, size_t bytes) { std::memcpy(piece, whole, bytes); });
}
void concat(const Node& n, Context& c) {
  each_piece(
      n.out[0], n.in, c.pool, [](char* whole, const char* piece, size_t bytes) { std::memcpy(whole, piece, bytes); });
}

constexpr int64_t widest_q8 = 1024;  // maximum width of a head

bool cache_write_supports(const Node& n) {
  return (is_float(n.in[0]) || (n.in[0].dtype == DType::u8 && n.in[1].shape[2] <= widest_q8)) && is_activation(n.in[1]);
}
void cache_write(const Node& n, Context& c) {
  const Tensor &cache = n.in[0], &x = n.in[1];
  const int64_t KH = cache.shape[1], D = x.shape[2];
  const CachePlaces places = places_of(n, cache, 3);
  const bool q8 = cache.dtype == DType::u8;
  const int64_t to_bytes = cache.shape[3] * static_cast<int64_t>(dtype_bytes(cache.dtype));
  const int64_t from_bytes = D * static_cast<int64_t>(dtype_bytes(x.dtype));
  for (const Segment& s : read_segments("cache_write", n.in[2], x.shape[0], places, ring_of(n), 0))
    c.pool.range(s.count * KH, copy_grain / (D * 4 + 1) + 1, [&](int64_t begin, int64_t end, int) {
      float row[widest_q8];
      for (int64_t i = begin; i < end; ++i) {
        const int64_t r = i / KH, h = i % KH;
        const char* from = x.as<char>() + ((s.first + r) * KH + h) * from_bytes;
        char* to = cache.as<char>() + places.row(s.slot, h, s.past + r) * to_bytes;
        if (!q8) {
          active().convert(from, x.dtype, to, cache.dtype, D);
          continue;
        }
        active().convert(from, x.dtype, row, DType::f32, D);
        q8_store_row(row, D, reinterpret_cast<uint8_t*>(to));
      }
    });
}

}  // namespace

void register_rows() {
  add_kernel("softmax", "softmax", one_type, nullptr, softmax);
  add_kernel("softmax_backward", "softmax_backward", one_type, nullptr, softmax_backward);
  add_kernel("log_softmax", "log_softmax", one_type, nullptr, log_softmax);
  add_kernel("log_softmax_backward", "log_softmax_backward", one_type, nullptr, log_softmax_backward);
  add_kernel("embedding", "embedding", embedding_supports, nullptr, embedding);
  add_kernel("embedding_backward", "embedding_backward", embedding_backward_supports, nullptr, embedding_backward);
  add_kernel("rope", "rope", rope_supports, nullptr, rope);
  add_kernel("gather_rows", "gather_rows", always, nullptr, gather_rows);
  add_kernel("segment_sum", "segment_sum", segment_sum_supports, segment_sum_scratch, segment_sum);
  add_kernel("split", "split", always, nullptr, split);
  add_kernel("concat", "concat", always, nullptr, concat);
  add_kernel("cache_write", "cache_write", cache_write_supports, nullptr, cache_write);
}

}  // namespace cpu
}  // namespace heddle
