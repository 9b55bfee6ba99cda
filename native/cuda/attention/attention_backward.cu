// The gradients of attention in f32, from the log-sum-exp of the forward pass (Dao 2023, "FlashAttention-2"). There are
// two kernels, so that neither needs atomic additions. The first computes dq: a block has a tile of queries and loops
// over tiles of keys. The second computes dk and dv: a block has a tile of keys and loops over tiles of queries. In
// both kernels, a warp computes four rows of the block's tile. The tiles of the loop have 32 rows, one for each lane.
#include "cuda/attention/attention_backward.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int warps = 4, rows_per_warp = 4, own_rows = warps * rows_per_warp, threads = warps * warp_size;

// delta (N, H) = dout . o. One warp per row and head.
__global__ void __launch_bounds__(threads) delta_kernel(BackwardArguments a) {
  const int64_t item = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size;
  if (item >= a.N * a.H) return;
  float sum = 0;
  for (int64_t d = threadIdx.x % warp_size; d < a.D; d += warp_size)
    sum += a.dout[item * a.D + d] * a.o[item * a.D + d];
  sum = warp_sum(sum);
  if (threadIdx.x % warp_size == 0) a.delta[item] = sum;
}

// Copies rows [row0, row0 + rows) of one head of x (N, heads, D) to tile (rows, pitch). Rows from `end` on and columns
// from D on become zeros.
__device__ void load_tile(float* tile, int rows, int pitch, int width, const View& x, int64_t row0, int64_t end,
    int64_t heads, int64_t head, int64_t D) {
  for (int e = threadIdx.x; e < rows * width; e += threads) {
    const int r = e / width, d = e % width;
    tile[r * pitch + d] = row0 + r < end && d < D ? x[((row0 + r) * heads + head) * D + d] : 0.0f;
  }
}

// Computes dq. grid (sequences * tiles of 16 queries, H). Shared memory: q and dout (16, width), k and v (32, pitch).
template <int chunks> __global__ void __launch_bounds__(threads, 2) query_gradient_kernel(BackwardArguments a) {
  HEDDLE_DYNAMIC_SHARED(float, memory);
  constexpr int width = chunks * warp_size, pitch = width + 1;
  const int D = static_cast<int>(a.D);
  float *q_tile = memory, *do_tile = q_tile + own_rows * width, *k_tile = do_tile + own_rows * width,
        *v_tile = k_tile + tile_rows * pitch;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int64_t tiles = ceil_div(a.T, own_rows), start = blockIdx.x / tiles * a.T;
  const int64_t row0 = start + blockIdx.x % tiles * own_rows, end = start + a.T;
  const int64_t head = blockIdx.y, kv_head = head / (a.H / a.KH);
  load_tile(q_tile, own_rows, width, width, a.q, row0, end, a.H, head, a.D);
  load_tile(do_tile, own_rows, width, width, a.dout, row0, end, a.H, head, a.D);
  int32_t first = 0x7fffffff, last = 0;
  for (int r = 0; r < own_rows && row0 + r < end; ++r) {
    const RowSpan s = a.spans[row0 + r];
    if (s.first == s.last) continue;
    first = s.first < first ? s.first : first;
    last = s.last > last ? s.last : last;
  }
  RowSpan span[rows_per_warp];
  float lse[rows_per_warp], delta[rows_per_warp], dq[rows_per_warp][chunks];
  HEDDLE_UNROLL
  for (int r = 0; r < rows_per_warp; ++r) {
    const int64_t row = row0 + warp * rows_per_warp + r;
    const bool inside = row < end;
    span[r] = inside ? a.spans[row] : RowSpan{0, 0};
    lse[r] = inside ? a.lse[row * a.H + head] : 0.0f;
    delta[r] = inside ? a.delta[row * a.H + head] : 0.0f;
    HEDDLE_UNROLL
    for (int c = 0; c < chunks; ++c) dq[r][c] = 0;
  }

  for (int64_t key0 = first; key0 < last; key0 += tile_rows) {
    __syncthreads();
    load_tile(k_tile, tile_rows, pitch, width, a.k, key0, end, a.KH, kv_head, a.D);
    load_tile(v_tile, tile_rows, pitch, width, a.v, key0, end, a.KH, kv_head, a.D);
    __syncthreads();
    float product[rows_per_warp] = {}, dp[rows_per_warp] = {};
    for (int d = 0; d < D; ++d) {
      const float key = k_tile[lane * pitch + d], value = v_tile[lane * pitch + d];
      HEDDLE_UNROLL
      for (int r = 0; r < rows_per_warp; ++r) {
        product[r] += q_tile[(warp * rows_per_warp + r) * width + d] * key;
        dp[r] += do_tile[(warp * rows_per_warp + r) * width + d] * value;
      }
    }
    const int64_t j = key0 + lane;
    HEDDLE_UNROLL
    for (int r = 0; r < rows_per_warp; ++r) {
      float gradient = 0;  // d loss / d product
      if (j >= span[r].first && j < span[r].last) {
        gradient = expf(a.scores.of(product[r]) - lse[r]) * (dp[r] - delta[r]) * a.scores.gradient(product[r]);
      }
      for (int i = 0; i < tile_rows; ++i) {
        const float g = __shfl_sync(all_lanes, gradient, i);
        HEDDLE_UNROLL
        for (int c = 0; c < chunks; ++c) dq[r][c] += g * k_tile[i * pitch + c * warp_size + lane];
      }
    }
  }

  HEDDLE_UNROLL
  for (int r = 0; r < rows_per_warp; ++r) {
    const int64_t row = row0 + warp * rows_per_warp + r;
    HEDDLE_UNROLL
    for (int c = 0; c < chunks; ++c)
      if (row < end && c * warp_size + lane < D) a.dq.store((row * a.H + head) * a.D + c * warp_size + lane, dq[r][c]);
  }
}

// Computes dk and dv. grid (sequences * tiles of 16 keys, KH). Shared memory: k and v (16, width), q and dout (32,
// pitch).
template <int chunks> __global__ void __launch_bounds__(threads, 2) key_gradient_kernel(BackwardArguments a) {
  HEDDLE_DYNAMIC_SHARED(float, memory);
  constexpr int width = chunks * warp_size, pitch = width + 1;
  const int D = static_cast<int>(a.D);
  float *k_tile = memory, *v_tile = k_tile + own_rows * width, *q_tile = v_tile + own_rows * width,
        *do_tile = q_tile + tile_rows * pitch;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int64_t tiles = ceil_div(a.T, own_rows), start = blockIdx.x / tiles * a.T;
  const int64_t row0 = start + blockIdx.x % tiles * own_rows, end = start + a.T;
  const int64_t kv_head = blockIdx.y, group = a.H / a.KH;
  load_tile(k_tile, own_rows, width, width, a.k, row0, end, a.KH, kv_head, a.D);
  load_tile(v_tile, own_rows, width, width, a.v, row0, end, a.KH, kv_head, a.D);
  float dk[rows_per_warp][chunks], dv[rows_per_warp][chunks];
  HEDDLE_UNROLL
  for (int r = 0; r < rows_per_warp; ++r) {
    HEDDLE_UNROLL
    for (int c = 0; c < chunks; ++c) dk[r][c] = dv[r][c] = 0;
  }

  for (int64_t query0 = start; query0 < end; query0 += tile_rows) {
    const int64_t i = query0 + lane;
    const RowSpan span = i < end ? a.spans[i] : RowSpan{0, 0};
    // Skips the tile if none of its queries sees any of the block's keys. The condition is uniform over the block.
    if (__ballot_sync(all_lanes, span.first < span.last && span.first < row0 + own_rows && span.last > row0) == 0)
      continue;
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      __syncthreads();
      load_tile(q_tile, tile_rows, pitch, width, a.q, query0, end, a.H, head, a.D);
      load_tile(do_tile, tile_rows, pitch, width, a.dout, query0, end, a.H, head, a.D);
      __syncthreads();
      const float lse = i < end ? a.lse[i * a.H + head] : 0.0f, delta = i < end ? a.delta[i * a.H + head] : 0.0f;
      float product[rows_per_warp] = {}, dp[rows_per_warp] = {};
      for (int d = 0; d < D; ++d) {
        const float query = q_tile[lane * pitch + d], dout = do_tile[lane * pitch + d];
        HEDDLE_UNROLL
        for (int r = 0; r < rows_per_warp; ++r) {
          product[r] += query * k_tile[(warp * rows_per_warp + r) * width + d];
          dp[r] += dout * v_tile[(warp * rows_per_warp + r) * width + d];
        }
      }
      HEDDLE_UNROLL
      for (int r = 0; r < rows_per_warp; ++r) {
        const int64_t j = row0 + warp * rows_per_warp + r;
        float p = 0, gradient = 0;
        if (j >= span.first && j < span.last) {
          p = expf(a.scores.of(product[r]) - lse);
          gradient = p * (dp[r] - delta) * a.scores.gradient(product[r]);
        }
        for (int t = 0; t < tile_rows; ++t) {
          const float weight = __shfl_sync(all_lanes, p, t), g = __shfl_sync(all_lanes, gradient, t);
          HEDDLE_UNROLL
          for (int c = 0; c < chunks; ++c) {
            dv[r][c] += weight * do_tile[t * pitch + c * warp_size + lane];
            dk[r][c] += g * q_tile[t * pitch + c * warp_size + lane];
          }
        }
      }
    }
  }

  HEDDLE_UNROLL
  for (int r = 0; r < rows_per_warp; ++r) {
    const int64_t row = row0 + warp * rows_per_warp + r;
    HEDDLE_UNROLL
    for (int c = 0; c < chunks; ++c) {
      if (row >= end || c * warp_size + lane >= D) continue;
      const int64_t at = (row * a.KH + kv_head) * a.D + c * warp_size + lane;
      a.dk.store(at, dk[r][c]);
      a.dv.store(at, dv[r][c]);
    }
  }
}

void attention_backward(const Node& n, Context& c) {
  const BackwardArguments a = prepare_backward(n, c);
  const char* name = "attention_backward";
  for_head(a.D, [&](auto chunks) {
    constexpr int n_chunks = decltype(chunks)::value, width = n_chunks * warp_size;
    const size_t bytes = (2 * own_rows * width + 2 * tile_rows * (width + 1)) * sizeof(float);
    const unsigned tiles = static_cast<unsigned>(a.N / a.T * ceil_div(a.T, own_rows));
    launch(
        c, name, {dim3(tiles, static_cast<unsigned>(a.H)), dim3(threads), bytes}, query_gradient_kernel<n_chunks>, a);
    launch(c, name, {dim3(tiles, static_cast<unsigned>(a.KH)), dim3(threads), bytes}, key_gradient_kernel<n_chunks>, a);
  });
}

bool supports(const Node& n) { return n.in[1].shape[2] <= largest_head; }

const RegisterKernel kernels[] = {
    {"attention_backward", "cuda_flash_attention_backward", supports, attention_backward, backward_scratch}};

}  // namespace

// The scratch holds delta (N, H) f32, then spans (N). The additional span is for the alignment of the spans.
size_t backward_scratch(const Node& n, int) {
  const Shape& q = n.in[1].shape;
  return static_cast<size_t>(q[0] * q[1]) * sizeof(float) + static_cast<size_t>(q[0]) * sizeof(RowSpan) +
         sizeof(RowSpan);
}

BackwardArguments prepare_backward(const Node& n, Context& c) {
  const Tensor &q = n.in[1], &k = n.in[2];
  const int64_t N = q.shape[0], H = q.shape[1];
  float* delta = static_cast<float*>(c.scratch);
  RowSpan* spans = reinterpret_cast<RowSpan*>(delta + round_up(N * H, 2));
  BackwardArguments a{view(n.in[0]), view(q), view(k), view(n.in[3]), view(n.in[4]), n.in[5].as<float>(), spans, delta,
      out(n.out[0]), out(n.out[1]), out(n.out[2]), N, sequence_length(n, q), H, k.shape[1], q.shape[2], Scores(n),
      n.attr_flag("causal")};
  const char* name = "attention_backward";
  find_spans(c, name, n, n.has_input(6) ? n.in[6].as<int32_t>() : nullptr, N, a.T, spans);
  launch(c, name, {dim3(blocks_for(N * H, warps)), dim3(threads)}, delta_kernel, a);
  return a;
}

}  // namespace cuda
}  // namespace heddle
