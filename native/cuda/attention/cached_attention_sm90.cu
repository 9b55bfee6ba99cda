// Attention of long segments (the chunks of a prompt) over the KV cache by wgmma (sm_90a). Caches have bf16 rows, and
// queries one term. A block has 64 or 128 pairs of a row and a query head that share a key head. Its inner loop is
// that of attention over whole sequences (attention_sm90.cuh). TMA copies boxes of adjacent rows, but the rows of a
// cache may be in rings or in pages of any size. So the first warpgroup looks up each row, and copies it by cp.async to
// the place that a box with the 128-byte swizzle would have.
//
// Tiles begin at multiples of their size, and keys that a row does not see do not change its result. So a row's bits
// depend on its position and on its own segment's number of rows only.
#include "cuda/attention/attention_sm90.cuh"
#include "cuda/attention/cached_attention_tensor.cuh"

namespace heddle {
namespace cuda {
namespace cached {
namespace {

using forward::attend, forward::KeyTiles, forward::RingBarriers, forward::SharedTiles, forward::threads, forward::Unit,
    forward::warpgroup_rows;

// Two warps copy keys, and two copy values. Each copies half of a tile's rows. (Unused where the kernels are empty.)
[[maybe_unused]] constexpr int warps_of_ring = 2;

// A copying warp's part of filling a ring with all tiles. Positions that no pair sees become zeros.
template <class T>
__device__ inline void fill_ring(const Pairs& pairs, const KeyTiles& tiles, const RowSpan& seen,
    const SharedTiles<T>& shared, RingBarriers& barriers) {
  constexpr int own_rows = T::keys / warps_of_ring, lookups = own_rows / warp_size;
  static_assert(lookups * warp_size == own_rows, "each lane looks up the same number of rows");
  const CachedArguments& a = pairs.a;
  constexpr int lines_of_warp = warp_size / line_pieces;  // Lane i copies piece i % 8 of four lines at a time.
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, row0 = warp % warps_of_ring * own_rows,
            D = static_cast<int>(a.shape.D);
  const bool values = warp >= warps_of_ring;
  const unsigned char* cache = static_cast<const unsigned char*>(values ? a.v.data : a.k.data);
  unsigned char* ring = values ? shared.v_ring : shared.k_ring;
  uint64_t *full = values ? barriers.v_full : barriers.k_full, *empty = values ? barriers.v_empty : barriers.k_empty;
  const int64_t slot = pairs.rows.segment.slot;
  const auto position_of = [&](int t, int i) { return tiles.origin + t * T::keys + row0 + i * warp_size + lane; };
  const auto is_seen = [&](int position) { return position >= seen.first && position < seen.last; };
  const auto page_of = [&](int t, int i) {
    return a.shape.page > 0 && is_seen(position_of(t, i)) ? a.shape.page_of(slot, position_of(t, i)) : 0;
  };

  int32_t page[lookups];
  HEDDLE_UNROLL
  for (int i = 0; i < lookups; ++i) page[i] = page_of(tiles.first, i);
  HEDDLE_ROLLED
  for (int t = tiles.first; t < tiles.last; ++t) {
    const unsigned char* begin[lookups];
    unsigned seen_rows[lookups];
    HEDDLE_UNROLL
    for (int i = 0; i < lookups; ++i) {
      const int position = position_of(t, i);
      const int64_t row = is_seen(position) ? a.shape.row_in(page[i], slot, pairs.kv_head, position, a.fault) : 0;
      begin[i] = cache + row * D * 2;
      seen_rows[i] = __ballot_sync(all_lanes, is_seen(position));
      page[i] = page_of(t + 1, i);  // loaded while this tile is copied
    }
    const int stage = t % forward::stages;
    // The parity of the phase in which the stage's previous tile was read. In the first round, the wait returns at
    // once.
    ptx::wait_barrier(&empty[stage], (t / forward::stages + 1) % 2);
    unsigned char* tile = ring + stage * T::bytes;
    HEDDLE_UNROLL
    for (int i = 0; i < lookups; ++i) {
      HEDDLE_UNROLL_BY(2)
      for (int r0 = 0; r0 < warp_size; r0 += lines_of_warp) {
        const int r = r0 + lane / line_pieces, column = lane % line_pieces * piece;
        const unsigned char* from = begin_of_row(begin[i], r) + column * 2;
        const bool is_copied = seen_rows[i] >> r & 1;
        const int left = is_copied ? D - column : 0;  // elements of the row from this piece on
        unsigned char* to = tile + offset_in_box(row0 + i * warp_size + r, lane % line_pieces);
        HEDDLE_UNROLL
        for (int box = 0; box < T::boxes; ++box)
          ptx::copy_async_16(to + box * T::box_bytes, from + box * line_bytes, left > box * 64 ? 16 : 0);
      }
    }
    ptx::commit_copies();
    // cp.async writes by the generic proxy, and wgmma reads by the async proxy. Once a thread has waited for its
    // copies, its fence.proxy.async orders them before reads that follow the barrier. cp.async.mbarrier.arrive would
    // signal the barrier without such a fence.
    ptx::wait_copies<0>();
    ptx::fence_async();
    __syncwarp();
    if (lane == 0) ptx::arrive(&full[stage]);
  }
}

// Stores the queries of a warpgroup's 64 pairs from pair `first` on, as rows of a tile of the block's queries (128,
// width). Pairs that do not exist, and columns from D on, become zeros.
template <class T> __device__ inline void store_queries(const Pairs& pairs, unsigned char* tile, int first) {
  constexpr int lines = warpgroup / line_pieces, rows = warpgroup_rows / lines;  // rows: per thread
  const CachedArguments& a = pairs.a;
  const int own = threadIdx.x % warpgroup, p = own % line_pieces, D = static_cast<int>(a.shape.D);
  const auto pair_of = [&](int i) { return first + i * lines + own / line_pieces; };
  int64_t at[rows];
  HEDDLE_UNROLL
  for (int i = 0; i < rows; ++i) at[i] = pair_of(i) < pairs.rows.count ? pairs.place_of(pair_of(i)) * D : -1;
  HEDDLE_ROLLED
  for (int box = 0; box < T::boxes; ++box) {
    const int column = box * 64 + p * piece;
    // All loads of a thread start before the first one is used.
    uint4 bits[rows];
    if (a.q.type == DType::f32) {
      float4 low[rows], high[rows];
      HEDDLE_UNROLL
      for (int i = 0; i < rows; ++i) {
        const bool exists = at[i] >= 0 && column < D;
        const float4* from = reinterpret_cast<const float4*>(static_cast<const float*>(a.q.data) + at[i] + column);
        low[i] = exists ? from[0] : float4{0, 0, 0, 0}, high[i] = exists ? from[1] : float4{0, 0, 0, 0};
      }
      HEDDLE_UNROLL
      for (int i = 0; i < rows; ++i)
        bits[i] = uint4{pack_bf16(low[i].x, low[i].y), pack_bf16(low[i].z, low[i].w), pack_bf16(high[i].x, high[i].y),
            pack_bf16(high[i].z, high[i].w)};
    } else {
      HEDDLE_UNROLL
      for (int i = 0; i < rows; ++i) {
        const bool exists = at[i] >= 0 && column < D;
        const uint4* from = reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(a.q.data) + at[i] + column);
        bits[i] = exists ? *from : uint4{0, 0, 0, 0};
      }
    }
    HEDDLE_UNROLL
    for (int i = 0; i < rows; ++i)
      *reinterpret_cast<uint4*>(tile + box * T::q_box_bytes + offset_in_box(pair_of(i), p)) = bits[i];
  }
}

// A tile of pairs and its number. Each warp has its own copy in shared memory, because the products need the registers.
struct NumberedRows : Rows {
  int64_t number;
};

// grid (tiles of `tile` pairs of row and query head, KH). tile: 64 or 128. T::width is at least D.
template <class T>
__global__ void __launch_bounds__(threads, 1) tensor_warpgroup_prefill_kernel(CachedArguments a, int tile) {
#if HEDDLE_SM90A
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  HEDDLE_SHARED(RingBarriers, barriers, [1]);
  HEDDLE_SHARED(NumberedRows, rows_of_warp, [threads / warp_size]);
  const SharedTiles<T> shared(memory);
  if (threadIdx.x == 0) barriers->init(warps_of_ring);
  __syncthreads();

  // Calls use(pairs, key tiles, positions that the pairs see) for the block's tiles. The rings go on from tile to tile.
  const auto for_tiles = [&](auto use) {
    NumberedRows& rows = rows_of_warp[threadIdx.x / warp_size];
    int64_t number = blockIdx.x;
    int used = 0;  // tiles of keys so far
    do {
      const Rows found = find_rows<true>(a, number, tile, a.group());
      if (found.count == 0) return;  // uniform over the block
      __syncwarp();                  // all lanes have read the previous tile
      if (threadIdx.x % warp_size == 0) rows = NumberedRows{found, number};
      __syncwarp();
      const Pairs pairs(a, rows, static_cast<int32_t>(blockIdx.y));
      const RowSpan seen = pairs.seen();
      const int first = seen.first / T::keys, first_used = used;
      used += ceil_div(seen.last, T::keys) - first;
      use(pairs, KeyTiles{first_used, used, (first - first_used) * T::keys}, seen);
      number = rows.number + gridDim.x;
    } while (number < rows.tiles);
  };

  if (threadIdx.x < warpgroup) {
    ptx::give_registers<T::producer_registers>();
    for_tiles([&](const Pairs& pairs, const KeyTiles& tiles, const RowSpan& seen) {
      fill_ring<T>(pairs, tiles, seen, shared, *barriers);
    });
    return;
  }

  ptx::take_registers<T::consumer_registers>();
  const int consumer = threadIdx.x / warpgroup - 1, warp = threadIdx.x % warpgroup / warp_size,
            first_pair = consumer * warpgroup_rows,
            own_pair =
                first_pair + warp * 16 + threadIdx.x % warp_size / 4;  // the lane also has the eighth pair after it
  // attend uses the named barriers 1 and 2.
  const auto sync_warpgroup = [&] { ptx::sync_named(3 + consumer, warpgroup); };
  const Unit unit(a.scores);
  for_tiles([&](const Pairs& pairs, const KeyTiles& tiles, const RowSpan&) {
    const bool alone = pairs.rows.count <= warpgroup_rows;
    if (alone && consumer == 1) return;
    sync_warpgroup();  // the products with the previous tile's queries are complete
    store_queries<T>(pairs, shared.q, first_pair);
    ptx::fence_async();
    sync_warpgroup();
    SpannedRows running;
    pairs.start(running, own_pair, unit.of_score);
    float o[T::parts][T::part / 2];
    attend<T>(shared, *barriers, consumer, alone, tiles, a.scores, unit, running, o);
    forward::release_stage(&barriers->v_empty[(tiles.last - 1) % forward::stages], alone);
    pairs.store<T::width>(
        running, own_pair, [&](int j, int h) { return &o[8 * j / T::part][4 * (j % (T::part / 8)) + 2 * h]; });
  });
#endif
}

template <class T> void run(const Context& c, const CachedArguments& a) {
  const int tile = warpgroup_pairs(a.shape.rows * a.H, properties_of(c));
  // Overlapping segments may have more tiles than disjoint ones, so blocks loop over tiles.
  const int64_t tiles = most_group_tiles(a.shape.rows * (a.H / a.shape.KH), a.G, tile);
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(a.shape.KH));
  launch(c, "cached_attention", {grid, dim3(threads), T::shared_bytes}, tensor_warpgroup_prefill_kernel<T>, a, tile);
}

}  // namespace

void warpgroup_prefill(const Context& c, const CachedArguments& a) {
  if (a.shape.D <= 64) run<forward::Tile<64, 128>>(c, a);
  else run<forward::Tile<128, 128>>(c, a);
}

}  // namespace cached
}  // namespace cuda
}  // namespace heddle
