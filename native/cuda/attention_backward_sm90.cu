// The gradient of attention on the tensor cores of sm_90a, for heads of at most 128 (after Dao 2023, "FlashAttention-2", and Shah et al. 2024,
// "FlashAttention-3"), in two passes without atomics, so that its bits depend on the operands alone. One thread copies (TMA), two warpgroups have
// 64 rows each, and every product is wgmma. What one product leaves in a lane's registers is its part of the next one's left operand, so that
// neither P nor dS goes through shared memory. Two products are made twice for that: seven in all, where one pass that adds to dq in global memory
// would make five.
//
//   128 queries a block:  S = Q K'    dP = dO V'    dS = P (dP - mean) dscore    dq += dS K
//   128 keys a block:     S' = K Q'   dP' = V dO'   dv += P' dO                  dk += dS' Q      for every head of the group
#include "cuda/attention_backward.cuh"
#include "cuda/attention_tensor.cuh"
#include "cuda/ptx_sm90.cuh"
#include "cuda/tensor_map.h"
#include "cuda/tensor_tile.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int line_bytes = 128, group_bytes = 8 * line_bytes;
constexpr int warpgroup = 128, consumers = 2, threads = (1 + consumers) * warpgroup;
constexpr int own_rows = consumers * 64;

// What is known of a query of a head before its gradient. 16 bytes, so that a copy may begin at any of them.
struct alignas(16) QueryFacts {
  float lse, mean;      // lse: as a power of two
  int32_t first, last;  // the keys that it sees
};
constexpr int64_t beyond = 128;  // queries that nobody has, after the last: tiles end there

struct Gradient {
  BackwardArguments a;
  const QueryFacts* facts;  // (H, N + beyond)
};
struct Maps {
  CUtensorMap q, dout, k, v;
};

// A tile (rows, width): boxes of 64 columns side by side.
template <int width_, int rows_> struct Tile {
  static constexpr int width = width_, rows = rows_, boxes = (width + 63) / 64, box_bytes = rows * line_bytes, bytes = boxes * box_bytes;
};
// Queries of a block: q, do, then stages of k and v. Keys: k, v, then stages of q, do and facts.
// copying, multiplying: registers of the warpgroups' threads.
template <class Own_, class Other_, int stages_, int facts, int copying_, int multiplying_> struct Plan {
  using Own = Own_;
  using Other = Other_;
  static constexpr int copying = copying_, multiplying = multiplying_;
  static constexpr int stages = stages_, facts_bytes = facts * static_cast<int>(sizeof(QueryFacts)), stage_bytes = 2 * Other::bytes + facts_bytes;
  static constexpr size_t shared = 2 * Own::bytes + static_cast<size_t>(stages) * stage_bytes + group_bytes;  // the beginning is rounded up
  static_assert(ptx::registers_fit<threads>(copying + consumers * multiplying), "no more registers than the block was launched with");
  static_assert(facts_bytes % group_bytes == 0, "tiles begin at multiples");
};
template <int width> using OfQueries = Plan<Tile<width, own_rows>, Tile<width, 128>, 2, 0, 40, 232>;
template <int width, int queries> using OfKeys = Plan<Tile<width, own_rows>, Tile<width, queries>, 3, queries, 24, 240>;

__global__ void __launch_bounds__(256) facts_kernel(BackwardArguments a, QueryFacts* facts) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x, length = a.N + beyond;
  if (i >= a.H * length) return;
  const int64_t row = i % length, at = row * a.H + i / length;
  const RowSpan seen = row < a.N ? a.spans[row] : RowSpan{0, 0};
  facts[i] = row < a.N ? QueryFacts{a.lse[at] * log2_e, a.mean[at], seen.first, seen.last} : QueryFacts{0, 0, 0, 0};
}

// A stage of the ring, and the parity of its barriers' phase.
template <int stages> struct Position {
  int stage = 0;
  unsigned parity = 0;
  __device__ void advance() {
    if (++stage == stages) stage = 0, parity ^= 1;
  }
  __device__ int before() const { return stage == 0 ? stages - 1 : stage - 1; }
};

#if HEDDLE_SM90A
template <class Tile> __device__ inline void copy(unsigned char* tile, const CUtensorMap* map, int head, int row, int sequence, uint64_t* full) {
  HEDDLE_ROLLED  // few registers are left here
  for (int i = 0; i < Tile::boxes; ++i) ptx::copy_box(tile + i * Tile::box_bytes, map, 64 * i, head, row, sequence, full);
}

// Asks for sum (64, rows of Right) = left (64 rows of Left's from `row` on) right'.
template <class Left, class Right> __device__ inline void multiply_rows(float (&sum)[Right::rows / 2], const unsigned char* left, int row, const unsigned char* right) {
  ptx::fence_products();
  HEDDLE_UNROLL
  for (int d = 0; d < Left::width / 16; ++d)
    ptx::multiply_tiles<false, false>(sum, ptx::describe_tile(left + row * line_bytes + d / 4 * Left::box_bytes + d % 4 * 32, 0, group_bytes),
                                      ptx::describe_tile(right + d / 4 * Right::box_bytes + d % 4 * 32, 0, group_bytes), d > 0);
  ptx::commit_products();
}
// Asks for sum (64, width) += left (64, rows) right (rows, width).
template <class Right> __device__ inline void add_products(float (&sum)[Right::width / 2], const uint32_t (&left)[Right::rows / 16][4], const unsigned char* right) {
  ptx::fence_products();
  HEDDLE_UNROLL
  for (int i = 0; i < Right::rows / 16; ++i)
    ptx::multiply_registers<true>(sum, left[i], ptx::describe_tile(right + i * 16 * line_bytes, Right::box_bytes, group_bytes), true);
  ptx::commit_products();
}
// Sums of a warpgroup's 64 rows as the left operand of a product over their columns.
template <int registers> __device__ inline void round_sums(uint32_t (&to)[registers / 8][4], const float (&sum)[registers]) {
  HEDDLE_UNROLL
  for (int i = 0; i < registers / 8; ++i)
    HEDDLE_UNROLL
    for (int e = 0; e < 4; ++e) to[i][e] = pack_bf16(sum[8 * i + 2 * e], sum[8 * i + 2 * e + 1]);
}

// The weight of a key under its query, and what its gradient is multiplied by beside the scale.
struct Weight {
  float p, slope;
};
__device__ inline Weight weight_of(const Scores& scores, float product, float lse) {
  if (!(scores.softcap > 0)) return {exp2f(product * (scores.scale * log2_e) - lse), 1.0f};
  const float bent = tanhf(product * scores.scale / scores.softcap);
  return {exp2f(bent * (scores.softcap * log2_e) - lse), 1.0f - bent * bent};
}

// A lane's part of (64, width) sums, times `factor`, to x (rows, heads, D); its first row and the eighth after it.
template <int registers> __device__ inline void store_rows(const Out& x, const float (&sum)[registers], float factor, int64_t row, int64_t end, int64_t heads, int64_t head, int64_t D) {
  HEDDLE_UNROLL
  for (int h = 0; h < 2; ++h) {
    if (row + 8 * h >= end) continue;
    uint16_t* to = static_cast<uint16_t*>(x.data) + ((row + 8 * h) * heads + head) * D + threadIdx.x % 4 * 2;
    HEDDLE_UNROLL
    for (int j = 0; j < registers / 4; ++j)
      if (8 * j < D) *reinterpret_cast<uint32_t*>(to + 8 * j) = pack_bf16(sum[4 * j + 2 * h] * factor, sum[4 * j + 2 * h + 1] * factor);
  }
}

template <class P> __device__ inline unsigned char* begin_of(unsigned char* memory) {
  return memory + (group_bytes - ptx::shared_address(memory) % group_bytes) % group_bytes;
}
template <class P> __device__ inline void init_barriers(uint64_t* own_full, uint64_t* full, uint64_t* empty) {
  if (threadIdx.x != 0) return;
  ptx::init_barrier(own_full, 1);
  for (int s = 0; s < P::stages; ++s) {
    ptx::init_barrier(&full[s], 1);
    ptx::init_barrier(&empty[s], consumers * warpgroup / warp_size);
  }
  ptx::fence_async();
}
#endif

// grid (sequences * tiles of 128 queries, H)
template <class P> __global__ void __launch_bounds__(threads, 1) tensor_warpgroup_query_gradient_kernel(const __grid_constant__ Maps maps, Gradient g) {
#if HEDDLE_SM90A
  using Own = typename P::Own;
  using Other = typename P::Other;
  constexpr int keys = Other::rows;
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  HEDDLE_SHARED(uint64_t, own_full, [1]);
  HEDDLE_SHARED(uint64_t, full, [P::stages]);
  HEDDLE_SHARED(uint64_t, empty, [P::stages]);
  unsigned char *q_tile = begin_of<P>(memory), *do_tile = q_tile + Own::bytes, *ring = do_tile + Own::bytes;
  const BackwardArguments& a = g.a;
  const int lane = threadIdx.x % warp_size;
  const int64_t tiles = (a.T + own_rows - 1) / own_rows, sequence = blockIdx.x / tiles, start = sequence * a.T, end = start + a.T;
  const int64_t row0 = start + (tiles - 1 - blockIdx.x % tiles) * own_rows, head = blockIdx.y;  // the last, which see most keys, go first
  const RowSpan seen = seen_by<own_rows>(a.spans, row0, end);
  const int32_t first = seen.first;
  const int key_tiles = (seen.last - first + keys - 1) / keys;
  init_barriers<P>(own_full, full, empty);
  __syncthreads();

  if (threadIdx.x < warpgroup) {
    ptx::give_registers<P::copying>();
    if (threadIdx.x != 0 || key_tiles == 0) return;
    ptx::arrive_expecting(own_full, 2 * Own::bytes);
    const int of_kv = static_cast<int>(head / (a.H / a.KH)), of_sequence = static_cast<int>(sequence), own_first = static_cast<int>(row0 - start);
    copy<Own>(q_tile, &maps.q, static_cast<int>(head), own_first, of_sequence, own_full);
    copy<Own>(do_tile, &maps.dout, static_cast<int>(head), own_first, of_sequence, own_full);
    Position<P::stages> at;
    for (int t = 0, row = first - static_cast<int>(start); t < key_tiles; ++t, row += keys, at.advance()) {
      unsigned char* k_tile = ring + at.stage * P::stage_bytes;
      ptx::wait_barrier(&empty[at.stage], at.parity ^ 1);  // complete at once in the first round
      ptx::arrive_expecting(&full[at.stage], P::stage_bytes);
      copy<Other>(k_tile, &maps.k, of_kv, row, of_sequence, &full[at.stage]);
      copy<Other>(k_tile + Other::bytes, &maps.v, of_kv, row, of_sequence, &full[at.stage]);
    }
    return;
  }

  ptx::take_registers<P::multiplying>();
  const int consumer = threadIdx.x / warpgroup - 1, own = consumer * 64;
  const int64_t own_row = row0 + own + threadIdx.x % warpgroup / warp_size * 16 + lane / 4;  // and the eighth after it
  QueryFacts facts[2];
  HEDDLE_UNROLL
  for (int h = 0; h < 2; ++h) facts[h] = own_row + 8 * h < end ? g.facts[head * (a.N + beyond) + own_row + 8 * h] : QueryFacts{0, 0, 0, 0};
  float s[keys / 2], dp[keys / 2], dq[Own::width / 2];
  uint32_t ds[keys / 16][4];
  HEDDLE_UNROLL
  for (int r = 0; r < Own::width / 2; ++r) dq[r] = 0;
  ptx::pin_all(dq);

  if (key_tiles > 0) ptx::wait_barrier(own_full, 0);
  Position<P::stages> at;
  for (int t = 0; t < key_tiles; ++t, at.advance()) {
    const unsigned char *k_tile = ring + at.stage * P::stage_bytes, *v_tile = k_tile + Other::bytes;
    ptx::wait_barrier(&full[at.stage], at.parity);
    multiply_rows<Own, Other>(s, q_tile, own, k_tile);
    ptx::wait_products<1>();  // those that read the stage before
    if (t > 0 && lane == 0) ptx::arrive(&empty[at.before()]);
    multiply_rows<Own, Other>(dp, do_tile, own, v_tile);
    ptx::wait_products<1>();  // the scores
    ptx::pin_all(s);
    const int tile0 = first + t * keys;
    const bool whole = facts[0].first <= tile0 && facts[1].first <= tile0 && facts[0].last >= tile0 + keys && facts[1].last >= tile0 + keys;
    HEDDLE_UNROLL
    for (int r = 0; r < keys / 2; ++r) {
      const Weight w = weight_of(a.scores, s[r], facts[r / 2 % 2].lse);
      s[r] = w.p * w.slope;
    }
    if (__ballot_sync(all_lanes, whole) != all_lanes)  // most tiles are seen whole
      HEDDLE_UNROLL
      for (int r = 0; r < keys / 2; ++r) {
        const int h = r / 2 % 2, key = tile0 + 8 * (r / 4) + 2 * (lane % 4) + r % 2;
        if (key < facts[h].first || key >= facts[h].last) s[r] = 0;
      }
    ptx::wait_products<0>();
    ptx::pin_all(dp);
    HEDDLE_UNROLL
    for (int r = 0; r < keys / 2; ++r) s[r] *= dp[r] - facts[r / 2 % 2].mean;
    round_sums(ds, s);
    add_products<Other>(dq, ds, k_tile);
  }
  ptx::wait_products<0>();
  ptx::pin_all(dq);
  store_rows(a.dq, dq, a.scores.scale, own_row, end, a.H, head, a.D);
#endif
}

// grid (sequences * tiles of 128 keys, KH)
template <class P> __global__ void __launch_bounds__(threads, 1) tensor_warpgroup_key_gradient_kernel(const __grid_constant__ Maps maps, Gradient g) {
#if HEDDLE_SM90A
  using Own = typename P::Own;
  using Other = typename P::Other;
  constexpr int queries = Other::rows;
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  HEDDLE_SHARED(uint64_t, own_full, [1]);
  HEDDLE_SHARED(uint64_t, full, [P::stages]);
  HEDDLE_SHARED(uint64_t, empty, [P::stages]);
  HEDDLE_SHARED(int32_t, first_of_warp, [threads / warp_size]);
  HEDDLE_SHARED(int32_t, last_of_warp, [threads / warp_size]);
  unsigned char *k_tile = begin_of<P>(memory), *v_tile = k_tile + Own::bytes, *ring = v_tile + Own::bytes;
  const BackwardArguments& a = g.a;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int64_t tiles = (a.T + own_rows - 1) / own_rows, sequence = blockIdx.x / tiles, start = sequence * a.T, end = start + a.T;
  const int64_t row0 = start + blockIdx.x % tiles * own_rows, kv_head = blockIdx.y, group = a.H / a.KH;

  // Queries from the first to the last that see any of these keys.
  int32_t first = 0x7fffffff, last = 0;
  for (int64_t row = start + threadIdx.x; row < end; row += threads) {
    const RowSpan s = a.spans[row];
    if (s.first >= s.last || s.first >= row0 + own_rows || s.last <= row0) continue;
    first = min(first, static_cast<int32_t>(row));
    last = max(last, static_cast<int32_t>(row) + 1);
  }
  for (int lanes = warp_size / 2; lanes > 0; lanes /= 2) {
    first = min(first, __shfl_xor_sync(all_lanes, first, lanes));
    last = max(last, __shfl_xor_sync(all_lanes, last, lanes));
  }
  if (lane == 0) first_of_warp[warp] = first, last_of_warp[warp] = last;
  init_barriers<P>(own_full, full, empty);
  __syncthreads();
  for (int w = 0; w < threads / warp_size; ++w) first = min(first, first_of_warp[w]), last = max(last, last_of_warp[w]);
  const int query_tiles = last > first ? (last - first + queries - 1) / queries : 0;
  const int steps = query_tiles * static_cast<int>(group);  // tile after tile, head after head

  if (threadIdx.x < warpgroup) {
    ptx::give_registers<P::copying>();
    if (threadIdx.x != 0 || steps == 0) return;
    ptx::arrive_expecting(own_full, 2 * Own::bytes);
    copy<Own>(k_tile, &maps.k, static_cast<int>(kv_head), static_cast<int>(row0 - start), static_cast<int>(sequence), own_full);
    copy<Own>(v_tile, &maps.v, static_cast<int>(kv_head), static_cast<int>(row0 - start), static_cast<int>(sequence), own_full);
    // Few registers are left here: what could be divided is counted.
    const int of_sequence = static_cast<int>(sequence), row_first = first - static_cast<int>(start), row_last = last - static_cast<int>(start);
    int head = static_cast<int>(kv_head * group), row = row_first;
    Position<P::stages> at;
    const QueryFacts* facts = g.facts + head * (a.N + beyond) + start;
    HEDDLE_ROLLED
    for (int i = 0; i < steps; ++i, at.advance()) {
      unsigned char* q_tile = ring + at.stage * P::stage_bytes;
      ptx::wait_barrier(&empty[at.stage], at.parity ^ 1);
      ptx::arrive_expecting(&full[at.stage], P::stage_bytes);
      copy<Other>(q_tile, &maps.q, head, row, of_sequence, &full[at.stage]);
      copy<Other>(q_tile + Other::bytes, &maps.dout, head, row, of_sequence, &full[at.stage]);
      ptx::copy_bytes(q_tile + 2 * Other::bytes, facts + row, P::facts_bytes, &full[at.stage]);
      row += queries;
      if (row >= row_last) row = row_first, ++head, facts += a.N + beyond;
    }
    return;
  }

  ptx::take_registers<P::multiplying>();
  const int own = (threadIdx.x / warpgroup - 1) * 64;
  const int own_key = static_cast<int>(row0) + own + warp % 4 * 16 + lane / 4;  // and the eighth after it
  float s[queries / 2], dp[queries / 2], dk[Own::width / 2], dv[Own::width / 2];
  uint32_t p[queries / 16][4], ds[queries / 16][4];
  HEDDLE_UNROLL
  for (int r = 0; r < Own::width / 2; ++r) dk[r] = dv[r] = 0;
  ptx::pin_all(dk);
  ptx::pin_all(dv);

  if (steps > 0) ptx::wait_barrier(own_full, 0);
  Position<P::stages> at;
  for (int i = 0; i < steps; ++i, at.advance()) {
    const unsigned char *q_tile = ring + at.stage * P::stage_bytes, *do_tile = q_tile + Other::bytes;
    const QueryFacts* facts = reinterpret_cast<const QueryFacts*>(do_tile + Other::bytes) + 2 * (lane % 4);
    ptx::wait_barrier(&full[at.stage], at.parity);
    multiply_rows<Own, Other>(s, k_tile, own, q_tile);
    ptx::wait_products<1>();  // those that read the stage before
    if (i > 0 && lane == 0) ptx::arrive(&empty[at.before()]);
    multiply_rows<Own, Other>(dp, v_tile, own, do_tile);
    ptx::wait_products<1>();  // the scores
    ptx::pin_all(s);
    HEDDLE_UNROLL
    for (int j = 0; j < queries / 8; ++j) {  // of eight columns, two are the lane's
      const QueryFacts query[2] = {facts[8 * j], facts[8 * j + 1]};
      HEDDLE_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int key = own_key + 8 * h;
        float rounded[2];
        HEDDLE_UNROLL
        for (int e = 0; e < 2; ++e) {
          Weight w = weight_of(a.scores, s[4 * j + 2 * h + e], query[e].lse);
          if (key < query[e].first || key >= query[e].last) w.p = 0;
          rounded[e] = w.p, s[4 * j + 2 * h + e] = w.p * w.slope;
        }
        p[j / 2][j % 2 * 2 + h] = pack_bf16(rounded[0], rounded[1]);
      }
    }
    add_products<Other>(dv, p, do_tile);
    ptx::wait_products<1>();  // dP
    ptx::pin_all(dp);
    HEDDLE_UNROLL
    for (int j = 0; j < queries / 8; ++j) {
      const float mean[2] = {facts[8 * j].mean, facts[8 * j + 1].mean};
      HEDDLE_UNROLL
      for (int e = 0; e < 4; ++e) dp[4 * j + e] = s[4 * j + e] * (dp[4 * j + e] - mean[e % 2]);
    }
    round_sums(ds, dp);
    add_products<Other>(dk, ds, q_tile);
  }
  ptx::wait_products<0>();
  ptx::pin_all(dk);
  ptx::pin_all(dv);
  store_rows(a.dk, dk, a.scores.scale, own_key, end, a.KH, kv_head, a.D);
  store_rows(a.dv, dv, 1.0f, own_key, end, a.KH, kv_head, a.D);
#endif
}

template <int width, int queries> void run(const Context& c, const Gradient& g) {
  const char* name = "attention_backward";
  const BackwardArguments& a = g.a;
  const int64_t sequences = a.N / a.T;
  const unsigned tiles = static_cast<unsigned>(sequences * ((a.T + own_rows - 1) / own_rows));
  const auto maps = [&](int of_queries, int of_keys) {
    return Maps{map_of_heads(a.q.data, sequences, a.T, a.H, a.D, of_queries), map_of_heads(a.dout.data, sequences, a.T, a.H, a.D, of_queries),
                map_of_heads(a.k.data, sequences, a.T, a.KH, a.D, of_keys), map_of_heads(a.v.data, sequences, a.T, a.KH, a.D, of_keys)};
  };
  using Queries = OfQueries<width>;
  using Keys = OfKeys<width, queries>;
  launch(c, name, {dim3(tiles, static_cast<unsigned>(a.H)), dim3(threads), Queries::shared}, tensor_warpgroup_query_gradient_kernel<Queries>,
         maps(own_rows, Queries::Other::rows), g);
  launch(c, name, {dim3(tiles, static_cast<unsigned>(a.KH)), dim3(threads), Keys::shared}, tensor_warpgroup_key_gradient_kernel<Keys>, maps(queries, own_rows), g);
}

}  // namespace

size_t warpgroup_backward_scratch(const Node& n) {
  const Shape& q = n.in[1].shape;
  return static_cast<size_t>(q[1] * (q[0] + beyond)) * sizeof(QueryFacts);
}

void attention_backward_warpgroup(const Context& c, const BackwardArguments& a, void* scratch) {
  QueryFacts* facts = static_cast<QueryFacts*>(scratch);
  launch(c, "attention_backward", {dim3(blocks_for(a.H * (a.N + beyond), 256)), dim3(256)}, facts_kernel, a, facts);
  const Gradient g{a, facts};
  if (a.D <= 64) run<64, 64>(c, g);
  else if (a.D <= 96) run<96, 64>(c, g);
  else run<128, 64>(c, g);
}

}  // namespace cuda
}  // namespace heddle
