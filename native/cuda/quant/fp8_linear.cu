// fp8_linear and the gradient of its input. The kernels of this file convert e4m3 weights to floats, and run on any
// device. With many rows of bf16, tensor cores multiply the decoded weights. If activations are rounded to e4m3 too,
// tensor cores may multiply both: see gemm_fp8_sm90.cu, and gemm_fp8_tensor.cu for sm_89 and sm_120. Other devices
// round the activations of many rows to bf16 instead.
#include "cuda/quant/decoded_gemm.cuh"
#include "cuda/quant/fp8.cuh"
#include "cuda/gemm/gemm_tile.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int threads = 256, most_rows = 4, run = 16;  // run: bytes per load

// Rounds x (N, K) to e4m3 bytes q (N, ld) and scales (blocks of K, N). One warp per 128 elements of a row, four per
// lane.
__global__ void __launch_bounds__(threads)
    fp8_round_kernel(PreviousKernel previous, View x, uint8_t* q, float* scale, int64_t N, int64_t K, int64_t ld) {
  previous.wait();
  const int64_t blocks = blocks_of(K),
                block = static_cast<int64_t>(blockIdx.x) * (threads / warp_size) + threadIdx.x / warp_size;
  if (block >= N * blocks) return;  // uniform over the warp
  constexpr int each = fp8_block / warp_size;
  const int lane = threadIdx.x % warp_size;
  const int64_t row = block / blocks, k0 = block % blocks * fp8_block;
  float v[each], largest = 0;
  bool finite = true;
  HEDDLE_UNROLL
  for (int i = 0; i < each; ++i) {
    const int64_t k = k0 + lane + i * warp_size;
    v[i] = 0;
    if (k < K) v[i] = x[row * K + k];
    finite = finite && fabsf(v[i]) <= 3.4028235e38f;
    largest = fmaxf(largest, fabsf(v[i]));
  }
  largest = warp_max(largest);
  finite = __ballot_sync(all_lanes, !finite) == 0;
  const float inverse = largest > fp8_least ? fp8_largest / largest : 0.0f;
  HEDDLE_UNROLL
  for (int i = 0; i < each; ++i) {
    const int64_t k = k0 + lane + i * warp_size;
    if (k < K) q[row * ld + k] = finite ? float_to_fp8(v[i] * inverse) : 0;
  }
  if (lane == 0) scale[block % blocks * N + row] = finite ? largest / fp8_largest : NAN;
}

// An operand of tile_product (gemm_tile.cuh) with e4m3 elements. A thread converts 16 adjacent elements at a time.
struct Side {
  Fp8Matrix x;
  bool k_major;
  int64_t line0, lines, k_end;

  template <int tile_k> __device__ void fill(float (&tile)[tile_k][tiled::pitch], int64_t k0) const {
    static_assert(tile_k % run == 0, "a tile must consist of whole runs");
    constexpr int deep = tile_k / run, wide = tiled::tile_m / run;
    for (int e = threadIdx.x; e < tiled::tile_m * tile_k / run; e += tiled::threads) {
      const int i = k_major ? e / deep : e % wide * run, k = k_major ? e % deep * run : e / wide;
      HEDDLE_UNROLL
      for (int r = 0; r < run; ++r) {
        const int64_t line = line0 + i + (k_major ? 0 : r), depth = k0 + k + (k_major ? r : 0);
        float v = 0;
        if (line < lines && depth < k_end) v = k_major ? x.at(line, depth) : x.at(depth, line);
        if (k_major) tile[k + r][i] = v;
        else tile[k][i + r] = v;
      }
    }
  }
};

// Computes a tile of c per block. Multiplies g.rounded if `rounded` is true, otherwise g.x.
template <bool rounded>
__global__ void __launch_bounds__(tiled::threads, 2) fp8_gemm_kernel(PreviousKernel previous, Fp8Gemm g) {
  previous.wait();
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * tiled::tile_m,
                column0 = static_cast<int64_t>(blockIdx.x) * tiled::tile_n;
  const Side b{g.w, true, column0, g.n, g.k};
  const auto store = [&](int i, int j, float v) {
    if (row0 + i >= g.m || column0 + j >= g.n) return;
    if (g.bias.data) v += g.bias[column0 + j];
    g.c.store((row0 + i) * g.n + column0 + j, v);
  };
  if constexpr (rounded) tiled::tile_product<64>(0, g.k, Side{g.rounded, true, row0, g.m, g.k}, b, store);
  else tiled::tile_product<64>(0, g.k, tiled::Elements<>{g.x, g.k, true, row0, g.m, g.k, {}, {}}, b, store);
}

// dx (N, K) = dy (N, M) w (M, K)
__global__ void __launch_bounds__(tiled::threads, 2)
    fp8_backward_kernel(View dy, Fp8Matrix w, Out dx, int64_t N, int64_t M, int64_t K) {
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * tiled::tile_m,
                column0 = static_cast<int64_t>(blockIdx.x) * tiled::tile_n;
  tiled::tile_product<64>(0, M, tiled::Elements<>{dy, M, true, row0, N, M, {}, {}}, Side{w, false, column0, K, M},
      [&](int i, int j, float v) {
    if (row0 + i < N && column0 + j < K) dx.store((row0 + i) * K + column0 + j, v);
  });
}

// A warp computes one column of c, of up to four rows. Lane i takes bytes 16 i to 16 i + 15 of every 512. `whole`: rows
// of w are 16-byte aligned and a multiple of 16 bytes long, so that one load reads all 16.
template <bool rounded>
__global__ void __launch_bounds__(threads) fp8_few_rows_kernel(PreviousKernel previous, Fp8Gemm g, bool whole) {
  previous.wait();
  const int lane = threadIdx.x % warp_size;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * (threads / warp_size) + threadIdx.x / warp_size;
  if (column >= g.n) return;  // uniform over the warp
  float sum[most_rows] = {};
  for (int64_t k = lane * run; k < g.k; k += warp_size * run) {
    uint4 bytes{0, 0, 0, 0};
    const uint8_t* from = g.w.q + column * g.w.ld + k;
    const int count = g.k - k < run ? static_cast<int>(g.k - k) : run;
    if (whole) bytes = *reinterpret_cast<const uint4*>(from);
    const uint32_t words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
    const float scale = g.w.scale_at(column, k);  // the 16 elements are in one block
    HEDDLE_UNROLL
    for (int e = 0; e < run; ++e) {
      if (e >= count) break;
      const float weight = scale * fp8_to_float(whole ? static_cast<uint8_t>(words[e / 4] >> 8 * (e % 4)) : from[e]);
      HEDDLE_UNROLL
      for (int i = 0; i < most_rows; ++i)
        if (i < g.m) sum[i] += weight * (rounded ? g.rounded.at(i, k + e) : g.x[i * g.k + k + e]);
    }
  }
  HEDDLE_UNROLL
  for (int i = 0; i < most_rows; ++i) {
    if (i >= g.m) break;
    float v = warp_sum(sum[i]);
    if (g.bias.data) v += g.bias[column];
    if (lane == 0) g.c.store(i * g.n + column, v);
  }
}

// Whether all rows are 16-byte aligned.
bool aligned(const Fp8Matrix& x) { return x.ld % run == 0 && reinterpret_cast<uintptr_t>(x.q) % run == 0; }

// Decodes e4m3 weights for decoding::multiply_decoded.
struct Decoder {
  Fp8Matrix w;
  bool whole;  // aligned(w)

  __device__ void decode(int64_t row, int64_t column, int left, float (&v)[run]) const {
    const uint8_t* from = w.q + row * w.ld + column;
    const float scale = w.scale_at(row, column);  // the elements are in one block
    uint4 bytes{0, 0, 0, 0};
    if (whole) bytes = *reinterpret_cast<const uint4*>(from);
    const uint32_t words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
    HEDDLE_UNROLL
    for (int e = 0; e < run; ++e)
      if (e < left) v[e] = scale * fp8_to_float(whole ? static_cast<uint8_t>(words[e / 4] >> 8 * (e % 4)) : from[e]);
  }
};
static_assert(decoding::run == run, "a thread decodes as many bytes as one load reads");

int64_t rounded_ld(int64_t K) { return round_up(K, run); }
size_t rounded_bytes(int64_t N, int64_t K) { return padded_to_line(static_cast<size_t>(N * rounded_ld(K))); }
// Returns the bytes of decoded weights and of the workspace of split-k.
size_t product_scratch(int64_t m, int64_t n, int64_t k, DType a, DType c, bool rounded = false) {
  return decoded_scratch(m, n, k, a, c, rounded) + gemm_workspace(m, n, k);
}
size_t linear_scratch(const Node& n, int) {
  const Tensor &x = n.in[0], &y = n.out[0];
  const int64_t N = x.shape[0], K = x.shape[1];
  if (n.attr_flag("fp8")) {
    const size_t e4m3 = rounded_bytes(N, K) + static_cast<size_t>(N * fp8_blocks(K)) * sizeof(float);
    return std::max(e4m3,
        n.attr_flag("rowwise") ? 0 : bf16_bytes(x) + product_scratch(N, y.shape[1], K, DType::bf16, y.dtype, true));
  }
  return n.attr_flag("rowwise") ? 0 : product_scratch(N, y.shape[1], K, x.dtype, y.dtype);
}
size_t backward_scratch(const Node& n, int) {
  const Tensor &dy = n.in[0], &dx = n.out[0];
  return product_scratch(dx.shape[0], dx.shape[1], dy.shape[1], dy.dtype, dx.dtype);
}

Fp8Matrix weight(const Tensor& w, const Tensor& scale) { return weight_of(w.data, scale.as<float>(), w.shape[1]); }

// If w can be decoded for tensor cores, computes the product g with the weight w and returns true. Otherwise returns
// false. g.b is not read. The scratch is that of product_scratch. Calls begin() before it launches the product.
template <class Begin>
bool multiplies_decoded(Context& c, const char* name, Gemm g, const Fp8Matrix& w, void* scratch, const Begin& begin) {
  const size_t bytes = decoded_scratch(g.m, g.n, g.k, g.a.type, g.c.type, g.rounds_decoded);
  g.decoded = bytes ? scratch : nullptr;
  g.workspace = static_cast<char*>(scratch) + bytes, g.workspace_bytes = gemm_workspace(g.m, g.n, g.k);
  if (!decodes_weights(c, g)) return false;
  begin();
  decoding::multiply_decoded(c, name, g, Decoder{w, aligned(w)});
  return true;
}
bool multiplies_decoded(Context& c, const char* name, const Gemm& g, const Fp8Matrix& w) {
  return multiplies_decoded(c, name, g, w, c.scratch, [] {});
}

// x (N, K), w (M, K), scale, optional bias (M) -> y (N, M)
void linear(const Node& n, Context& c) {
  const char* name = "fp8_linear";
  const Tensor &x = n.in[0], &y = n.out[0];
  Fp8Gemm g{view(x), {}, weight(n.in[1], n.in[2]), optional_view(n, 3), out(y), x.shape[0], y.shape[1], x.shape[1]};
  if (g.m == 0 || g.n == 0) return;
  const View none{nullptr, DType::f32};
  const DeviceProperties& device = properties_of(c);
  const bool rowwise = n.attr_flag("rowwise"), e4m3 = device.e4m3 || takes_fp8_warpgroups(device);
  if (n.attr_flag("fp8") && !(e4m3 && aligned(g.w)) && !rowwise && g.m > most_rows) {
    // Tensor cores cannot multiply e4m3 here. Operands that are rounded to bf16 are more exact than e4m3.
    const bool given = x.dtype == DType::bf16;
    const View a = given ? g.x : View{c.scratch, DType::bf16};
    Gemm in_bf16{a, none, g.bias, g.c, g.m, g.n, g.k, g.k, g.k, g.n, false, true, false};
    in_bf16.rounds_decoded = true;
    const auto round = [&] {
      if (!given) round_to_bf16(c, name, x, c.scratch);
    };
    if (multiplies_decoded(c, name, in_bf16, g.w, static_cast<char*>(c.scratch) + bf16_bytes(x), round)) return;
  }
  if (n.attr_flag("fp8") && g.k > 0) {
    uint8_t* q = static_cast<uint8_t*>(c.scratch);
    float* scale = reinterpret_cast<float*>(q + rounded_bytes(g.m, g.k));
    const int64_t blocks = g.m * fp8_blocks(g.k);
    g.rounded = activations_of(q, scale, g.m, rounded_ld(g.k));
    launch(c, name, {dim3(blocks_for(blocks, threads / warp_size)), dim3(threads)}, fp8_round_kernel, g.x, q, scale,
        g.m, g.k, g.rounded.ld);
  }
  const bool rounded = g.rounded.q != nullptr;
  if (g.m <= most_rows && !rowwise) {
    const Grid grid{dim3(blocks_for(g.n, threads / warp_size)), dim3(threads)};
    return launch(c, name, grid, rounded ? fp8_few_rows_kernel<true> : fp8_few_rows_kernel<false>, g, aligned(g.w));
  }
  if (!rounded && !rowwise &&
      multiplies_decoded(c, name, {g.x, none, g.bias, g.c, g.m, g.n, g.k, g.k, g.k, g.n, false, true, false}, g.w))
    return;
  const bool tensor_cores = rounded && aligned(g.w);
  if (tensor_cores && takes_fp8_warpgroups(device)) return gemm_fp8_warpgroup(c, name, g);
  in_strips(g.m, [&](int64_t row, int64_t rows) {
    const Fp8Gemm part = strip_of(g, row, rows);
    if (tensor_cores && device.e4m3) return gemm_fp8_tensor(c, name, part);
    const Grid grid{dim3(blocks_for(g.n, tiled::tile_n), blocks_for(rows, tiled::tile_m)), dim3(tiled::threads)};
    launch(c, name, grid, rounded ? fp8_gemm_kernel<true> : fp8_gemm_kernel<false>, part);
  });
}

// dy (N, M), w, scale -> dx (N, K)
void backward(const Node& n, Context& c) {
  const Tensor &dy = n.in[0], &dx = n.out[0];
  const int64_t N = dy.shape[0], M = dy.shape[1], K = dx.shape[1];
  const char* name = "fp8_linear_backward_input";
  if (N == 0 || K == 0) return;
  const Fp8Matrix w = weight(n.in[1], n.in[2]);
  const View none{nullptr, DType::f32};
  if (multiplies_decoded(c, name, {view(dy), none, none, out(dx), N, K, M, M, K, K, false, false, false}, w)) return;
  in_strips(N, [&](int64_t row, int64_t rows) {
    View from = view(dy);
    Out to = out(dx);
    skip(from, row * M), skip(to, row * K);
    const Grid grid{dim3(blocks_for(K, tiled::tile_n), blocks_for(rows, tiled::tile_m)), dim3(tiled::threads)};
    launch(c, name, grid, fp8_backward_kernel, from, w, to, rows, M, K);
  });
}

const RegisterKernel kernels[] = {
    {"fp8_linear", "cuda_fp8_linear", nullptr, linear, linear_scratch},
    {"fp8_linear_backward_input", "cuda_fp8_linear_backward_input", nullptr, backward, backward_scratch},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
