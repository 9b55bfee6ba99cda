// The linear layers of a mixture of experts, in which each row uses the weights of its k experts. routing.cu selects
// the experts and adds up their outputs.
//
// A pair is a row and one of its k experts. Slot j of a row is its j-th choice of an expert. Pairs are sorted by
// expert, so that the pairs of an expert form the rows of one matrix product. The tiles of all these products form one
// grid (Gale et al. 2022, "MegaBlocks"). experts_tensor.cu has the kernels for bf16 operands with rows of a
// multiple of 8 elements, and this file has those for all others. With many pairs, quantized weights are decoded to
// bf16 first. Few pairs are computed one by one instead. Sums are always in the order of the pairs, without atomic
// additions.
#include "cuda/gemm/experts.cuh"

#include "cuda/gemm/gemm_tile.cuh"
#include "cuda/quant/decoded_gemm.cuh"

namespace heddle {
namespace cuda {
namespace {

using tiled::tile_m;
using tiled::tile_n;

constexpr int threads = 256, warps = threads / warp_size;

// ---- sorting of pairs by expert

// Fills Groups. Each block handles one expert: it counts the pairs of experts with smaller indices, then lists the
// pairs of its expert in order. The row of pair p is p / slots.
__global__ void __launch_bounds__(threads) group_kernel(PreviousKernel previous, const int32_t* experts, int32_t* begin,
    int32_t* order, int32_t* rows, int64_t pairs, int64_t E, int slots, Fault fault) {
  previous.wait();
  HEDDLE_SHARED(int32_t, found, [2][warps]);
  const int32_t expert = static_cast<int32_t>(blockIdx.x);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  int32_t earlier = 0;
  for (int64_t p = threadIdx.x; p < pairs; p += threads) {
    earlier += experts[p] >= 0 && experts[p] < expert;
    if (expert == 0 && (experts[p] < 0 || experts[p] >= E)) fault.report();
  }
  int32_t at = BlockReduction<threads>().sum(earlier);
  if (threadIdx.x == 0) begin[expert] = at;
  // Iterations use the halves of `found` in turn. The next iteration's barrier comes after all reads of this half, and
  // before the iteration that overwrites it.
  int half = 0;
  for (int64_t p0 = 0; p0 < pairs; p0 += threads, half ^= 1) {
    const int64_t p = p0 + threadIdx.x;
    const bool is_own = p < pairs && experts[p] == expert;
    const unsigned votes = __ballot_sync(all_lanes, is_own);
    if (lane == 0) found[half][warp] = __popc(votes);
    __syncthreads();
    // The place in `order`: `at` pairs precede this iteration's. Then come the matches of lower warps, and those of
    // this warp's lower lanes.
    int32_t place = at + __popc(votes & ((1u << lane) - 1));
    for (int w = 0; w < warps; ++w) {
      if (w < warp) place += found[half][w];
      at += found[half][w];
    }
    if (is_own) {
      order[place] = static_cast<int32_t>(p);
      rows[place] = static_cast<int32_t>(p) / slots;
    }
  }
  if (threadIdx.x == 0 && expert == E - 1) begin[E] = at;
}

// The size of Groups in the scratch, rounded up to 16 bytes.
size_t group_bytes(int64_t pairs, int64_t E) { return static_cast<size_t>(ceil_div(2 * pairs + E + 1, 4)) * 16; }

// Launches the sorting of the pairs of `experts` (N, k). The result is at the beginning of the scratch. per_slot: x has
// one row per pair.
Groups group(const Context& c, const char* name, const Tensor& experts, int64_t E, bool per_slot) {
  int32_t* begin = static_cast<int32_t*>(c.scratch);
  const int64_t pairs = experts.shape.size();
  int32_t *order = begin + E + 1, *rows = order + pairs;
  launch(c, name, {dim3(static_cast<unsigned>(E)), dim3(threads)}, group_kernel, experts.as<int32_t>(), begin, order,
      rows, pairs, E, per_slot ? 1 : static_cast<int>(experts.shape[1]), fault_of(c));
  return {begin, order, rows, E};
}

// ---- products of pairs

// Computes each pair separately, with one warp per element of y. w must be (E, M, K). grid (blocks of M, pairs)
template <class Weights>
__global__ void __launch_bounds__(threads) few_pairs_kernel(PreviousKernel previous, Products a, Weights w) {
  previous.wait();
  const int lane = threadIdx.x % warp_size;
  const int64_t m = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size, pair = blockIdx.y;
  const int32_t expert = a.experts[pair];
  if (expert < 0 || expert >= a.E) {
    if (threadIdx.x == 0) a.fault.report();
    return;
  }
  if (m >= a.M) return;  // uniform over the warp
  const float sum = warp_sum(w.product(a.x, a.x_row(pair) * a.K, expert * a.M + m, a.K, lane));
  if (lane == 0) a.store(pair, expert, m, sum);
}

// The weights as few_pairs_kernel and grouped_kernel read them: SingleWeights has float elements, BlockWeights has
// quantized blocks. product() returns the lane's share of the dot product of x, from x_at on, with a row of w.
struct SingleWeights {
  View w;
  bool vectors;  // rows of x and w consist of whole vectors
  __device__ float product(const View& x, int64_t x_at, int64_t row, int64_t K, int lane) const {
    float sum = 0;
    if (vectors) {  // uniform over the grid
      for (int64_t k = lane * vector_elements; k < K; k += warp_size * vector_elements) {
        float left[vector_elements], right[vector_elements];
        load_vector(w, row * K + k, right), load_vector(x, x_at + k, left);
        HEDDLE_UNROLL
        for (int e = 0; e < vector_elements; ++e) sum += left[e] * right[e];
      }
    } else {
      for (int64_t k = lane; k < K; k += warp_size) sum += x[x_at + k] * w[row * K + k];
    }
    return sum;
  }
  // Returns the right operand of tile_product: the rows of w from `first` on, each of `width` elements.
  __device__ tiled::Elements<> side(
      int64_t first, int64_t width, bool transposed, int64_t line0, int64_t lines, int64_t k_end) const {
    View from = w;
    const int64_t skipped = first * width * (w.type == DType::f32 ? 4 : 2);
    from.data = static_cast<const char*>(w.data) + skipped;
    return {from, width, transposed, line0, lines, k_end, {}, {}};
  }
};
template <class Rows> struct BlockWeights {
  Rows w;
  __device__ float product(const View& x, int64_t x_at, int64_t row, int64_t K, int lane) const {
    float sum = 0, values[run_elements];
    for (int64_t r = lane; r < K / run_elements; r += warp_size) {
      const Run run = w.run(row, r);
      load_elements(x, x_at + r * run_elements, values);
      HEDDLE_UNROLL
      for (int e = 0; e < run_elements; ++e) sum += values[e] * run[e];
    }
    return sum;
  }
  __device__ tiled::Blocks<Rows> side(
      int64_t first, int64_t, bool transposed, int64_t line0, int64_t lines, int64_t k_end) const {
    return {w, first, transposed, line0, lines, k_end};
  }
};
// Calls use() with the weights w, whose rows have `width` elements. `vectors` is that of SingleWeights.
template <class F> void with_weights(const View& w, int64_t width, bool vectors, F use) {
  if (!is_quantized(w.type)) use(SingleWeights{w, vectors});
  else with_block_rows(w, width, [&](auto rows) { use(BlockWeights<decltype(rows)>{rows}); });
}

// Maps an index into the sorted pairs to their rows.
struct RowOf {
  const int32_t* rows;
  __device__ int64_t operator()(int64_t i) const { return rows[i]; }
};

// A tile of up to tile_m sorted pairs of one expert. It begins at index `first`. The expert's pairs end at `end`.
struct GroupTile {
  int32_t expert;
  int64_t first, end;
};
// Returns tile number `tile` of the tiles of all experts. If there are fewer tiles, the expert is -1.
__device__ inline GroupTile find_tile(const Groups& groups, int64_t tile) {
  for (int32_t e = 0; e < groups.experts; ++e) {
    const int64_t begin = groups.begin[e], end = groups.begin[e + 1], tiles = ceil_div(end - begin, tile_m);
    if (tile < tiles) return {e, begin + tile * tile_m, end};
    tile -= tiles;
  }
  return {-1, 0, 0};
}

// Computes one tile per block. Block b has row tile b / columns_of_tiles and column tile b % columns_of_tiles, as in
// TileGrid.
template <class Weights>
__global__ void __launch_bounds__(tiled::threads, 2)
    grouped_kernel(PreviousKernel previous, Products a, Weights w, Groups groups, unsigned columns_of_tiles) {
  previous.wait();
  const GroupTile tile = find_tile(groups, blockIdx.x / columns_of_tiles);
  if (tile.expert < 0) return;  // uniform over the block
  const int64_t column0 = static_cast<int64_t>(blockIdx.x % columns_of_tiles) * tile_n;
  const tiled::Elements<RowOf> rows{a.x, a.K, true, tile.first, tile.end, a.K, {groups.rows}, {}};
  const auto columns =
      w.side(tile.expert * (a.w_transposed ? a.M : a.K), a.w_transposed ? a.K : a.M, a.w_transposed, column0, a.M, a.K);
  tiled::tile_product<64>(0, a.K, rows, columns, [&](int i, int j, float v) {
    if (tile.first + i < tile.end && column0 + j < a.M)
      a.store(groups.order[tile.first + i], tile.expert, column0 + j, v);
  });
}

// Whether the rows of x, of `width` elements, can be operands of tensor cores.
bool is_tensor_operand(const View& x, int64_t width) {
  return x.type == DType::bf16 && width % 8 == 0 && width <= INT32_MAX && reinterpret_cast<uintptr_t>(x.data) % 16 == 0;
}

ExpertChoice choice_of(const Context& c, const Products& a, bool rowwise) {
  const bool results = (a.y.type == DType::bf16 || a.y.type == DType::f32) && a.M > 0 && a.K > 0;
  ExpertProduct g{a.pairs, a.E, a.M, a.w_transposed, rowwise, results && is_tensor_operand(a.x, a.K)};
  g.tensor_cores = is_quantized(a.w.type) ? decodes_expert_weights(g, properties_of(c))
                                          : g.tensor_cores && is_tensor_operand(a.w, a.w_transposed ? a.K : a.M);
  return choose_experts(g, properties_of(c));
}

// Decodes the quantized weights of one strip after another to the scratch, and multiplies by them. rounded: weights may
// be rounded to bf16.
void grouped_decoded(const Context& c, const char* name, const Products& a, const Groups& groups, bool rounded) {
  void* const decoded = static_cast<char*>(c.scratch) + group_bytes(a.pairs, a.E);
  const auto [weights, experts] = decoded_experts(a.E, a.M, a.K, a.x.type, a.y.type, most_decoded, rounded);
  // A launch has the pairs of its experts only. The choice of tiles does not change the results.
  const ExpertProduct launched{ceil_div(a.pairs * experts, a.E), experts, weights.columns, true, true, true};
  const ExpertChoice choice = choose_experts(launched, properties_of(c));
  const unsigned runs = static_cast<unsigned>(weights.depth / weights.terms) / decoding::run;
  for (int64_t e = 0; e < a.E; e += experts)
    for (int64_t column = 0; column < a.M; column += weights.columns) {
      Products strip = a;
      strip.E = a.E - e < experts ? a.E - e : experts;
      strip.M = a.M - column < weights.columns ? a.M - column : weights.columns;
      const unsigned lines = static_cast<unsigned>(strip.E * strip.M);
      decoding::decode_blocks(c, name, a.w, a.K, weights.type,
          {decoded, weights.depth, e * a.M + column, 0, lines, static_cast<unsigned>(a.K), lines, runs, weights.terms,
              true});
      strip.w = {decoded, weights.type}, strip.terms = weights.terms;
      skip(strip.y, column), skip(strip.bias, e * a.M + column);
      experts_tensor(c, name, strip, {groups.begin + e, groups.order, groups.rows, strip.E}, choice);
    }
}
// Returns the bytes of the scratch that grouped_decoded() needs beyond the Groups, for at most `pairs` pairs.
size_t decoded_bytes(int64_t pairs, const Tensor& w, DType x, DType y, bool rounded) {
  const int64_t E = w.shape[0];
  const bool decodes = is_quantized(w.dtype) && w.shape.size() > 0 && x == DType::bf16;
  if (!decodes || pairs <= rows_never_decoded / 2 * E) return 0;
  return decoded_experts(E, w.shape[1], w.shape[2], x, y, most_decoded, rounded).bytes();
}

// rounded: see grouped_decoded.
void grouped(const Context& c, const char* name, const Products& a, const Groups& groups, const ExpertChoice& choice,
    bool rounded = false) {
  const bool tensor = choice.kernel == ExpertKernel::tensor;
  if (tensor && is_quantized(a.w.type)) return grouped_decoded(c, name, a, groups, rounded);
  if (tensor) return experts_tensor(c, name, a, groups, choice);
  const int64_t width = a.w_transposed ? a.K : a.M;
  const TileGrid tiles(most_group_tiles(a.pairs, a.E, tile_m), blocks_for(a.M, tile_n));
  with_weights(a.w, width, false, [&](auto w) {
    launch(
        c, name, {dim3(tiles.blocks), dim3(tiled::threads)}, grouped_kernel<decltype(w)>, a, w, groups, tiles.columns);
  });
}

// Whether expert_linear rounds x to bf16. If it may, it does so for tensor cores.
bool rounds(const Node& n) {
  const bool many = n.in[2].shape.size() > few_pairs && n.attributes->get("rowwise", 0) == 0;
  return n.in[0].dtype == DType::f32 && (rounds_to_bf16(n) || (many && n.attributes->flag("may_round")));
}
// Returns the bytes that the Groups and decoded weights of expert_linear take.
size_t product_scratch(const Node& n) {
  const int64_t pairs = n.in[2].shape.size();
  const DType x = rounds(n) ? DType::bf16 : n.in[0].dtype;
  return padded_to_line(group_bytes(pairs, n.in[1].shape[0]) +
                        decoded_bytes(pairs, n.in[1], x, n.out[0].dtype, n.attributes->flag("may_round")));
}

// x (N, K) or (N, k, K), w (E, M, K), experts (N, k), optional bias (E, M) -> y (N, k, M)
void expert_linear(const Node& n, Context& c) {
  const Tensor &x = n.in[0], &w = n.in[1], &experts = n.in[2];
  const char* name = "expert_linear";
  Products a{view(x), view(w), optional_view(n, 3), out(n.out[0]), experts.as<int32_t>(), experts.shape.size(),
      w.shape[0], w.shape[1], w.shape[2], experts.shape[1], w.shape[1], x.shape.rank == 3, true, fault_of(c)};
  if (a.pairs == 0) return;
  if (rounds(n)) a.x = round_to_bf16(c, name, x, static_cast<char*>(c.scratch) + product_scratch(n));
  const ExpertChoice choice = choice_of(c, a, n.attributes->get("rowwise", 0) != 0);
  if (choice.kernel != ExpertKernel::few_pairs)
    return grouped(c, name, a, group(c, name, experts, a.E, a.per_slot), choice, n.attributes->flag("may_round"));
  const bool vectors = a.K % vector_elements == 0 && has_vectors(a.x) && has_vectors(a.w);
  with_weights(a.w, a.K, vectors, [&](auto weights) {
    launch(c, name, {dim3(blocks_for(a.M, warps), static_cast<unsigned>(a.pairs)), dim3(threads)},
        few_pairs_kernel<decltype(weights)>, a, weights);
  });
}
// The rounded x follows the scratch of the product.
size_t linear_scratch(const Node& n, int) { return product_scratch(n) + (rounds(n) ? bf16_bytes(n.in[0]) : 0); }

// from (N, k, K) -> to (N, K): the sum over the k slots. Blocks with different blockIdx.y take different rows.
__global__ void __launch_bounds__(threads)
    add_slots_kernel(const float* from, Out to, int64_t rows, int64_t slots, int64_t K) {
  const int64_t k = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (k >= K) return;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    float sum = 0;
    for (int64_t j = row * slots; j < (row + 1) * slots; ++j) sum += from[j * K + k];
    to.store(row * K + k, sum);
  }
}

// dy (N, k, M), w (E, M, K), experts (N, k) -> dx (N, K) or (N, k, K). The scratch holds the Groups. If dx is (N, K),
// the gradients of the pairs (N, k, K) follow in f32.
void expert_backward_input(const Node& n, Context& c) {
  const Tensor &dy = n.in[0], &w = n.in[1], &experts = n.in[2], &dx = n.out[0];
  const char* name = "expert_linear_backward_input";
  const int64_t pairs = experts.shape.size(), E = w.shape[0], K = w.shape[2], rows = experts.shape[0];
  if (pairs == 0) return;
  const bool per_slot = dx.shape.rank == 3;
  float* of_pairs = reinterpret_cast<float*>(static_cast<char*>(c.scratch) + group_bytes(pairs, E));
  const Groups groups = group(c, name, experts, E, true);  // dy has a row per pair
  const View none{nullptr, DType::f32};
  const Out of_all = per_slot ? out(dx) : Out{of_pairs, DType::f32};
  const Products a{view(dy), view(w), none, of_all, experts.as<int32_t>(), pairs, E, K, w.shape[1], experts.shape[1], K,
      true, false, fault_of(c)};
  grouped(c, name, a, groups, choice_of(c, a, false));
  const unsigned most = 65535;
  if (!per_slot)
    launch(c, name, {dim3(blocks_for(K, threads), rows < most ? static_cast<unsigned>(rows) : most), dim3(threads)},
        add_slots_kernel, of_pairs, out(dx), rows, experts.shape[1], K);
}
size_t backward_input_scratch(const Node& n, int) {
  const int64_t pairs = n.in[2].shape.size();
  const bool per_slot = n.out[0].shape.rank == 3;
  return group_bytes(pairs, n.in[1].shape[0]) +
         (per_slot ? 0 : static_cast<size_t>(pairs * n.in[1].shape[2]) * sizeof(float));
}

// grid (tiles of K, tiles of M, E)
__global__ void __launch_bounds__(tiled::threads, 2) weight_gradient_kernel(WeightGradients a, Groups groups) {
  const int64_t expert = blockIdx.z, row0 = static_cast<int64_t>(blockIdx.y) * tile_m,
                column0 = static_cast<int64_t>(blockIdx.x) * tile_n;
  const int64_t begin = groups.begin[expert], pairs = groups.begin[expert + 1] - begin;
  const tiled::Elements<tiled::AsItIs, RowOf> left{a.dy, a.M, false, row0, a.M, pairs, {}, {groups.order + begin}},
      right{a.x, a.K, false, column0, a.K, pairs, {}, {groups.rows + begin}};
  tiled::tile_product<32>(0, pairs, left, right, [&](int i, int j, float v) {
    if (row0 + i < a.M && column0 + j < a.K) a.dw[(expert * a.M + row0 + i) * a.K + column0 + j] = v;
  });
}
// dy (N, k, M), x (N, K) or (N, k, K), experts (N, k) -> dw (E, M, K) f32
void expert_backward_weight(const Node& n, Context& c) {
  const Tensor &dy = n.in[0], &x = n.in[1], &experts = n.in[2], &dw = n.out[0];
  const WeightGradients a{view(dy), view(x), dw.as<float>(), dw.shape[0], dw.shape[1], dw.shape[2]};
  const char* name = "expert_linear_backward_weight";
  const Groups groups = group(c, name, experts, a.E, x.shape.rank == 3);
  const bool tensor_cores =
      is_tensor_operand(a.dy, a.M) && is_tensor_operand(a.x, a.K) && reinterpret_cast<uintptr_t>(a.dw) % 16 == 0;
  const ExpertChoice choice = choose_expert_gradient(a.M, a.K, a.E, tensor_cores, properties_of(c));
  if (choice.kernel == ExpertKernel::tensor) return expert_gradients_tensor(c, name, a, groups, choice);
  const dim3 blocks(blocks_for(a.K, tile_n), blocks_for(a.M, tile_m), static_cast<unsigned>(a.E));
  launch(c, name, {blocks, dim3(tiled::threads)}, weight_gradient_kernel, a, groups);
}
size_t backward_weight_scratch(const Node& n, int) { return group_bytes(n.in[2].shape.size(), n.out[0].shape[0]); }

// dy (N, k, M), experts (N, k) -> to (E, M): the sum of dy over the pairs of each expert. grid (blocks of M, E), one
// thread per element.
__global__ void __launch_bounds__(threads) bias_sum_kernel(View dy, float* to, Groups groups, int64_t M) {
  const int64_t m = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x, expert = blockIdx.y;
  if (m >= M) return;
  float sum = 0;
  for (int32_t i = groups.begin[expert]; i < groups.begin[expert + 1]; ++i) sum += dy[groups.order[i] * M + m];
  to[expert * M + m] = sum;
}
void expert_bias_sum(const Node& n, Context& c) {
  const Tensor &dy = n.in[0], &y = n.out[0];
  const int64_t E = y.shape[0], M = y.shape[1];
  launch(c, "expert_bias_sum", {dim3(blocks_for(M, threads), static_cast<unsigned>(E)), dim3(threads)}, bias_sum_kernel,
      view(dy), y.as<float>(), group(c, "expert_bias_sum", n.in[1], E, true), M);
}
size_t bias_sum_scratch(const Node& n, int) { return group_bytes(n.in[1].shape.size(), n.out[0].shape[0]); }

const RegisterKernel kernels[] = {
    {"expert_linear", "cuda_grouped_expert_linear", nullptr, expert_linear, linear_scratch},
    {"expert_linear_backward_input", "cuda_grouped_expert_linear_backward_input", nullptr, expert_backward_input,
        backward_input_scratch},
    {"expert_linear_backward_weight", "cuda_grouped_expert_linear_backward_weight", nullptr, expert_backward_weight,
        backward_weight_scratch},
    {"expert_bias_sum", "cuda_expert_bias_sum", nullptr, expert_bias_sum, bias_sum_scratch},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
