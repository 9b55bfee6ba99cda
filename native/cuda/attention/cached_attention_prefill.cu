// Attention of long segments (the chunks of a prompt) over the KV cache on tensor cores (mma.sync, sm_80), for caches
// of bf16 and f16 rows. The method is that of attention_tensor.cu. A block has 64 pairs of a row and a query head that
// share a key head, so it reads each key once for all of them. Its tiles of keys come from cache rows: contiguous, in a
// ring or in pages. cached_attention_tensor.cu computes the short segments.
//
// Tiles begin at multiples of their size, and keys that a row does not see do not change its result. So a row's bits
// depend on its position and on its own segment's number of rows only.
#include "cuda/attention/cached_attention_tensor.cuh"
#include "cuda/ptx/ptx_sm90.cuh"

namespace heddle {
namespace cuda {
namespace cached {
namespace {

constexpr int long_tile_m = 64;  // pairs of a row and a head in a tile

// The configuration for heads of at most width_ elements. Shared memory has the terms of the queries, (terms, 64,
// width), then k (keys, width) and v (keys, width) of each stage.
template <class Type_, int terms_, int width_, int keys_> struct PrefillPlan {
  using Type = Type_;
  static constexpr int terms = terms_, width = width_, keys = keys_, block_rows = long_tile_m, warps = block_rows / 16,
                       threads = warps * warp_size, row_bytes = width * 2;
  static constexpr int query_elements = terms * block_rows * width, stage_elements = 2 * keys * width;
  static constexpr size_t shared_bytes = static_cast<size_t>(terms * block_rows + key_stages * 2 * keys) * row_bytes;
  static_assert(shared_bytes + 512 <= 99 << 10, "a block on sm_86, sm_89 and sm_120 may use at most 99 KB");
  static_assert(keys == 64 || keys == 32, "each warp copies 16 positions of keys and values, or of one of them");
};

// Whether a device that runs this code may use the plan. On sm_90a, cached_attention_sm90.cu computes the segments that
// cached_attention_takes_warpgroups, so these kernels are empty, to keep the addon small.
template <class P> __device__ constexpr bool is_used() {
#if !HEDDLE_EMULATED && HEDDLE_SM90A
  return P::width > 128 || P::terms > 1 || P::Type::small_range;
#else
  return true;
#endif
}

// Computes a tile of pairs for a key head.
template <class P> __device__ inline void attend(const CachedArguments& a, const Rows& rows, int32_t kv_head) {
  using Type = typename P::Type;
  HEDDLE_DYNAMIC_SHARED(uint16_t, memory);
  HEDDLE_SHARED(float, query_scale, [P::block_rows]);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, D = static_cast<int>(a.shape.D);
  const Pairs pairs(a, rows, kv_head);
  uint16_t* ring = memory + P::query_elements;

  __syncthreads();  // all warps have read the previous tile's queries
  HEDDLE_ROLLED
  for (int i = warp; i < P::block_rows; i += P::warps) {
    const float scale = store_query<P>(memory, a, i < rows.count ? pairs.place_of(i) * D : 0, i, i < rows.count);
    if (lane == 0) query_scale[i] = scale;
  }

  const RowSpan seen = pairs.seen();
  const int first_tile = seen.first / P::keys, tiles = ceil_div(seen.last, P::keys) - first_tile,
            own_pair = warp * 16 + lane / 4;  // the lane's rows are this pair and the eighth after it
  SpannedRows running;
  pairs.start(running, own_pair, log2_e);

  // A warp copies the positions [16 own, 16 own + 16) of each tile, and each lane looks up the row of one position. The
  // page of the next tile's position is loaded during the products of this one.
  constexpr int groups = P::keys / tile_n;
  const int own = warp % groups;
  const auto position_of = [&](int t) { return (first_tile + t) * P::keys + own * tile_n + lane % tile_n; };
  const auto is_seen = [&](int position) { return position >= seen.first && position < seen.last; };
  const auto page_of = [&](int t) {
    return a.shape.page > 0 && is_seen(position_of(t)) ? a.shape.page_of(rows.segment.slot, position_of(t)) : 0;
  };
  int32_t page = page_of(0);
  const auto copy_stage = [&](int t) {
    const int position = position_of(t);
    const int64_t row = is_seen(position) ? a.shape.row_in(page, rows.segment.slot, kv_head, position, a.fault) : 0;
    const unsigned seen_rows = __ballot_sync(all_lanes, is_seen(position));
    page = page_of(t + 1);
    uint16_t* stage = ring + t % key_stages * P::stage_elements;
    HEDDLE_ROLLED
    for (int i = warp / groups; i < 2; i += P::warps / groups)
      copy_rows<P>(reinterpret_cast<unsigned char*>(stage + (i * P::keys + own * tile_n) * P::width),
          i == 0 ? a.k.data : a.v.data, row, seen_rows, D);
  };

  QueryTile<Type, P::terms, P::width, P::keys> tile;
  for_key_tiles(tiles, copy_stage, [&](int t) {
    const auto scale_of = [&](int i) { return Type::small_range ? query_scale[i] : 1.0f; };
    const TileScores scores(a.scores, scale_of(own_pair), scale_of(own_pair + 8));
    const uint16_t *stage = ring + t % key_stages * P::stage_elements, *values = stage + P::keys * P::width;
    const int key0 = (first_tile + t) * P::keys;
    tile.template attend<P::block_rows>(
        running, running.span, memory + warp * 16 * P::width, stage, values, key0, scores);
  });

  pairs.store<P::width>(running, own_pair, [&](int j, int h) { return &tile.acc[j][2 * h]; });
}

// Computes the block's tiles.
template <class P> __device__ inline void attend_tiles(const CachedArguments& a) {
  for (int64_t number = blockIdx.x;; number += gridDim.x) {
    const Rows rows = find_rows<true>(a, number, long_tile_m, a.group());
    if (rows.count == 0) return;  // uniform over the block
    attend<P>(a, rows, static_cast<int32_t>(blockIdx.y));
    if (number + gridDim.x >= rows.tiles) return;
  }
}

// grid (tiles of 64 pairs of row and query head, KH)
template <class P> __global__ void __launch_bounds__(P::threads) tensor_cached_prefill_kernel(CachedArguments a) {
  if (!is_used<P>()) return;
  attend_tiles<P>(a);
}

template <class Type, int terms> void run(const Context& c, const CachedArguments& a) {
  // Overlapping segments may have more tiles than disjoint ones, so blocks loop over tiles.
  const int64_t tiles = most_group_tiles(a.shape.rows * (a.H / a.shape.KH), a.G, long_tile_m);
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(a.shape.KH));
  const auto with = [&](auto plan) {
    using P = decltype(plan);
    launch(c, "cached_attention", {grid, dim3(P::threads), P::shared_bytes}, tensor_cached_prefill_kernel<P>, a);
  };
  // With several terms, tiles of half the keys leave room for two blocks per multiprocessor.
  if (a.shape.D <= 64) with(PrefillPlan<Type, terms, 64, 64>{});
  else if (a.shape.D <= 128) with(PrefillPlan < Type, terms, 128, terms == 1 ? 64 : 32 > {});
  else if constexpr (terms == 1) with(PrefillPlan<Type, terms, 256, 32>{});
}

}  // namespace

void prefill(const Context& c, const CachedArguments& a, int terms) {
  if (a.k.type == DType::bf16) terms == 1 ? run<Bf16, 1>(c, a) : run<Bf16, Bf16::terms_of_f32>(c, a);
  else terms == 1 ? run<F16, 1>(c, a) : run<F16, F16::terms_of_f32>(c, a);
}

}  // namespace cached
}  // namespace cuda
}  // namespace heddle
