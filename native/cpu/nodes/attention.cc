// The nodes attention, its gradient, and attention over the cache.
#include "cpu/nodes/nodes.h"
#include "ops/attention.h"
#include "ops/segments.h"

namespace heddle {
namespace cpu {
namespace {

Attention describe(const Node& n, const Tensor& q, const Tensor& k, const Tensor& v) {
  Attention a{};
  a.length = sequence_length(n, q);
  a.batch = q.shape[0] / a.length;
  a.heads = q.shape[1], a.kv_heads = k.shape[1], a.width = q.shape[2];
  a.causal = n.attr_flag("causal"), a.window = n.attr_int("window");
  a.scale = static_cast<float>(n.attr("scale")), a.softcap = static_cast<float>(n.attr("softcap"));
  a.type = q.dtype;
  a.q = q.data, a.k = k.data, a.v = v.data;
  return a;
}
// Returns null only if the node has no documents. Returns a placeholder while they have no data yet, because scratch
// sizes depend on whether documents exist.
const int32_t* documents(const Node& n, size_t i) {
  static const int32_t unset = 0;
  if (!n.has_input(i)) return nullptr;
  return n.in[i].data ? n.in[i].as<int32_t>() : &unset;
}
Attention forward(const Node& n) {
  Attention a = describe(n, n.in[0], n.in[1], n.in[2]);
  a.pairs = a.type == DType::bf16 || n.attributes->get("bf16", 0) != 0;
  a.o = n.out[0].data, a.o_type = n.out[0].dtype, a.lse = static_cast<float*>(n.out[1].data);
  a.documents = documents(n, 3);
  if (n.has_input(4)) a.sinks = n.in[4].data, a.sinks_type = n.in[4].dtype;
  return a;
}
Attention backward(const Node& n) {
  Attention a = describe(n, n.in[1], n.in[2], n.in[3]);
  a.pairs = a.type == DType::bf16;
  a.d_o = n.in[0].data, a.o = n.in[4].data, a.lse = static_cast<float*>(n.in[5].data);
  a.dq = n.out[0].data, a.dk = n.out[1].data, a.dv = n.out[2].data;
  a.documents = documents(n, 6);  // lse includes the sinks, so this gradient does not need them
  return a;
}

// Masks compare positions as floats, which are exact below 2^24.
constexpr int64_t longest = int64_t{1} << 24;

bool forward_supports(const Node& n) {
  return is_activation(n.in[0]) && n.in[1].dtype == n.in[0].dtype && n.in[2].dtype == n.in[0].dtype &&
         is_activation(n.out[0]) && sequence_length(n, n.in[0]) < longest;
}
size_t forward_scratch(const Node& n, int threads) { return active().attention_scratch(forward(n), threads); }
void forward_run(const Node& n, Context& c) { active().attention(forward(n), c.pool, c.scratch); }

bool backward_supports(const Node& n) {
  for (int i = 0; i < 5; ++i)
    if (n.in[i].dtype != n.in[0].dtype) return false;
  for (const Tensor& t : n.out)
    if (t.dtype != n.in[0].dtype) return false;
  return is_activation(n.in[0]) && sequence_length(n, n.in[1]) < longest;
}
size_t backward_scratch(const Node& n, int threads) {
  return active().attention_backward_scratch(backward(n), threads);
}
void backward_run(const Node& n, Context& c) { active().attention_backward(backward(n), c.pool, c.scratch); }

bool sinks_backward_supports(const Node& n) { return is_activation(n.in[0]) && n.in[1].dtype == n.in[0].dtype; }
void sinks_backward_run(const Node& n, Context& c) {
  SinksBackward a{};
  a.rows = n.in[0].shape[0], a.heads = n.in[0].shape[1], a.width = n.in[0].shape[2];
  a.type = n.in[0].dtype, a.sinks_type = n.in[3].dtype;
  a.d_o = n.in[0].data, a.o = n.in[1].data, a.lse = n.in[2].as<float>(), a.sinks = n.in[3].data;
  a.d_sinks = n.out[0].as<float>();
  active().sinks_backward(a, c.pool);
}

CachedAttention cached(const Node& n) {
  const Tensor &q = n.in[0], &k = n.in[1], &v = n.in[2], &segments = n.in[3];
  CachedAttention a{};
  a.rows = q.shape[0], a.heads = q.shape[1], a.width = q.shape[2];
  a.context = n.attributes->integer("context", 0);
  a.kv_heads = k.shape[1];
  a.places = places_of(n, k, 5), a.capacity = a.places.capacity;
  a.causal = n.attr_flag("causal"), a.window = n.attr_int("window");
  a.scale = static_cast<float>(n.attr("scale")), a.softcap = static_cast<float>(n.attr("softcap"));
  a.type = q.dtype, a.cache_type = k.dtype, a.o_type = n.out[0].dtype;
  a.q = q.data, a.k = k.data, a.v = v.data, a.o = n.out[0].data;
  if (n.has_input(4)) a.sinks = n.in[4].data, a.sinks_type = n.in[4].dtype;
  a.ring = ring_of(n) > 0;
  a.pairs = n.attributes->get("bf16", 0) != 0 || (a.type == DType::bf16 && a.cache_type == DType::bf16);
  a.segments = segments.shape[0], a.segment = static_cast<const int32_t*>(segments.data);
  return a;
}
bool cached_supports(const Node& n) {
  if (ring_of(n) > 0 && n.in[1].shape[2] % 64 != 0) return false;
  const int64_t page = n.in[1].shape[2];  // must divide, or be a multiple of, the 64 keys of a block
  if (n.has_input(5) && (page == 0 || (page % 64 != 0 && 64 % page != 0))) return false;
  return is_activation(n.in[0]) && is_activation(n.out[0]) && (is_float(n.in[1]) || n.in[1].dtype == DType::u8) &&
         n.in[2].dtype == n.in[1].dtype && places_of(n, n.in[1], 5).capacity < longest;
}
size_t cached_scratch(const Node& n, int threads) { return active().cached_attention_scratch(cached(n), threads); }
void cached_run(const Node& n, Context& c) {
  // Throws unless every segment fits into the cache.
  read_segments("cached_attention", n.in[3], n.in[0].shape[0], places_of(n, n.in[1], 5), ring_of(n),
      AttentionAttributes(n).before());
  active().cached_attention(cached(n), c.pool, c.scratch);
}

}  // namespace

void register_attention() {
  add_kernel("attention", "flash_attention", forward_supports, forward_scratch, forward_run);
  add_kernel("attention_backward", "flash_attention_backward", backward_supports, backward_scratch, backward_run);
  add_kernel("attention_sinks_backward", "sinks_backward", sinks_backward_supports, nullptr, sinks_backward_run);
  add_kernel("cached_attention", "flash_cached_attention", cached_supports, cached_scratch, cached_run);
}

}  // namespace cpu
}  // namespace heddle
