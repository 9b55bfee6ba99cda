// Mistakes in products of 8-bit floats: name, file of native/cuda, what is there, what is put in its place (the first occurrence counts), for a
// header: the file it shows in.
export const fp8 = [
  [
    "fp8 warpgroups: tiles are multiplied without waiting",
    "gemm_fp8_sm90.cu",
    "      ptx::wait_barrier(&full[at.stage], at.parity);\n",
    "",
  ],
  [
    "fp8 warpgroups: activations have the scales of the first block",
    "gemm_fp8_sm90.cu",
    "scale_at(row + 8 * half, d * depth)",
    "scale_at(row + 8 * half, 0)",
  ],
  [
    "fp8 warpgroups: weights have the scales of the first block",
    "gemm_fp8_sm90.cu",
    "g.w.scale_at(place.column, d * depth)",
    "g.w.scale_at(place.column, 0)",
  ],
  [
    "fp8 warpgroups: a stage adds to the one before, scaled as it is",
    "gemm_fp8_sm90.cu",
    "group_bytes), k > 0);",
    "group_bytes), true);",
  ],
  [
    "fp8 warpgroups: sums are not waited for",
    "gemm_fp8_sm90.cu",
    "ptx::wait_products<0>();",
    "ptx::wait_products<1>();",
  ],
  [
    "fp8 warpgroups: scales of the other rows",
    "gemm_fp8_sm90.cu",
    "scale[r / 2 % 2] * of_weight",
    "scale[r % 2] * of_weight",
  ],
  ["fp8 warpgroups: both multiply the same rows", "gemm_fp8_sm90.cu", " + consumer * 64 * depth, *b_tile", ", *b_tile"],
  ["fp8 warpgroups: the next depths lie 16 bytes on", "gemm_fp8_sm90.cu", "a_tile + 32 * k,", "a_tile + 16 * k,"],
  ["fp8 warpgroups: no fence before products", "gemm_fp8_sm90.cu", "      ptx::fence_products();\n", ""],
  [
    "fp8 warpgroups: bytes of one operand",
    "gemm_fp8_sm90.cu",
    "&full[at.stage], Tile::stage_bytes)",
    "&full[at.stage], Tile::a_bytes)",
  ],
  [
    "fp8 warpgroups: sums go on into the next tile",
    "gemm_fp8_sm90.cu",
    "for (int r = 0; r < sums; ++r) total[r] = 0;\n    for (int64_t d",
    "for (int r = 0; r < sums; ++r) total[r] = tile < gridDim.x ? 0 : total[r];\n    for (int64_t d",
  ],
  ["fp8 rounding: each lane by its own largest", "fp8_linear.cu", "  largest = warp_max(largest);\n", ""],
  [
    "fp8 rounding: scales lie by rows",
    "fp8_linear.cu",
    "scale[block % blocks * N + row] =",
    "scale[row * blocks + block % blocks] =",
  ],
  [
    "fp8 rounding: a block goes on into the next row",
    "fp8_linear.cu",
    "if (k < K) v[i] = x[row * K + k];",
    "v[i] = x[row * K + k];",
  ],
  [
    "fp8, few rows: bytes of a word in another order",
    "fp8_linear.cu",
    "words[e / 4] >> 8 * (e % 4)",
    "words[e % 4] >> 8 * (e / 4)",
  ],
  ["fp8, few rows: the last run is taken whole", "fp8_linear.cu", "      if (e >= count) break;\n", ""],
  ["fp8: depth beyond the end is read", "fp8_linear.cu", "if (line < lines && depth < k_end) v", "if (line < lines) v"],
  [
    "fp8: the gradient reads the weight the other way",
    "fp8_linear.cu",
    "x.at(line, depth) : x.at(depth, line)",
    "x.at(line, depth) : x.at(line, depth)",
  ],
  ["fp8: a scale a row", "fp8.cuh", "scale[(row >> shift) * row_step", "scale[row * row_step"],
  ["fp8: half of each number", "fp8.cuh", "* 256.0f", "* 128.0f"],
];
