// The ops of the KV cache, contiguous or paged (Kwon et al. 2023, "PagedAttention"): cache_write, and cached_attention
// on CUDA cores.
#include "cuda/attention/cache.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int warps = 4, threads = warps * warp_size;

// Reads one row of a cache. The cache has rows of floats, or q8 rows (ops/q8_rows.h): D signed bytes, then their scale,
// which is not aligned.
struct CachedRow {
  View elements;
  int64_t at;  // index of the row's first element
  float scale;
  bool q8;

  __device__ CachedRow(const View& cache, int64_t row, int64_t D)
      : elements(cache), at(row * (cache.type == DType::u8 ? D + q8_scale_bytes : D)), scale(0),
        q8(cache.type == DType::u8) {
    if (!q8) return;
    const uint8_t* p = static_cast<const uint8_t*>(cache.data) + at + D;
    scale = __uint_as_float(p[0] | p[1] << 8 | p[2] << 16 | static_cast<unsigned>(p[3]) << 24);
  }
  __device__ float operator[](int64_t d) const {
    return q8 ? scale * static_cast<float>(static_cast<const int8_t*>(elements.data)[at + d]) : elements[at + d];
  }
};

// The rounding of x (D) to a q8 row, as in q8_store_row (ops/q8_rows.h): byte = round(x * inverse), element = scale *
// byte. If x has NaN or infinity, scale is NaN. All lanes of the warp must call q8_rounding.
struct Q8Rounding {
  float inverse, scale;
};
__device__ inline Q8Rounding q8_rounding(const View& x, int64_t at, int64_t D) {
  float largest = 0, poison = 0;
  for (int64_t d = threadIdx.x % warp_size; d < D; d += warp_size) {
    const float v = x[at + d];
    largest = fmaxf(largest, fabsf(v));
    poison += v * 0.0f;  // NaN if v is NaN or infinite
  }
  largest = warp_max(largest), poison = warp_sum(poison);
  const bool is_nonzero = largest >= 1e-30f && poison == 0;
  return {is_nonzero ? 127.0f / largest : 0.0f, (is_nonzero ? largest / 127.0f : 0.0f) + poison};
}

// Writes the rows of x (N, KH, D) that belong to segments to cache (S, KH, L, D) or its pages. One block per row. If
// any segment or page is invalid, reports a fault and writes nothing.
template <bool q8>
__global__ void __launch_bounds__(threads) cache_write_kernel(
    PreviousKernel previous, Out cache, View x, const SegmentRow* segments, int64_t G, CacheShape shape, Fault fault) {
  previous.wait();
  const int64_t row = blockIdx.x;
  for (int64_t g = 0; g < G; ++g)
    if (!valid(segments[g], shape)) {
      if (threadIdx.x == 0) fault.report();
      return;
    }
  if (shape.page > 0)
    for (int64_t g = 0; g < G; ++g) {
      const SegmentRow s = segments[g];
      for (int64_t p = s.past / shape.page * shape.page; s.count > 0 && p < static_cast<int64_t>(s.past) + s.count;
          p += shape.page)
        if (!shape.is_valid_page(shape.page_of(s.slot, p))) {
          if (threadIdx.x == 0) fault.report();
          return;
        }
    }
  if (fault.reported()) return;
  // Calls write(slot, position) for each segment that contains the row.
  const auto each_place = [&](auto write) {
    for (int64_t g = 0; g < G; ++g) {
      const SegmentRow s = segments[g];
      if (s.count == 0 || row < s.first || row >= static_cast<int64_t>(s.first) + s.count) continue;
      write(s.slot, s.past + (row - s.first));
    }
  };
  if constexpr (q8) {               // one warp per head
    if (row >= shape.rows) return;  // the block that runs if there are no rows, see row_blocks
    const int lane = threadIdx.x % warp_size;
    for (int64_t h = threadIdx.x / warp_size; h < shape.KH; h += warps) {
      const int64_t at = (row * shape.KH + h) * shape.D;
      const Q8Rounding q = q8_rounding(x, at, shape.D);
      each_place([&](int64_t slot, int64_t position) {
        uint8_t* to =
            static_cast<uint8_t*>(cache.data) + shape.row_of(slot, h, position, fault) * (shape.D + q8_scale_bytes);
        for (int64_t d = lane; d < shape.D; d += warp_size)
          to[d] = static_cast<uint8_t>(static_cast<int8_t>(q.inverse > 0 ? rintf(x[at + d] * q.inverse) : 0.0f));
        if (lane < q8_scale_bytes) to[shape.D + lane] = static_cast<uint8_t>(__float_as_uint(q.scale) >> 8 * lane);
      });
    }
  } else {
    each_place([&](int64_t slot, int64_t position) {
      const int width = static_cast<int>(shape.D), all = static_cast<int>(shape.KH) * width;
      for (int e = threadIdx.x; e < all; e += threads)
        cache.store(shape.row_of(slot, e / width, position, fault) * shape.D + e % width, x[row * all + e]);
    });
  }
}

// Returns a block per row, and at least one block, so that invalid segments are reported even without rows.
unsigned row_blocks(int64_t rows) { return rows > 0 ? static_cast<unsigned>(rows) : 1u; }

void cache_write(const Node& n, Context& c) {
  const Tensor &cache = n.in[0], &x = n.in[1], &segments = n.in[2];
  launch(c, "cache_write", {dim3(row_blocks(x.shape[0])), dim3(threads)},
      cache.dtype == DType::u8 ? cache_write_kernel<true> : cache_write_kernel<false>, out(cache), view(x),
      segments.as<SegmentRow>(), segments.shape[0], shape_of(n, x, cache, 3), fault_of(c));
}

// The positions per part. A row's positions are processed in parts, whose results are merged in order. With many rows,
// one block loops over all parts of a row. With few rows, each part has its own block, and a second kernel merges the
// results (Dao et al. 2023, "Flash-Decoding"). Both ways give the same bits. Parts are short in the emulator, so that
// tests have several.
constexpr int64_t part_keys = HEDDLE_EMULATED ? 136 : 1024;
constexpr int64_t most_split_rows = HEDDLE_EMULATED ? 16 : 512;  // maximum rows times heads for separate blocks
// Returns the maximum number of parts that a row sees. The first and the last of them may be seen partially.
int64_t parts_of(int64_t L) { return L / part_keys + 2; }
// Whether each part has its own block.
bool splits(int64_t rows, int64_t H, int64_t L) { return L > part_keys && rows * H <= most_split_rows; }

// The running softmax of a row: the largest score so far, the sum of weights, and the weighted sums of values in the
// thread's output columns, threadIdx.x and threadIdx.x + threads.
constexpr int own_values = static_cast<int>(largest_head) / threads;
struct Running {
  float largest = -INFINITY, sum = 0, value[own_values] = {};

  // Merges the result of the next part.
  __device__ void fold(float part_largest, float part_sum, const float (&part_value)[own_values]) {
    // An empty part changes nothing. The sum is compared too, because a part whose scores are NaN has a sum of NaN.
    if (part_largest == -INFINITY && part_sum == 0) return;
    const float now = fmaxf(largest, part_largest), kept = expf(largest - now), share = expf(part_largest - now);
    largest = now;
    sum = sum * kept + part_sum * share;
    HEDDLE_UNROLL
    for (int i = 0; i < own_values; ++i) value[i] = value[i] * kept + part_value[i] * share;
  }
  // Normalizes and stores the output. A sink is an additional logit of the softmax that has no value vector.
  __device__ void store(const CachedArguments& a, int64_t row, int64_t head) {
    const float none[own_values] = {};
    if (a.sinks.data) fold(a.sinks[head], 1.0f, none);
    HEDDLE_UNROLL
    for (int i = 0; i < own_values; ++i) {
      const int64_t d = threadIdx.x + i * threads;
      if (d < a.shape.D) a.o.store((row * a.H + head) * a.shape.D + d, sum != 0 ? value[i] / sum : 0.0f);
    }
  }
};

// grid (rows, H), or (rows, H, parts) if each part has its own block. The four warps take tiles of 32 keys in turn. For
// the scores, each lane has one key of the tile. For the output, each lane has `chunks` columns. The results of the
// warps are merged in shared memory.
template <int chunks>
__global__ void __launch_bounds__(threads, 2) cached_attention_kernel(PreviousKernel previous, CachedArguments a) {
  previous.wait();
  constexpr int width = chunks * warp_size;
  HEDDLE_SHARED(float, query, [width]);
  HEDDLE_SHARED(float, warp_largest, [warps]);
  HEDDLE_SHARED(float, warp_total, [warps]);
  HEDDLE_SHARED(float, warp_output, [warps][width]);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, D = static_cast<int>(a.shape.D);
  const int64_t row = blockIdx.x, head = blockIdx.y, kv_head = head / (a.H / a.shape.KH);
  const Visible keys = find_keys(a, row);
  if (keys.slot < 0) return;  // uniform over the block; the output row stays unchanged
  for (int d = threadIdx.x; d < width; d += threads) query[d] = d < D ? a.q[(row * a.H + head) * D + d] : 0.0f;
  __syncthreads();
  const bool split = a.part_results != nullptr;
  const int64_t first_part = keys.first / part_keys, end_part = ceil_div(keys.last, part_keys);

  Running running;
  for (int64_t part = first_part + (split ? blockIdx.z : 0); part < end_part; ++part) {
    const int64_t first = max(keys.first, part * part_keys), last = min(keys.last, (part + 1) * part_keys);
    float largest = -INFINITY, sum = 0, acc[chunks] = {};
    for (int64_t key0 = first + warp * tile_rows; key0 < last; key0 += warps * tile_rows) {
      const int64_t j = key0 + lane;
      float s = -INFINITY;
      if (j < last) {
        float product = 0;
        const CachedRow key(a.k, a.shape.row_of(keys.slot, kv_head, j, a.fault), D);
        for (int d = 0; d < D; ++d) product += query[d] * key[d];
        s = a.scores.of(product);
      }
      if (__ballot_sync(all_lanes, s != -INFINITY) == 0) continue;
      const float now = fmaxf(largest, warp_max(s));
      const float kept = expf(largest - now), p = expf(s - now);
      largest = now;
      sum = sum * kept + warp_sum(p);
      HEDDLE_UNROLL
      for (int c = 0; c < chunks; ++c) acc[c] *= kept;
      const int count = last - key0 < tile_rows ? static_cast<int>(last - key0) : tile_rows;
      for (int i = 0; i < count; ++i) {
        const float weight = __shfl_sync(all_lanes, p, i);
        const CachedRow value(a.v, a.shape.row_of(keys.slot, kv_head, key0 + i, a.fault), D);
        HEDDLE_UNROLL
        for (int c = 0; c < chunks; ++c) {
          const int d = c * warp_size + lane;
          if (d < D) acc[c] += weight * value[d];
        }
      }
    }
    HEDDLE_UNROLL
    for (int c = 0; c < chunks; ++c) warp_output[warp][c * warp_size + lane] = acc[c];
    if (lane == 0) {
      warp_largest[warp] = largest;
      warp_total[warp] = sum;
    }
    __syncthreads();
    float top = -INFINITY, total = 0, value[own_values] = {};
    for (int w = 0; w < warps; ++w) top = fmaxf(top, warp_largest[w]);
    for (int w = 0; w < warps; ++w) {
      if (warp_largest[w] == -INFINITY && warp_total[w] == 0) continue;
      const float share = expf(warp_largest[w] - top);
      total += warp_total[w] * share;
      HEDDLE_UNROLL
      for (int i = 0; i < own_values; ++i)
        if (threadIdx.x + i * threads < width) value[i] += warp_output[w][threadIdx.x + i * threads] * share;
    }
    if (split) {
      float* to = a.part(row, head, blockIdx.z);
      if (threadIdx.x == 0) to[0] = top, to[1] = total;
      HEDDLE_UNROLL
      for (int i = 0; i < own_values; ++i)
        if (const int e = static_cast<int>(threadIdx.x) + i * threads; e < D) to[2 + e] = value[i];
      return;  // uniform over the block
    }
    running.fold(top, total, value);
    __syncthreads();  // the next part overwrites the results of the warps
  }
  if (!split) running.store(a, row, head);
}

// grid (rows, H). Merges the parts of a row and head in order.
__global__ void __launch_bounds__(threads) fold_parts_kernel(PreviousKernel previous, CachedArguments a) {
  previous.wait();
  const int64_t row = blockIdx.x, head = blockIdx.y;
  const Visible keys = find_keys(a, row);
  if (keys.slot < 0) return;
  const int64_t parts = ceil_div(keys.last, part_keys) - keys.first / part_keys;
  Running running;
  for (int64_t i = 0; i < parts; ++i) {
    const float* from = a.part(row, head, i);
    float value[own_values] = {};
    HEDDLE_UNROLL
    for (int v = 0; v < own_values; ++v)
      if (threadIdx.x + v * threads < a.shape.D) value[v] = from[2 + threadIdx.x + v * threads];
    running.fold(from[0], from[1], value);
  }
  running.store(a, row, head);
}

void cached_attention(const Node& n, Context& c) {
  const Tensor &q = n.in[0], &k = n.in[1], &segments = n.in[3];
  const int64_t rows = q.shape[0], H = q.shape[1], L = places_of(n, k, 5).capacity, parts = parts_of(L);
  const bool split = splits(rows, H, L);
  const CachedArguments a{view(q), view(k), view(n.in[2]), optional_view(n, 4), segments.as<SegmentRow>(),
      out(n.out[0]), segments.shape[0], H, n.attr_int("window"), shape_of(n, q, k, 5), Scores(n), n.attr_flag("causal"),
      fault_of(c), split ? static_cast<float*>(c.scratch) : nullptr, part_keys, parts};
  const dim3 grid(row_blocks(rows), static_cast<unsigned>(H));
  for_head(a.shape.D, [&](auto chunks) {
    launch(c, "cached_attention", {dim3(grid.x, grid.y, split ? static_cast<unsigned>(parts) : 1u), dim3(threads)},
        cached_attention_kernel<decltype(chunks)::value>, a);
  });
  if (split) launch(c, "cached_attention", {grid, dim3(threads)}, fold_parts_kernel, a);
}

bool supports(const Node& n) { return n.in[0].shape[2] <= largest_head; }
// The dimensions of n may be upper bounds. A run with fewer rows may give each part its own block, even if the upper
// bounds have too many rows for that. So the scratch always has room for such a run, in which rows times heads are at
// most most_split_rows.
size_t scratch(const Node& n, int) {
  const int64_t most = n.in[0].shape[0] * n.in[0].shape[1], L = places_of(n, n.in[1], 5).capacity;
  if (L <= part_keys) return 0;
  return static_cast<size_t>((most < most_split_rows ? most : most_split_rows) * parts_of(L) * (n.in[0].shape[2] + 2)) *
         sizeof(float);
}

const RegisterKernel kernels[] = {
    {"cache_write", "cuda_cache_write", nullptr, cache_write},
    {"cached_attention", "cuda_split_cached_attention", supports, cached_attention, scratch},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
