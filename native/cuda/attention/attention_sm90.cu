// Attention over whole sequences by wgmma (sm_90a). One thread of the first warpgroup copies tiles of keys and values
// into rings by TMA. The other two warpgroups compute 64 query rows each (attention_sm90.cuh).
#include "cuda/attention/attention_sm90.cuh"
#include "cuda/runtime/tensor_map.h"

namespace heddle {
namespace cuda {
namespace {

using namespace forward;

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
  HEDDLE_SHARED(RingBarriers, barriers, [1]);
  constexpr int keys = T::keys;
  const SharedTiles<T> shared(memory);
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
    barriers->init(1);
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
    copy(shared.q, T::q_box_bytes, &maps.q, static_cast<int>(head), row0 - start, q_full);
    for (int t = 0; t < key_tiles; ++t) {
      const int s = t % stages;
      // The parity of the phase in which the consumers released the stage. In the first round, the waits return at
      // once.
      const unsigned before = (t / stages + 1) % 2;
      ptx::wait_barrier(&barriers->k_empty[s], before);
      copy(shared.k_ring + s * T::bytes, T::box_bytes, &maps.k, of_kv, first - start + t * keys, &barriers->k_full[s]);
      ptx::wait_barrier(&barriers->v_empty[s], before);
      copy(shared.v_ring + s * T::bytes, T::box_bytes, &maps.v, of_kv, first - start + t * keys, &barriers->v_full[s]);
    }
    return;
  }

  ptx::take_registers<T::consumer_registers>();
  const int consumer = threadIdx.x / warpgroup - 1, warp = threadIdx.x % warpgroup / warp_size;
  const int64_t own_row = row0 + consumer * warpgroup_rows + warp * 16 + lane / 4;  // the lane also has own_row + 8
  const Unit unit(a.scores);
  QueryRows rows(a, own_row, end, head, unit.of_score);
  float o[T::parts][T::part / 2];
  if (key_tiles > 0) ptx::wait_barrier(q_full, 0);
  attend<T>(shared, *barriers, consumer, false, {0, key_tiles, first}, a.scores, unit, rows, o);
  rows.store<T::width>(a, own_row, end, head, unit.to_power,
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
