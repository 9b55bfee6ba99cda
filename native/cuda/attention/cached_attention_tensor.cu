// Attention of new rows over the KV cache on tensor cores (mma.sync, sm_80), for caches of bf16, f16 and q8 rows.
// cached_attention_prefill.cu computes long segments of bf16 and f16 caches, and this file computes all others. The
// query heads that share a key head (Shazeer 2019, "Fast Transformer Decoding"), for all rows of a segment, become the
// rows of one operand. A block computes 16 such rows, and reads each key once for all of them. Its warps take groups of
// 16 positions in turn. Each warp has its own ring of stages. Positions are split into parts, which may have separate
// blocks (Dao et al. 2023, "Flash-Decoding"). The results of the parts are merged in order.
//
//   S (16, 16 keys) = Q K'         accumulators in registers
//   P = 2^(S - maximum so far)     rounded to the cache's type
//   O (16, D) = O 2^(previous maximum - maximum so far) + P V
//
// The accumulators of S have the register layout of P as left operand of the last product.
//
// Groups begin at multiples of 16, and parts at multiples of their length, so that a row's bits do not depend on other
// rows. f32 values are split into terms of the cache's type. The products of the terms add up to the f32 result, and
// take less time than reading the cache.
#include <algorithm>
#include <limits>

#include "cuda/attention/cached_attention_tensor.cuh"

namespace heddle {
namespace cuda {
namespace {

using namespace cached;

constexpr int64_t most_split_rows = HEDDLE_EMULATED ? 16 : 512;  // maximum rows times heads for separate blocks
// Returns the positions per part. Parts are short in the emulator, so that tests have several.
int64_t part_of(int64_t L) { return HEDDLE_EMULATED ? 208 : cached_part(L); }
// Returns the maximum number of parts that a row sees. The first and the last of them may be seen partially.
int64_t parts_of(int64_t L) { return L / part_of(L) + 2; }
// Whether each part has its own block.
bool splits(int64_t rows, int64_t H, int64_t L) { return L > part_of(L) && rows * H <= most_split_rows; }

// Merges two results: that of the parts so far, and that of the next part. A result is the largest score (times log2
// e), and the sums of weights and of weighted values relative to it.
struct MergeFactors {
  float maximum, kept, share;  // the largest score of both; the factors for sums of the parts so far and of the part

  __device__ MergeFactors(float so_far, float of_part) : maximum(fmaxf(so_far, of_part)), kept(0), share(0) {
    if (maximum == -INFINITY) return;
    kept = ptx::power_of_two(so_far - maximum), share = ptx::power_of_two(of_part - maximum);
  }
  __device__ float operator()(float so_far, float of_part) const { return fmaf(of_part, share, so_far * kept); }
};
// Returns the factor that normalizes the output. A sink is an additional logit of the softmax that has no value vector.
__device__ inline float output_factor(const CachedArguments& a, int64_t head, float largest, float sum) {
  const MergeFactors sink(largest, a.sinks.data ? a.sinks[head] * log2_e : -INFINITY);
  const float total = sink(sum, a.sinks.data ? 1.0f : 0.0f);
  return total > 0 ? sink.kept / total : 0.0f;
}

// Computes a tile of rows. `own_part` is the index of the block's part among those that the tile sees. It is negative
// if the block processes all parts.
template <class P>
__device__ inline void attend(const CachedArguments& a, const Rows& rows, int64_t kv_head, int own_part) {
  using Type = typename P::Type;
  constexpr int width = P::width, warps = P::warps;
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  HEDDLE_SHARED(float, query_scale, [tile_m]);
  HEDDLE_SHARED(float, warp_largest, [warps][tile_m]);
  HEDDLE_SHARED(float, warp_share, [warps][tile_m]);  // the sum of a warp's weights, then the factor of its values
  HEDDLE_SHARED(float, largest_so_far, [tile_m]);
  HEDDLE_SHARED(float, sum_so_far, [tile_m]);
  HEDDLE_SHARED(float, kept_so_far, [tile_m]);
  HEDDLE_SHARED(float, part_largest, [tile_m]);
  HEDDLE_SHARED(float, part_sum, [tile_m]);
  HEDDLE_SHARED(float, part_share, [tile_m]);
  HEDDLE_SHARED(RowSpan, seen, [tile_m]);  // range of positions that each row sees
  // range of parts that each row sees; empty if this tile does not write the row
  HEDDLE_SHARED(RowSpan, parts_of, [tile_m]);
  HEDDLE_SHARED(int32_t, place_of, [tile_m]);  // row * H + head
  uint16_t* queries = reinterpret_cast<uint16_t*>(memory);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, fg = lane / 4, ft = lane % 4,
            D = static_cast<int>(a.shape.D);
  unsigned char* ring = memory + P::query_bytes + warp * P::ring_bytes;
  const bool split = own_part >= 0;
  const int length = static_cast<int>(a.part_length), count = rows.count;

  __syncthreads();  // all threads have read the previous tile
  if (const int i = static_cast<int>(threadIdx.x); i < tile_m) {
    const int32_t group = a.group(), at = rows.first + min(i, count - 1);
    const int64_t row = rows.segment.first + at / group;
    const Visible keys = keys_of(a, rows.segment, at / group);
    const bool own = i < count && (!rows.overlapped || owns(a, rows.segment, row));
    seen[i] = {static_cast<int32_t>(keys.first), static_cast<int32_t>(keys.last)};
    parts_of[i] = own ? RowSpan{seen[i].first / length, ceil_div(seen[i].last, length)} : RowSpan{0, 0};
    place_of[i] = static_cast<int32_t>(row * a.H + kv_head * group + at % group);
    largest_so_far[i] = -INFINITY, sum_so_far[i] = 0;
  }
  __syncthreads();
  // Neither end of a row's range falls when the position grows. So the tile sees row 0's first to row 15's last
  // position.
  const int first_seen = seen[0].first, last_seen = seen[tile_m - 1].last, first_part = first_seen / length,
            end_part = ceil_div(last_seen, length);
  if (own_part >= end_part - first_part) return;  // uniform over the block

  HEDDLE_ROLLED
  for (int i = warp; i < tile_m; i += warps) {
    const float scale = store_query<P>(queries, a, static_cast<int64_t>(place_of[i]) * D, i, i < count);
    if (lane == 0) query_scale[i] = scale;
  }
  const RowSpan span[2] = {fg < count ? seen[fg] : RowSpan{0, 0}, fg + 8 < count ? seen[fg + 8] : RowSpan{0, 0}};
  float* outputs = reinterpret_cast<float*>(memory + P::query_bytes);
  // Each element is read and written by one thread only, so it needs no barrier.
  float* values_so_far = outputs + warps * (P::ring_bytes / static_cast<int>(sizeof(float)));
  if (!split)
    for (int at = threadIdx.x; at < P::output_floats; at += P::threads) values_so_far[at] = 0;
  __syncthreads();

  HEDDLE_ROLLED
  for (int part = first_part + (split ? own_part : 0); part < end_part; ++part) {
    const int first = max(first_seen, part * length), last = min(last_seen, (part + 1) * length),
              first_group = first / tile_n, end_group = ceil_div(last, tile_n);
    // A warp takes the groups of 16 positions whose index modulo `warps` is the warp's index.
    const int own_group = first_group + (warp + warps - first_group % warps) % warps;
    const auto copy_group = [&](int g, int stage) {
      const int position = g * tile_n + lane % tile_n;
      const bool is_valid = position >= first && position < last;
      const int64_t row = is_valid ? a.shape.row_of(rows.segment.slot, kv_head, position, a.fault) : 0;
      const unsigned who = __ballot_sync(all_lanes, is_valid);
      HEDDLE_ROLLED
      for (int i = 0; i < 2; ++i)
        copy_rows<P>(
            ring + stage * P::stage_bytes + i * tile_n * P::row_bytes, i == 0 ? a.k.data : a.v.data, row, who, D);
    };
    RunningRows own_rows{{-INFINITY, -INFINITY}, {0, 0}};
    float acc[width / 8][4] = {};
    HEDDLE_ROLLED
    // The first iteration only starts the copies of the first group.
    for (int g = own_group - warps, stage = 1; g < end_group; g += warps, stage ^= 1) {
      ptx::wait_copies<0>();
      __syncwarp();  // the copies of this stage by all lanes are complete, and all lanes have read the other stage
      if (g + warps < end_group) copy_group(g + warps, stage ^ 1);
      ptx::commit_copies();
      if (g < own_group) continue;
      const unsigned char *k_tile = ring + stage * P::stage_bytes, *v_tile = k_tile + tile_n * P::row_bytes;

      float s[2][4] = {};
      HEDDLE_UNROLL
      for (int d = 0; d < width; d += 16) {
        if (d >= D) continue;
        uint32_t right[2][2];
        if constexpr (Type::q8) {
          HEDDLE_UNROLL
          for (int j = 0; j < 2; ++j) {
            const uint32_t word = *reinterpret_cast<const uint32_t*>(k_tile + (8 * j + fg) * P::row_bytes + d + 4 * ft);
            right[j][0] = bytes_to_bf16(word, 0, word, 1), right[j][1] = bytes_to_bf16(word, 2, word, 3);
          }
        } else {
          load_right<width>(right[0], right[1], reinterpret_cast<const uint16_t*>(k_tile), 0, d);
        }
        HEDDLE_UNROLL
        for (int term = P::terms - 1; term >= 0; --term) {  // small terms first
          uint32_t left[4];
          load_left<width>(left, queries + term * tile_m * width, 0, d);
          Type::multiply(s[0], left, right[0]);
          Type::multiply(s[1], left, right[1]);
        }
      }

      const bool capped = a.scores.softcap > 0;
      const float to_cap = a.scores.scale / a.scores.softcap,
                  to_power = (capped ? a.scores.softcap : a.scores.scale) * log2_e;
      HEDDLE_UNROLL
      for (int j = 0; j < 2; ++j) {
        HEDDLE_UNROLL
        for (int e = 0; e < 4; ++e) {
          if constexpr (Type::q8)
            s[j][e] *= *reinterpret_cast<const float*>(k_tile + (8 * j + 2 * ft + e % 2) * P::row_bytes + D);
          if constexpr (Type::small_range) s[j][e] *= query_scale[fg + e / 2 * 8];
        }
      }
      if (capped) {
        HEDDLE_UNROLL
        for (int e = 0; e < 8; ++e) s[e / 4][e % 4] = soft_cap(s[e / 4][e % 4] * to_cap);
      }
      float now[2] = {own_rows.largest[0], own_rows.largest[1]};
      HEDDLE_UNROLL
      for (int j = 0; j < 2; ++j) {
        HEDDLE_UNROLL
        for (int e = 0; e < 4; ++e) {
          const int key = g * tile_n + 8 * j + 2 * ft + e % 2;
          s[j][e] = key >= span[e / 2].first && key < span[e / 2].last ? s[j][e] * to_power : -INFINITY;
          now[e / 2] = fmaxf(now[e / 2], s[j][e]);
        }
      }
      float kept[2], base[2];
      own_rows.raise(now, 1.0f, kept, base);
      HEDDLE_UNROLL
      for (int j = 0; j < 2; ++j) {
        HEDDLE_UNROLL
        for (int e = 0; e < 4; ++e) {
          s[j][e] = ptx::power_of_two(s[j][e] - base[e / 2]);
          own_rows.sum[e / 2] += s[j][e];
          if constexpr (Type::q8)
            s[j][e] *= *reinterpret_cast<const float*>(v_tile + (8 * j + 2 * ft + e % 2) * P::row_bytes + D);
        }
      }
      HEDDLE_UNROLL
      for (int j = 0; j < width / 8; ++j) {
        HEDDLE_UNROLL
        for (int e = 0; e < 4; ++e) acc[j][e] *= kept[e / 2];
      }
      uint32_t left[P::terms][4];
      as_left_terms<Type, P::terms>(left, s[0], s[1]);
      if constexpr (Type::q8) {
        HEDDLE_UNROLL
        for (int d = 0; d < width; d += 32) {
          if (d >= D) continue;
          uint32_t word[4];
          HEDDLE_UNROLL
          for (int i = 0; i < 4; ++i)
            word[i] =
                *reinterpret_cast<const uint32_t*>(v_tile + (2 * ft + i % 2 + i / 2 * 8) * P::row_bytes + d + 4 * fg);
          HEDDLE_UNROLL
          for (int j = 0; j < 4; ++j) {
            const uint32_t right[2] = {bytes_to_bf16(word[0], j, word[1], j), bytes_to_bf16(word[2], j, word[3], j)};
            HEDDLE_UNROLL
            for (int term = P::terms - 1; term >= 0; --term) Type::multiply(acc[d / 8 + j], left[term], right);
          }
        }
      } else {
        HEDDLE_UNROLL
        for (int d = 0; d < width; d += 16) {
          if (d >= D) continue;
          uint32_t right[2][2];
          load_right_transposed<width>(right[0], right[1], reinterpret_cast<const uint16_t*>(v_tile), d, 0);
          HEDDLE_UNROLL
          for (int term = P::terms - 1; term >= 0; --term) {
            Type::multiply(acc[d / 8], left[term], right[0]);
            Type::multiply(acc[d / 8 + 1], left[term], right[1]);
          }
        }
      }
    }
    ptx::wait_copies<0>();
    __syncwarp();  // all lanes have read the ring, so the output may overwrite it

    float* own = reinterpret_cast<float*>(ring);
    HEDDLE_UNROLL
    for (int j = 0; j < width / 8; ++j) {
      HEDDLE_UNROLL
      for (int e = 0; e < 4; ++e) {
        // q8: 32 columns are eight words. Column c of fragment j is byte j % 4 of word c.
        const int column = Type::q8 ? j / 4 * 32 + 4 * (2 * ft + e % 2) + j % 4 : 8 * j + 2 * ft + e % 2;
        own[(fg + e / 2 * 8) * width + column] = acc[j][e];
      }
    }
    HEDDLE_UNROLL
    for (int h = 0; h < 2; ++h) {
      const float total = quad_sum(own_rows.sum[h]);
      if (ft == 0) warp_largest[warp][fg + 8 * h] = own_rows.largest[h], warp_share[warp][fg + 8 * h] = total;
    }
    __syncthreads();
    if (threadIdx.x < tile_m) {
      const int i = threadIdx.x;
      float top = -INFINITY, total = 0;
      for (int w = 0; w < warps; ++w) top = fmaxf(top, warp_largest[w][i]);
      for (int w = 0; w < warps; ++w) {
        const float share = top == -INFINITY ? 0.0f : ptx::power_of_two(warp_largest[w][i] - top);
        total = fmaf(warp_share[w][i], share, total);
        warp_share[w][i] = share;
      }
      part_largest[i] = top, part_sum[i] = total;
      const MergeFactors fold(largest_so_far[i], top);
      kept_so_far[i] = fold.kept, part_share[i] = fold.share;
      largest_so_far[i] = fold.maximum, sum_so_far[i] = fold(sum_so_far[i], total);
    }
    __syncthreads();
    HEDDLE_ROLLED
    for (int at = threadIdx.x; at < P::output_floats; at += P::threads) {
      const int i = at / width, d = at % width;
      float value = 0;
      HEDDLE_UNROLL
      for (int w = 0; w < warps; ++w)
        value = fmaf(outputs[w * (P::ring_bytes / static_cast<int>(sizeof(float))) + at], warp_share[w][i], value);
      if (!split) {
        values_so_far[at] = fmaf(value, part_share[i], values_so_far[at] * kept_so_far[i]);
      } else if (d < D && part >= parts_of[i].first && part < parts_of[i].last) {
        float* to = a.part_results + (static_cast<int64_t>(place_of[i]) * a.parts + part - parts_of[i].first) * (D + 2);
        to[2 + d] = value;
        if (d == 0) to[0] = part_largest[i], to[1] = part_sum[i];
      }
    }
    if (split) return;
    __syncthreads();  // the next part overwrites the outputs
  }
  HEDDLE_ROLLED
  for (int at = threadIdx.x; at < P::output_floats; at += P::threads) {
    const int i = at / width, d = at % width;
    if (d < D && parts_of[i].first < parts_of[i].last)
      a.o.store(static_cast<int64_t>(place_of[i]) * D + d,
          values_so_far[at] * output_factor(a, place_of[i] % a.H, largest_so_far[i], sum_so_far[i]));
  }
}

// grid (tiles of 16 pairs of row and query head, KH), or (tiles, KH, parts) if each part has its own block.
template <class P>
__global__ void __launch_bounds__(P::threads, P::blocks)
    tensor_cached_attention_kernel(PreviousKernel previous, CachedArguments a) {
  previous.wait();
  for (int64_t number = blockIdx.x;; number += gridDim.x) {
    const Rows rows = find_rows<false>(a, number, tile_m, a.group());
    if (rows.count == 0) return;  // uniform over the block
    attend<P>(a, rows, blockIdx.y, a.part_results ? static_cast<int>(blockIdx.z) : -1);
    if (number + gridDim.x >= rows.tiles) return;
  }
}

// Merges the parts of a row and head in order. Loads four parts at a time, to overlap the latencies. grid (rows, H)
__global__ void __launch_bounds__(largest_head) fold_tensor_parts_kernel(PreviousKernel previous, CachedArguments a) {
  previous.wait();
  constexpr int batch = 4;
  const int64_t row = blockIdx.x, head = blockIdx.y, D = a.shape.D;
  const Visible keys = find_keys(a, row);
  if (keys.slot < 0 || threadIdx.x >= D) return;
  const int64_t parts = ceil_div(keys.last, a.part_length) - keys.first / a.part_length;
  float largest = -INFINITY, sum = 0, value = 0;
  for (int64_t first = 0; first < parts; first += batch) {
    float of_part[batch][3];
    HEDDLE_UNROLL
    for (int i = 0; i < batch; ++i) {
      const float* from = a.part(row, head, min(first + i, parts - 1));
      of_part[i][0] = from[0], of_part[i][1] = from[1], of_part[i][2] = from[2 + threadIdx.x];
    }
    HEDDLE_UNROLL
    for (int i = 0; i < batch; ++i) {
      if (first + i >= parts) continue;
      const MergeFactors fold(largest, of_part[i][0]);
      largest = fold.maximum, sum = fold(sum, of_part[i][1]), value = fold(value, of_part[i][2]);
    }
  }
  a.o.store((row * a.H + head) * D + threadIdx.x, value * output_factor(a, head, largest, sum));
}

template <class Type, int terms> void run(const Context& c, const CachedArguments& a, const dim3& grid) {
  const auto with = [&](auto plan) {
    using P = decltype(plan);
    const size_t running = a.part_results ? 0 : P::output_floats * sizeof(float);
    launch(c, "cached_attention", {grid, dim3(P::threads), P::shared_bytes + running},
        tensor_cached_attention_kernel<P>, a);
  };
  if (a.shape.D <= 64) with(Plan<Type, 64, terms>{});
  else if (a.shape.D <= 128) with(Plan<Type, 128, terms>{});
  else if constexpr (!Type::q8) with(Plan<Type, 256, terms>{});
}
template <class Type> void run(const Context& c, const CachedArguments& a, const dim3& grid) {
  if (a.q.type == DType::f32) run<Type, Type::terms_of_f32>(c, a, grid);
  else run<Type, Type::terms_of_bf16>(c, a, grid);
}

// Returns the number of terms of a query in long segments. With the attribute `bf16`, one term is exact enough.
int prefill_terms(const Node& n) {
  if (n.attributes->get("bf16", 0) != 0) return 1;
  const bool f16 = n.in[1].dtype == DType::f16;
  if (n.in[0].dtype == DType::f32) return f16 ? F16::terms_of_f32 : Bf16::terms_of_f32;
  return f16 ? F16::terms_of_bf16 : Bf16::terms_of_bf16;
}
// Whether long segments use the kernel of sm_90a.
bool takes_warpgroups(const Node& n, const Context& c) {
  return cached_attention_takes_warpgroups(n.in[0].shape[2], n.in[1].dtype, prefill_terms(n), properties_of(c));
}
// Returns the minimum number of rows of a long segment. A run with separate blocks for parts has no long segments.
int64_t long_rows_of(const Node& n, const Context& c) {
  const int64_t H = n.in[0].shape[1];
  if (n.in[1].dtype == DType::u8 || !prefill_supports(n.in[0].shape[2], prefill_terms(n)))
    return std::numeric_limits<int64_t>::max();
  return std::max(long_segment(H, n.in[1].shape[1], takes_warpgroups(n, c), properties_of(c)), most_split_rows / H + 1);
}

void cached_attention(const Node& n, Context& c) {
  const Tensor &q = n.in[0], &k = n.in[1], &segments = n.in[3];
  const int64_t rows = q.shape[0], H = q.shape[1], L = places_of(n, k, 5).capacity, parts = parts_of(L),
                G = segments.shape[0];
  const bool split = splits(rows, H, L);
  const CachedArguments a{view(q), view(k), view(n.in[2]), optional_view(n, 4), segments.as<SegmentRow>(),
      out(n.out[0]), G, H, n.attr_int("window"), shape_of(n, q, k, 5), Scores(n), n.attr_flag("causal"), fault_of(c),
      split ? static_cast<float*>(c.scratch) : nullptr, part_of(L), parts, long_rows_of(n, c)};
  if (rows >= a.long_rows) takes_warpgroups(n, c) ? warpgroup_prefill(c, a) : prefill(c, a, prefill_terms(n));
  // Disjoint segments have at most this many tiles. Overlapping segments may have more, so blocks loop over tiles. At
  // least one block runs, to report invalid segments.
  const int64_t tiles = rows * (H / a.shape.KH) / tile_m + G;
  const dim3 grid(static_cast<unsigned>(tiles > 0 ? tiles : 1), static_cast<unsigned>(a.shape.KH),
      split ? static_cast<unsigned>(parts) : 1u);
  if (k.dtype == DType::bf16) run<Bf16>(c, a, grid);
  else if (k.dtype == DType::f16) run<F16>(c, a, grid);
  else run<Q8>(c, a, grid);
  if (split && rows > 0)
    launch(c, "cached_attention",
        {dim3(static_cast<unsigned>(rows), static_cast<unsigned>(H)),
            dim3(static_cast<unsigned>(round_up(a.shape.D, warp_size)))},
        fold_tensor_parts_kernel, a);
}

// Copies move 16 bytes of a row at a time. The products of q8 values take 32 columns at a time. cache.cu computes the
// rest: f32 caches, for which tensor cores are not exact enough, and q8 rows of more than 128 elements, which are rare.
bool supports(const Node& n) {
  const Tensor &q = n.in[0], &k = n.in[1];
  const int64_t D = q.shape[2];
  if (D > largest_head || (q.dtype != DType::f32 && q.dtype != DType::bf16)) return false;
  if (k.dtype == DType::u8) return D <= 128 && D % 32 == 0;
  return (k.dtype == DType::bf16 || k.dtype == DType::f16) && D % piece == 0;
}
// The dimensions of n may be upper bounds. A run with fewer rows may give each part its own block, even if the upper
// bounds have too many rows for that. So the scratch always has room for such a run, in which rows times heads are at
// most most_split_rows.
size_t scratch(const Node& n, int) {
  const int64_t most = n.in[0].shape[0] * n.in[0].shape[1], L = places_of(n, n.in[1], 5).capacity;
  if (L <= part_of(L)) return 0;
  return static_cast<size_t>((most < most_split_rows ? most : most_split_rows) * parts_of(L) * (n.in[0].shape[2] + 2)) *
         sizeof(float);
}

const RegisterKernel kernels[] = {
    {"cached_attention", "cuda_tensor_cached_attention", supports, cached_attention, scratch, 1}};

}  // namespace
}  // namespace cuda
}  // namespace heddle
