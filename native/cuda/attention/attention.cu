// Attention over whole sequences in f32, without storing the score matrix. Keys and values pass through shared memory
// in tiles of 32. Each query row keeps its running maximum, sum and output (Milakov & Gimelshein 2018; Dao 2023,
// "FlashAttention-2"). A warp has four query rows. For the scores, each lane has one key of the tile. For the output,
// each lane has columns lane, lane + 32 and so on.
#include "cuda/attention/attention.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int warps = 4, rows_per_warp = 4, query_rows = warps * rows_per_warp, threads = warps * warp_size;

struct SpanArguments {
  const int32_t* documents;  // (N) or null
  RowSpan* spans;            // (N)
  int64_t N, T, window;
  bool causal;
};

// Computes the span of each query row. One thread per row.
__global__ void __launch_bounds__(threads) spans_kernel(SpanArguments a) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (row >= a.N) return;
  const int64_t start = row / a.T * a.T, position = row - start;
  int64_t first = 0, last = a.T;
  if (a.window > 0) {
    const int64_t furthest = a.causal ? position - a.window + 1 : position - a.window / 2;
    first = furthest > 0 ? furthest : 0;
    if (position + a.window / 2 + 1 < a.T) last = position + a.window / 2 + 1;
  }
  if (a.causal) last = position + 1;
  if (a.documents) {
    const int32_t* id = a.documents + start;
    int64_t begin = position, end = position + 1;
    if (id[position] < 0) {  // a padding row sees no keys
      end = position;
    } else {
      while (begin > first && id[begin - 1] == id[position]) --begin;
      while (end < last && id[end] == id[position]) ++end;
    }
    first = first > begin ? first : begin;
    last = last < end ? last : end;
  }
  a.spans[row] = {static_cast<int32_t>(start + first), static_cast<int32_t>(start + (last > first ? last : first))};
}

struct AttentionArguments {
  View q, k, v, sinks;   // q (N, H, D); k, v (N, KH, D); sinks (H), optional
  const RowSpan* spans;  // (N)
  Out o;                 // (N, H, D)
  float* lse;            // (N, H)
  int64_t N, T, H, KH, D;
  Scores scores;
};

// grid (sequences * tiles of 16 queries, H). Shared memory: q (16, D), k (32, D + 1), v (32, 32 * chunks).
template <int chunks> __global__ void __launch_bounds__(threads, 2) attention_kernel(AttentionArguments a) {
  HEDDLE_DYNAMIC_SHARED(float, memory);
  const int D = static_cast<int>(a.D), pitch = D + 1, width = chunks * warp_size;
  float *q_tile = memory, *k_tile = q_tile + query_rows * D, *v_tile = k_tile + tile_rows * pitch;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int64_t tiles = ceil_div(a.T, query_rows), start = blockIdx.x / tiles * a.T;
  const int64_t row0 = start + blockIdx.x % tiles * query_rows, end = start + a.T;
  const int64_t head = blockIdx.y, kv_head = head / (a.H / a.KH);

  for (int e = threadIdx.x; e < query_rows * D; e += threads) {
    const int64_t row = row0 + e / D;
    q_tile[e] = row < end ? a.q[(row * a.H + head) * a.D + e % D] : 0.0f;
  }
  int32_t first = 0x7fffffff, last = 0;  // the range of keys that any row of the tile sees
  for (int r = 0; r < query_rows && row0 + r < end; ++r) {
    const RowSpan s = a.spans[row0 + r];
    if (s.first == s.last) continue;
    first = s.first < first ? s.first : first;
    last = s.last > last ? s.last : last;
  }
  RowSpan span[rows_per_warp];
  float largest[rows_per_warp], sum[rows_per_warp], acc[rows_per_warp][chunks];
  HEDDLE_UNROLL
  for (int r = 0; r < rows_per_warp; ++r) {
    const int64_t row = row0 + warp * rows_per_warp + r;
    span[r] = row < end ? a.spans[row] : RowSpan{0, 0};
    // A sink is an additional logit of the softmax that has no value vector.
    largest[r] = a.sinks.data ? a.sinks[head] : -INFINITY;
    sum[r] = a.sinks.data ? 1.0f : 0.0f;
    HEDDLE_UNROLL
    for (int c = 0; c < chunks; ++c) acc[r][c] = 0;
  }

  for (int64_t key0 = first; key0 < last; key0 += tile_rows) {
    __syncthreads();  // all warps have read the previous tiles, and q_tile is complete
    for (int e = threadIdx.x; e < tile_rows * width; e += threads) {
      const int j = e / width, d = e % width;
      const int64_t at = ((key0 + j) * a.KH + kv_head) * a.D + d;
      const bool inside = key0 + j < end && d < D;
      if (d < D) k_tile[j * pitch + d] = inside ? a.k[at] : 0.0f;
      v_tile[e] = inside ? a.v[at] : 0.0f;
    }
    __syncthreads();
    float score[rows_per_warp] = {};
    for (int d = 0; d < D; ++d) {
      const float key = k_tile[lane * pitch + d];
      HEDDLE_UNROLL
      for (int r = 0; r < rows_per_warp; ++r) score[r] += q_tile[(warp * rows_per_warp + r) * D + d] * key;
    }
    const int64_t j = key0 + lane;
    HEDDLE_UNROLL
    for (int r = 0; r < rows_per_warp; ++r) {
      const float s = j >= span[r].first && j < span[r].last ? a.scores.of(score[r]) : -INFINITY;
      if (__ballot_sync(all_lanes, s != -INFINITY) == 0) continue;  // no visible key in this tile
      const float now = fmaxf(largest[r], warp_max(s));
      const float kept = expf(largest[r] - now), p = expf(s - now);
      largest[r] = now;
      sum[r] = sum[r] * kept + warp_sum(p);
      HEDDLE_UNROLL
      for (int c = 0; c < chunks; ++c) acc[r][c] *= kept;
      for (int i = 0; i < tile_rows; ++i) {
        const float weight = __shfl_sync(all_lanes, p, i);
        HEDDLE_UNROLL
        for (int c = 0; c < chunks; ++c) acc[r][c] += weight * v_tile[i * width + c * warp_size + lane];
      }
    }
  }

  HEDDLE_UNROLL
  for (int r = 0; r < rows_per_warp; ++r) {
    const int64_t row = row0 + warp * rows_per_warp + r;
    if (row >= end) continue;
    HEDDLE_UNROLL
    for (int c = 0; c < chunks; ++c)
      if (c * warp_size + lane < D)
        a.o.store((row * a.H + head) * a.D + c * warp_size + lane, sum[r] != 0 ? acc[r][c] / sum[r] : 0.0f);
    if (lane == 0) a.lse[row * a.H + head] = sum[r] != 0 ? largest[r] + logf(sum[r]) : -INFINITY;
  }
}

void attention(const Node& n, Context& c) {
  const Tensor &q = n.in[0], &k = n.in[1];
  RowSpan* spans = static_cast<RowSpan*>(c.scratch);
  AttentionArguments a{view(q), view(k), view(n.in[2]), optional_view(n, 4), spans, out(n.out[0]), n.out[1].as<float>(),
      q.shape[0], sequence_length(n, q), q.shape[1], k.shape[1], q.shape[2], Scores(n)};
  find_spans(c, "attention", n, n.has_input(3) ? n.in[3].as<int32_t>() : nullptr, a.N, a.T, spans);
  for_head(a.D, [&](auto chunks) {
    constexpr int n_chunks = decltype(chunks)::value;
    const size_t floats =
        static_cast<size_t>(query_rows * a.D + tile_rows * (a.D + 1) + tile_rows * n_chunks * warp_size);
    launch(c, "attention",
        {dim3(static_cast<unsigned>(a.N / a.T * ceil_div(a.T, query_rows)), static_cast<unsigned>(a.H)), dim3(threads),
            floats * sizeof(float)},
        attention_kernel<n_chunks>, a);
  });
}

bool supports(const Node& n) { return n.in[0].shape[2] <= largest_head; }
size_t scratch(const Node& n, int) { return static_cast<size_t>(n.in[0].shape[0]) * sizeof(RowSpan); }

// ---- gradient of the sinks

// dsinks (H) = - sum over rows of exp(sink - lse) (dout . o). One block per head, one warp per row at a time.
__global__ void __launch_bounds__(threads) sinks_backward_kernel(
    View dout, View o, const float* lse, View sinks, float* dsinks, int64_t N, int64_t H, int64_t D) {
  const int64_t head = blockIdx.x;
  const float sink = sinks[head];
  const int lane = threadIdx.x % warp_size;
  float sum = 0;
  for (int64_t row = threadIdx.x / warp_size * H + head; row < N * H; row += warps * H) {
    float delta = 0;
    for (int64_t d = lane; d < D; d += warp_size) delta += dout[row * D + d] * o[row * D + d];
    delta = warp_sum(delta);
    if (lane == 0) sum -= expf(sink - lse[row]) * delta;
  }
  sum = BlockReduction<threads>().sum(sum);
  if (threadIdx.x == 0) dsinks[head] = sum;
}
void sinks_backward(const Node& n, Context& c) {
  const Shape& s = n.in[0].shape;
  launch(c, "attention_sinks_backward", {dim3(static_cast<unsigned>(s[1])), dim3(threads)}, sinks_backward_kernel,
      view(n.in[0]), view(n.in[1]), n.in[2].as<float>(), view(n.in[3]), n.out[0].as<float>(), s[0], s[1], s[2]);
}

const RegisterKernel kernels[] = {
    {"attention", "cuda_flash_attention", supports, attention, scratch},
    {"attention_sinks_backward", "cuda_attention_sinks_backward", no_quantized, sinks_backward},
};

}  // namespace

void find_spans(
    const Context& c, const char* name, const Node& n, const int32_t* documents, int64_t N, int64_t T, RowSpan* spans) {
  launch(c, name, {dim3(blocks_for(N, threads)), dim3(threads)}, spans_kernel,
      SpanArguments{documents, spans, N, T, n.attr_int("window"), n.attr_flag("causal")});
}

}  // namespace cuda
}  // namespace heddle
