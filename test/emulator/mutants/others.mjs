// Mutations of norms, experts and other kernels with barriers: name, file in native/cuda, original text, replacement of its first occurrence; for a header also
// the file to compile.
export const others = [
  [
    "norm: no barrier between two sums",
    "math.cuh",
    "  v = warp_sum(lane < warps ? partial[lane] : T(0));\n  __syncthreads();",
    "  v = warp_sum(lane < warps ? partial[lane] : T(0));\n  ",
  ],
  [
    "norm: the sums of warps are not waited for",
    "math.cuh",
    "  if (lane == 0) partial[warp] = v;\n  __syncthreads();\n  v = warp_sum",
    "  if (lane == 0) partial[warp] = v;\n  v = warp_sum",
  ],
  [
    "norm: a sum over half a warp",
    "math.cuh",
    "for (int lanes = 16; lanes > 0; lanes /= 2) v += ",
    "for (int lanes = 8; lanes > 0; lanes /= 2) v += ",
  ],
  ["norm: the residual is left out of the gradient", "norm.cu", "residual + scale * (g - sum", "scale * (g - sum"],
  [
    "norm: columns' partial sums are not waited for",
    "norm.cu",
    "  __syncthreads();\n  if (part != 0 || j >= a.C) return;",
    "  if (part != 0 || j >= a.C) return;",
  ],
  ["experts: pairs of the earlier warps are not counted", "experts.cu", "if (w < warp) place += found[w];", ""],
  ["experts: counts are overwritten while read", "experts.cu", "    __syncthreads();  // the next iteration", "    //"],
  [
    "experts: an expert's last tile runs into the next expert's",
    "experts.cu",
    "if (tile.first + i < tile.end && column0",
    "if (column0",
  ],
  ["experts: ties go to the highest", "routing.cu", "other_at < at))) best", "other_at > at))) best"],
  [
    "experts: one slot's input for all",
    "experts.cu",
    "return per_slot ? order[i] : order[i] / slots;",
    "return order[i] / slots;",
  ],
  [
    "experts: one tile too few",
    "choice.h",
    "rows / tile_m + (rows < groups ? rows : groups)",
    "rows / tile_m + 1",
    "experts.cu",
  ],
  [
    "experts: every row of tiles makes its first columns",
    "experts.cu",
    "static_cast<int64_t>(blockIdx.x % columns_of_tiles) * tile_n",
    "0",
  ],
  [
    "experts: tiles column by column",
    "experts.cu",
    "find_tile(groups, blockIdx.x / columns_of_tiles)",
    "find_tile(groups, blockIdx.x % columns_of_tiles)",
  ],
  ["rows: two blocks write one row", "rows.cu", "  if (earlier > 0) return;", ""],
  ["rope: angles are not waited for", "rope.cu", "  __syncthreads();\n", ""],
];
