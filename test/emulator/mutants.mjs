// Mistakes planted into the kernels, one at a time: each must be noticed by emulator_kernels in the race build, by a wrong
// result, a race, or a report of the emulator. Needs .cmake/races, built with its tests (`npm run test:emulator` does it).
//
//   node test/emulator/mutants.mjs [PATTERN]     only those whose name matches
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../../scripts/testing.mjs";

// name, file of native/cuda, what is there, what is put in its place (the first occurrence counts), for a header: the file it shows in.
const mutants = [
  [
    "product: no barrier before the tiles are read",
    "gemm_tile.cuh",
    "    __syncthreads();\n    for (int k = 0; k < tile_k",
    "    for (int k = 0; k < tile_k",
  ],
  [
    "product: no barrier before the tiles are overwritten",
    "gemm_tile.cuh",
    "    __syncthreads();  // before the next tiles overwrite these",
    "",
  ],
  ["product: the last row is taken for outside", "gemm_tile.cuh", "inside = line < lines", "inside = line < lines - 1"],
  [
    "product: depth beyond the end is read",
    "gemm_tile.cuh",
    "inside = line < lines && depth < k_end",
    "inside = line < lines",
  ],
  ["product: rows beyond the end are written", "gemm.cu", "row0 + i < g.m && ", ""],
  [
    "product: columns of a thread overlap",
    "gemm_tile.cuh",
    "b_tile[k][tx + j * (tile_n / per_thread)]",
    "b_tile[k][tx + j * (tile_n / per_thread - 1)]",
  ],
  ["few rows: one lane starts a step late", "gemm.cu", "int64_t k = lane; k < g.k", "int64_t k = lane + 1; k < g.k"],
  [
    "tensor product: another swizzle when read",
    "gemm_tensor.cu",
    "a_tile + swizzled<depth / piece>(row + r, k8 / piece)",
    "a_tile + ((row + r) * (depth / piece) + k8 / piece) * piece",
  ],
  [
    "tensor product: fragments of the second operand swapped",
    "gemm_tensor.cu",
    "right[j][0] = two[0], right[j][1] = two[1]",
    "right[j][0] = two[1], right[j][1] = two[0]",
  ],
  [
    "tensor product: waits for one copy too few",
    "gemm_tensor.cu",
    "ptx::wait_copies<stages - 2>()",
    "ptx::wait_copies<stages - 1>()",
  ],
  [
    "tensor product: no barrier in the ring",
    "gemm_tensor.cu",
    "    __syncthreads();                 // everybody's is",
    "    // everybody's is",
  ],
  [
    "tensor product: no groups for missing tiles",
    "gemm_tensor.cu",
    "    if (t + stages - 1 < tiles) copy_stage(t + stages - 1);\n    ptx::commit_copies();",
    "    if (t + stages - 1 < tiles) copy_stage(t + stages - 1), ptx::commit_copies();",
  ],
  [
    "tensor product: a ring of one stage less than copies",
    "gemm_tensor.cu",
    "memory + tile % stages * T::stage_elements",
    "memory + tile % (stages - 1) * T::stage_elements",
  ],
  [
    "tensor product: a partial piece is taken whole",
    "tensor_tile.cuh",
    "left > 0 ? (left < piece ? static_cast<int>(left) : piece) : 0",
    "left > -8 ? piece : 0",
  ],
  [
    "tensor product: transposed without .trans",
    "gemm_tensor.cu",
    "ptx::load_matrices<true>(left[i]",
    "ptx::load_matrices<false>(left[i]",
  ],
  ["parts: each goes on to the end", "gemm.cuh", "if (g.k > begin + part) g.k = begin + part;", ""],
  ["parts: each adds the bias", "gemm.cuh", "  g.bias.data = nullptr;\n", ""],
  [
    "parts: all in one place",
    "gemm.cuh",
    "static_cast<float*>(g.workspace) + blockIdx.z * g.m * g.n",
    "static_cast<float*>(g.workspace)",
  ],
  ["parts: the first is not added", "gemm.cu", "for (int p = 0; p < parts; ++p)", "for (int p = 1; p < parts; ++p)"],
  [
    "parts: every one from the beginning",
    "gemm.cu",
    "tiled::tile_product<16>(blockIdx.z * part,",
    "tiled::tile_product<16>(0,",
  ],
  [
    "tensor product, parts: every one from the beginning",
    "gemm_tensor.cu",
    "const int64_t k0 = k_begin + tile * depth;",
    "const int64_t k0 = tile * depth;",
  ],
  ["warpgroups: barriers that copies need not see", "gemm_sm90.cu", "    ptx::fence_async();\n", ""],
  [
    "warpgroups: barriers are used before they are there",
    "gemm_sm90.cu",
    "  __syncthreads();\n\n  if (threadIdx.x < warpgroup)",
    "  if (threadIdx.x < warpgroup)",
  ],
  [
    "warpgroups: an arrival a warpgroup is waited for",
    "gemm_sm90.cu",
    "consumers * warpgroup / warp_size);",
    "consumers);",
  ],
  [
    "warpgroups: only one warpgroup is waited for",
    "gemm_sm90.cu",
    "consumers * warpgroup / warp_size);",
    "warpgroup / warp_size);",
  ],
  [
    "warpgroups: bytes of one operand",
    "gemm_sm90.cu",
    "&full[at.stage], T::stage_bytes)",
    "&full[at.stage], T::a_bytes)",
  ],
  [
    "warpgroups: the ring's second round has the parity of the first",
    "gemm_sm90.cu",
    "stage = 0, parity ^= 1;",
    "stage = 0;",
  ],
  [
    "warpgroups: an empty stage of the other parity",
    "gemm_sm90.cu",
    "&empty[at.stage], at.parity ^ 1",
    "&empty[at.stage], at.parity",
  ],
  [
    "warpgroups: stages are filled without waiting",
    "gemm_sm90.cu",
    "        ptx::wait_barrier(&empty[at.stage], at.parity ^ 1);",
    "        ",
  ],
  [
    "warpgroups: tiles are multiplied without waiting",
    "gemm_sm90.cu",
    "      ptx::wait_barrier(&full[at.stage], at.parity);\n",
    "",
  ],
  [
    "warpgroups: a stage is given back while it is read",
    "gemm_sm90.cu",
    "ptx::wait_products<1>();",
    "ptx::wait_products<2>();",
  ],
  [
    "warpgroups: the last stage is never given back",
    "gemm_sm90.cu",
    "    if (lane == 0) ptx::arrive(&empty[before]);\n\n",
    "",
  ],
  ["warpgroups: sums are not waited for", "gemm_sm90.cu", "ptx::wait_products<0>();", "ptx::wait_products<1>();"],
  ["warpgroups: no fence before products", "gemm_sm90.cu", "      ptx::fence_products();\n", ""],
  ["warpgroups: both multiply the same rows", "gemm_sm90.cu", " + consumer * box_bytes, *b_tile", ", *b_tile"],
  [
    "warpgroups: the next depths lie 64 bytes on",
    "gemm_sm90.cu",
    "a_transposed ? 16 * line_bytes : 32, b_step",
    "a_transposed ? 16 * line_bytes : 64, b_step",
  ],
  [
    "warpgroups: the next depths of a turned operand lie 8 lines on",
    "gemm_sm90.cu",
    "b_transposed ? 32 : 16 * line_bytes;",
    "b_transposed ? 32 : 8 * line_bytes;",
  ],
  [
    "warpgroups: another stride of a descriptor",
    "gemm_sm90.cu",
    "b_tile + k * b_step, box_bytes, group_bytes",
    "b_tile + k * b_step, box_bytes, line_bytes",
  ],
  [
    "warpgroups: another leading offset of a descriptor",
    "gemm_sm90.cu",
    "b_tile + k * b_step, box_bytes, group_bytes",
    "b_tile + k * b_step, group_bytes, group_bytes",
  ],
  [
    "warpgroups: an operand that is not turned",
    "gemm_sm90.cu",
    "multiply_tiles<a_transposed, !b_transposed>",
    "multiply_tiles<a_transposed, b_transposed>",
  ],
  [
    "warpgroups: boxes over one another",
    "gemm_sm90.cu",
    "ptx::copy_box(b_tile + i * box_bytes,",
    "ptx::copy_box(b_tile,",
  ],
  ["warpgroups: rows of the other half", "gemm_sm90.cu", "half * 8 + lane / 4;", "(1 - half) * 8 + lane / 4;"],
  [
    "warpgroups: a column beyond the end",
    "gemm_sm90.cu",
    "const bool both = column + 1 < g.n;",
    "const bool both = true;",
  ],
  [
    "warpgroups: odd rows as whole pairs",
    "gemm_sm90.cu",
    "const bool together = g.ldc % 2 == 0 && ",
    "const bool together = ",
  ],
  [
    "warpgroups: a strip of more rows than there are",
    "gemm_sm90.cu",
    "tiles_m - first < strip ? tiles_m - first : strip",
    "strip",
  ],
  [
    "warpgroups: one tile a block",
    "gemm_sm90.cu",
    "tile < tiles; tile += gridDim.x) {\n    float sum",
    "tile < gridDim.x; tile += gridDim.x) {\n    float sum",
  ],
  [
    "warpgroups: tiles that are not swizzled",
    "tensor_map.cu",
    "CU_TENSOR_MAP_SWIZZLE_128B",
    "CU_TENSOR_MAP_SWIZZLE_NONE",
  ],
  [
    "norm: no barrier between two sums",
    "math.cuh",
    "  v = warp_sum(lane < warps ? partial[lane] : T(0));\n  __syncthreads();  // before the next call writes",
    "  v = warp_sum(lane < warps ? partial[lane] : T(0));",
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
  [
    "attention: an early return before a barrier",
    "attention.cu",
    "  for (int64_t key0 = first; key0 < last; key0 += tile_rows) {\n    __syncthreads();",
    "  if (row0 + warp * rows_per_warp >= end) return;\n  for (int64_t key0 = first; key0 < last; key0 += tile_rows) {\n    __syncthreads();",
  ],
  [
    "attention: tiles overwritten while read",
    "attention.cu",
    "    __syncthreads();  // the tiles of before are done with, and q is there",
    "",
  ],
  [
    "attention: a row sees one key too many",
    "attention.cu",
    "if (a.causal) last = position + 1;",
    "if (a.causal) last = position + 2;",
  ],
  [
    "attention: the output is not scaled down with the maximum",
    "attention.cu",
    "acc[r][c] *= kept;",
    "acc[r][c] *= 1.0f;",
  ],
  [
    "attention: another head's keys",
    "attention.cu",
    "head = blockIdx.y, kv_head = head / (a.H / a.KH)",
    "head = blockIdx.y, kv_head = head % a.KH",
  ],
  [
    "attention backward: tiles not waited for",
    "attention_backward.cu",
    "    load_tile(v_tile, tile_rows, pitch, width, a.v, key0, end, a.KH, kv_head, a.D);\n    __syncthreads();",
    "    load_tile(v_tile, tile_rows, pitch, width, a.v, key0, end, a.KH, kv_head, a.D);",
  ],
  [
    "attention backward: keys' tiles skipped too early",
    "attention_backward.cu",
    "span.first < row0 + own_rows",
    "span.first + 8 < row0 + own_rows",
  ],
  [
    "attention backward: one head of the group",
    "attention_backward.cu",
    "head < (kv_head + 1) * group",
    "head < kv_head * group + 1",
  ],
  [
    "tensor attention: a tile overwritten while read",
    "attention_tensor.cu",
    "    __syncthreads();  // everybody's copies",
    "    // everybody's copies",
  ],
  [
    "tensor attention: waits for the tile before",
    "attention_tensor.cu",
    "    ptx::wait_copies<0>();\n    __syncthreads();  // everybody's",
    "    ptx::wait_copies<1>();\n    __syncthreads();  // everybody's",
  ],
  [
    "tensor attention: one stage for all tiles",
    "attention_tensor.cu",
    "ring + t % stages * stage_elements;\n    copy",
    "ring;\n    copy",
  ],
  [
    "tensor attention: the maximum of a lane, not of its row",
    "attention_tensor.cu",
    "v = fmaxf(v, __shfl_xor_sync(all_lanes, v, 1));",
    "",
  ],
  [
    "tensor attention: sums of half a row's lanes",
    "attention_tensor.cu",
    "  v += __shfl_xor_sync(all_lanes, v, 1);\n",
    "",
  ],
  [
    "tensor attention: every lane counts the sink",
    "attention_tensor.cu",
    "a.sinks.data && ft == 0 ? 1.0f",
    "a.sinks.data ? 1.0f",
  ],
  ["tensor attention: a key too many", "attention_tensor.cu", "key < seen.last ?", "key <= seen.last ?"],
  [
    "tensor attention: weights in the wrong halves",
    "tensor_tile.cuh",
    "to[0] = pack_bf16(first[0], first[1]), to[1] = pack_bf16(first[2], first[3]);",
    "to[1] = pack_bf16(first[0], first[1]), to[0] = pack_bf16(first[2], first[3]);",
    "attention_tensor.cu",
  ],
  [
    "tensor attention: values not turned",
    "tensor_tile.cuh",
    "ptx::load_matrices<true>(two, tile + swizzled<columns / piece>(k +",
    "ptx::load_matrices<false>(two, tile + swizzled<columns / piece>(k +",
    "attention_tensor.cu",
  ],
  [
    "warpgroup attention: scores are not waited for",
    "attention_sm90.cu",
    "ptx::wait_products<1>();  // the scores",
    "ptx::wait_products<2>();  // the scores",
  ],
  [
    "warpgroup attention: keys are given back while they are read",
    "attention_sm90.cu",
    "ptx::wait_products<1>();  // the scores\n      give_back(&k_empty[t % stages]);",
    "give_back(&k_empty[t % stages]);\n      ptx::wait_products<1>();",
  ],
  [
    "warpgroup attention: values are given back while they are read",
    "attention_sm90.cu",
    "ptx::wait_products<0>();\n      give_back(&v_empty[(t - 1) % stages]);",
    "give_back(&v_empty[(t - 1) % stages]);\n      ptx::wait_products<0>();",
  ],
  [
    "warpgroup attention: weights change while they are multiplied",
    "attention_sm90.cu",
    "ptx::wait_products<0>();\n      give_back(&v_empty[(t - 1) % stages]);",
    "round_weights();\n      ptx::wait_products<0>();\n      give_back(&v_empty[(t - 1) % stages]);",
  ],
  [
    "warpgroup attention: the output is not scaled down with the maximum",
    "attention_sm90.cu",
    "o[r] *= kept[r / 2 % 2];",
    "o[r] *= 1.0f;",
  ],
  [
    "warpgroup attention: the output is scaled as the other row's",
    "attention_sm90.cu",
    "o[r] *= kept[r / 2 % 2];",
    "o[r] *= kept[1 - r / 2 % 2];",
  ],
  [
    "warpgroup attention: values are not turned",
    "attention_sm90.cu",
    "multiply_registers<true>",
    "multiply_registers<false>",
  ],
  [
    "warpgroup attention: one box of the keys",
    "attention_sm90.cu",
    "ptx::describe_tile(k + d / 4 * T::box_bytes + d % 4 * 32",
    "ptx::describe_tile(k + d % 4 * 32",
  ],
  [
    "warpgroup attention: one box of the values",
    "attention_sm90.cu",
    "T::box_bytes, group_bytes), true)",
    "0, group_bytes), true)",
  ],
  ["warpgroup attention: values of the first keys alone", "attention_sm90.cu", "v + i * 16 * line_bytes", "v"],
  ["warpgroup attention: queries are not waited for", "attention_sm90.cu", "    ptx::wait_barrier(q_full, 0);\n", ""],
  [
    "warpgroup attention: keys are not waited for",
    "attention_sm90.cu",
    "    ptx::wait_barrier(&k_full[t % stages], t / stages % 2);\n",
    "",
  ],
  [
    "warpgroup attention: values are not waited for",
    "attention_sm90.cu",
    "    ptx::wait_barrier(&v_full[t % stages], t / stages % 2);\n",
    "",
  ],
  [
    "warpgroup attention: stages are filled without waiting",
    "attention_sm90.cu",
    "      ptx::wait_barrier(&k_empty[s], before);\n",
    "",
  ],
  [
    "warpgroup attention: a stage is waited for in the wrong phase",
    "attention_sm90.cu",
    "(t / stages + 1) % 2;",
    "t / stages % 2;",
  ],
  [
    "warpgroup attention: barriers of one warpgroup",
    "attention_sm90.cu",
    "ptx::init_barrier(&v_empty[s], consumers * warpgroup / warp_size);",
    "ptx::init_barrier(&v_empty[s], warpgroup / warp_size);",
  ],
  [
    "warpgroup attention: weights in the wrong places",
    "attention_sm90.cu",
    "p[i][1] = pack_bf16(s[8 * i + 2], s[8 * i + 3]);",
    "p[i][1] = pack_bf16(s[8 * i + 4], s[8 * i + 5]);",
  ],
  [
    "warpgroup attention: keys by another column",
    "attention_sm90.cu",
    "key0 + r / 4 * 8 + r % 2;",
    "key0 + r / 4 * 8 + r / 2 % 2;",
  ],
  ["warpgroup attention: a key too many", "attention_sm90.cu", "key < span[h].last ?", "key <= span[h].last ?"],
  ["warpgroup attention: a lane's maximum, not its row's", "attention_sm90.cu", "now[h] = quad_max(now[h]);", ""],
  [
    "warpgroup attention: another head's keys",
    "attention_sm90.cu",
    "head / (a.H / a.KH)), of_sequence",
    "head % a.KH), of_sequence",
  ],
  [
    "warpgroup attention: the first sequence's rows",
    "attention_sm90.cu",
    "of_sequence = static_cast<int>(sequence);",
    "of_sequence = 0;",
  ],
  [
    "warpgroup attention: both have the same queries",
    "attention_sm90.cu",
    "q_tile + consumer * 64 * line_bytes",
    "q_tile",
  ],
  [
    "warpgroup attention: every lane counts the sink",
    "attention_sm90.cu",
    "a.sinks.data && ft == 0 ? 1.0f",
    "a.sinks.data ? 1.0f",
  ],
  [
    "warpgroup attention: the sink is taken for a product",
    "attention_sm90.cu",
    "* (plain ? 1.0f / a.scores.scale : 1.0f)",
    "",
  ],
  ["warpgroup attention: a cap that is left out", "attention_sm90.cu", "(plain ? s[r] : a.scores.of(s[r]))", "s[r]"],
  [
    "tensor attention backward: a tile overwritten while read",
    "attention_tensor_backward.cu",
    "      __syncthreads();  // the tiles of before are done with",
    "",
  ],
  [
    "tensor attention backward: copies not waited for by others",
    "attention_tensor_backward.cu",
    "      ptx::wait_copies<0>();\n      __syncthreads();",
    "      ptx::wait_copies<0>();",
  ],
  [
    "tensor attention backward: the mean is left out",
    "attention_tensor_backward.cu",
    "(dp[j][e] - means[query])",
    "dp[j][e]",
  ],
  [
    "tensor attention backward: queries by the lane's row",
    "attention_tensor_backward.cu",
    "const int query = 8 * j + 2 * (lane % 4) + e % 2;",
    "const int query = 8 * j + lane / 4;",
  ],
  [
    "tensor attention backward: one head of the group",
    "attention_tensor_backward.cu",
    "head < (kv_head + 1) * group",
    "head < kv_head * group + 1",
  ],
  ["cached attention: warps are merged too early", "cache.cu", "    __syncthreads();\n    float top", "    float top"],
  [
    "cached attention: the next part's while the part's are read",
    "cache.cu",
    "    __syncthreads();  // before the next part's overwrite these",
    "",
  ],
  [
    "cached attention: a key between two parts is left out",
    "cache.cu",
    "min(keys.last, (part + 1) * part_keys)",
    "min(keys.last, (part + 1) * part_keys - 1)",
  ],
  [
    "cached attention: parts are folded without their scale",
    "cache.cu",
    "value[i] * kept + part_value[i] * share",
    "value[i] * kept + part_value[i]",
  ],
  [
    "cached attention: the last part is not folded",
    "cache.cu",
    "part_keys - keys.first / part_keys;",
    "part_keys - keys.first / part_keys - 1;",
  ],
  [
    "cached attention: a warp's tiles overlap the next's",
    "cache.cu",
    "key0 += warps * tile_rows",
    "key0 += (warps - 1) * tile_rows",
  ],
  [
    "cached q8: the scale of the row before",
    "cache.cu",
    "static_cast<const uint8_t*>(cache.data) + at + D;",
    "static_cast<const uint8_t*>(cache.data) + at - q8_scale_bytes;",
  ],
  ["cached q8: a ring's rows written past its end", "cache.cu", "position < L ? position : position % L", "position"],
  [
    "quantised: high nibbles for low ones",
    "quant.cuh",
    "subtract_bytes(w >> 4 * r & 0x0f0f0f0fu, 0x08080808u)",
    "subtract_bytes(w >> 4 * (1 - r) & 0x0f0f0f0fu, 0x08080808u)",
  ],
  ["quantised: a borrow between bytes", "quant.cuh", "return ((a | 0x80808080u) - b) ^ 0x80808080u;", "return a - b;"],
  [
    "quantised: upper scales without their high bits",
    "quant.cuh",
    "(s[4 + g] & 15) | s[g - 4] >> 6 << 4",
    "(s[4 + g] & 15)",
  ],
  [
    "quantised: a row's blocks begin a block late",
    "quant.cuh",
    "(row * (width / elements) + run / runs) * bytes",
    "(row * (width / elements) + (run + runs - 1) / runs) * bytes",
  ],
  [
    "8-bit products: fragments of another row",
    "gemm_int8.cu",
    "a_tile[warp_row + 16 * i + 8 * half + fg]",
    "a_tile[warp_row + 16 * i + 8 * half + ft]",
  ],
  [
    "8-bit products: no barrier before the stage is read",
    "gemm_int8.cu",
    "    __syncthreads();\n    for (int r = 0; r < tile_runs",
    "    for (int r = 0; r < tile_runs",
  ],
  [
    "8-bit products: no barrier before the stage is overwritten",
    "gemm_int8.cu",
    "    __syncthreads();  // before the next stage overwrites these",
    "",
  ],
  ["8-bit products: one scale for all of a row", "gemm_int8.cu", "a_scale[row][r] * scale", "a_scale[row][0] * scale"],
  ["8-bit products: minima are left out", "gemm_int8.cu", " + minimum[e % 2] * a_sum[row][r]", ""],
  [
    "8-bit rounding: sums over the wrong half",
    "gemm_int8.cu",
    "for (int lanes = run_elements / 2; lanes > 0",
    "for (int lanes = run_elements; lanes > 0",
  ],
  ["experts: pairs of the earlier warps are not counted", "experts.cu", "if (w < warp) place += found[w];", ""],
  ["experts: counts are overwritten while read", "experts.cu", "    __syncthreads();  // before the next counts", ""],
  [
    "experts: an expert's last tile runs into the next expert's",
    "experts.cu",
    "if (tile.first + i < tile.end && column0",
    "if (column0",
  ],
  ["experts: ties go to the highest", "experts.cu", "other_at < at))) best", "other_at > at))) best"],
  [
    "experts: one slot's input for all",
    "experts.cu",
    "return per_slot ? order[i] : order[i] / slots;",
    "return order[i] / slots;",
  ],
  ["experts: one tile too few", "experts.cu", "pairs / tile_m + (pairs < E ? pairs : E)", "pairs / tile_m + 1"],
  ["rows: two blocks write one row", "rows.cu", "  if (earlier > 0) return;", ""],
  ["rope: angles are not waited for", "rope.cu", "  __syncthreads();\n", ""],
  [
    "log-probability: the parts' sums are not rescaled",
    "logprob.cu",
    "sum_before * expf(before - largest)",
    "sum_before * 0.0f",
  ],
];

// The cases of emulator_kernels that run a file's kernels.
const casesOf = {
  "gemm.cu": "linear f32",
  "gemm_tensor.cu": "linear bf16",
  "gemm_sm90.cu": "sm_90:",
  "tensor_map.cu": "sm_90:",
  "attention_sm90.cu": "sm_90 attention",
  "norm.cu": "norms",
  "attention.cu": "attention",
  "attention_tensor.cu": "attention bf16",
  "attention_tensor_backward.cu": "attention bf16",
  "attention_backward.cu": "attention",
  "cache.cu": "cached",
  "rows.cu": "rows",
  "rope.cu": "rows",
  "logprob.cu": "rows",
  "gemm_int8.cu": "quantised",
  "experts.cu": "experts",
};
// A header's mistake shows in a file that uses it, and in the cases of its own.
const headers = {
  "math.cuh": ["norm.cu", "norms"],
  "gemm_tile.cuh": ["gemm.cu", "linear f32"],
  "gemm.cuh": ["gemm.cu", "linear f32"],
  "tensor_tile.cuh": ["gemm_tensor.cu", "linear bf16"],
  "quant.cuh": ["gemm.cu", "quantised"],
};
/** Where a mistake shows: the file it is in, one that the mistake names, or the header's own. */
const placeOf = (file, named) => (named ? [named, casesOf[named]] : (headers[file] ?? [file, casesOf[file]]));

const build = join(root, ".cmake", "races");
const database = join(build, "compile_commands.json");
if (!existsSync(database)) {
  console.error("mutants: build first with `node scripts/build-addon.mjs --races -D HEDDLE_TESTS=ON`");
  process.exit(1);
}
const commands = JSON.parse(readFileSync(database, "utf8"));
const objectFolder = join(build, "CMakeFiles", "heddle_core.dir");
const objects = readdirSync(objectFolder, { recursive: true })
  .filter((f) => f.endsWith(".o"))
  .map((f) => join(objectFolder, f));
const driver = join(build, "CMakeFiles", "emulator_kernels.dir", "test", "emulator", "kernels.cc.o");
const work = mkdtempSync(join(tmpdir(), "heddle-mutants-"));
const run = (program, args) => spawnSync(program, args, { encoding: "utf8", timeout: 300_000 });

/** Compiles native/cuda/`source` with `replaced` in place of native/cuda/`file`, and links the test with it. */
function linkMutant(source, file, text) {
  rmSync(join(work, "include"), { recursive: true, force: true }); // the header of the mistake before
  const command = commands.find((c) => c.file.endsWith(`native/cuda/${source}`)).command.split(" ");
  const args = command.slice(command.findIndex((a) => /(^|\/)(c\+\+|g\+\+|clang\+\+)[^/]*$/.test(a)) + 1);
  const changed = join(work, file === source ? source : "include/cuda", file === source ? "" : file);
  if (file !== source) spawnSync("mkdir", ["-p", join(work, "include", "cuda")]);
  writeFileSync(changed, text);
  const object = join(work, "mutant.o");
  const own = args.map((a, i) =>
    args[i - 1] === "-o" || args[i - 1] === "-MF" ? (a.endsWith(".d") ? `${object}.d` : object) : a,
  );
  const input = file === source ? changed : join(root, "native", "cuda", source);
  const compile = run(process.env.CXX ?? "c++", [
    ...["-I", join(work, "include")],
    ...own.map((a) => (a.endsWith(`native/cuda/${source}`) ? input : a)).map((a) => (a === "-O3" ? "-O1" : a)),
  ]);
  if (compile.status !== 0) throw new Error(compile.stderr);
  const program = join(work, "mutant");
  const others = objects.filter((o) => !o.endsWith(`native/cuda/${source}.o`));
  const link = run(process.env.CXX ?? "c++", ["-o", program, driver, object, ...others, "-pthread"]);
  if (link.status !== 0) throw new Error(link.stderr);
  return program;
}

const pattern = new RegExp(process.argv[2] ?? "");
const chosen = mutants.filter(([name]) => pattern.test(name));
let survived = 0;
// The same build without a mistake must pass, or a mistake's being noticed would say nothing.
const places = new Map(chosen.map(([, file, , , named]) => [`${file} ${named}`, [file, ...placeOf(file, named)]]));
for (const [file, source, beginning] of places.values()) {
  const text = readFileSync(join(root, "native", "cuda", file), "utf8");
  const { status, stdout } = run(linkMutant(source, file, text), [beginning]);
  if (status === 0) continue;
  console.error(`CONTROL   ${file} fails as it is: ${stdout.split("\n")[0]}`);
  survived += 1;
}
for (const [name, file, from, to, named] of chosen) {
  const original = readFileSync(join(root, "native", "cuda", file), "utf8");
  if (!original.includes(from)) {
    console.error(`STALE     ${name}: ${file} has no such lines any more`);
    survived += 1;
    continue;
  }
  const mutant = original.replace(from, () => to);
  const [source, beginning] = placeOf(file, named);
  const { status, stdout, signal } = run(linkMutant(source, file, mutant), [beginning]);
  const noticed = status !== 0; // also by a signal: a write to nowhere
  if (!noticed) survived += 1;
  const how = stdout.split("\n")[0].replace(/^FAILED /, "");
  console.log(
    `${noticed ? "noticed  " : "SURVIVED "} ${name}${noticed ? `: ${(how || signal).slice(0, 150)}` : ` (${signal ?? status})`}`,
  );
}
rmSync(work, { recursive: true });
console.log(`${chosen.length - survived} of ${chosen.length} planted mistakes noticed`);
process.exit(survived ? 1 : 0);
