// The gradients of RMS norm and layer norm with respect to their input and their weights. The gradients of the weights
// are sums over rows. The order of their additions depends only on the shape.
//
// norm_backward_part_kernel reads rows of whole vectors once. A block computes dx for a part of the rows, and keeps the
// sums of its columns in registers. A second kernel adds the sums of the parts. For other rows, norm_backward_kernel
// computes dx, and columns.cuh reads the rows again for the sums.
#include "cuda/rows/columns.cuh"

namespace heddle {
namespace cuda {
namespace {

struct NormBackwardArguments {
  View dy, h, w, dh;  // (R, C), (R, C), (C), (R, C); dh is optional
  Out dx;             // (R, C)
  int64_t R, C;
  float eps, offset;
};

// ---- rows of whole vectors

constexpr int row_vectors = 2;  // maximum vectors of a row per thread
constexpr int most_threads = 512;
constexpr int64_t most_width = most_threads * row_vectors * vector_elements;
constexpr int64_t narrow_width = warp_size * row_vectors * vector_elements;  // up to this width, a row has one warp
constexpr int narrow_rows = 4;  // such rows that a block computes at a time, one per warp
constexpr int most_stages = 2;

// How the blocks share the rows. A block takes part_rows adjacent rows, rows_at_once at a time.
struct RowParts {
  int row_threads;   // threads of a row: a multiple of 32
  int rows_at_once;  // 1, unless each row has one warp
  int64_t part_rows, parts;

  int threads() const { return row_threads * rows_at_once; }
};
// Returns the parts for R rows of C elements. Each part costs the writing and reading of its sums. So a block takes at
// least 32 turns of rows_at_once rows. It takes fewer turns, but at least 8, if the blocks would be too few to keep a
// large device busy. More than 512 parts are useful only if blocks are small.
RowParts parts_of(int64_t R, int64_t C) {
  RowParts p{};
  const bool narrow = C <= narrow_width;
  p.row_threads =
      narrow ? warp_size : static_cast<int>(round_up(ceil_div(C, row_vectors * vector_elements), warp_size));
  p.rows_at_once = narrow ? narrow_rows : 1;
  const int64_t turns = ceil_div(R, p.rows_at_once), busy = (int64_t{1} << 15) / p.threads(),
                most = busy > 256 ? 2 * busy : 512, fewest = turns / 8 < busy ? turns / 8 : busy;
  int64_t parts = turns / 32 < most ? turns / 32 : most;
  if (parts < fewest) parts = fewest;
  if (parts < 1) parts = 1;
  p.part_rows = ceil_div(turns, parts) * p.rows_at_once;
  p.parts = R > 0 ? ceil_div(R, p.part_rows) : 1;
  return p;
}

// The ring of rows in shared memory: (stages, pieces, threads) x 16 bytes. A vector has one piece in bf16, and two in
// f32. `h` and `dh` are the first pieces of these operands, and `pieces` is the number of pieces of a stage.
struct RowRing {
  int stages, h, dh, pieces;
};
constexpr int piece_bytes = 16;

struct PartArguments {
  NormBackwardArguments norm;
  RowRing ring;
  int row_threads, rows_at_once;
  int64_t part_rows;
  float* partial;  // (parts, sums, C), where the sums are dw, and db for layer norm
};

// Starts to copy a vector of x, which is f32 or bf16, from index `at` on.
__device__ inline void copy_vector(unsigned char* to, const View& x, int64_t at) {
  const bool wide = x.type == DType::f32;
  const unsigned char* from = static_cast<const unsigned char*>(x.data) + (at << (wide ? 2 : 1));
  ptx::copy_async_16(to, from, 16);
  if (wide) ptx::copy_async_16(to + blockDim.x * piece_bytes, from + piece_bytes, 16);
}
// Loads a copied vector.
__device__ inline void load_copied(const unsigned char* from, DType type, float (&to)[vector_elements]) {
  const uint4 low = *reinterpret_cast<const uint4*>(from);
  if (type == DType::bf16) return unpack_bf16(low, to);
  const uint4 high = *reinterpret_cast<const uint4*>(from + blockDim.x * piece_bytes);
  const uint32_t bits[vector_elements] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
  HEDDLE_UNROLL
  for (int e = 0; e < vector_elements; ++e) to[e] = __uint_as_float(bits[e]);
}

constexpr int most_row_sums = 3;
using WarpSums = float[2][most_row_sums][most_threads / warp_size];
// Replaces each value by its sum over the threads of a row, which are a warp or the block. `half` is the half of
// `of_warps` that this call uses. The next call uses the other half. Every thread reads this half before it reaches the
// barrier of the next call, so one barrier a call suffices.
template <int count> __device__ inline void sum_row(float (&v)[count], bool is_warp, WarpSums& of_warps, int& half) {
  HEDDLE_UNROLL
  for (int i = 0; i < count; ++i) v[i] = warp_sum(v[i]);
  if (is_warp) return;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, warps = blockDim.x / warp_size;
  if (lane == 0) {
    HEDDLE_UNROLL
    for (int i = 0; i < count; ++i) of_warps[half][i][warp] = v[i];
  }
  __syncthreads();
  HEDDLE_UNROLL
  for (int i = 0; i < count; ++i) v[i] = warp_sum(lane < warps ? of_warps[half][i][lane] : 0.0f);
  half ^= 1;
}

// Computes dx and the sums of a part's rows. A thread copies its own vectors of the next rows to the ring, and reads
// only these, so that it needs no barrier for them.
template <bool centered> __global__ void __launch_bounds__(most_threads) norm_backward_part_kernel(PartArguments p) {
  constexpr int sums = centered ? 2 : 1;
  HEDDLE_DYNAMIC_SHARED(unsigned char, ring);
  HEDDLE_SHARED(float, of_warps, [2][most_row_sums][most_threads / warp_size]);
  const NormBackwardArguments& a = p.norm;
  const int C = static_cast<int>(a.C), group = threadIdx.x / p.row_threads, groups = p.rows_at_once;
  const int64_t first = blockIdx.x * p.part_rows, end = first + p.part_rows < a.R ? first + p.part_rows : a.R;
  const float inverse = 1.0f / static_cast<float>(C);

  // Calls use(v, column) for each vector of the thread, where `column` is its first one.
  const auto each_vector = [&](auto use) {
    HEDDLE_UNROLL
    for (int v = 0; v < row_vectors; ++v) {
      const int column = (v * p.row_threads + threadIdx.x % p.row_threads) * vector_elements;
      if (column < C) use(v, column);
    }
  };
  const auto each_element = [&](auto use) {
    HEDDLE_UNROLL
    for (int v = 0; v < row_vectors; ++v) {
      HEDDLE_UNROLL
      for (int e = 0; e < vector_elements; ++e) use(v, e);
    }
  };
  const auto copied = [&](int stage, int piece, int v, const View& x) {
    piece += stage * p.ring.pieces + (x.type == DType::f32 ? 2 * v : v);
    return ring + (piece * blockDim.x + threadIdx.x) * piece_bytes;
  };
  const auto copy_row = [&](int stage, int64_t row) {
    if (row < end)
      each_vector([&](int v, int column) {
        copy_vector(copied(stage, 0, v, a.dy), a.dy, row * C + column);
        copy_vector(copied(stage, p.ring.h, v, a.h), a.h, row * C + column);
        if (a.dh.data) copy_vector(copied(stage, p.ring.dh, v, a.dh), a.dh, row * C + column);
      });
    ptx::commit_copies();  // one group per row, even if empty, because wait_copies counts groups
  };
  HEDDLE_ROLLED
  for (int s = 0; s < p.ring.stages; ++s) copy_row(s, first + s * groups + group);

  float w[row_vectors][vector_elements] = {}, dw[row_vectors][vector_elements] = {},
        db[row_vectors][vector_elements] = {};
  each_vector([&](int v, int column) { load_vector(a.w, column, w[v]); });
  each_element([&](int v, int e) { w[v][e] += a.offset; });

  int stage = 0, half = 0;
  for (int64_t row = first + group; row < end; row += groups) {
    if (p.ring.stages == most_stages) ptx::wait_copies<most_stages - 1>();
    else ptx::wait_copies<0>();
    // Elements beyond the row are 0 in dy and h, so that they add nothing to the sums.
    float dy[row_vectors][vector_elements] = {}, h[row_vectors][vector_elements] = {};
    each_vector([&](int v, int) {
      load_copied(copied(stage, 0, v, a.dy), a.dy.type, dy[v]);
      load_copied(copied(stage, p.ring.h, v, a.h), a.h.type, h[v]);
    });
    if constexpr (centered) {
      float sum[1] = {};
      each_element([&](int v, int e) { sum[0] += h[v][e]; });
      sum_row(sum, groups > 1, of_warps, half);
      each_vector([&](int v, int) {
        HEDDLE_UNROLL
        for (int e = 0; e < vector_elements; ++e) h[v][e] -= sum[0] * inverse;
      });
    }
    // With g = dy * w and n = h * scale: dx = dh + scale * (g - mean(g) - n * mean(g n)). RMS norm omits mean(g).
    float of_row[centered ? 3 : 2] = {};  // of h^2, g h and g
    each_element([&](int v, int e) {
      const float g = dy[v][e] * w[v][e];
      of_row[0] += h[v][e] * h[v][e], of_row[1] += g * h[v][e];
      if constexpr (centered) of_row[2] += g;
    });
    sum_row(of_row, groups > 1, of_warps, half);
    const float scale = rsqrtf(of_row[0] * inverse + a.eps), projection = of_row[1] * scale * inverse;
    float mean = 0;
    if constexpr (centered) mean = of_row[2] * inverse;
    each_vector([&](int v, int column) {
      float dx[vector_elements] = {};
      if (a.dh.data) load_copied(copied(stage, p.ring.dh, v, a.dh), a.dh.type, dx);
      HEDDLE_UNROLL
      for (int e = 0; e < vector_elements; ++e) {
        const float normed = h[v][e] * scale;
        dw[v][e] += dy[v][e] * normed;
        if constexpr (centered) db[v][e] += dy[v][e];
        dx[e] += scale * (dy[v][e] * w[v][e] - mean - normed * projection);
      }
      store_elements(a.dx, row * C + column, dx);
    });
    copy_row(stage, row + p.ring.stages * groups);
    stage = stage + 1 < p.ring.stages ? stage + 1 : 0;
  }

  // Adds the sums of rows that the block computed at the same time. They take the place of the ring, which all threads
  // have read.
  float* of_group = reinterpret_cast<float*>(ring);  // (groups, sums, C)
  __syncthreads();
  each_vector([&](int v, int column) {
    HEDDLE_UNROLL
    for (int s = 0; s < sums; ++s)
      store_elements({of_group, DType::f32}, (group * sums + s) * C + column, s == 0 ? dw[v] : db[v]);
  });
  __syncthreads();
  for (int k = threadIdx.x; k < sums * C; k += blockDim.x) {
    float total = 0;
    for (int g = 0; g < groups; ++g) total += of_group[g * sums * C + k];
    p.partial[static_cast<int64_t>(blockIdx.x) * sums * C + k] = total;
  }
}

// Returns the ring for the operands, with as many stages as fit into a block's shared memory.
RowRing ring_of(const NormBackwardArguments& a, int threads, size_t shared_bytes) {
  const auto pieces = [](const View& x) { return !x.data ? 0 : (x.type == DType::f32 ? 2 : 1) * row_vectors; };
  const int h = pieces(a.dy), dh = h + pieces(a.h), all = dh + pieces(a.dh);
  const size_t bytes = static_cast<size_t>(all * threads * piece_bytes);
  return {most_stages * bytes + sizeof(WarpSums) <= shared_bytes ? most_stages : 1, h, dh, all};
}

// ---- all other rows

constexpr int threads = 256;

// Computes dx of rows of any width, one block per row. moments (R, 2): receives the mean and 1 / standard deviation of
// each row, which WeightTerms reads.
__global__ void __launch_bounds__(threads)
    norm_backward_kernel(NormBackwardArguments a, bool centered, float* moments) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * a.C;
  const float width = static_cast<float>(a.C);
  BlockReduction<threads> block;
  float mean = 0;
  if (centered) {
    for (int64_t j = threadIdx.x; j < a.C; j += threads) mean += a.h[row + j];
    mean = block.sum(mean) / width;
  }
  float square = 0;
  for (int64_t j = threadIdx.x; j < a.C; j += threads) {
    const float v = a.h[row + j] - mean;
    square += v * v;
  }
  const float scale = 1.0f / sqrtf(block.sum(square) / width + a.eps);
  // With g = dy * w and n = (h - mean) * scale: dx = dh + scale * (g - mean(g) - n * mean(g n)). RMS norm omits
  // mean(g).
  float sum = 0, projection = 0;
  for (int64_t j = threadIdx.x; j < a.C; j += threads) {
    const float g = a.dy[row + j] * (a.offset + a.w[j]);
    sum += g;
    projection += g * (a.h[row + j] - mean) * scale;
  }
  sum = centered ? block.sum(sum) / width : 0.0f;
  projection = block.sum(projection) / width;
  for (int64_t j = threadIdx.x; j < a.C; j += threads) {
    const float g = a.dy[row + j] * (a.offset + a.w[j]), normed = (a.h[row + j] - mean) * scale;
    const float residual = a.dh.data ? a.dh[row + j] : 0.0f;
    a.dx.store(row + j, residual + scale * (g - sum - normed * projection));
  }
  if (threadIdx.x == 0) {
    moments[blockIdx.x * 2] = mean;
    moments[blockIdx.x * 2 + 1] = scale;
  }
}

// The terms of the sums over rows: dw = sum of dy * normed h, and db = sum of dy.
struct WeightTerms {
  static constexpr int sums = 2;
  View dy, h;
  const float* moments;
  int64_t C;

  template <int wide> __device__ void add(int64_t row, int64_t column, float (&sum)[sums][wide]) const {
    const float mean = moments[row * 2], scale = moments[row * 2 + 1];
    float g[wide], x[wide];
    columns::load(dy, row * C + column, g);
    columns::load(h, row * C + column, x);
    HEDDLE_UNROLL
    for (int e = 0; e < wide; ++e) sum[0][e] += g[e] * (x[e] - mean) * scale, sum[1][e] += g[e];
  }
};

// ---- launches

// The scratch holds the sums of the parts, or the moments (R, 2) and the sums of columns.cuh. It also suffices if
// operands turn out to have no vectors.
size_t backward_bytes(const Node& n, int) {
  const int64_t R = n.in[0].shape.rows(), C = n.in[0].shape.last(),
                floats = 2 * R + columns::scratch_floats(WeightTerms::sums, R, C),
                of_parts = C % vector_elements == 0 && C <= most_width ? 2 * parts_of(R, C).parts * C : 0;
  return static_cast<size_t>(floats > of_parts ? floats : of_parts) * sizeof(float);
}

template <bool centered> void norm_backward(const Node& n, Context& c, const char* name) {
  const Tensor& dy = n.in[0];
  const int64_t R = dy.shape.rows(), C = dy.shape.last();
  const NormBackwardArguments a{view(dy), view(n.in[1]), view(n.in[2]), optional_view(n, 3), out(n.out[0]), R, C,
      static_cast<float>(n.attr("eps")), centered ? 0.0f : static_cast<float>(n.attr("offset"))};
  float *const scratch = static_cast<float*>(c.scratch), *const dw = n.out[1].as<float>(),
               *db = centered ? n.out[2].as<float>() : nullptr;
  const bool vectors = C % vector_elements == 0 && has_vectors(a.dy) && has_vectors(a.h);
  if (vectors && C > 0 && C <= most_width && has_vectors(a.w) && has_vectors(a.dx) && has_vectors_or_none(a.dh)) {
    constexpr int sums = centered ? 2 : 1;
    const RowParts parts = parts_of(R, C);
    const RowRing ring = ring_of(a, parts.threads(), properties_of(c).shared_bytes);
    const size_t rows = static_cast<size_t>(ring.stages * ring.pieces * parts.threads() * piece_bytes),
                 of_groups = static_cast<size_t>(parts.rows_at_once * sums * C) * sizeof(float);
    const Grid grid{dim3(static_cast<unsigned>(parts.parts)), dim3(static_cast<unsigned>(parts.threads())),
        rows > of_groups ? rows : of_groups};
    launch(c, name, grid, norm_backward_part_kernel<centered>,
        PartArguments{a, ring, parts.row_threads, parts.rows_at_once, parts.part_rows, scratch});
    columns::Results<sums> to{{dw}};
    if constexpr (centered) to.y[1] = db;
    return columns::add_parts(c, name, scratch, parts.parts, C, to);
  }
  launch(c, name, {dim3(static_cast<unsigned>(R)), dim3(threads)}, norm_backward_kernel, a, centered, scratch);
  columns::add_columns(c, name, WeightTerms{a.dy, a.h, scratch, C}, R, C, vectors, scratch + 2 * R, {{dw, db}});
}
void rms_norm_backward(const Node& n, Context& c) { norm_backward<false>(n, c, "rms_norm_backward"); }
void layer_norm_backward(const Node& n, Context& c) { norm_backward<true>(n, c, "layer_norm_backward"); }

const RegisterKernel kernels[] = {
    {"rms_norm_backward", "cuda_rms_norm_backward", no_quantized, rms_norm_backward, backward_bytes},
    {"layer_norm_backward", "cuda_layer_norm_backward", no_quantized, layer_norm_backward, backward_bytes},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
