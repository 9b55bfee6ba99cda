// Attention over whole sequences on tensor cores, for bf16 (Dao 2023, "FlashAttention-2"). A block has 64 query rows,
// and each of its warps has 16. Tiles of keys and values pass through a ring of two stages in shared memory: one stage
// is filled while the warps read the other.
//
//   S (16, keys) = Q Kᵀ          accumulators in registers
//   P = 2^(S - maximum so far)   rounded to bf16; accumulators of S have the register layout of P, the left operand
//   O (16, D) = O 2^(previous maximum - maximum so far) + P V
#include "cuda/attention/attention_tensor.cuh"
#include "cuda/gemm/tensor_tile.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int warps = 4, threads = warps * warp_size, query_rows = warps * 16, stages = 2;

// grid (sequences * tiles of 64 queries, H). `width` is at least D. Columns of tiles from D on are zeros. Shared
// memory: q (64, width), then k (keys, width) and v (keys, width) of each stage.
template <int width, int keys> __global__ void __launch_bounds__(threads) tensor_attention_kernel(TensorAttention a) {
  HEDDLE_DYNAMIC_SHARED(uint16_t, memory);
  // columns_s, columns_o: number of 8-column fragments of S and of O
  constexpr int stage_elements = 2 * keys * width, columns_s = keys / 8, columns_o = width / 8;
  uint16_t *q_tile = memory, *ring = memory + query_rows * width;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, fg = lane / 4, ft = lane % 4;
  // The first blocks take the last query tiles of a sequence. With a causal mask, these see the most keys.
  const int64_t tiles = (a.T + query_rows - 1) / query_rows, start = blockIdx.x / tiles * a.T;
  const int64_t row0 = start + (tiles - 1 - blockIdx.x % tiles) * query_rows, end = start + a.T;
  const int64_t head = blockIdx.y, kv_head = head / (a.H / a.KH);
  const int64_t q_ld = a.H * a.D, kv_ld = a.KH * a.D;

  const RowSpan seen = seen_by<query_rows>(a.spans, row0, end);
  const int32_t first = seen.first, last = seen.last;
  const int64_t key_tiles = (last - first + keys - 1) / keys;
  const auto copy_stage = [&](int64_t t) {
    uint16_t* k_tile = ring + t % stages * stage_elements;
    copy_tile<keys, width, threads>(k_tile, a.k + kv_head * a.D, kv_ld, first + t * keys, 0, end, a.D);
    copy_tile<keys, width, threads>(k_tile + keys * width, a.v + kv_head * a.D, kv_ld, first + t * keys, 0, end, a.D);
  };

  const int64_t own_row = row0 + warp * 16 + fg;
  QueryRows rows(a, own_row, end, head, log2_e);
  const FastScores scores(a.scores);
  float acc[columns_o][4] = {};

  copy_tile<query_rows, width, threads>(q_tile, a.q + head * a.D, q_ld, row0, 0, end, a.D);
  if (key_tiles > 0) copy_stage(0);
  ptx::commit_copies();
  for (int64_t t = 0; t < key_tiles; ++t) {
    ptx::wait_copies<0>();
    // The copies of tile t by all threads are complete. All threads have read tile t - 1, so its stage can be filled.
    __syncthreads();
    if (t + 1 < key_tiles) copy_stage(t + 1);
    ptx::commit_copies();
    const uint16_t *k_tile = ring + t % stages * stage_elements, *v_tile = k_tile + keys * width;

    float s[columns_s][4] = {};
    HEDDLE_UNROLL
    for (int d = 0; d < width; d += 16) {
      uint32_t left[4];
      load_left<width>(left, q_tile, warp * 16, d);
      HEDDLE_UNROLL
      for (int j = 0; j < columns_s; j += 2) {
        uint32_t right[2][2];
        load_right<width>(right[0], right[1], k_tile, j * 8, d);
        ptx::mma_bf16(s[j], left, right[0]);
        ptx::mma_bf16(s[j + 1], left, right[1]);
      }
    }

    const int64_t key0 = first + t * keys + 2 * ft;
    float now[2] = {rows.largest[0], rows.largest[1]};
    HEDDLE_UNROLL
    for (int j = 0; j < columns_s; ++j) {
      HEDDLE_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int64_t key = key0 + 8 * j + e % 2;
        const RowSpan& own = rows.span[e / 2];
        s[j][e] = key >= own.first && key < own.last ? scores.of(s[j][e]) * log2_e : -INFINITY;
        now[e / 2] = fmaxf(now[e / 2], s[j][e]);
      }
    }
    float kept[2], base[2];
    rows.raise(now, 1.0f, kept, base);
    HEDDLE_UNROLL
    for (int j = 0; j < columns_s; ++j) {
      HEDDLE_UNROLL
      for (int e = 0; e < 4; ++e) {
        s[j][e] = ptx::power_of_two(s[j][e] - base[e / 2]);
        rows.sum[e / 2] += s[j][e];
      }
    }
    HEDDLE_UNROLL
    for (int j = 0; j < columns_o; ++j) {
      HEDDLE_UNROLL
      for (int e = 0; e < 4; ++e) acc[j][e] *= kept[e / 2];
    }
    HEDDLE_UNROLL
    for (int i = 0; i < columns_s; i += 2) {
      uint32_t left[4];
      as_left(left, s[i], s[i + 1]);
      HEDDLE_UNROLL
      for (int j = 0; j < columns_o; j += 2) {
        uint32_t right[2][2];
        load_right_transposed<width>(right[0], right[1], v_tile, j * 8, i * 8);
        ptx::mma_bf16(acc[j], left, right[0]);
        ptx::mma_bf16(acc[j + 1], left, right[1]);
      }
    }
  }
  ptx::wait_copies<0>();

  rows.store<width>(a, own_row, end, head, 1.0f, [&](int j, int h) { return &acc[j][2 * h]; });
}

template <int width, int keys> void run(const Context& c, const TensorAttention& a) {
  const size_t bytes = static_cast<size_t>(query_rows + stages * 2 * keys) * width * sizeof(uint16_t);
  launch(c, "attention",
      {dim3(static_cast<unsigned>(a.N / a.T * ((a.T + query_rows - 1) / query_rows)), static_cast<unsigned>(a.H)),
          dim3(threads), bytes},
      tensor_attention_kernel<width, keys>, a);
}

void attention(const Node& n, Context& c) {
  const Tensor &q = n.in[0], &k = n.in[1], &v = n.in[2];
  RowSpan* spans = static_cast<RowSpan*>(c.scratch);
  const TensorAttention a{q.as<uint16_t>(), k.as<uint16_t>(), v.as<uint16_t>(), optional_view(n, 4), spans,
      n.out[0].as<uint16_t>(), n.out[1].as<float>(), q.shape[0], sequence_length(n, q), q.shape[1], k.shape[1],
      q.shape[2], Scores(n)};
  if (a.N == 0) return;
  find_spans(c, "attention", n, n.has_input(3) ? n.in[3].as<int32_t>() : nullptr, a.N, a.T, spans);
  if (attention_takes_warpgroups(a.D, a.T, properties_of(c))) return attention_warpgroup(c, a);
  if (a.D <= 64) run<64, 64>(c, a);
  else if (a.D <= 128) run<128, 64>(c, a);
  else run<256, 32>(c, a);
}

// D must be a multiple of `piece`, because copies to shared memory move 16 bytes of a row at a time.
bool supports(const Node& n) {
  const auto is_bf16 = [](const Tensor& t) { return t.dtype == DType::bf16; };
  const int64_t D = n.in[0].shape[2];
  return is_bf16(n.in[0]) && is_bf16(n.in[1]) && is_bf16(n.in[2]) && is_bf16(n.out[0]) && D <= largest_head &&
         D % piece == 0;
}
size_t scratch(const Node& n, int) { return static_cast<size_t>(n.in[0].shape[0]) * sizeof(RowSpan); }

const RegisterKernel kernels[] = {{"attention", "cuda_tensor_flash_attention", supports, attention, scratch, 1}};

}  // namespace
}  // namespace cuda
}  // namespace heddle
