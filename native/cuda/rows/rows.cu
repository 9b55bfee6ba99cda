// Ops that read rows by index: embedding and gather_rows. Also split and concat. An index out of range is reported as a
// fault, and its row is skipped.
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
    {"gather_rows", "cuda_gather_rows", no_quantized, gather_rows},
    {"split", "cuda_split", no_quantized, split},
    {"concat", "cuda_concat", no_quantized, concat},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
