// The gradients of attention on tensor cores, for bf16 and heads of at most 128 (Dao 2023, "FlashAttention-2"). There
// are two kernels, so that neither needs atomic additions and results are deterministic. The first computes dq, with 64
// queries per block. The second computes dk and dv, with 64 keys per block.
//
//   P = exp(S - lse)   dS = P (dO Vᵀ - delta) g     delta: dO . O of a row, computed by prepare_backward
//   dq = dS K          dk = dSᵀ Q          dv = Pᵀ dO           g: Scores::gradient
//
// The second kernel computes Sᵀ = K Qᵀ, so that Pᵀ and dSᵀ are left operands.
#include "cuda/attention/attention_backward.cuh"
#include "cuda/attention/attention_tensor.cuh"
#include "cuda/gemm/tensor_tile.cuh"

namespace heddle {
namespace cuda {
namespace {

// own_rows: rows of dq, or of dk and dv, that a block computes. tile: rows of the tiles over which the block loops.
constexpr int warps = 4, threads = warps * warp_size, own_rows = warps * 16, tile = 32;

// sum (16, 32) += x otherᵀ, where x is rows [row, row + 16) of `own` (own_rows, width), and `other` is (32, width).
template <int width>
__device__ inline void row_products(float (&sum)[tile / 8][4], const uint16_t* own, int row, const uint16_t* other) {
  HEDDLE_UNROLL
  for (int d = 0; d < width; d += 16) {
    uint32_t left[4];
    load_left<width>(left, own, row, d);
    HEDDLE_UNROLL
    for (int j = 0; j < tile / 8; j += 2) {
      uint32_t right[2][2];
      load_right<width>(right[0], right[1], other, j * 8, d);
      ptx::mma_bf16(sum[j], left, right[0]);
      ptx::mma_bf16(sum[j + 1], left, right[1]);
    }
  }
}
// acc (16, width) += weights (16, 32) other (32, width).
template <int width>
__device__ inline void add_weighted(
    float (&acc)[width / 8][4], const float (&weights)[tile / 8][4], const uint16_t* other) {
  HEDDLE_UNROLL
  for (int i = 0; i < tile / 8; i += 2) {
    uint32_t left[4];
    as_left(left, weights[i], weights[i + 1]);
    HEDDLE_UNROLL
    for (int j = 0; j < width / 8; j += 2) {
      uint32_t right[2][2];
      load_right_transposed<width>(right[0], right[1], other, j * 8, i * 8);
      ptx::mma_bf16(acc[j], left, right[0]);
      ptx::mma_bf16(acc[j + 1], left, right[1]);
    }
  }
}
// Rounds the warp's 16 rows of acc and stores them to x (rows, heads, D) from `row` on.
template <int width>
__device__ inline void store_rows(
    uint16_t* x, const float (&acc)[width / 8][4], int64_t row, int64_t end, int64_t heads, int64_t head, int64_t D) {
  const int lane = threadIdx.x % warp_size;
  HEDDLE_UNROLL
  for (int h = 0; h < 2; ++h) {
    const int64_t r = row + lane / 4 + 8 * h;
    HEDDLE_UNROLL
    for (int j = 0; j < width / 8; ++j)
      if (r < end && 8 * j < D)
        *reinterpret_cast<uint32_t*>(x + (r * heads + head) * D + 8 * j + 2 * (lane % 4)) =
            pack_bf16(acc[j][2 * h], acc[j][2 * h + 1]);
  }
}

__device__ inline const uint16_t* bits(const View& x) { return static_cast<const uint16_t*>(x.data); }

// Computes dq. grid (sequences * tiles of 64 queries, H). Shared memory: q and dout (64, width), then two stages of k
// and v (32, width).
template <int width> __global__ void __launch_bounds__(threads) query_gradient_kernel(BackwardArguments a) {
  HEDDLE_DYNAMIC_SHARED(uint16_t, memory);
  uint16_t *q_tile = memory, *do_tile = q_tile + own_rows * width, *ring = do_tile + own_rows * width;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int64_t tiles = ceil_div(a.T, own_rows), start = blockIdx.x / tiles * a.T;
  const int64_t row0 = start + (tiles - 1 - blockIdx.x % tiles) * own_rows, end = start + a.T;
  const int64_t head = blockIdx.y, kv_head = head / (a.H / a.KH);
  const RowSpan seen = seen_by<own_rows>(a.spans, row0, end);
  const int32_t first = seen.first, last = seen.last;
  const int64_t key_tiles = ceil_div(last - first, tile);
  const auto copy_stage = [&](int64_t t) {
    uint16_t* k_tile = ring + t % 2 * 2 * tile * width;
    copy_tile<tile, width, threads>(k_tile, bits(a.k) + kv_head * a.D, a.KH * a.D, first + t * tile, 0, end, a.D);
    copy_tile<tile, width, threads>(
        k_tile + tile * width, bits(a.v) + kv_head * a.D, a.KH * a.D, first + t * tile, 0, end, a.D);
  };
  RowSpan span[2];
  float lse[2], delta[2], dq[width / 8][4] = {};
  HEDDLE_UNROLL
  for (int h = 0; h < 2; ++h) {
    const int64_t row = row0 + warp * 16 + lane / 4 + 8 * h;
    const bool inside = row < end;
    span[h] = inside ? a.spans[row] : RowSpan{0, 0};
    lse[h] = inside ? a.lse[row * a.H + head] : 0.0f;
    delta[h] = inside ? a.delta[row * a.H + head] : 0.0f;
  }
  copy_tile<own_rows, width, threads>(q_tile, bits(a.q) + head * a.D, a.H * a.D, row0, 0, end, a.D);
  copy_tile<own_rows, width, threads>(do_tile, bits(a.dout) + head * a.D, a.H * a.D, row0, 0, end, a.D);
  if (key_tiles > 0) copy_stage(0);
  ptx::commit_copies();
  for (int64_t t = 0; t < key_tiles; ++t) {
    ptx::wait_copies<0>();
    // The copies of tile t by all threads are complete. All threads have read tile t - 1, so its stage can be filled.
    __syncthreads();
    if (t + 1 < key_tiles) copy_stage(t + 1);
    ptx::commit_copies();
    const uint16_t *k_tile = ring + t % 2 * 2 * tile * width, *v_tile = k_tile + tile * width;
    float s[tile / 8][4] = {}, dp[tile / 8][4] = {};
    row_products<width>(s, q_tile, warp * 16, k_tile);
    row_products<width>(dp, do_tile, warp * 16, v_tile);
    HEDDLE_UNROLL
    for (int j = 0; j < tile / 8; ++j) {
      HEDDLE_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int64_t key = first + t * tile + 8 * j + 2 * (lane % 4) + e % 2;
        const int h = e / 2;
        const float product = s[j][e];
        const bool seen = key >= span[h].first && key < span[h].last;
        const float p = seen ? expf(a.scores.of(product) - lse[h]) : 0.0f;
        s[j][e] = seen ? p * (dp[j][e] - delta[h]) * a.scores.gradient(product) : 0.0f;
      }
    }
    add_weighted<width>(dq, s, k_tile);
  }
  ptx::wait_copies<0>();
  store_rows<width>(static_cast<uint16_t*>(a.dq.data), dq, row0 + warp * 16, end, a.H, head, a.D);
}

// Computes dk and dv. grid (sequences * tiles of 64 keys, KH). Shared memory: k and v (64, width), q and dout (32,
// width), and the spans, lse and delta of 32 queries.
template <int width> __global__ void __launch_bounds__(threads) key_gradient_kernel(BackwardArguments a) {
  HEDDLE_DYNAMIC_SHARED(uint16_t, memory);
  HEDDLE_SHARED(RowSpan, spans, [tile]);
  HEDDLE_SHARED(float, lses, [tile]);
  HEDDLE_SHARED(float, deltas, [tile]);
  uint16_t *k_tile = memory, *v_tile = k_tile + own_rows * width, *q_tile = v_tile + own_rows * width,
           *do_tile = q_tile + tile * width;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int64_t tiles = ceil_div(a.T, own_rows), start = blockIdx.x / tiles * a.T;
  const int64_t row0 = start + blockIdx.x % tiles * own_rows, end = start + a.T;
  const int64_t kv_head = blockIdx.y, group = a.H / a.KH;
  copy_tile<own_rows, width, threads>(k_tile, bits(a.k) + kv_head * a.D, a.KH * a.D, row0, 0, end, a.D);
  copy_tile<own_rows, width, threads>(v_tile, bits(a.v) + kv_head * a.D, a.KH * a.D, row0, 0, end, a.D);
  float dk[width / 8][4] = {}, dv[width / 8][4] = {};
  for (int64_t query0 = start; query0 < end; query0 += tile) {
    const RowSpan own = query0 + lane < end ? a.spans[query0 + lane] : RowSpan{0, 0};
    // Skips the tile if none of its queries sees any of the block's keys. The condition is uniform over the block.
    if (__ballot_sync(all_lanes, own.first < own.last && own.first < row0 + own_rows && own.last > row0) == 0) continue;
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      __syncthreads();  // all warps have read the previous tiles
      copy_tile<tile, width, threads>(q_tile, bits(a.q) + head * a.D, a.H * a.D, query0, 0, end, a.D);
      copy_tile<tile, width, threads>(do_tile, bits(a.dout) + head * a.D, a.H * a.D, query0, 0, end, a.D);
      ptx::commit_copies();
      if (warp == 0) {
        const bool inside = query0 + lane < end;
        spans[lane] = own;
        lses[lane] = inside ? a.lse[(query0 + lane) * a.H + head] : 0.0f;
        deltas[lane] = inside ? a.delta[(query0 + lane) * a.H + head] : 0.0f;
      }
      ptx::wait_copies<0>();
      __syncthreads();
      float s[tile / 8][4] = {}, dp[tile / 8][4] = {};  // (keys, queries)
      row_products<width>(s, k_tile, warp * 16, q_tile);
      row_products<width>(dp, v_tile, warp * 16, do_tile);
      HEDDLE_UNROLL
      for (int j = 0; j < tile / 8; ++j) {
        HEDDLE_UNROLL
        for (int e = 0; e < 4; ++e) {
          const int64_t key = row0 + warp * 16 + lane / 4 + e / 2 * 8;
          const int query = 8 * j + 2 * (lane % 4) + e % 2;
          const float product = s[j][e];
          const bool seen = key >= spans[query].first && key < spans[query].last;
          const float p = seen ? expf(a.scores.of(product) - lses[query]) : 0.0f;
          s[j][e] = p;
          dp[j][e] = seen ? p * (dp[j][e] - deltas[query]) * a.scores.gradient(product) : 0.0f;
        }
      }
      add_weighted<width>(dv, s, do_tile);
      add_weighted<width>(dk, dp, q_tile);
    }
  }
  ptx::commit_copies();
  ptx::wait_copies<0>();  // if no query sees the block's keys, the copies of k and v are still pending
  store_rows<width>(static_cast<uint16_t*>(a.dk.data), dk, row0 + warp * 16, end, a.KH, kv_head, a.D);
  store_rows<width>(static_cast<uint16_t*>(a.dv.data), dv, row0 + warp * 16, end, a.KH, kv_head, a.D);
}

template <int width> void run(const Context& c, const BackwardArguments& a) {
  const char* name = "attention_backward";
  const unsigned tiles = static_cast<unsigned>(a.N / a.T * ceil_div(a.T, own_rows));
  const size_t of_queries = static_cast<size_t>(2 * own_rows + 4 * tile) * width * sizeof(uint16_t);
  const size_t of_keys = static_cast<size_t>(2 * own_rows + 2 * tile) * width * sizeof(uint16_t);
  launch(
      c, name, {dim3(tiles, static_cast<unsigned>(a.H)), dim3(threads), of_queries}, query_gradient_kernel<width>, a);
  launch(c, name, {dim3(tiles, static_cast<unsigned>(a.KH)), dim3(threads), of_keys}, key_gradient_kernel<width>, a);
}

// The size of prepare_backward's scratch, rounded up to 16 bytes. The scratch of the sm_90a kernels follows it. It is
// reserved on all devices, because the function below does not know the device.
size_t shared_scratch(const Node& n) { return round_up(backward_scratch(n, 0), size_t{16}); }
size_t scratch(const Node& n, int) { return shared_scratch(n) + warpgroup_backward_scratch(n); }

void attention_backward(const Node& n, Context& c) {
  const BackwardArguments a = prepare_backward(n, c);
  if (a.N == 0) return;
  if (attention_gradients_take_warpgroups(a.D, a.T, properties_of(c)))
    return attention_backward_warpgroup(c, a, static_cast<unsigned char*>(c.scratch) + shared_scratch(n));
  if (a.D <= 64) run<64>(c, a);
  else run<128>(c, a);
}

bool supports(const Node& n) {
  // Short sequences would leave tiles partly empty. With few keys, the rounding errors of bf16 weights do not average
  // out.
  if (sequence_length(n, n.in[1]) < own_rows) return false;
  for (size_t i = 0; i < 4; ++i)
    if (n.in[i].dtype != DType::bf16) return false;
  for (const Tensor& t : n.out)
    if (t.dtype != DType::bf16) return false;
  const int64_t D = n.in[1].shape[2];
  // The accumulators of wider heads do not fit into registers. Copies to shared memory move 16 bytes of a row at a
  // time.
  return D <= 128 && D % piece == 0;
}

const RegisterKernel kernels[] = {
    {"attention_backward", "cuda_tensor_flash_attention_backward", supports, attention_backward, scratch, 1}};

}  // namespace
}  // namespace cuda
}  // namespace heddle
