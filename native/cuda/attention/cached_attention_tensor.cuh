// Shared by the kernels of cached attention on tensor cores: the rows of a block, their queries in shared memory, and
// the copies of cache rows. Bytes of q8 rows are converted to bf16 when they are loaded into fragments.
#pragma once
#include "cuda/attention/attention_tile.cuh"
#include "cuda/attention/cache.cuh"

namespace heddle {
namespace cuda {
namespace cached {

// tile_m: pairs of a row and a head in a tile of a short segment. tile_n: positions that a warp copies at a time.
constexpr int tile_m = 16, tile_n = 16, stages = 2;

// The operand type of a q8 cache. bf16 represents all signed bytes exactly.
struct Q8 : Bf16 {
  static constexpr bool q8 = true;
  static constexpr int terms_of_bf16 = terms_of_f32;  // one would suffice, but would need another kernel
};

// The configuration of a kernel for heads of at most width_ elements. In shared memory, a stage has 16 rows of keys,
// then 16 rows of values.
template <class Type_, int width_, int terms_> struct Plan {
  using Type = Type_;
  // blocks: minimum blocks per multiprocessor for __launch_bounds__, as many as fit into shared memory
  static constexpr int width = width_, terms = terms_, block_rows = tile_m,
                       warps = width <= 128 ? 4
                               : terms > 2  ? 1
                                            : 2,
                       threads = warps * warp_size, blocks = terms > 2 ? 2 : 3;
  // q8: the scale follows the D bytes. A pitch of 16 bytes more than the width spreads rows over the banks.
  static constexpr int row_bytes = Type::q8 ? width + 16 : width * 2;
  static constexpr int stage_bytes = 2 * tile_n * row_bytes, ring_bytes = stages * stage_bytes,
                       query_bytes = terms * tile_m * width * 2;
  static constexpr int output_floats = tile_m * width;
  // The launcher adds output_floats for a block that processes all parts.
  static constexpr size_t shared_bytes = query_bytes + static_cast<size_t>(warps) * ring_bytes;
  static_assert(shared_bytes + (output_floats + 512) * sizeof(float) <= 99 << 10,
      "a block on sm_86, sm_89 and sm_120 may use at most 99 KB of shared memory");
  static_assert(
      ring_bytes >= output_floats * static_cast<int>(sizeof(float)), "a warp's output must fit into its ring");
};

// A tile: up to 16, 64 or 128 pairs of a segment's row and a query head that uses the block's key head. With `group`
// query heads per key head, pair p of the segment is row p / group and the group's head p % group. The tile has pairs
// [first, first + count).
struct Rows {
  SegmentRow segment;
  int32_t first, count;  // pairs are places of rows * H, which fit into 32 bits
  bool overlapped;       // a later segment contains some of the same rows
  int64_t tiles;         // tiles of all segments of this length together
};
// Returns tile `number` of the tiles of all long segments, or of all short ones. A segment is long if it has at least
// a.long_rows rows. So the kernel that computes a row depends on the row's own segment only. count is 0 if there are
// fewer tiles, or if any segment is invalid. tile: maximum number of pairs in a tile.
template <bool is_long>
__device__ inline Rows find_rows(const CachedArguments& a, int64_t number, int64_t tile, int32_t group) {
  Rows found{{0, 0, -1, 0}, 0, 0, false, 0};
  HEDDLE_ROLLED
  for (int64_t i = 0; i < a.G; ++i) {
    const SegmentRow s = a.segments[i];
    if (!valid(s, a.shape)) {
      if (threadIdx.x == 0) a.fault.report();
      return {{0, 0, -1, 0}, 0, 0, false, 0};
    }
    if (found.count > 0) {
      const int64_t from = found.segment.first + found.first / group,
                    to = found.segment.first + (found.first + found.count - 1) / group;
      found.overlapped =
          found.overlapped || (s.count > 0 && s.first <= to && from < static_cast<int64_t>(s.first) + s.count);
    }
    if (is_long != (s.count >= a.long_rows)) continue;
    const int64_t rows = s.count * group, tiles = ceil_div(rows, tile), of_segment = number - found.tiles;
    if (of_segment >= 0 && of_segment < tiles) {
      // The first blocks take the last tiles of a long segment. With a causal mask, these see the most keys.
      const int64_t first = (is_long ? tiles - 1 - of_segment : of_segment) * tile;
      found = {s, static_cast<int32_t>(first), static_cast<int32_t>(min(rows - first, tile)), false, found.tiles};
    }
    found.tiles += tiles;
  }
  return found;
}
// Whether `own` is the last segment that contains the row. That segment decides the row's output.
__device__ inline bool owns(const CachedArguments& a, const SegmentRow& own, int64_t row) {
  SegmentRow last = own;
  HEDDLE_ROLLED
  for (int64_t i = 0; i < a.G; ++i) {
    const SegmentRow s = a.segments[i];
    if (s.count > 0 && row >= s.first && row < static_cast<int64_t>(s.first) + s.count) last = s;
  }
  return last.first == own.first && last.count == own.count && last.slot == own.slot && last.past == own.past;
}

// The pairs of a long segment's tile, which share a key head.
struct Pairs {
  const CachedArguments& a;
  const Rows& rows;
  int32_t kv_head;
  int32_t group;

  __device__ Pairs(const CachedArguments& arguments, const Rows& tile, int32_t head)
      : a(arguments), rows(tile), kv_head(head), group(arguments.group()) {}
  // Returns the row of the i-th pair in its segment.
  __device__ int32_t row_of(int i) const { return (rows.first + i) / group; }
  __device__ int32_t head_of(int i) const { return kv_head * group + (rows.first + i) % group; }
  // Returns row * H + head of the i-th pair.
  __device__ int64_t place_of(int i) const { return (rows.segment.first + row_of(i)) * a.H + head_of(i); }
  // Returns the positions that the i-th pair sees. The range is empty if the tile has no such pair.
  __device__ RowSpan span_of(int i) const {
    if (i >= rows.count) return {0, 0};
    const Visible keys = keys_of(a, rows.segment, row_of(i));
    return {static_cast<int32_t>(keys.first), static_cast<int32_t>(keys.last)};
  }
  // Returns the positions that any pair of the tile sees. Neither end of a row's range falls when the position grows.
  // So these are the first row's first to the last row's last position.
  __device__ RowSpan seen() const { return {span_of(0).first, span_of(rows.count - 1).last}; }
  // Starts the softmax of the lane's pairs i and i + 8. score_of_logit: see SpannedRows::start.
  __device__ void start(SpannedRows& running, int i, float score_of_logit) const {
    HEDDLE_UNROLL
    for (int h = 0; h < 2; ++h)
      running.start(h, span_of(i + 8 * h), a.sinks, head_of(min(i + 8 * h, rows.count - 1)), score_of_logit);
  }
  // Normalizes and stores the outputs of the lane's pairs i and i + 8, but not those of rows that a later segment
  // computes. pair(j, h) points to the lane's two accumulators in columns [8 j, 8 j + 8) of pair i + 8 h.
  template <int width, class F> __device__ void store(const RunningRows& running, int i0, F pair) const {
    const int D = static_cast<int>(a.shape.D), ft = threadIdx.x % 4;
    HEDDLE_UNROLL
    for (int h = 0; h < 2; ++h) {
      const float total = quad_sum(running.sum[h]), inverse = total > 0 ? 1.0f / total : 0.0f;
      const int i = i0 + 8 * h;
      if (i >= rows.count) continue;
      if (rows.overlapped && !owns(a, rows.segment, rows.segment.first + row_of(i))) continue;
      const int64_t first = place_of(i) * D + 2 * ft;
      // Calls put(at, low, high) for each pair of adjacent elements, from element `first` + at on.
      const auto each_two = [&](auto put) {
        HEDDLE_UNROLL
        for (int j = 0; j < width / 8; ++j)
          if (8 * j < D) put(8 * j, pair(j, h)[0] * inverse, pair(j, h)[1] * inverse);
      };
      if (a.o.type == DType::bf16) {
        uint16_t* to = static_cast<uint16_t*>(a.o.data) + first;
        each_two(
            [&](int at, float low, float high) { *reinterpret_cast<uint32_t*>(to + at) = ptx::pack_bf16(low, high); });
      } else {  // f32
        float* to = static_cast<float*>(a.o.data) + first;
        each_two([&](int at, float low, float high) { *reinterpret_cast<float2*>(to + at) = float2{low, high}; });
      }
    }
  }
};

// Returns the place of element d within 16 elements of a query, for q8 caches. Along k, lane t of a quad multiplies
// places 2t, 2t + 1, 2t + 8 and 2t + 9 of both operands. From a q8 row, the lane loads bytes 4t to 4t + 3 as one word.
// The queries are permuted to match: element 4t + i is at the lane's i-th place.
__device__ inline int place_in_sixteen(int d) { return d / 4 * 2 + d % 2 + d % 4 / 2 * 8; }
// Converts signed byte i of `first` and byte j of `second` to two bf16, exactly. Flipping the sign bit adds 128 to a
// byte. prmt puts the result into the low bits of 2^23, which gives the float 2^23 + 128 + byte. Subtracting 2^23 + 128
// leaves the byte, and the second prmt takes the upper halves of both floats.
__device__ inline uint32_t bytes_to_bf16(uint32_t first, int i, uint32_t second, int j) {
  constexpr float base = 8388608.0f + 128.0f;
  const float low =
      __uint_as_float(__byte_perm(first ^ 0x80808080u, 0x4b000000u, 0x7440u | static_cast<unsigned>(i))) - base;
  const float high =
      __uint_as_float(__byte_perm(second ^ 0x80808080u, 0x4b000000u, 0x7440u | static_cast<unsigned>(j))) - base;
  return __byte_perm(__float_as_uint(low), __float_as_uint(high), 0x7632);
}

// Stores the query of row i of a block as terms, or zeros if it is not inside. A warp calls it together. `query` is the
// index of the first element. The range of f16 is small. For an f16 cache, a row is therefore first scaled by a power
// of two, which brings its largest magnitude into [1, 2). If e are the exponent bits of that magnitude, the factor is
// 2^(127 - e). Returns its inverse.
template <class P>
__device__ inline float store_query(uint16_t* queries, const CachedArguments& a, int64_t query, int i, bool inside) {
  using Type = typename P::Type;
  const int lane = threadIdx.x % warp_size, D = static_cast<int>(a.shape.D);
  float largest = 0;
  if (Type::small_range && inside)
    for (int d = lane; d < D; d += warp_size) largest = fmaxf(largest, fabsf(a.q[query + d]));
  const unsigned exponent = Type::small_range ? __float_as_uint(warp_max(largest)) >> 23 : 0;
  const bool scaled = exponent > 0 && exponent < 254;
  const float down = scaled ? __uint_as_float((254 - exponent) << 23) : 1.0f;
  HEDDLE_ROLLED
  for (int d = lane; d < P::width; d += warp_size) {
    float left = d < D && inside ? a.q[query + d] * down : 0.0f;
    const int place = Type::q8 ? d / 16 * 16 + place_in_sixteen(d % 16) : d;
    HEDDLE_UNROLL
    for (int term = 0; term < P::terms; ++term) {
      const uint16_t bits = Type::round(left);
      queries[term * P::block_rows * P::width + swizzled<P::width / piece>(i, place / piece) + place % piece] = bits;
      left -= Type::widen(bits);
    }
  }
  return scaled ? __uint_as_float(exponent << 23) : 1.0f;
}

// Returns the value of `own` in lane `lane`.
__device__ inline const unsigned char* begin_of_row(const unsigned char* own, int lane) {
  return reinterpret_cast<const unsigned char*>(
      __shfl_sync(all_lanes, reinterpret_cast<unsigned long long>(own), lane));
}
// Starts the copies of 16 cache rows, 16 bytes at a time, or 4 for q8 rows. of_lane is the index of the cache row for
// row lane % 16 of the tile. Bit i of valid_rows is set if row i of the tile is copied. Otherwise the row becomes
// zeros.
template <class P>
__device__ inline void copy_rows(unsigned char* to, const void* cache, int64_t of_lane, unsigned valid_rows, int D) {
  constexpr int size = P::Type::q8 ? 4 : 16, places = P::Type::q8 ? P::width / 4 + 1 : P::width / piece,
                all = tile_n * places;
  const int lane = threadIdx.x % warp_size, bytes = P::Type::q8 ? D + static_cast<int>(q8_scale_bytes) : D * 2;
  const unsigned char* begin = static_cast<const unsigned char*>(cache) + of_lane * bytes;
  HEDDLE_ROLLED
  for (int e0 = 0; e0 < all; e0 += warp_size) {
    const int e = e0 + lane, r = e / places % tile_n, p = e % places;
    const unsigned char* row = begin_of_row(begin, r);
    if (all % warp_size && e >= all) continue;
    const bool is_copied = (valid_rows >> r & 1) && p * size < bytes;
    if constexpr (P::Type::q8) {
      if (p * size < bytes)
        ptx::copy_async_4(to + r * P::row_bytes + p * size, is_copied ? row + p * size : cache, is_copied ? size : 0);
    } else {
      ptx::copy_async_16(to + swizzled<places>(r, p) * 2, is_copied ? row + p * size : cache, is_copied ? size : 0);
    }
  }
}

// Computes the long segments (cached_attention_prefill.cu), for caches of bf16 or f16. `terms` is the number of terms
// of a query.
void prefill(const Context& c, const CachedArguments& a, int terms);
// Computes the long segments by wgmma (cached_attention_sm90.cu). Requires that cached_attention_takes_warpgroups.
void warpgroup_prefill(const Context& c, const CachedArguments& a);
// Whether `prefill` supports heads of D elements in `terms` terms.
inline bool prefill_supports(int64_t D, int terms) { return D <= 128 || (D <= largest_head && terms == 1); }

}  // namespace cached
}  // namespace cuda
}  // namespace heddle
