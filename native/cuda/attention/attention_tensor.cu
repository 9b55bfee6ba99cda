// Attention over whole sequences on tensor cores, for bf16 (Dao 2023, "FlashAttention-2"). A block has 64 query rows,
// and each of its warps has 16. Tiles of keys and values pass through a ring of two stages in shared memory.
//
//   S (16, keys) = Q Kᵀ          accumulators in registers
//   P = 2^(S - maximum so far)   rounded to bf16; accumulators of S have the register layout of P, the left operand
//   O (16, D) = O 2^(previous maximum - maximum so far) + P V
#include "cuda/attention/attention_tile.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int warps = 4, threads = warps * warp_size, query_rows = warps * 16;

// grid (sequences * tiles of 64 queries, H). `width` is at least D. Columns of tiles from D on are zeros. Shared
// memory: q (64, width), then k (keys, width) and v (keys, width) of each stage.
template <int width, int keys> __global__ void __launch_bounds__(threads) tensor_attention_kernel(TensorAttention a) {
  HEDDLE_DYNAMIC_SHARED(uint16_t, memory);
  constexpr int stage_elements = 2 * keys * width;
  uint16_t *q_tile = memory, *ring = memory + query_rows * width;
  const int warp = threadIdx.x / warp_size;
  // The first blocks take the last query tiles of a sequence. With a causal mask, these see the most keys.
  const int64_t tiles = ceil_div(a.T, query_rows), start = blockIdx.x / tiles * a.T;
  const int64_t row0 = start + (tiles - 1 - blockIdx.x % tiles) * query_rows, end = start + a.T;
  const int64_t head = blockIdx.y, kv_head = head / (a.H / a.KH);
  const int64_t q_ld = a.H * a.D, kv_ld = a.KH * a.D;
  const RowSpan seen = seen_by<query_rows>(a.spans, row0, end);

  const int64_t own_row = row0 + warp * 16 + threadIdx.x % warp_size / 4;
  QueryRows rows(a, own_row, end, head, log2_e);
  const TileScores scores(a.scores, 1.0f, 1.0f);
  QueryTile<Bf16, 1, width, keys> tile;

  copy_tile<query_rows, width, threads>(q_tile, a.q + head * a.D, q_ld, row0, 0, end, a.D);
  for_key_tiles(ceil_div(seen.last - seen.first, keys), [&](int t) {
    uint16_t* k_tile = ring + t % key_stages * stage_elements;
    const int64_t key0 = seen.first + static_cast<int64_t>(t) * keys;
    copy_tile<keys, width, threads>(k_tile, a.k + kv_head * a.D, kv_ld, key0, 0, end, a.D);
    copy_tile<keys, width, threads>(k_tile + keys * width, a.v + kv_head * a.D, kv_ld, key0, 0, end, a.D);
  }, [&](int t) {
    const uint16_t* k_tile = ring + t % key_stages * stage_elements;
    tile.template attend<query_rows>(
        rows, rows.span, q_tile + warp * 16 * width, k_tile, k_tile + keys * width, seen.first + t * keys, scores);
  });
  rows.store<width>(a, own_row, end, head, 1.0f, [&](int j, int h) { return &tile.acc[j][2 * h]; });
}

template <int width, int keys> void run(const Context& c, const TensorAttention& a) {
  const size_t bytes = static_cast<size_t>(query_rows + key_stages * 2 * keys) * width * sizeof(uint16_t);
  launch(c, "attention",
      {dim3(static_cast<unsigned>(a.N / a.T * ceil_div(a.T, query_rows)), static_cast<unsigned>(a.H)), dim3(threads),
          bytes},
      tensor_attention_kernel<width, keys>, a);
}

void attention(const Node& n, Context& c) {
  const Tensor &q = n.in[0], &k = n.in[1], &v = n.in[2];
  RowSpan* spans = static_cast<RowSpan*>(c.scratch);
  const TensorAttention a{q.as<uint16_t>(), k.as<uint16_t>(), v.as<uint16_t>(), optional_view(n, 4), spans,
      n.out[0].as<uint16_t>(), n.out[1].as<float>(), q.shape[0], sequence_length(n, q), q.shape[1], k.shape[1],
      q.shape[2], Scores(n)};
  if (a.N == 0) return;
  find_spans(c, "attention", n, n.has_input(3) ? n.in[3].as<int32_t>() : nullptr, a.N, a.T, spans);
  if (attention_takes_warpgroups(a.D, a.T, properties_of(c))) return attention_warpgroup(c, a);
  if (a.D <= 64) run<64, 64>(c, a);
  else if (a.D <= 128) run<128, 64>(c, a);
  else run<256, 32>(c, a);
}

// D must be a multiple of `piece`, because copies to shared memory move 16 bytes of a row at a time.
bool supports(const Node& n) {
  const auto is_bf16 = [](const Tensor& t) { return t.dtype == DType::bf16; };
  const int64_t D = n.in[0].shape[2];
  return is_bf16(n.in[0]) && is_bf16(n.in[1]) && is_bf16(n.in[2]) && is_bf16(n.out[0]) && D <= largest_head &&
         D % piece == 0;
}
size_t scratch(const Node& n, int) { return static_cast<size_t>(n.in[0].shape[0]) * sizeof(RowSpan); }

const RegisterKernel kernels[] = {{"attention", "cuda_tensor_flash_attention", supports, attention, scratch, 1}};

}  // namespace
}  // namespace cuda
}  // namespace heddle
