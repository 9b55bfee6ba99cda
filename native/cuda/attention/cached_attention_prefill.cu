// Attention of long segments (the chunks of a prompt) over the KV cache on tensor cores (mma.sync, sm_80), for caches
// of bf16 and f16 rows. The method is that of attention_tensor.cu. A block has 64 pairs of a row and a query head that
// share a key head, so it reads each key once for all of them. Its tiles of keys come from cache rows: contiguous, in a
// ring or in pages. cached_attention_tensor.cu computes the short segments.
//
// Tiles begin at multiples of their size, and keys that a row does not see do not change its result. So a row's bits
// depend on its position and on its own segment's number of rows only.
#include "cuda/attention/cached_attention_tensor.cuh"

namespace heddle {
namespace cuda {
namespace cached {
namespace {

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

// Computes a tile of pairs for a key head.
template <class P> __device__ inline void attend(const CachedArguments& a, const Rows& rows, int64_t kv_head) {
  using Type = typename P::Type;
  HEDDLE_DYNAMIC_SHARED(uint16_t, memory);
  HEDDLE_SHARED(float, query_scale, [P::block_rows]);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, fg = lane / 4, ft = lane % 4,
            count = rows.count, D = static_cast<int>(a.shape.D);
  const int32_t group = a.group();
  uint16_t* ring = memory + P::query_elements;
  // Returns the row of the tile's i-th pair in its segment.
  const auto row_of = [&](int i) { return (rows.first + i) / group; };
  // Returns row * H + head of the tile's i-th pair.
  const auto place_of = [&](int i) {
    return (rows.segment.first + row_of(i)) * a.H + kv_head * group + (rows.first + i) % group;
  };

  __syncthreads();  // all warps have read the previous tile's queries
  HEDDLE_ROLLED
  for (int i = warp; i < P::block_rows; i += P::warps) {
    const float scale = store_query<P>(memory, a, i < count ? place_of(i) * D : 0, i, i < count);
    if (lane == 0) query_scale[i] = scale;
  }

  // Neither end of a row's range falls when the position grows. So the tile sees its first row's first to its last
  // row's last position.
  const int first_seen = static_cast<int>(keys_of(a, rows.segment, row_of(0)).first),
            last_seen = static_cast<int>(keys_of(a, rows.segment, row_of(count - 1)).last),
            first_tile = first_seen / P::keys, tiles = ceil_div(last_seen, P::keys) - first_tile;
  const int own_pair = warp * 16 + fg;  // the lane's rows are this pair and the eighth after it
  RunningRows running;
  RowSpan span[2];
  HEDDLE_UNROLL
  for (int h = 0; h < 2; ++h) {
    const int i = own_pair + 8 * h;
    const Visible keys = keys_of(a, rows.segment, row_of(min(i, count - 1)));
    span[h] = i < count ? RowSpan{static_cast<int32_t>(keys.first), static_cast<int32_t>(keys.last)} : RowSpan{0, 0};
    // A sink is an additional logit without a value vector. Only one of the row's four lanes counts it.
    running.largest[h] = a.sinks.data ? a.sinks[place_of(min(i, count - 1)) % a.H] * log2_e : -INFINITY;
    running.sum[h] = a.sinks.data && ft == 0 ? 1.0f : 0.0f;
  }

  // A warp copies the positions [16 own, 16 own + 16) of each tile, and each lane looks up the row of one position. The
  // page of the next tile's position is loaded during the products of this one.
  constexpr int groups = P::keys / tile_n;
  const int own = warp % groups;
  const auto position_of = [&](int t) { return (first_tile + t) * P::keys + own * tile_n + lane % tile_n; };
  const auto is_seen = [&](int position) { return position >= first_seen && position < last_seen; };
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
    tile.template attend<P::block_rows>(running, span, memory + warp * 16 * P::width, stage, values, key0, scores);
  });

  HEDDLE_UNROLL
  for (int h = 0; h < 2; ++h) {
    const float total = quad_sum(running.sum[h]), inverse = total > 0 ? 1.0f / total : 0.0f;
    const int i = own_pair + 8 * h;
    if (i >= count) continue;
    const int64_t place = place_of(i);
    if (rows.overlapped && !owns(a, rows.segment, rows.segment.first + row_of(i))) continue;
    const int64_t first = place * D + 2 * ft;
    // Calls put(at, low, high) for each pair of adjacent elements, from element `first` + at on.
    const auto each_pair = [&](auto put) {
      HEDDLE_UNROLL
      for (int j = 0; j < P::width / 8; ++j)
        if (8 * j < D) put(8 * j, tile.acc[j][2 * h] * inverse, tile.acc[j][2 * h + 1] * inverse);
    };
    if (a.o.type == DType::bf16) {
      uint16_t* to = static_cast<uint16_t*>(a.o.data) + first;
      each_pair(
          [&](int at, float low, float high) { *reinterpret_cast<uint32_t*>(to + at) = ptx::pack_bf16(low, high); });
    } else {  // f32
      float* to = static_cast<float*>(a.o.data) + first;
      each_pair([&](int at, float low, float high) { to[at] = low, to[at + 1] = high; });
    }
  }
}

// grid (tiles of 64 pairs of row and query head, KH)
template <class P> __global__ void __launch_bounds__(P::threads) tensor_cached_prefill_kernel(CachedArguments a) {
  for (int64_t number = blockIdx.x;; number += gridDim.x) {
    const Rows rows = find_rows<true>(a, number, a.group());
    if (rows.count == 0) return;  // uniform over the block
    attend<P>(a, rows, blockIdx.y);
    if (number + gridDim.x >= rows.tiles) return;
  }
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
