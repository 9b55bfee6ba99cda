// fp8_product: training's products of two float operands that are rounded to e4m3 (ops/fp8.h). One kernel rounds an
// operand in any layout, and writes its lines along k, as the products on 8-bit tensor cores read them. On other
// devices it writes bf16, which is exact because scales are powers of two, and the bf16 product follows.
#include "cuda/gemm/gemm.cuh"
#include "cuda/quant/fp8.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int threads = 256, warps = threads / warp_size, side = fp8_block;
constexpr int adjacent = side / warp_size, deep = side / warps;  // a thread's elements: columns and rows of a block
constexpr int alignment = 16;                                    // of lines, in elements

// An operand as it is stored: (lines, k), or (k, lines) if k_first is set.
struct Source {
  View x;
  int64_t lines, k;
  bool k_first;
  bool whole;  // four adjacent elements of a row can be loaded at once
};

// A rounded operand (lines, ld). Elements beyond k are zeros. If `scale` is null, elements are bf16. Otherwise they are
// e4m3 with scales: of lines (blocks of k, lines), or of blocks (blocks of lines, blocks of k).
struct Rounded {
  void* data;
  float* scale;
  int64_t ld;
};

// Returns the scale of a group with this largest magnitude, given as bits. The bits of infinity and NaN are the
// largest. The constants are those of fp8_power_of_two.
__device__ inline Fp8Scale scale_of(uint32_t largest) {
  if (largest >= 0x7f800000) return {NAN, 0};
  if (!(__uint_as_float(largest) > fp8_least)) return {0, 0};
  const uint32_t exponent = ((largest + 0x1fffff) >> 23) - 8;
  return {__uint_as_float(exponent << 23), __uint_as_float((254 - exponent) << 23)};
}

__device__ inline uint32_t greater(uint32_t a, uint32_t b) { return a > b ? a : b; }
__device__ inline uint32_t greatest_of_warp(uint32_t v) {
  for (int lanes = 16; lanes > 0; lanes /= 2) v = greater(v, __shfl_xor_sync(all_lanes, v, lanes));
  return v;
}

// Loads `adjacent` elements of a row of `columns` elements, from `column` on. Elements beyond the row are zeros.
__device__ inline void load_adjacent(
    const Source& s, int64_t row, int64_t column, int64_t columns, float (&v)[adjacent]) {
  static_assert(adjacent == 4, "a thread loads four elements at once");
  const int64_t at = row * columns + column;
  if (s.whole && s.x.type == DType::f32) {
    const float4 four = *reinterpret_cast<const float4*>(static_cast<const float*>(s.x.data) + at);
    v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
  } else if (s.whole) {
    const uint2 two = *reinterpret_cast<const uint2*>(static_cast<const uint16_t*>(s.x.data) + at);
    v[0] = __uint_as_float(two.x << 16), v[1] = __uint_as_float(two.x & 0xffff0000u);
    v[2] = __uint_as_float(two.y << 16), v[3] = __uint_as_float(two.y & 0xffff0000u);
  } else {
    HEDDLE_UNROLL
    for (int e = 0; e < adjacent; ++e)
      if (column + e < columns) v[e] = s.x[at + e];
  }
}

// Stores `count` rounded elements that are adjacent along k, at a multiple of `count`.
template <int count>
__device__ inline void store_run(const Rounded& to, int64_t at, const float (&v)[count], Fp8Scale of) {
  static_assert(count == 4 || count == 16, "4 elements are one store, and 16 elements are stores of 16 bytes");
  constexpr int piece = count == 4 ? 2 : 4;  // words of a store
  uint32_t bytes[count / 4] = {};
  HEDDLE_UNROLL
  for (int e = 0; e < count; ++e) bytes[e / 4] |= static_cast<uint32_t>(float_to_fp8(v[e] * of.inverse)) << 8 * (e % 4);
  if (to.scale) {
    uint8_t* q = static_cast<uint8_t*>(to.data) + at;
    if constexpr (count == 4) *reinterpret_cast<uint32_t*>(q) = bytes[0];
    else ptx::store_words(q, bytes);
    return;
  }
  HEDDLE_UNROLL
  for (int i = 0; i < count / 2; i += piece) {
    uint32_t words[piece];
    HEDDLE_UNROLL
    for (int w = 0; w < piece; ++w) {
      const uint32_t pair = bytes[(i + w) / 2] >> 16 * ((i + w) % 2);
      words[w] = ptx::pack_bf16(fp8_to_float(static_cast<uint8_t>(pair)) * of.scale,
          fp8_to_float(static_cast<uint8_t>(pair >> 8)) * of.scale);
    }
    ptx::store_words(static_cast<uint16_t*>(to.data) + at + 2 * i, words);
  }
}

// Rounds a block of 128 x 128 stored elements. Warp w has 16 rows from 16 w on. A lane has four columns of each.
// `together`: all elements share a scale. Otherwise those of a line do.
template <bool k_first>
__global__ void __launch_bounds__(threads)
    fp8_operand_kernel(PreviousKernel previous, Source s, Rounded to, bool together) {
  previous.wait();
  HEDDLE_SHARED(uint32_t, of_warps, [warps][side]);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int64_t rows = k_first ? s.k : s.lines, columns = k_first ? s.lines : s.k;
  const unsigned wide = static_cast<unsigned>(blocks_of(columns));
  const int64_t row0 = blockIdx.x / wide * side + warp * deep, column = blockIdx.x % wide * side + lane * adjacent;
  float v[deep][adjacent] = {};
  HEDDLE_UNROLL
  for (int i = 0; i < deep; ++i)
    if (row0 + i < rows && column < columns) load_adjacent(s, row0 + i, column, columns, v[i]);

  const int64_t k_block = k_first ? blockIdx.x / wide : blockIdx.x % wide;
  const auto magnitude = [&](int i, int e) { return __float_as_uint(v[i][e]) & 0x7fffffff; };
  if constexpr (k_first) {
    HEDDLE_UNROLL
    for (int e = 0; e < adjacent; ++e) {
      uint32_t most = 0;
      HEDDLE_UNROLL
      for (int i = 0; i < deep; ++i) most = greater(most, magnitude(i, e));
      of_warps[warp][lane * adjacent + e] = most;
    }
    __syncthreads();
    uint32_t most[adjacent] = {};
    HEDDLE_UNROLL
    for (int e = 0; e < adjacent; ++e) {
      HEDDLE_UNROLL
      for (int w = 0; w < warps; ++w) most[e] = greater(most[e], of_warps[w][lane * adjacent + e]);
    }
    const uint32_t of_block = greatest_of_warp(greater(greater(most[0], most[1]), greater(most[2], most[3])));
    HEDDLE_UNROLL
    for (int e = 0; e < adjacent; ++e) {
      const Fp8Scale of = scale_of(together ? of_block : most[e]);
      const int64_t line = column + e;
      if (line >= s.lines) break;
      float run[deep];
      HEDDLE_UNROLL
      for (int i = 0; i < deep; ++i) run[i] = v[i][e];
      if (row0 < to.ld) store_run(to, line * to.ld + row0, run, of);
      if (!to.scale || warp != 0) continue;
      if (!together) to.scale[k_block * s.lines + line] = of.scale;
      else if (line % side == 0) to.scale[line / side * blocks_of(s.k) + k_block] = of.scale;
    }
  } else {
    uint32_t most[deep], of_block = 0;
    HEDDLE_UNROLL
    for (int i = 0; i < deep; ++i) {
      most[i] = greatest_of_warp(
          greater(greater(magnitude(i, 0), magnitude(i, 1)), greater(magnitude(i, 2), magnitude(i, 3))));
      of_block = greater(of_block, most[i]);
    }
    if (together) {  // uniform over the grid
      if (lane == 0) of_warps[0][warp] = of_block;
      __syncthreads();
      HEDDLE_UNROLL
      for (int w = 0; w < warps; ++w) of_block = greater(of_block, of_warps[0][w]);
    }
    HEDDLE_UNROLL
    for (int i = 0; i < deep; ++i) {
      const Fp8Scale of = scale_of(together ? of_block : most[i]);
      const int64_t line = row0 + i;
      if (line >= s.lines) break;
      if (column < to.ld) store_run(to, line * to.ld + column, v[i], of);
      if (!to.scale || lane != 0) continue;
      if (!together) to.scale[k_block * s.lines + line] = of.scale;
      else if (line % side == 0) to.scale[line / side * blocks_of(s.k) + k_block] = of.scale;
    }
  }
}

void round_operand(const Context& c, const char* name, const Source& s, const Rounded& to, bool together) {
  const Grid grid{dim3(static_cast<unsigned>(fp8_blocks(s.lines) * fp8_blocks(s.k))), dim3(threads)};
  launch(c, name, grid, s.k_first ? fp8_operand_kernel<true> : fp8_operand_kernel<false>, s, to, together);
}

Source source(const Tensor& x, bool k_first) {
  const bool vectors = has_vectors(view(x)) && x.dtype != DType::f16 && x.shape[1] % adjacent == 0;
  return {view(x), x.shape[k_first ? 1 : 0], x.shape[k_first ? 0 : 1], k_first, vectors};
}

// The places of both rounded operands in the scratch.
struct Places {
  size_t a_scale = 0, b, b_scale = 0, end;
  int64_t ld;
  // bytes: of an element. Elements of one byte have scales.
  Places(int64_t m, int64_t n, int64_t k, size_t bytes) : ld(round_up(k, alignment)) {
    const auto padded = [](int64_t elements, size_t of_one) {
      return padded_to_line(static_cast<size_t>(elements) * of_one);
    };
    const bool scales = bytes == 1;
    a_scale = padded(m * ld, bytes);
    b = a_scale + (scales ? padded(m * fp8_blocks(k), sizeof(float)) : 0);
    b_scale = b + padded(n * ld, bytes);
    end = b_scale + (scales ? padded(fp8_blocks(n) * fp8_blocks(k), sizeof(float)) : 0);
  }
};

size_t scratch(const Node& n, int) {
  const Shape& c = n.out[0].shape;
  const int64_t k = n.in[0].shape[n.attr_flag("a_transposed") ? 0 : 1];
  const Places e4m3(c[0], c[1], k, 1), bf16(c[0], c[1], k, 2);
  const size_t of_bf16 = bf16.end + gemm_workspace(c[0], c[1], bf16.ld);
  return e4m3.end > of_bf16 ? e4m3.end : of_bf16;
}

// a (M, K), or (K, M) if a_transposed is set; b (K, N), or (N, K) if b_transposed is set; optional bias (N) -> c (M, N)
void product(const Node& n, Context& c) {
  const char* name = "fp8_product";
  const Source a = source(n.in[0], n.attr_flag("a_transposed")), b = source(n.in[1], !n.attr_flag("b_transposed"));
  const int64_t M = a.lines, N = b.lines, K = a.k;
  if (M == 0 || N == 0) return;
  const DeviceProperties& device = properties_of(c);
  const bool e4m3 = K > 0 && (takes_fp8_warpgroups(device) || device.e4m3);
  const Places at(M, N, K, e4m3 ? 1 : 2);
  char* const memory = static_cast<char*>(c.scratch);
  const auto scales = [&](size_t place) { return e4m3 ? reinterpret_cast<float*>(memory + place) : nullptr; };
  const Rounded left{memory, scales(at.a_scale), at.ld}, right{memory + at.b, scales(at.b_scale), at.ld};
  if (K > 0) round_operand(c, name, a, left, false), round_operand(c, name, b, right, true);
  if (!e4m3) {
    Gemm g{{left.data, DType::bf16}, {right.data, DType::bf16}, optional_view(n, 2), out(n.out[0]), M, N, at.ld, at.ld,
        at.ld, N, false, true, false};
    g.workspace = memory + at.end, g.workspace_bytes = gemm_workspace(M, N, at.ld);
    return gemm(c, name, g);
  }
  // The padding of lines is zero, so k may include it.
  const Fp8Gemm g{{nullptr, DType::f32}, activations_of(left.data, left.scale, M, at.ld),
      weight_of(right.data, right.scale, at.ld), optional_view(n, 2), out(n.out[0]), M, N, at.ld};
  if (takes_fp8_warpgroups(device)) return gemm_fp8_warpgroup(c, name, g);
  in_strips(M, [&](int64_t row, int64_t rows) { gemm_fp8_tensor(c, name, strip_of(g, row, rows)); });
}

const RegisterKernel kernel{"fp8_product", "cuda_fp8_product", nullptr, product, scratch};

}  // namespace
}  // namespace cuda
}  // namespace heddle
