// Sums of rows by id: embedding_backward and segment_sum. One kernel sorts the rows by id, and another computes each
// row of the result from the rows with its id, in ascending order. No order of additions depends on timing. An id out
// of range is reported as a fault, and its row is skipped.
#include "cuda/rows/columns.cuh"

namespace heddle {
namespace cuda {
namespace {

// ---- sorting

constexpr int sort_threads = 1024, sort_warps = sort_threads / warp_size;
constexpr int most_ids = 256;        // maximum ids of a block, limited by its counts in shared memory
constexpr int sorting_blocks = 128;  // about one block for each multiprocessor, if there are enough ids
constexpr int sort_loads = 4;        // ids that a lane loads before it uses any

// The rows with id s are order[first[s]] to order[first[s + 1] - 1], in ascending order.
struct SortedRows {
  int32_t *first, *order;  // (S + 1), (N)
};

// ids (N) -> to. Block b sorts the rows of `range` ids, from b * range on. Every block reads all ids, and each of its
// warps one section of them. Blocks therefore do not wait for each other.
__global__ void __launch_bounds__(sort_threads)
    sort_rows_kernel(const int32_t* ids, SortedRows to, int64_t N, int64_t S, int range, Fault fault) {
  HEDDLE_SHARED(unsigned, place, [sort_warps][most_ids]);  // first counts, then a warp's next place in `order`
  HEDDLE_SHARED(unsigned, of_warp, [most_ids / warp_size]);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, own = threadIdx.x;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * range;
  const unsigned base = static_cast<unsigned>(first),
                 count = static_cast<unsigned>(S - first < range ? S - first : range);
  const int64_t step = warp_size * sort_loads, section = ceil_div(N, sort_warps * step) * step, begin = warp * section,
                end = begin + section < N ? begin + section : N;
  // Calls use(row, id) for each row of the warp's section, for 32 adjacent rows at a time. Beyond the section, id is
  // -1. As an unsigned number, a negative id is larger than any valid one.
  const auto each_row = [&](auto use) {
    for (int64_t row = begin + lane; row - lane < end; row += step) {
      unsigned id[sort_loads];
      HEDDLE_UNROLL
      for (int k = 0; k < sort_loads; ++k)
        id[k] = row + k * warp_size < end ? static_cast<unsigned>(ids[row + k * warp_size]) : ~0u;
      HEDDLE_UNROLL
      for (int k = 0; k < sort_loads; ++k) use(row + k * warp_size, id[k]);
    }
  };

  for (int i = threadIdx.x; i < sort_warps * most_ids; i += sort_threads) place[i / most_ids][i % most_ids] = 0;
  __syncthreads();
  unsigned before = 0;  // rows with ids before the block's
  bool is_valid = true;
  each_row([&](int64_t row, unsigned id) {
    before += id < base;
    is_valid = is_valid && (row >= end || id < S);
    if (id - base < count) atomicAdd(&place[warp][id - base], 1u);
  });
  if (!is_valid && blockIdx.x == 0) fault.report();
  before = BlockReduction<sort_threads>().sum(before);  // its barrier completes the counts

  unsigned rows = 0;  // those of the thread's id
  if (own < most_ids)
    for (int w = 0; w < sort_warps; ++w) rows += place[w][own];
  unsigned upto = rows;  // prefix sum over the ids of the warp
  for (int lanes = 1; lanes < warp_size; lanes *= 2) {
    const unsigned other = __shfl_up_sync(all_lanes, upto, lanes);
    if (lane >= lanes) upto += other;
  }
  if (own < most_ids && lane == warp_size - 1) of_warp[warp] = upto;
  __syncthreads();
  if (own < most_ids) {
    unsigned at = before + upto - rows;
    for (int w = 0; w < warp; ++w) at += of_warp[w];
    if (static_cast<unsigned>(own) < count) to.first[first + own] = static_cast<int32_t>(at);
    if (own == most_ids - 1 && first + count == S) to.first[S] = static_cast<int32_t>(at + rows);
    for (int w = 0; w < sort_warps; ++w) {
      const unsigned of_section = place[w][own];
      place[w][own] = at, at += of_section;
    }
  }
  __syncthreads();

  each_row([&](int64_t row, unsigned id) {
    unsigned left = __ballot_sync(all_lanes, id - base < count);
    while (left != 0) {
      // The lanes that have the id of the lowest lane take the next places. Only lane 0 accesses `place`.
      const unsigned lowest = __shfl_sync(all_lanes, id, __popc((left & (0u - left)) - 1));
      const unsigned same = __ballot_sync(all_lanes, id == lowest);
      unsigned at = 0;
      if (lane == 0) at = place[warp][lowest - base], place[warp][lowest - base] = at + __popc(same);
      at = __shfl_sync(all_lanes, at, 0);
      if (id == lowest) to.order[at + __popc(same & ((1u << lane) - 1))] = static_cast<int32_t>(row);
      left &= ~same;
    }
  });
}

// ---- sums

constexpr int threads = 256, warps = threads / warp_size;
constexpr int part_rows = 64;      // rows of a part
constexpr int loaded_bytes = 128;  // bytes of vectors that a lane loads before it adds any

struct RowSums {
  View x;  // (N, C) f32 or bf16
  const int32_t* ids;
  SortedRows rows;
  const float* onto;  // (S, C) or null
  Out y;              // (S, C)
  // The sums of parts (N / 64, C), or null. Each 64 rows of an id are a part with its own warp. One warp alone would
  // take long for an id with many rows. A row of y is the sum of its parts, and then of the rows that are left. So the
  // order of additions depends only on the number of rows with the id.
  float* parts;
  int64_t S, C;
  float scale;

  // Returns the index of the first part of an id whose rows begin at `begin` in `order`. The index of a part is m / 64,
  // where m is the multiple of 64 among its places in `order`.
  __device__ static int first_part(int begin) { return ceil_div(begin, part_rows); }
};

__device__ inline void add(const float4 (&from)[2], float (&sum)[8]) {
  const float v[8] = {from[0].x, from[0].y, from[0].z, from[0].w, from[1].x, from[1].y, from[1].z, from[1].w};
  HEDDLE_UNROLL
  for (int e = 0; e < 8; ++e) sum[e] += v[e];
}
__device__ inline void add(const uint4 (&from)[1], float (&sum)[8]) {
  float v[8];
  unpack_bf16(from[0], v);
  HEDDLE_UNROLL
  for (int e = 0; e < 8; ++e) sum[e] += v[e];
}
__device__ inline void add(const float (&from)[1], float (&sum)[1]) { sum[0] += from[0]; }
__device__ inline void add(const uint16_t (&from)[1], float (&sum)[1]) { sum[0] += bf16_to_float(from[0]); }

// Adds rows of x (C columns) to `sum`, one after another: rows order[begin] to order[end - 1] if `ordered`, otherwise
// rows begin to end - 1. A lane adds `wide` columns, which are `words` Words. All lanes of the warp must call it.
template <bool ordered, class Word, int words, int wide>
__device__ inline void add_range(
    const void* x, const int32_t* order, int begin, int end, int64_t C, int64_t column, float (&sum)[wide]) {
  constexpr int loads = wide == 1 ? 4 : loaded_bytes / static_cast<int>(words * sizeof(Word));
  const Word* const from = static_cast<const Word*>(x) + column / wide * words;
  const int64_t pitch = C / wide * words;
  const int lane = threadIdx.x % warp_size;
  HEDDLE_ROLLED
  for (int i = begin; i < end; i += warp_size) {
    const int own = i + lane < end ? (ordered ? order[i + lane] : i + lane) : 0, rows = end - i;
    HEDDLE_ROLLED
    for (int r = 0; r < warp_size && r < rows; r += loads) {
      Word v[loads][words] = {};
      HEDDLE_UNROLL
      for (int k = 0; k < loads; ++k) {
        const Word* const row = from + __shfl_sync(all_lanes, own, r + k) * pitch;
        HEDDLE_UNROLL
        for (int w = 0; w < words; ++w)
          if (r + k < rows) v[k][w] = row[w];
      }
      HEDDLE_UNROLL
      for (int k = 0; k < loads; ++k)
        if (r + k < rows) add(v[k], sum);
    }
  }
}
template <int wide>
__device__ inline void add_rows_of_x(const RowSums& a, int begin, int end, int64_t column, float (&sum)[wide]) {
  const bool is_f32 = a.x.type == DType::f32;
  if constexpr (wide == 1) {
    if (is_f32) add_range<true, float, 1>(a.x.data, a.rows.order, begin, end, a.C, column, sum);
    else add_range<true, uint16_t, 1>(a.x.data, a.rows.order, begin, end, a.C, column, sum);
  } else {
    if (is_f32) add_range<true, float4, 2>(a.x.data, a.rows.order, begin, end, a.C, column, sum);
    else add_range<true, uint4, 1>(a.x.data, a.rows.order, begin, end, a.C, column, sum);
  }
}

// y[s] = onto[s] + scale * (the sum of the rows of x with id s). A warp computes 32 * wide columns of a row of y. If
// `of_parts`, computes the sums of parts instead. grid (rows of y or parts, blocks of columns)
template <int wide> __global__ void __launch_bounds__(threads) add_rows_kernel(RowSums a, bool of_parts) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * warp_size + threadIdx.x % warp_size) * wide;
  const int64_t loaded = column < a.C ? column : 0;
  float sum[wide] = {};
  int begin = 0, end = 0;
  if (wide == vector_elements && of_parts) {
    if (row * part_rows >= a.rows.first[a.S]) return;  // uniform over the warp, like all other returns except the last
    const int place = static_cast<int>(row) * part_rows, id = a.ids[a.rows.order[place]], first = a.rows.first[id];
    begin = place - (place - first) % part_rows, end = begin + part_rows;
    if (end > a.rows.first[id + 1]) return;  // those rows are not a whole part
  } else {
    if (row >= a.S) return;
    begin = a.rows.first[row], end = a.rows.first[row + 1];
    if (begin == end && a.onto == a.y.data) return;
    if constexpr (wide == vector_elements)
      if (a.parts) {
        const int parts = (end - begin) / part_rows, first = RowSums::first_part(begin);
        add_range<false, float4, 2>(a.parts, nullptr, first, first + parts, a.C, loaded, sum);
        begin += parts * part_rows;
      }
  }
  add_rows_of_x(a, begin, end, loaded, sum);
  if (column >= a.C) return;
  const int64_t at = row * a.C + column;
  if (wide == vector_elements && of_parts) return columns::store(Out{a.parts, DType::f32}, at, sum);
  float onto[wide] = {};
  if (a.onto) columns::load(View{a.onto, DType::f32}, at, onto);
  HEDDLE_UNROLL
  for (int e = 0; e < wide; ++e) sum[e] = a.onto ? fmaf(sum[e], a.scale, onto[e]) : sum[e] * a.scale;
  columns::store(a.y, at, sum);
}

// ---- ops

// The scratch holds `first` and `order` of SortedRows, and then RowSums::parts if the op has them.
size_t sorted_bytes(int64_t N, int64_t S) { return static_cast<size_t>(ceil_div(S + 1 + N, 4)) * 16; }
size_t segment_sum_bytes(const Node& n, int) { return sorted_bytes(n.in[0].shape[0], n.out[0].shape[0]); }
size_t embedding_backward_bytes(const Node& n, int) {
  const int64_t N = n.in[0].shape[0], C = n.in[0].shape[1];
  return segment_sum_bytes(n, 0) + static_cast<size_t>(ceil_div(N, part_rows) * C) * sizeof(float);
}

void add_rows(const Node& n, Context& c, const char* name, float scale, bool parts) {
  const Tensor &x = n.in[0], &y = n.out[0];
  const int64_t N = x.shape[0], C = x.shape[1], S = y.shape[0];
  int32_t* const first = static_cast<int32_t*>(c.scratch);
  RowSums a{view(x), n.in[1].as<int32_t>(), {first, first + S + 1}, n.has_input(2) ? n.in[2].as<float>() : nullptr,
      out(y), nullptr, S, C, scale};
  const int64_t wanted = ceil_div(S, sorting_blocks), range = wanted < 1 ? 1 : wanted < most_ids ? wanted : most_ids;
  // At least one block, which also checks the ids.
  launch(c, name, {dim3(S > 0 ? blocks_for(S, range) : 1), dim3(sort_threads)}, sort_rows_kernel, a.ids, a.rows, N, S,
      static_cast<int>(range), fault_of(c));
  const bool vectors =
      C % vector_elements == 0 && has_vectors(a.x) && has_vectors(a.y) && (!a.onto || has_vectors(a.onto, DType::f32));
  if (!vectors)
    return launch(
        c, name, {dim3(blocks_for(S, warps), blocks_for(C, warp_size)), dim3(threads)}, add_rows_kernel<1>, a, false);
  const unsigned columns = blocks_for(C, warp_size * vector_elements);
  if (parts && N >= part_rows) {
    a.parts = reinterpret_cast<float*>(static_cast<char*>(c.scratch) + sorted_bytes(N, S));
    launch(c, name, {dim3(blocks_for(ceil_div(N, part_rows), warps), columns), dim3(threads)},
        add_rows_kernel<vector_elements>, a, true);
  }
  launch(c, name, {dim3(blocks_for(S, warps), columns), dim3(threads)}, add_rows_kernel<vector_elements>, a, false);
}
void embedding_backward(const Node& n, Context& c) {
  add_rows(n, c, "embedding_backward", static_cast<float>(n.attr("scale")), true);
}
// Without parts, because preference losses compare its sums with sums that the host adds row by row.
void segment_sum(const Node& n, Context& c) { add_rows(n, c, "segment_sum", 1.0f, false); }

const RegisterKernel kernels[] = {
    {"embedding_backward", "cuda_embedding_backward", no_quantized, embedding_backward, embedding_backward_bytes},
    {"segment_sum", "cuda_segment_sum", no_quantized, segment_sum, segment_sum_bytes},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
