// Kernels on CUDA cores for operands of any type: matrix products with tiles, products with few rows, and the sum of
// split-k's parts. Also defines gemm(), which launches the chosen kernel.
#include "cuda/gemm/gemm.cuh"

#include "cuda/runtime/device.h"
#include "cuda/gemm/gemm_end.cuh"
#include "cuda/gemm/gemm_tile.cuh"

namespace heddle {
namespace cuda {
namespace {

using tiled::tile_m;
using tiled::tile_n;

__global__ void __launch_bounds__(tiled::threads, 2) gemm_kernel(PreviousKernel previous, Gemm whole, int64_t part) {
  previous.wait();
  const Gemm g = part_of(whole, part);
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * tile_m, column0 = static_cast<int64_t>(blockIdx.x) * tile_n;
  const tiled::Elements<> a{g.a, g.lda, !g.a_transposed, row0, g.m, g.k, {}, {}},
      b{g.b, g.ldb, g.b_transposed, column0, g.n, g.k, {}, {}};
  tiled::tile_product<32>(blockIdx.z * part, g.k, a, b, [&](int i, int j, float v) {
    if (row0 + i < g.m && column0 + j < g.n) epilogue_element<false>(g, row0 + i, column0 + j, v);
  });
}

// Computes both factors of a gated product, one after the other.
__global__ void __launch_bounds__(tiled::threads, 2)
    gated_gemm_kernel(PreviousKernel previous, Gemm whole, int64_t part) {
  previous.wait();
  const Gemm g = part_of(whole, part);
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * tile_m, column0 = static_cast<int64_t>(blockIdx.x) * tile_n;
  const tiled::Elements<> a{g.a, g.lda, !g.a_transposed, row0, g.m, g.k, {}, {}};
  float total[2][tiled::per_thread][tiled::per_thread] = {};
  const auto add_products = [&](const View& b, float(&of_factor)[tiled::per_thread][tiled::per_thread]) {
    const tiled::Elements<> right{b, g.ldb, g.b_transposed, column0, g.n, g.k, {}, {}};
    tiled::add_products<32>(blockIdx.z * part, g.k, a, right, of_factor);
  };
  add_products(g.b, total[0]);
  add_products(g.epilogue.up, total[1]);
  tiled::each_element(total, [&](int i, int j, const float(&values)[2]) {
    if (row0 + i < g.m && column0 + j < g.n) epilogue_element<true>(g, row0 + i, column0 + j, values[0], values[1]);
  });
}

// Like gemm_kernel, with a quantized b. Tiles are 64 long along k, so that each of the 256 threads dequantizes a run.
template <class Rows>
__global__ void __launch_bounds__(tiled::threads, 2)
    quantized_gemm_kernel(PreviousKernel previous, Gemm whole, int64_t part, Rows w) {
  previous.wait();
  const Gemm g = part_of(whole, part);
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * tile_m, column0 = static_cast<int64_t>(blockIdx.x) * tile_n;
  const tiled::Elements<> a{g.a, g.lda, !g.a_transposed, row0, g.m, g.k, {}, {}};
  const tiled::Blocks<Rows> b{w, 0, g.b_transposed, column0, g.n, g.k};
  tiled::tile_product<64>(blockIdx.z * part, g.k, a, b, [&](int i, int j, float v) {
    if (row0 + i < g.m && column0 + j < g.n) epilogue_element<false>(g, row0 + i, column0 + j, v);
  });
}

// Adds the sums of split-k's parts in order, and applies the epilogue. The sums are (parts, m, n), or (parts, 2, m, n)
// for a gated product. A thread has `width` adjacent elements of a row. 32-bit indices suffice, because most_workspace
// bounds the sums.
template <bool gated, int width>
__global__ void __launch_bounds__(256) add_parts_kernel(PreviousKernel previous, Gemm g, int parts) {
  previous.wait();
  const View sums{g.workspace, DType::f32};
  const unsigned n = static_cast<unsigned>(g.n), elements = static_cast<unsigned>(g.m) * n,
                 of_part = gated ? 2 * elements : elements, stride = gridDim.x * blockDim.x * width;
  for (unsigned i = (blockIdx.x * blockDim.x + threadIdx.x) * width; i < elements; i += stride) {
    float v[width] = {}, up[width] = {};
    for (int p = 0; p < parts; ++p) {
      add_run(sums, p * of_part + i, v, width);
      if (gated) add_run(sums, p * of_part + elements + i, up, width);
    }
    epilogue_run<gated>(g, i / n, i % n, width, v, up);
  }
}

// ---- few rows: the time goes into reading every weight once, so adjacent lanes read adjacent weights

constexpr int few_threads = 256, most_rows = static_cast<int>(few_rows);

// Adds up the sums of a warp's lanes, and applies the epilogue to the column's elements.
template <bool gated>
__device__ inline void finish(
    const Gemm& g, int64_t column, const float (&sum)[most_rows], const float (&up_sum)[most_rows]) {
  HEDDLE_ROLLED
  for (int i = 0; i < g.m; ++i) {
    // Register indices are constant, and the epilogue is instantiated only once.
    float own = sum[0], other = up_sum[0];
    HEDDLE_UNROLL
    for (int r = 1; r < most_rows; ++r)
      if (r == i) own = sum[r], other = up_sum[r];
    const float v = warp_sum(own), up = gated ? warp_sum(other) : 0.0f;
    if (threadIdx.x % warp_size == 0) epilogue_element<gated>(g, i, column, v, up);
  }
}

constexpr int lane_elements = 8;

// Adds the lane's share of the dot products of up to four rows with one column of b, which is stored as (n, k). With
// `eights`, loads eight adjacent elements at a time. k and the leading dimensions must then be multiples of 8.
template <bool eights>
__device__ inline void few_rows_sums(const Gemm& g, const View& b, int64_t column, float (&sum)[most_rows]) {
  const int lane = threadIdx.x % warp_size;
  if constexpr (eights) {
    for (int64_t k = lane * lane_elements; k < g.k; k += warp_size * lane_elements) {
      float weights[lane_elements], x[lane_elements];
      load_elements(b, column * g.ldb + k, weights);
      HEDDLE_UNROLL
      for (int i = 0; i < most_rows; ++i) {
        if (i >= g.m) break;
        load_elements(g.a, i * g.lda + k, x);
        HEDDLE_UNROLL
        for (int e = 0; e < lane_elements; ++e) sum[i] += x[e] * weights[e];
      }
    }
  } else {
    for (int64_t k = lane; k < g.k; k += warp_size) {
      const float weight = b[column * g.ldb + k];
      HEDDLE_UNROLL
      for (int i = 0; i < most_rows; ++i)
        if (i < g.m) sum[i] += g.a[i * g.lda + k] * weight;
    }
  }
}

// Like few_rows_sums<true>, for b in bf16 and a in `type`, both 16-byte aligned. A lane loads several vectors of
// weights before it uses any, because the bytes in flight limit the rate. The order of additions is the same.
template <DType type>
__device__ inline void aligned_few_rows_sums(const Gemm& g, const View& b, int64_t column, float (&sum)[most_rows]) {
  constexpr int loads = type == DType::bf16 ? 4 : 2;  // vectors; f32 activations take twice the registers
  const int vectors = static_cast<int>(g.k / lane_elements);
  const uint4* weights = reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(b.data) + column * g.ldb);
  const auto add = [&](const uint4& eight, int at) {
    float w[lane_elements], x[lane_elements];
    unpack_bf16(eight, w);
    HEDDLE_UNROLL
    for (int i = 0; i < most_rows; ++i) {
      if (i >= g.m) break;
      const int64_t k = i * g.lda + static_cast<int64_t>(at) * lane_elements;
      if constexpr (type == DType::bf16) {
        unpack_bf16(*reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(g.a.data) + k), x);
      } else {
        const float4* from = reinterpret_cast<const float4*>(static_cast<const float*>(g.a.data) + k);
        const float4 low = from[0], high = from[1];
        x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
        x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
      }
      HEDDLE_UNROLL
      for (int e = 0; e < lane_elements; ++e) sum[i] += x[e] * w[e];
    }
  };
  int at = threadIdx.x % warp_size;
  for (; at + (loads - 1) * warp_size < vectors; at += loads * warp_size) {
    uint4 w[loads];
    HEDDLE_UNROLL
    for (int l = 0; l < loads; ++l) w[l] = weights[at + l * warp_size];
    HEDDLE_UNROLL
    for (int l = 0; l < loads; ++l) add(w[l], at + l * warp_size);
  }
  HEDDLE_ROLLED
  for (; at < vectors; at += warp_size) add(weights[at], at);
}

// How lanes load the operands of few_rows_kernel.
enum class Loads { single, eights, aligned_f32, aligned_bf16 };
template <Loads loads>
__device__ inline void sums_of(const Gemm& g, const View& b, int64_t column, float (&sum)[most_rows]) {
  if constexpr (loads == Loads::aligned_f32) aligned_few_rows_sums<DType::f32>(g, b, column, sum);
  else if constexpr (loads == Loads::aligned_bf16) aligned_few_rows_sums<DType::bf16>(g, b, column, sum);
  else few_rows_sums<loads == Loads::eights>(g, b, column, sum);
}

// A warp computes one column of c, of up to four rows. In a gated product, it computes the column of both factors.
template <Loads loads, bool gated>
__global__ void __launch_bounds__(few_threads) few_rows_kernel(PreviousKernel previous, Gemm g) {
  previous.wait();
  const int64_t column = static_cast<int64_t>(blockIdx.x) * (few_threads / warp_size) + threadIdx.x / warp_size;
  if (column >= g.n) return;  // uniform over the warp
  float sum[most_rows] = {}, up[most_rows] = {};
  sums_of<loads>(g, g.b, column, sum);
  if constexpr (gated) sums_of<loads>(g, g.epilogue.up, column, up);
  finish<gated>(g, column, sum, up);
}

// Like few_rows_kernel, with a quantized b. The lanes share the runs of 16 elements.
template <class Rows>
__global__ void __launch_bounds__(few_threads, 4) quantized_few_rows_kernel(PreviousKernel previous, Gemm g, Rows w) {
  previous.wait();
  const int64_t column = static_cast<int64_t>(blockIdx.x) * (few_threads / warp_size) + threadIdx.x / warp_size;
  if (column >= g.n) return;  // uniform over the warp
  float sum[most_rows] = {};
  each_run<2>(w, column, g.k / run_elements, [&](const Run& run, unsigned r) {
    HEDDLE_UNROLL
    for (int i = 0; i < most_rows; ++i) {
      if (i >= g.m) break;
      float x[run_elements];
      load_elements(g.a, i * g.lda + static_cast<int64_t>(r) * run_elements, x);
      HEDDLE_UNROLL
      for (int e = 0; e < run_elements; ++e) sum[i] += x[e] * run[e];
    }
  });
  finish<false>(g, column, sum, sum);
}

template <bool gated> auto few_rows_kernel_of(Loads loads) {
  switch (loads) {
    case Loads::single: return few_rows_kernel<Loads::single, gated>;
    case Loads::eights: return few_rows_kernel<Loads::eights, gated>;
    case Loads::aligned_f32: return few_rows_kernel<Loads::aligned_f32, gated>;
    default: return few_rows_kernel<Loads::aligned_bf16, gated>;
  }
}
Loads loads_of(const Gemm& g) {
  if (g.k % lane_elements != 0 || g.lda % lane_elements != 0 || g.ldb % lane_elements != 0) return Loads::single;
  const auto is_aligned = [](const View& x) { return reinterpret_cast<uintptr_t>(x.data) % 16 == 0; };
  const View& up = g.epilogue.up;
  const bool aligned = is_aligned(g.a) && is_aligned(g.b) && is_aligned(up),
             bf16 = g.b.type == DType::bf16 && (!g.gated() || up.type == DType::bf16);
  if (!aligned || !bf16) return Loads::eights;
  return g.a.type == DType::bf16 ? Loads::aligned_bf16 : g.a.type == DType::f32 ? Loads::aligned_f32 : Loads::eights;
}

}  // namespace

void gemm_few_rows(const Context& context, const char* name, const Gemm& g) {
  const Grid grid{dim3(blocks_for(g.n, few_threads / warp_size)), dim3(few_threads)};
  if (g.gated()) return launch(context, name, grid, few_rows_kernel_of<true>(loads_of(g)), g);
  if (!is_quantized(g.b.type)) return launch(context, name, grid, few_rows_kernel_of<false>(loads_of(g)), g);
  with_block_rows(
      g.b, g.ldb, [&](auto w) { launch(context, name, grid, quantized_few_rows_kernel<decltype(w)>, g, w); });
}

namespace {

// Whether rows of x with this leading dimension are 16-byte aligned.
bool aligned(const View& x, int64_t ld) {
  return ld * static_cast<int64_t>(dtype_bytes(x.type)) % 16 == 0 && reinterpret_cast<uintptr_t>(x.data) % 16 == 0;
}
// On tensor cores, kernels with a transposed left operand, which compute the gradients of weights, only store the sums.
GemmShape shape_of(const Gemm& g) {
  GemmShape shape{g.m, g.gated() ? 2 * g.n : g.n, g.k, g.a.type, g.b.type, g.c.type, g.a_transposed, g.b_transposed,
      g.accumulate, g.rowwise};
  shape.gated = g.gated();
  shape.aligned = aligned(g.a, g.lda) && aligned(g.b, g.ldb) && (!g.gated() || aligned(g.epilogue.up, g.ldb)) &&
                  (!g.a_transposed || only_stores<false>(g));
  shape.workspace_bytes = g.workspace_bytes;
  return shape;
}

}  // namespace

bool decodes_weights(const Context& context, const Gemm& g) {
  GemmShape shape = shape_of(g);
  shape.aligned = aligned(g.a, g.lda);
  return g.decoded && decodes_weights(shape, properties_of(context));
}

void gemm(const Context& context, const char* name, const Gemm& product) {
  if (product.m == 0 || product.n == 0) return;
  Gemm g = product;
  if (g.accumulate) g.epilogue.residual = {g.c.data, g.c.type};
  if (is_quantized(g.b.type) && decodes_weights(context, g)) return gemm_decoded(context, name, g);
  const GemmShape shape = shape_of(g);
  const CudaAccelerator& device = *static_cast<CudaAccelerator*>(context.accelerator);
  const GemmChoice choice = choose_gemm(shape, device.properties(), *device.measured_choices());
  switch (choice.kernel) {
    case GemmKernel::few_rows: return gemm_few_rows(context, name, g);
    case GemmKernel::multiply_add: return gemm_multiply_add(context, name, g, choice);
    case GemmKernel::tensor: return gemm_tensor(context, name, g, choice);
    case GemmKernel::tensor_tf32: return gemm_tf32(context, name, g, choice);
    case GemmKernel::warpgroup: return gemm_warpgroup(context, name, g, choice);
  }
}

void gemm_multiply_add(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice) {
  in_strips(g, tile_m, [&](const Gemm& strip) {
    const unsigned splits = static_cast<unsigned>(choice.splits);
    const Grid grid{dim3(blocks_for(g.n, tile_n), blocks_for(strip.m, tile_m), splits), dim3(tiled::threads)};
    if (g.gated()) launch(context, name, grid, gated_gemm_kernel, strip, choice.part);
    else if (!is_quantized(g.b.type)) launch(context, name, grid, gemm_kernel, strip, choice.part);
    else
      with_block_rows(g.b, g.ldb,
          [&](auto w) { launch(context, name, grid, quantized_gemm_kernel<decltype(w)>, strip, choice.part, w); });
  });
  if (choice.splits > 1) add_parts(context, name, g, choice.splits);
}

void add_parts(const Context& context, const char* name, const Gemm& g, int parts) {
  // A gated product would need too many registers for four elements.
  const int64_t width = g.n % 4 == 0 && !g.gated() ? 4 : 1, threads = g.m * g.n / width;
  auto* const kernel = g.gated()    ? add_parts_kernel<true, 1>
                       : width == 4 ? add_parts_kernel<false, 4>
                                    : add_parts_kernel<false, 1>;
  launch(context, name, {dim3(blocks_for(threads, few_threads)), dim3(few_threads)}, kernel, g, parts);
}

}  // namespace cuda
}  // namespace heddle
