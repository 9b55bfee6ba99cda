// The forward pass of attention by wgmma (sm_90a; Shah et al. 2024, "FlashAttention-3"), for whole sequences and for
// long segments over the KV cache: the layout of shared memory, and the loop of a multiplying warpgroup over tiles of
// keys.
//
// The first warpgroup of a block fills rings of tiles of keys and values. The other two warpgroups compute 64 query
// rows each. A warpgroup issues the scores of tile t before the product of weights and values of tile t - 1. The
// softmax of tile t then overlaps with that product. The two warpgroups take turns (ping-pong), so that the products of
// one overlap with the softmax of the other.
//
//   S (64, keys) = Q K'          wgmma, both operands in shared memory
//   P = 2^(S - maximum so far)   rounded to bf16; accumulators of S have the register layout of P, the left operand
//   O (64, D) = O 2^(previous maximum - maximum so far) + P V
//                                wgmma, P in registers, V MN-major (columns innermost)
#pragma once
#include "cuda/attention/attention_tensor.cuh"
#include "cuda/gemm/sm90_tiles.cuh"
#include "cuda/gemm/tensor_tile.cuh"

namespace heddle {
namespace cuda {
namespace forward {

constexpr int consumers = 2, threads = (1 + consumers) * warpgroup;
constexpr int warpgroup_rows = 64, query_rows = consumers * warpgroup_rows, stages = 2;

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

// The barriers of the rings. A full stage has been filled, and an empty one has been read by both warpgroups.
struct RingBarriers {
  uint64_t k_full[stages], k_empty[stages], v_full[stages], v_empty[stages];

  // filling: the arrivals that make a stage full
  __device__ void init(unsigned filling) {
    for (int s = 0; s < stages; ++s) {
      ptx::init_barrier(&k_full[s], filling);
      ptx::init_barrier(&v_full[s], filling);
      ptx::init_barrier(&k_empty[s], consumers * warpgroup / warp_size);
      ptx::init_barrier(&v_empty[s], consumers * warpgroup / warp_size);
    }
  }
};

// The tiles of a block in its dynamic shared memory.
template <class T> struct SharedTiles {
  unsigned char *q, *k_ring, *v_ring;

  __device__ explicit SharedTiles(unsigned char* memory)
      : q(memory + (group_bytes - ptx::shared_address(memory) % group_bytes) % group_bytes), k_ring(q + T::q_bytes),
        v_ring(k_ring + stages * T::bytes) {}
};

// The unit of values in the softmax. Weights are 2^(to_power * (value - maximum)). If `plain`, values are the raw
// products q . k, and to_power includes the scale. This needs no softcap and a positive scale, which keeps the order of
// values. Otherwise values are scores.
struct Unit {
  bool plain;
  float to_power, of_score;  // of_score: the value of a score of 1

  __device__ explicit Unit(const Scores& s)
      : plain(!(s.softcap > 0) && s.scale > 0), to_power(plain ? s.scale * log2_e : log2_e),
        of_score(plain ? 1.0f / s.scale : 1.0f) {}
};

// The tiles of keys [first, last) of a block. Tile t is in stage t % stages, and begins with key origin + t * T::keys.
struct KeyTiles {
  int first, last, origin;
};

// Reports that a warp has read a stage. If its warpgroup is `alone`, the warp also arrives in place of one of the other
// warpgroup.
__device__ inline void release_stage(uint64_t* empty, bool alone) {
  if (threadIdx.x % warp_size <= (alone ? 1u : 0u)) ptx::arrive(empty);
}

// Computes o = the weighted sums of values of warpgroup `consumer`, whose queries are in shared memory. If it is
// `alone`, the other warpgroup takes no part in these tiles, and this one takes no turns. Releases all stages but that
// of the last values. If more tiles follow, the caller must release it.
template <class T>
__device__ inline void attend(const SharedTiles<T>& shared, RingBarriers& barriers, int consumer, bool alone,
    const KeyTiles& tiles, const Scores& score, const Unit& unit, SpannedRows& rows,
    float (&o)[T::parts][T::part / 2]) {
  constexpr int keys = T::keys;
  const int lane = threadIdx.x % warp_size, ft = lane % 4;
  float s[keys / 2];
  uint32_t p[keys / 16][4];
  HEDDLE_UNROLL
  for (int i = 0; i < T::parts; ++i) {
    HEDDLE_UNROLL
    for (int r = 0; r < T::part / 2; ++r) o[i][r] = 0;
  }

  // The warpgroups take turns in issuing products. Each has a named barrier, 1 or 2, at which it waits for the other
  // warpgroup to arrive.
  const auto wait_turn = [&] {
    if (!alone) ptx::sync_named(1 + consumer, consumers * warpgroup);
  };
  const auto signal_turn = [&] {
    if (!alone) ptx::arrive_named(2 - consumer, consumers * warpgroup);
  };
  const auto wait_for_keys = [&](int t) { ptx::wait_barrier(&barriers.k_full[t % stages], t / stages % 2); };
  const auto wait_for_values = [&](int t) { ptx::wait_barrier(&barriers.v_full[t % stages], t / stages % 2); };
  // Issues s = the raw products of the queries with the keys of tile t.
  const auto multiply_keys = [&](int t) {
    const unsigned char *q = shared.q + consumer * warpgroup_rows * line_bytes,
                        *k = shared.k_ring + t % stages * T::bytes;
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
    const unsigned char* v = shared.v_ring + t % stages * T::bytes;
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
  // Turns s, the raw products of tile t, into weights. kept receives the factors that rescale earlier sums.
  const auto softmax_tile = [&](int t, float(&kept)[2]) {
    ptx::pin_all(s);
    const int tile0 = tiles.origin + t * keys;
    if (!unit.plain) {
      const FastScores scores(score);
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
    rows.raise(now, unit.to_power, kept, base);
    HEDDLE_UNROLL
    for (int r = 0; r < keys / 2; ++r) {
      s[r] = ptx::power_of_two(s[r] * unit.to_power - base[r / 2 % 2]);
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

  const int first = tiles.first, last = tiles.last;
  if (first == last) return;
  float kept[2];
  if (consumer == 1) signal_turn();  // the first warpgroup has the first turn
  wait_for_keys(first);
  wait_turn();
  multiply_keys(first);
  if (consumer == 0 || first + 1 < last) signal_turn();
  ptx::wait_products<0>();
  release_stage(&barriers.k_empty[first % stages], alone);
  softmax_tile(first, kept);
  round_weights();
  for (int t = first + 1; t < last; ++t) {
    wait_for_keys(t);
    wait_for_values(t - 1);
    wait_turn();
    multiply_keys(t);
    multiply_values(t - 1);
    // The second warpgroup does not signal after its last products, because the first one no longer waits.
    if (consumer == 0 || t + 1 < last) signal_turn();
    ptx::wait_products<1>();  // the scores are complete
    release_stage(&barriers.k_empty[t % stages], alone);
    softmax_tile(t, kept);
    ptx::wait_products<0>();
    release_stage(&barriers.v_empty[(t - 1) % stages], alone);
    HEDDLE_UNROLL
    for (int i = 0; i < T::parts; ++i) {
      ptx::pin_all(o[i]);
      HEDDLE_UNROLL
      for (int r = 0; r < T::part / 2; ++r) o[i][r] *= kept[r / 2 % 2];
    }
    round_weights();
  }
  wait_for_values(last - 1);
  multiply_values(last - 1);
  ptx::wait_products<0>();
  HEDDLE_UNROLL
  for (int i = 0; i < T::parts; ++i) ptx::pin_all(o[i]);
}

}  // namespace forward
}  // namespace cuda
}  // namespace heddle
