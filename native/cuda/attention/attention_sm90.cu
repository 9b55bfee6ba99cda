// Attention over whole sequences on the tensor cores of sm_90a (Shah et al. 2024, "FlashAttention-3"). One thread of
// the first warpgroup copies tiles of keys and values into rings by TMA. The other two warpgroups compute 64 query rows
// each. A warpgroup issues the scores of tile t before the product of weights and values of tile t - 1. The softmax of
// tile t then overlaps with that product. The two warpgroups take turns (ping-pong), so that the products of one
// overlap with the softmax of the other.
//
//   S (64, keys) = Q K'          wgmma, both operands in shared memory
//   P = 2^(S - maximum so far)   rounded to bf16; accumulators of S have the register layout of P, the left operand
//   O (64, D) = O 2^(previous maximum - maximum so far) + P V
//                                wgmma, P in registers, V MN-major (columns innermost)
#include "cuda/attention/attention_tensor.cuh"
#include "cuda/gemm/sm90_tiles.cuh"
#include "cuda/runtime/tensor_map.h"
#include "cuda/gemm/tensor_tile.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int consumers = 2, threads = (1 + consumers) * warpgroup;
constexpr int query_rows = consumers * 64, stages = 2;

// The configuration of a block for heads of at most width_ elements. A tile (rows, width) in shared memory consists of
// adjacent boxes of 64 columns.
template <int width_, int keys_> struct Tile {
  static constexpr int width = width_, keys = keys_, boxes = ceil_div(width, 64);
  static constexpr int q_box_bytes = query_rows * line_bytes, q_bytes = boxes * q_box_bytes;
  // bytes of a box and of a tile of keys or values
  static constexpr int box_bytes = keys * line_bytes, bytes = boxes * box_bytes;
  // The last group_bytes are for the alignment of the first tile.
  static constexpr size_t shared_bytes = q_bytes + static_cast<size_t>(2 * stages) * bytes + group_bytes;
  // registers per thread
  static constexpr int producer_registers = width > 128 ? 24 : 56, consumer_registers = width > 128 ? 240 : 224;
  static constexpr int parts = width > 128 ? 2 : 1, part = width / parts;  // part: columns of O per wgmma
  static_assert(ptx::registers_fit<threads>(producer_registers + consumers * consumer_registers),
      "the warpgroups may use no more registers than the block was launched with");
  static_assert(parts == 1 || part % 64 == 0, "each part must begin at a box");
};

struct Maps {
  CUtensorMap q, k, v;
};

// grid (sequences * tiles of 128 queries, H). T::width is at least D. TMA fills columns from D on with zeros.
template <class T>
__global__ void __launch_bounds__(threads, 1)
    tensor_warpgroup_attention_kernel(const __grid_constant__ Maps maps, TensorAttention a) {
#if HEDDLE_SM90A
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  HEDDLE_SHARED(uint64_t, q_full, [1]);
  HEDDLE_SHARED(uint64_t, k_full, [stages]);
  HEDDLE_SHARED(uint64_t, k_empty, [stages]);
  HEDDLE_SHARED(uint64_t, v_full, [stages]);
  HEDDLE_SHARED(uint64_t, v_empty, [stages]);
  constexpr int keys = T::keys;
  unsigned char *q_tile = memory + (group_bytes - ptx::shared_address(memory) % group_bytes) % group_bytes,
                *k_ring = q_tile + T::q_bytes, *v_ring = k_ring + stages * T::bytes;
  const int lane = threadIdx.x % warp_size;
  // The first blocks take the last query tiles of a sequence. With a causal mask, these see the most keys.
  const int64_t tiles = ceil_div(a.T, query_rows), sequence = blockIdx.x / tiles, start = sequence * a.T;
  const int64_t row0 = start + (tiles - 1 - blockIdx.x % tiles) * query_rows, end = start + a.T;
  const int64_t head = blockIdx.y;
  const RowSpan seen = seen_by<query_rows>(a.spans, row0, end);
  const int32_t first = seen.first, last = seen.last;
  const int key_tiles = ceil_div(last - first, keys);

  if (threadIdx.x == 0) {
    ptx::init_barrier(q_full, 1);
    for (int s = 0; s < stages; ++s) {
      ptx::init_barrier(&k_full[s], 1);
      ptx::init_barrier(&v_full[s], 1);
      ptx::init_barrier(&k_empty[s], consumers * warpgroup / warp_size);
      ptx::init_barrier(&v_empty[s], consumers * warpgroup / warp_size);
    }
    ptx::fence_async();
  }
  __syncthreads();

  if (threadIdx.x < warpgroup) {
    ptx::give_registers<T::producer_registers>();
    if (threadIdx.x != 0 || key_tiles == 0) return;
    const int of_kv = static_cast<int>(head / (a.H / a.KH)), of_sequence = static_cast<int>(sequence);
    const auto copy = [&](unsigned char* tile, int box_bytes, const CUtensorMap* map, int of_head, int64_t row,
                          uint64_t* full) {
      ptx::arrive_expecting(full, T::boxes * box_bytes);
      // Not unrolled, because the copying thread has few registers.
      HEDDLE_ROLLED
      for (int i = 0; i < T::boxes; ++i)
        ptx::copy_box(tile + i * box_bytes, map, 64 * i, of_head, static_cast<int>(row), of_sequence, full);
    };
    copy(q_tile, T::q_box_bytes, &maps.q, static_cast<int>(head), row0 - start, q_full);
    for (int t = 0; t < key_tiles; ++t) {
      const int s = t % stages;
      // The parity of the phase in which the consumers released the stage. In the first round, the waits return at
      // once.
      const unsigned before = (t / stages + 1) % 2;
      ptx::wait_barrier(&k_empty[s], before);
      copy(k_ring + s * T::bytes, T::box_bytes, &maps.k, of_kv, first - start + t * keys, &k_full[s]);
      ptx::wait_barrier(&v_empty[s], before);
      copy(v_ring + s * T::bytes, T::box_bytes, &maps.v, of_kv, first - start + t * keys, &v_full[s]);
    }
    return;
  }

  ptx::take_registers<T::consumer_registers>();
  const int consumer = threadIdx.x / warpgroup - 1, warp = threadIdx.x % warpgroup / warp_size, ft = lane % 4;
  const int64_t own_row = row0 + consumer * 64 + warp * 16 + lane / 4;  // the lane also has own_row + 8
  // Weights are 2^(to_power * (value - maximum)). If `plain`, values are the raw products q . k, and to_power includes
  // the scale. This needs no softcap and a positive scale, which keeps the order of values. Otherwise values are
  // scores.
  const bool plain = !(a.scores.softcap > 0) && a.scores.scale > 0;
  const float to_power = plain ? a.scores.scale * log2_e : log2_e;
  QueryRows rows(a, own_row, end, head, plain ? 1.0f / a.scores.scale : 1.0f);
  float s[keys / 2], o[T::parts][T::part / 2];
  uint32_t p[keys / 16][4];
  HEDDLE_UNROLL
  for (int i = 0; i < T::parts; ++i) {
    HEDDLE_UNROLL
    for (int r = 0; r < T::part / 2; ++r) o[i][r] = 0;
  }

  // The warpgroups take turns in issuing products. Each has a named barrier, 1 or 2, at which it waits for the other
  // warpgroup to arrive.
  const auto wait_turn = [&] { ptx::sync_named(1 + consumer, consumers * warpgroup); };
  const auto signal_turn = [&] { ptx::arrive_named(2 - consumer, consumers * warpgroup); };
  const auto wait_for_keys = [&](int t) { ptx::wait_barrier(&k_full[t % stages], t / stages % 2); };
  const auto wait_for_values = [&](int t) { ptx::wait_barrier(&v_full[t % stages], t / stages % 2); };
  // Issues s = the raw products of the queries with the keys of tile t.
  const auto multiply_keys = [&](int t) {
    const unsigned char *q = q_tile + consumer * 64 * line_bytes, *k = k_ring + t % stages * T::bytes;
    ptx::fence_products();
    HEDDLE_UNROLL
    for (int d = 0; d < T::width / 16; ++d)
      ptx::multiply_tiles<false, false>(s,
          ptx::describe_tile(q + d / 4 * T::q_box_bytes + d % 4 * 32, ptx::k_major, group_bytes),
          ptx::describe_tile(k + d / 4 * T::box_bytes + d % 4 * 32, ptx::k_major, group_bytes), d > 0);
    ptx::commit_products();
  };
  // Issues o += p times the values of tile t.
  const auto multiply_values = [&](int t) {
    const unsigned char* v = v_ring + t % stages * T::bytes;
    ptx::fence_products();
    HEDDLE_UNROLL
    for (int part = 0; part < T::parts; ++part) {
      HEDDLE_UNROLL
      for (int i = 0; i < keys / 16; ++i)
        ptx::multiply_registers<true>(o[part], p[i],
            ptx::describe_tile(
                v + part * (T::part / 64) * T::box_bytes + i * 16 * line_bytes, T::box_bytes, group_bytes),
            true);
    }
    ptx::commit_products();
  };
  const auto release_stage = [&](uint64_t* empty) {
    if (lane == 0) ptx::arrive(empty);
  };
  // Turns s, the raw products of tile t, into weights. kept receives the factors that rescale earlier sums.
  const auto softmax_tile = [&](int t, float(&kept)[2]) {
    ptx::pin_all(s);
    const int tile0 = first + t * keys;
    if (!plain) {
      const FastScores scores(a.scores);
      HEDDLE_UNROLL
      for (int r = 0; r < keys / 2; ++r) s[r] = scores.of(s[r]);
    }
    // Most tiles need no mask, because all rows of the warp see all keys of the tile.
    const bool whole = rows.span[0].first <= tile0 && rows.span[1].first <= tile0 &&
                       rows.span[0].last >= tile0 + keys && rows.span[1].last >= tile0 + keys;
    if (__ballot_sync(all_lanes, whole) != all_lanes) {
      HEDDLE_UNROLL
      for (int r = 0; r < keys / 2; ++r) {
        const int h = r / 2 % 2, key = tile0 + 2 * ft + r / 4 * 8 + r % 2;
        if (key < rows.span[h].first || key >= rows.span[h].last) s[r] = -INFINITY;
      }
    }
    float now[2] = {rows.largest[0], rows.largest[1]}, base[2];
    HEDDLE_UNROLL
    for (int r = 0; r < keys / 2; ++r) now[r / 2 % 2] = fmaxf(now[r / 2 % 2], s[r]);
    rows.raise(now, to_power, kept, base);
    HEDDLE_UNROLL
    for (int r = 0; r < keys / 2; ++r) {
      s[r] = ptx::power_of_two(s[r] * to_power - base[r / 2 % 2]);
      rows.sum[r / 2 % 2] += s[r];
    }
  };
  // Rounds the weights to bf16. Two adjacent fragments of accumulators become a left operand of 16 along k.
  const auto round_weights = [&] {
    HEDDLE_UNROLL
    for (int i = 0; i < keys / 16; ++i) {
      p[i][0] = pack_bf16(s[8 * i], s[8 * i + 1]), p[i][1] = pack_bf16(s[8 * i + 2], s[8 * i + 3]);
      p[i][2] = pack_bf16(s[8 * i + 4], s[8 * i + 5]), p[i][3] = pack_bf16(s[8 * i + 6], s[8 * i + 7]);
    }
  };

  if (key_tiles > 0) {
    float kept[2];
    if (consumer == 1) signal_turn();  // the first warpgroup has the first turn
    ptx::wait_barrier(q_full, 0);
    wait_for_keys(0);
    wait_turn();
    multiply_keys(0);
    if (consumer == 0 || key_tiles > 1) signal_turn();
    ptx::wait_products<0>();
    release_stage(&k_empty[0]);
    softmax_tile(0, kept);
    round_weights();
    for (int t = 1; t < key_tiles; ++t) {
      wait_for_keys(t);
      wait_for_values(t - 1);
      wait_turn();
      multiply_keys(t);
      multiply_values(t - 1);
      // The second warpgroup does not signal after its last products, because the first one no longer waits.
      if (consumer == 0 || t + 1 < key_tiles) signal_turn();
      ptx::wait_products<1>();  // the scores are complete
      release_stage(&k_empty[t % stages]);
      softmax_tile(t, kept);
      ptx::wait_products<0>();
      release_stage(&v_empty[(t - 1) % stages]);
      HEDDLE_UNROLL
      for (int i = 0; i < T::parts; ++i) {
        ptx::pin_all(o[i]);
        HEDDLE_UNROLL
        for (int r = 0; r < T::part / 2; ++r) o[i][r] *= kept[r / 2 % 2];
      }
      round_weights();
    }
    wait_for_values(key_tiles - 1);
    multiply_values(key_tiles - 1);
    ptx::wait_products<0>();
    HEDDLE_UNROLL
    for (int i = 0; i < T::parts; ++i) ptx::pin_all(o[i]);
  }

  rows.store<T::width>(a, own_row, end, head, to_power,
      [&](int j, int h) { return &o[8 * j / T::part][4 * (j % (T::part / 8)) + 2 * h]; });
#endif
}

template <class T> void run(const Context& c, const TensorAttention& a) {
  const int64_t sequences = a.N / a.T;
  const Maps maps{map_of_heads(a.q, sequences, a.T, a.H, a.D, query_rows),
      map_of_heads(a.k, sequences, a.T, a.KH, a.D, T::keys), map_of_heads(a.v, sequences, a.T, a.KH, a.D, T::keys)};
  launch(c, "attention",
      {dim3(static_cast<unsigned>(sequences * ceil_div(a.T, query_rows)), static_cast<unsigned>(a.H)), dim3(threads),
          T::shared_bytes},
      tensor_warpgroup_attention_kernel<T>, maps, a);
}

}  // namespace

void attention_warpgroup(const Context& c, const TensorAttention& a) {
  if (a.D <= 64) run<Tile<64, 128>>(c, a);
  else if (a.D <= 96) run<Tile<96, 128>>(c, a);
  else if (a.D <= 128) run<Tile<128, 128>>(c, a);
  else run<Tile<256, 64>>(c, a);  // tiles of 64 keys: two stages of keys and values, and the queries, fill 192 KB
}

}  // namespace cuda
}  // namespace heddle
