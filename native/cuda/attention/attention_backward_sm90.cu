// The gradients of attention on the tensor cores of sm_90a, for heads of at most 128 (after Shah et al. 2024,
// "FlashAttention-3"). A block has 128 keys and loops over the tiles of 64 queries that see any of them. Its first
// warpgroup moves data: warp 0 copies tiles of queries (TMA), and warp 1 adds parts of dq to f32 sums in global memory
// (cp.reduce.async.bulk). The other two warpgroups have 64 keys each, with dk and dv in registers. They compute five
// products for each tile of queries:
//
//   S' = K Q'            dP' = V dO'
//   P' = 2^(S' - lse)    dS' = P' (dP' - delta) dscore
//   dv += P' dO          dk += dS' Q    dq += (dS')' K
//
// dS' is an elementwise product, and dscore is the derivative of softcap.
//
// f32 sums depend on the order of additions, so that order is fixed. Blocks of keys add to a tile of queries in
// descending order, from the last block that the tile sees. A word per tile and head counts the blocks that have added
// their part. Before it adds, a block waits until its predecessor in that order has added. With a causal mask, later
// blocks of keys have fewer queries, so a block reaches each tile just after its predecessor. FlashAttention-3 uses the
// same order in its deterministic mode. Without a causal mask, blocks of several heads start in turn, so that few
// blocks wait (interleaved_heads). Thread blocks take their numbers when they start. A predecessor has the lower
// number, so it has always started.
#include "cuda/attention/attention_backward_sm90.cuh"
#include "cuda/ptx/ptx_bulk.cuh"

namespace heddle {
namespace cuda {
namespace {

using namespace gradient;

// Fills stats and key_blocks, and sets blocks_added and next_block to 0. One warp per tile and head, eight warps per
// block. grid (sequences * tiles / 8, H).
__global__ void __launch_bounds__(256) stats_kernel(Gradient g) {
  const BackwardArguments& a = g.a;
  const int lane = threadIdx.x % warp_size;
  const int at = static_cast<int>(blockIdx.x * (256 / warp_size) + threadIdx.x / warp_size), sequence = at / g.tiles,
            tile = at % g.tiles, head = static_cast<int>(blockIdx.y);
  if (blockIdx.x == 0 && head == 0 && threadIdx.x == 0) *g.next_block = 0;
  if (sequence >= g.sequences) return;
  const int64_t start = sequence * a.T, end = start + a.T, row0 = start + tile * queries;
  QueryStats& stats = g.stats[g.tile_of(head, sequence, tile)];
  RowSpan some{0x7fffffff, 0};
  for (int i = lane; i < queries; i += warp_size) {
    const int64_t row = row0 + i;
    const RowSpan own = row < end ? a.spans[row] : RowSpan{0, 0};
    const bool sees = own.first < own.last;
    stats.lse[i] = sees ? a.lse[row * a.H + head] * log2_e : INFINITY;
    stats.delta[i] = sees ? a.delta[row * a.H + head] : 0.0f;
    stats.first[i] = sees ? own.first : 0, stats.last[i] = sees ? own.last : 0x7fffffff;
    if (sees) some = {min(some.first, own.first), max(some.last, own.last)};
  }
  if (lane == 0) g.blocks_added[g.tile_of(head, sequence, tile)] = 0;
  if (head > 0) return;
  for (int lanes = warp_size / 2; lanes > 0; lanes /= 2) {
    some.first = min(some.first, __shfl_xor_sync(all_lanes, some.first, lanes)),
    some.last = max(some.last, __shfl_xor_sync(all_lanes, some.last, lanes));
  }
  if (lane > 0) return;
  const int32_t origin = static_cast<int32_t>(start);
  g.key_blocks[sequence * g.tiles + tile] =
      some.last > 0 ? KeyBlocks{(some.first - origin) / keys, ceil_div(some.last - origin, keys)} : KeyBlocks{0, 0};
}

#if HEDDLE_SM90A
// The sequence, key head and block of keys that a thread block computes. int suffices for row indices, as in RowSpan.
struct BlockPlace {
  int sequence, kv_head, block;
};
// Key heads form groups of `interleaved` heads, and the numbers run through one group after another. Within a group,
// the first numbers are those of the last block of each head. The next are those of the block before it, and so on.
// The last group may have fewer heads.
__device__ inline BlockPlace place_of(const Gradient& g, int number) {
  const int blocks = static_cast<int>(ceil_div(g.a.T, keys)), heads = static_cast<int>(g.a.KH);
  const int group = number / (g.interleaved * blocks), at = number % (g.interleaved * blocks);
  const int count = min(g.interleaved, g.sequences * heads - group * g.interleaved);
  const int head = group * g.interleaved + at % count;
  return {head / heads, head % heads, blocks - 1 - at / count};
}
#endif

// grid: sequences * KH * blocks of 128 keys.
template <class P>
__global__ void __launch_bounds__(threads, 1)
    tensor_warpgroup_attention_gradient_kernel(const __grid_constant__ Maps maps, Gradient g) {
#if HEDDLE_SM90A
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  HEDDLE_SHARED(uint64_t, own_full, [1]);
  HEDDLE_SHARED(uint64_t, full, [P::stages]);
  HEDDLE_SHARED(uint64_t, empty, [P::stages]);
  HEDDLE_SHARED(uint64_t, part_full, [consumers]);
  HEDDLE_SHARED(uint64_t, part_empty, [consumers]);
  HEDDLE_SHARED(BlockPlace, place, [1]);
  HEDDLE_SHARED(int32_t, first_of_warp, [threads / warp_size]);
  HEDDLE_SHARED(int32_t, last_of_warp, [threads / warp_size]);
  unsigned char *k_tile = memory + (group_bytes - ptx::shared_address(memory) % group_bytes) % group_bytes,
                *v_tile = k_tile + P::key_bytes, *ring = v_tile + P::key_bytes;
  unsigned char *ds_tiles = ring + P::stages * P::stage_bytes, *parts = ds_tiles + 2 * P::ds_bytes;
  const BackwardArguments& a = g.a;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;

  if (threadIdx.x == 0) {
    place[0] = place_of(g, ptx::take_number(g.next_block));
    ptx::init_barrier(own_full, 1);
    for (int s = 0; s < P::stages; ++s) {
      ptx::init_barrier(&full[s], 1);
      ptx::init_barrier(&empty[s], consumers * warpgroup / warp_size);
    }
    for (int c = 0; c < consumers; ++c) {
      ptx::init_barrier(&part_full[c], warpgroup / warp_size);
      ptx::init_barrier(&part_empty[c], 1);
    }
    ptx::fence_async();
  }
  __syncthreads();
  const auto [sequence, kv_head, block] = place[0];
  const int group = static_cast<int>(a.H / a.KH), own_first = block * keys, start = sequence * static_cast<int>(a.T);
  if (threadIdx.x == 0) {
    ptx::arrive_expecting(own_full, 2 * P::key_bytes);
    copy<P::boxes, P::key_box>(k_tile, &maps.k, kv_head, own_first, sequence, own_full);
    copy<P::boxes, P::key_box>(v_tile, &maps.v, kv_head, own_first, sequence, own_full);
  }

  // [tile_first, tile_last): the query tiles from the first to the last that see any of the block's keys.
  const KeyBlocks* key_blocks = g.key_blocks + sequence * g.tiles;
  int32_t tile_first = 0x7fffffff, tile_last = 0;
  for (int t = threadIdx.x; t < g.tiles; t += threads)
    if (block >= key_blocks[t].first && block < key_blocks[t].last) tile_first = min(tile_first, t), tile_last = t + 1;
  for (int lanes = warp_size / 2; lanes > 0; lanes /= 2) {
    tile_first = min(tile_first, __shfl_xor_sync(all_lanes, tile_first, lanes));
    tile_last = max(tile_last, __shfl_xor_sync(all_lanes, tile_last, lanes));
  }
  if (lane == 0) first_of_warp[warp] = tile_first, last_of_warp[warp] = tile_last;
  __syncthreads();
  // All threads combine the results of the warps from shared memory, so that nvcc treats the loop bounds as uniform
  // over the block. Otherwise it would reserve registers for threads that leave the loop early.
  tile_first = 0x7fffffff, tile_last = 0;
  for (int w = 0; w < threads / warp_size; ++w)
    tile_first = min(tile_first, first_of_warp[w]), tile_last = max(tile_last, last_of_warp[w]);
  // One step per tile and head: all tiles of one head, then those of the next head.
  const int steps = tile_last > tile_first ? (tile_last - tile_first) * group : 0;

  if (threadIdx.x < warpgroup) {
    ptx::give_registers<producer_registers>();
    if (lane != 0 || warp > 1) return;
    int head = kv_head * group, tile = tile_first;
    const auto next = [&] {
      if (++tile == tile_last) tile = tile_first, ++head;
    };
    if (warp == 0) {
      Position<P::stages> at;
      HEDDLE_ROLLED
      for (int i = 0; i < steps; ++i, at.advance(), next()) {
        unsigned char* q_tile = ring + at.stage * P::stage_bytes;
        ptx::wait_barrier(&empty[at.stage], at.parity ^ 1);  // returns at once in the first round
        ptx::arrive_expecting(&full[at.stage], P::stage_bytes);
        copy<P::boxes, P::query_box>(q_tile, &maps.q, head, tile * queries, sequence, &full[at.stage]);
        copy<P::boxes, P::query_box>(
            q_tile + P::query_bytes, &maps.dout, head, tile * queries, sequence, &full[at.stage]);
        ptx::copy_bytes(q_tile + 2 * P::query_bytes, g.stats + g.tile_of(head, sequence, tile), sizeof(QueryStats),
            &full[at.stage]);
      }
    } else {
      HEDDLE_ROLLED
      for (int i = 0; i < steps; ++i, next()) {
        const KeyBlocks of = key_blocks[tile];
        const int at = g.tile_of(head, sequence, tile);
        const int before = of.last - 1 - block;  // number of blocks that add before this one
        const bool adds = before >= 0 && block >= of.first;
        if (adds && before > 0) {
          ptx::wait_for_word(g.blocks_added + at, before);
          ptx::fence_async_global();
        }
        HEDDLE_ROLLED
        for (int box = 0; box < P::boxes; ++box) {
          const int c = P::boxes > 1 ? box : i % consumers;
          ptx::wait_barrier(&part_full[c], P::part_of(i) % 2);
          float* to = g.sums + static_cast<int64_t>(at * P::boxes + box) * part_floats;
          if (adds && before > 0) ptx::add_bytes(to, parts + c * part_bytes, part_bytes);
          else if (adds) ptx::store_bytes(to, parts + c * part_bytes, part_bytes);
        }
        ptx::commit_writes();
        ptx::wait_writes_read();
        for (int box = 0; box < P::boxes; ++box) ptx::arrive(&part_empty[P::boxes > 1 ? box : i % consumers]);
        if (!adds) continue;
        ptx::wait_writes();
        ptx::fence_async_global();
        ptx::release_word(g.blocks_added + at, before + 1);
      }
      ptx::wait_writes();
    }
    return;
  }

  ptx::take_registers<consumer_registers>();
  const int consumer = warp / 4 - 1, own = consumer * 64;
  const int own_key = start + own_first + own + warp % 4 * 16 + lane / 4;  // the lane also has own_key + 8
  const unsigned char *own_k = k_tile + own * line_bytes, *own_v = v_tile + own * line_bytes;
  float s[queries / 2], dp[queries / 2], dk[P::width / 2], dv[P::width / 2];
  float(&dq)[32] = s;  // the part of dq reuses the registers of S' after the last use of S'
  uint32_t p[queries / 16][4], ds[queries / 16][4];
  HEDDLE_UNROLL
  for (int r = 0; r < P::width / 2; ++r) dk[r] = dv[r] = 0;
  ptx::pin_all(dk);
  ptx::pin_all(dv);

  ptx::wait_barrier(own_full, 0);
  for (int i = 0; i < steps; ++i) {
    const unsigned char *q_tile = ring + i % P::stages * P::stage_bytes, *do_tile = q_tile + P::query_bytes;
    const QueryStats& stats = *reinterpret_cast<const QueryStats*>(do_tile + P::query_bytes);
    ptx::wait_barrier(&full[i % P::stages], i / P::stages % 2);
    multiply_rows<P>(s, own_k, q_tile);
    ptx::wait_products<1>();  // dk of the previous step, the last product that reads that step's stage, is complete
    if (i > 0 && lane == 0) ptx::arrive(&empty[(i - 1) % P::stages]);
    multiply_rows<P>(dp, own_v, do_tile);
    ptx::wait_products<1>();  // S' is complete
    ptx::pin_all(s);
    if (a.scores.softcap > 0) softmax_tile<true, true>(s, p, stats, own_key, a.scores);
    else if (is_fully_visible(stats, start + own_first)) softmax_tile<false, false>(s, p, stats, own_key, a.scores);
    else softmax_tile<true, false>(s, p, stats, own_key, a.scores);
    add_products<P>(dv, p, do_tile);
    ptx::wait_products<1>();  // dP' is complete
    ptx::pin_all(dp);
    // Rounds dS' and keeps it in registers, as the left operand of dk. Also stores it to shared memory, where the rows
    // of both warpgroups form the left operand of dq. Steps alternate between two tiles. A warpgroup reaches the
    // barrier of step i + 1 only after its dq of step i is complete. No product reads a tile when step i + 2
    // overwrites it.
    unsigned char* own_ds =
        ds_tiles + i % 2 * P::ds_bytes + (own + warp % 4 * 16 + lane / 4) * line_bytes + lane % 4 * 4;
    HEDDLE_UNROLL
    for (int j = 0; j < queries / 8; ++j) {
      const int query = 8 * j + lane % 4 * 2;
      const float delta[2] = {stats.delta[query], stats.delta[query + 1]};
      HEDDLE_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int r = 4 * j + 2 * h;
        ds[j / 2][j % 2 * 2 + h] = pack_bf16(s[r] * (dp[r] - delta[0]), s[r + 1] * (dp[r + 1] - delta[1]));
        *reinterpret_cast<uint32_t*>(own_ds + 8 * h * line_bytes + (j ^ lane / 4) * 16) = ds[j / 2][j % 2 * 2 + h];
      }
    }
    ptx::fence_async();
    ptx::sync_named(1, consumers * warpgroup);
    if (P::boxes > 1 || i % consumers == consumer) {
      multiply_ds(dq, ds_tiles + i % 2 * P::ds_bytes, k_tile + (P::boxes > 1 ? consumer * P::key_box : 0));
      add_products<P>(dk, ds, q_tile);
      ptx::wait_products<1>();  // dv and dq are complete
      ptx::pin_all(dq);
      ptx::wait_barrier(&part_empty[consumer], P::part_of(i) % 2 ^ 1);  // returns at once the first time
      unsigned char* part = parts + consumer * part_bytes + threadIdx.x % warpgroup * 16;
      HEDDLE_UNROLL
      for (int r = 0; r < 32; r += 4)
        *reinterpret_cast<float4*>(part + r / 4 * warpgroup * 16) = float4{dq[r], dq[r + 1], dq[r + 2], dq[r + 3]};
      ptx::fence_async();
      __syncwarp();
      if (lane == 0) ptx::arrive(&part_full[consumer]);
    } else {
      add_products<P>(dk, ds, q_tile);
    }
  }
  ptx::wait_products<0>();
  ptx::pin_all(dk);
  ptx::pin_all(dv);
  const BlockPlace here = place[0];  // read again, because no registers are left to hold it
  const int64_t end = (here.sequence + 1) * a.T;
  store_rows(a.dk, dk, a.scores.scale, own_key, end, a.KH, here.kv_head, a.D);
  store_rows(a.dv, dv, 1.0f, own_key, end, a.KH, here.kv_head, a.D);
#endif
}

// Multiplies the sums of dq by `scale`, rounds them, and stores them as rows. One block per tile and head. grid
// (sequences * tiles, H).
template <class P> __global__ void __launch_bounds__(P::boxes* warpgroup) store_sums_kernel(Gradient g) {
  const BackwardArguments& a = g.a;
  const int sequence = static_cast<int>(blockIdx.x) / g.tiles, tile = static_cast<int>(blockIdx.x) % g.tiles,
            head = static_cast<int>(blockIdx.y);
  const int64_t end = (sequence + 1) * a.T;
  const int box = threadIdx.x / warpgroup, lane = threadIdx.x % warp_size;
  const int64_t row = sequence * a.T + tile * queries + threadIdx.x % warpgroup / warp_size * 16 + lane / 4;
  const bool any = g.key_blocks[blockIdx.x].first < g.key_blocks[blockIdx.x].last;
  const float4* sums =
      reinterpret_cast<const float4*>(
          g.sums + static_cast<int64_t>(g.tile_of(head, sequence, tile) * P::boxes + box) * part_floats) +
      threadIdx.x % warpgroup;
  HEDDLE_UNROLL
  for (int j = 0; j < 8; ++j) {
    const int64_t column = 64 * box + 8 * j + lane % 4 * 2;
    const float4 sum = any ? sums[j * warpgroup] : float4{0, 0, 0, 0};
    uint16_t* to = static_cast<uint16_t*>(a.dq.data) + (row * a.H + head) * a.D + column;
    if (column >= a.D) continue;
    if (row < end) *reinterpret_cast<uint32_t*>(to) = pack_bf16(sum.x * a.scores.scale, sum.y * a.scores.scale);
    if (row + 8 < end)
      *reinterpret_cast<uint32_t*>(to + 8 * a.H * a.D) = pack_bf16(sum.z * a.scores.scale, sum.w * a.scores.scale);
  }
}

// The sizes in bytes of the scratch's arrays, which are in this order: sums, stats, key_blocks, blocks_added,
// next_block.
struct Sizes {
  int64_t tiles, places;  // tiles: per sequence; places: tiles of all sequences and heads
  size_t sums, stats, key_blocks;

  Sizes(int64_t N, int64_t T, int64_t H, int64_t D) {
    const int64_t sequences = T > 0 ? N / T : 0;
    tiles = T > 0 ? ceil_div(T, queries) : 0, places = H * sequences * tiles;
    sums = static_cast<size_t>(places * (D > 64 ? 2 : 1)) * part_bytes;
    stats = static_cast<size_t>(places) * sizeof(QueryStats);
    key_blocks = static_cast<size_t>(sequences * tiles) * sizeof(KeyBlocks);
  }
  size_t all() const { return sums + stats + key_blocks + static_cast<size_t>(places + 1) * sizeof(int32_t); }
};

template <class P> void run(const Context& c, const BackwardArguments& a, unsigned char* scratch) {
  const char* name = "attention_backward";
  const Sizes sizes(a.N, a.T, a.H, a.D);
  const int64_t sequences = a.N / a.T, tiles = sizes.tiles, blocks = ceil_div(a.T, keys);
  const int64_t interleaved =
      a.causal ? 1
               : interleaved_heads(sequences * a.KH, blocks, tiles * (a.H / a.KH), properties_of(c).multiprocessors);
  int32_t* blocks_added = reinterpret_cast<int32_t*>(scratch + sizes.sums + sizes.stats + sizes.key_blocks);
  const Gradient g{a, static_cast<int32_t>(tiles), static_cast<int32_t>(sequences), static_cast<int32_t>(interleaved),
      reinterpret_cast<KeyBlocks*>(scratch + sizes.sums + sizes.stats),
      reinterpret_cast<QueryStats*>(scratch + sizes.sums), reinterpret_cast<float*>(scratch), blocks_added,
      blocks_added + sizes.places};
  const unsigned heads = static_cast<unsigned>(a.H), of_tiles = static_cast<unsigned>(sequences * tiles);
  launch(c, name, {dim3(blocks_for(sequences * tiles, 8), heads), dim3(256)}, stats_kernel, g);
  const Maps maps{map_of_heads(a.q.data, sequences, a.T, a.H, a.D, queries),
      map_of_heads(a.dout.data, sequences, a.T, a.H, a.D, queries),
      map_of_heads(a.k.data, sequences, a.T, a.KH, a.D, keys), map_of_heads(a.v.data, sequences, a.T, a.KH, a.D, keys)};
  launch(c, name, {dim3(static_cast<unsigned>(sequences * a.KH * blocks)), dim3(threads), P::shared_bytes},
      tensor_warpgroup_attention_gradient_kernel<P>, maps, g);
  launch(c, name, {dim3(of_tiles, heads), dim3(P::boxes * warpgroup)}, store_sums_kernel<P>, g);
}

}  // namespace

size_t warpgroup_backward_scratch(const Node& n) {
  const Shape& q = n.in[1].shape;
  return Sizes(q[0], sequence_length(n, n.in[1]), q[1], q[2]).all();
}

void attention_backward_warpgroup(const Context& c, const BackwardArguments& a, void* scratch) {
  unsigned char* at = static_cast<unsigned char*>(scratch);
  if (a.D <= 64) run<Plan<64>>(c, a, at);
  else if (a.D <= 96) run<Plan<96>>(c, a, at);
  else run<Plan<128>>(c, a, at);
}

}  // namespace cuda
}  // namespace heddle
