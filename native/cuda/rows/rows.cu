// Ops that read or add rows by index: embedding and its gradient, gather_rows, segment_sum. Also split and concat. An
// index out of range is reported as a fault, and its row is skipped.
#include "cuda/quant/quant.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int threads = 128;

// table (V, C), ids (N) -> y (N, C) = table[ids] * scale. One block per row of y.
__global__ void __launch_bounds__(threads) take_rows_kernel(
    PreviousKernel previous, View table, const int32_t* ids, Out y, int64_t V, int64_t C, float scale, Fault fault) {
  previous.wait();
  const int32_t id = ids[blockIdx.x];
  if (id < 0 || id >= V) {
    if (threadIdx.x == 0) fault.report();
    return;
  }
  const int64_t to = static_cast<int64_t>(blockIdx.x) * C;
  for (int64_t j = threadIdx.x; j < C; j += threads) y.store(to + j, table[id * C + j] * scale);
}
// Like take_rows_kernel, from quantized rows. A thread dequantizes runs of 16 elements.
template <class Rows>
__global__ void __launch_bounds__(threads) take_quantized_rows_kernel(
    PreviousKernel previous, Rows table, const int32_t* ids, Out y, int64_t V, int64_t C, float scale, Fault fault) {
  previous.wait();
  const int32_t id = ids[blockIdx.x];
  if (id < 0 || id >= V) {
    if (threadIdx.x == 0) fault.report();
    return;
  }
  for (int64_t r = threadIdx.x; r < C / run_elements; r += threads) {
    const Run run = table.run(id, r);
    HEDDLE_UNROLL
    for (int e = 0; e < run_elements; ++e)
      y.store(static_cast<int64_t>(blockIdx.x) * C + r * run_elements + e, run[e] * scale);
  }
}
void embedding(const Node& n, Context& c) {
  const Tensor &table = n.in[0], &ids = n.in[1];
  if (is_quantized(table.dtype))
    return with_block_rows(view(table), table.shape[1], [&](auto rows) {
      launch(c, "embedding", {dim3(static_cast<unsigned>(ids.shape[0])), dim3(threads)},
          take_quantized_rows_kernel<decltype(rows)>, rows, ids.as<int32_t>(), out(n.out[0]), table.shape[0],
          table.shape[1], static_cast<float>(n.attr("scale")), fault_of(c));
    });
  launch(c, "embedding", {dim3(static_cast<unsigned>(ids.shape[0])), dim3(threads)}, take_rows_kernel, view(table),
      ids.as<int32_t>(), out(n.out[0]), table.shape[0], table.shape[1], static_cast<float>(n.attr("scale")),
      fault_of(c));
}

__global__ void __launch_bounds__(threads) zero_kernel(Out y, int64_t n) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; i < n;
      i += static_cast<int64_t>(gridDim.x) * threads)
    y.store(i, 0.0f);
}
__global__ void __launch_bounds__(threads) copy_kernel(View x, Out y, int64_t n) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; i < n;
      i += static_cast<int64_t>(gridDim.x) * threads)
    y.store(i, x[i]);
}
// add_rows_kernel searches chunk_ids ids at a time, and sums block_columns columns per block.
constexpr int ids_a_thread = 8, chunk_ids = threads * ids_a_thread;
constexpr int columns_a_thread = 4, block_columns = threads * columns_a_thread;

// Lists the rows in [first, first + chunk_ids) whose id is `id`, in order, as offsets from `first`. Returns their
// number to all threads. All threads of the block must call it.
__device__ int list_rows(const int32_t* ids, int32_t id, int64_t first, int64_t N, int (&list)[chunk_ids]) {
  HEDDLE_SHARED(int, of_warp, [threads / warp_size]);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int64_t own = first + threadIdx.x * ids_a_thread;
  unsigned matches = 0;
  HEDDLE_UNROLL
  for (int i = 0; i < ids_a_thread; ++i) matches |= static_cast<unsigned>(own + i < N && ids[own + i] == id) << i;
  int before = __popc(matches);  // prefix sum: the number of matches up to this thread, later of the threads before it
  for (int lanes = 1; lanes < warp_size; lanes *= 2) {
    const int other = __shfl_up_sync(all_lanes, before, lanes);
    if (lane >= lanes) before += other;
  }
  if (lane == warp_size - 1) of_warp[warp] = before;
  __syncthreads();
  int total = 0;
  before -= __popc(matches);
  for (int w = 0; w < threads / warp_size; ++w) {
    if (w < warp) before += of_warp[w];
    total += of_warp[w];
  }
  HEDDLE_UNROLL
  for (int i = 0; i < ids_a_thread; ++i)
    if (matches >> i & 1) list[before++] = static_cast<int>(threadIdx.x) * ids_a_thread + i;
  __syncthreads();
  return total;
}

// x (N, C), ids (N) -> y (S, C). y[s] = onto[s] + scale * (the sum, in order, of the rows of x with id s). The block of
// the first row with an id adds up all rows with that id. The blocks of later rows with that id do nothing. Rows of y
// whose id does not occur stay unchanged. grid (N, blocks of columns)
__global__ void __launch_bounds__(threads) add_rows_kernel(
    View x, const int32_t* ids, Out y, int64_t N, int64_t S, int64_t C, float scale, const float* onto, Fault fault) {
  const int64_t row = blockIdx.x, column = static_cast<int64_t>(blockIdx.y) * block_columns + threadIdx.x;
  HEDDLE_SHARED(int, list, [chunk_ids]);
  const int32_t id = ids[row];
  if (id < 0 || id >= S) {
    if (threadIdx.x == 0) fault.report();
    return;
  }
  float sum[columns_a_thread] = {};
  for (int64_t first = 0; first < N; first += chunk_ids) {
    const int rows = list_rows(ids, id, first, N, list);
    if (rows > 0 && first + list[0] < row) return;  // an earlier row has this id; uniform over the block
    for (int r = 0; r < rows; ++r) {
      const int64_t at = (first + list[r]) * C + column;
      HEDDLE_UNROLL
      for (int k = 0; k < columns_a_thread; ++k)
        if (column + k * threads < C) sum[k] += x[at + k * threads];
    }
    __syncthreads();  // the next chunk overwrites the list
  }
  HEDDLE_UNROLL
  for (int k = 0; k < columns_a_thread; ++k) {
    const int64_t at = id * C + column + k * threads;
    if (column + k * threads < C) y.store(at, onto ? fmaf(sum[k], scale, onto[at]) : sum[k] * scale);
  }
}
void add_rows(const Node& n, Context& c, const char* name, float scale) {
  const Tensor &x = n.in[0], &y = n.out[0];
  const int64_t elements = y.shape.size();
  const Grid all{dim3(blocks_for(elements < (1 << 23) ? elements : 1 << 23, threads)), dim3(threads)};
  const float* onto = n.has_input(2) ? n.in[2].as<float>() : nullptr;
  if (!onto) launch(c, name, all, zero_kernel, out(y), elements);
  else if (onto != y.as<float>()) launch(c, name, all, copy_kernel, view(n.in[2]), out(y), elements);
  launch(c, name, {dim3(static_cast<unsigned>(x.shape[0]), blocks_for(x.shape[1], block_columns)), dim3(threads)},
      add_rows_kernel, view(x), n.in[1].as<int32_t>(), out(y), x.shape[0], y.shape[0], x.shape[1], scale, onto,
      fault_of(c));
}
void embedding_backward(const Node& n, Context& c) {
  add_rows(n, c, "embedding_backward", static_cast<float>(n.attr("scale")));
}
void segment_sum(const Node& n, Context& c) { add_rows(n, c, "segment_sum", 1.0f); }

// Copies rows by index. Elements of any type are copied as unsigned integers of their size. One block per row of y.
template <class T>
__global__ void __launch_bounds__(threads) gather_kernel(
    PreviousKernel previous, const T* x, const int32_t* rows, T* y, int64_t limit, int64_t width, Fault fault) {
  previous.wait();
  const int32_t row = rows[blockIdx.x];
  if (row < 0 || row >= limit) {
    if (threadIdx.x == 0) fault.report();
    return;
  }
  for (int64_t j = threadIdx.x; j < width; j += threads)
    y[static_cast<int64_t>(blockIdx.x) * width + j] = x[row * width + j];
}

template <class T> void gather(const Node& n, Context& c) {
  const Tensor &x = n.in[0], &rows = n.in[1];
  const int64_t width = x.shape[1] * static_cast<int64_t>(dtype_bytes(x.dtype) / sizeof(T));
  launch(c, "gather_rows", {dim3(static_cast<unsigned>(rows.shape[0])), dim3(threads)}, gather_kernel<T>, x.as<T>(),
      rows.as<int32_t>(), n.out[0].as<T>(), x.shape[0], width, fault_of(c));
}
void gather_rows(const Node& n, Context& c) {
  const size_t size = dtype_bytes(n.in[0].dtype);
  if (size == 4) gather<uint32_t>(n, c);
  else if (size == 2) gather<uint16_t>(n, c);
  else gather<uint8_t>(n, c);
}

// Copies `width` elements of each row of `from` to the same row of `to`. from_row and to_row are the strides of rows,
// in elements. One block per row.
template <class T>
__global__ void __launch_bounds__(threads)
    piece_kernel(PreviousKernel previous, const T* from, int64_t from_row, T* to, int64_t to_row, int64_t width) {
  previous.wait();
  for (int64_t j = threadIdx.x; j < width; j += threads) to[blockIdx.x * to_row + j] = from[blockIdx.x * from_row + j];
}

template <class T>
void pieces(const Context& c, const char* name, const Tensor& whole, const std::vector<Tensor>& parts, bool to_parts) {
  const int64_t units = static_cast<int64_t>(dtype_bytes(whole.dtype) / sizeof(T)), row = whole.shape.last() * units;
  const Grid grid{dim3(static_cast<unsigned>(whole.shape.rows())), dim3(threads)};
  T* at = whole.as<T>();
  for (const Tensor& part : parts) {
    const int64_t width = part.shape.last() * units;
    if (width && to_parts) launch(c, name, grid, piece_kernel<T>, at, row, part.as<T>(), width, width);
    else if (width) launch(c, name, grid, piece_kernel<T>, part.as<T>(), width, at, row, width);
    at += width;
  }
}
void pieces_of(
    const Context& c, const char* name, const Tensor& whole, const std::vector<Tensor>& parts, bool to_parts) {
  const size_t size = dtype_bytes(whole.dtype);
  if (size == 4) pieces<uint32_t>(c, name, whole, parts, to_parts);
  else if (size == 2) pieces<uint16_t>(c, name, whole, parts, to_parts);
  else pieces<uint8_t>(c, name, whole, parts, to_parts);
}
void split(const Node& n, Context& c) { pieces_of(c, "split", n.in[0], n.out, true); }
void concat(const Node& n, Context& c) { pieces_of(c, "concat", n.out[0], n.in, false); }

const RegisterKernel kernels[] = {
    {"embedding", "cuda_embedding", nullptr, embedding},
    {"embedding_backward", "cuda_embedding_backward", no_quantized, embedding_backward},
    {"segment_sum", "cuda_segment_sum", no_quantized, segment_sum},
    {"gather_rows", "cuda_gather_rows", no_quantized, gather_rows},
    {"split", "cuda_split", no_quantized, split},
    {"concat", "cuda_concat", no_quantized, concat},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
