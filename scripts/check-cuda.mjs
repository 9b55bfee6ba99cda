// Compiles every CUDA kernel for all architectures of the prebuilds and checks the machine code. Needs nvcc, but no GPU.
//
//   npm run check:cuda [-- FILE ...]
//
// It fails for each of these problems:
// - a warning, a register spilled to memory beyond `spillAllowance`, or a stack frame without spills;
// - a note of ptxas that it serializes wgmma instructions (C75xx; ptxas reports it as "info");
// - a tensor-core instruction, an asynchronous copy or a griddepcontrol.wait that is in a kernel's PTX but not in its machine code;
// - an access of global memory before griddepcontrol.wait, or a load that it does not order;
// - a kernel of `tensorKernels` without tensor-core instructions, or of `warpgroupKernels` without one of `warpgroupInstructions`;
// - a case of scripts/cuda-forecast.mjs whose kernels or loops are not in the machine code;
// - an addon larger than 12 MB.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import {
  accessesBeforeWait,
  countInstructions,
  instructions,
  plainName,
  sectionsOf,
  unorderedLoads,
  writtenInstructions,
} from "./cuda/binaries.mjs";
import { cards } from "./cuda/cards.mjs";
import { compiler } from "./cuda/compile.mjs";
import { forecast } from "./cuda/forecast.mjs";
import { CUDA_ARCHITECTURES } from "./platforms/targets.mjs";
import { root } from "./testing.mjs";

const nvcc = process.env.NVCC ?? "nvcc";
if (spawnSync(nvcc, ["--version"], { stdio: "ignore" }).status !== 0) {
  console.warn("check:cuda: NOT RUN, nvcc is not on PATH");
  process.exit(0);
}

const fatbinary = nvcc.includes("/") ? join(dirname(nvcc), "fatbinary") : "fatbinary"; // a tool of the CUDA toolkit

/** Plain names of kernels that must use tensor cores. */
const tensorKernels = /^tensor_\w*kernel$/;
/** Plain names of kernels for sm_90a, which are empty on other architectures. Each must contain `warpgroupInstructions`, and copy by TMA or cp.async. */
const warpgroupKernels = /^tensor_warpgroup_\w*kernel$/;
const warpgroupInstructions = ["mbarrier.wait", "mbarrier.arrive", "setmaxnreg"];
/** Plain names of kernels for 8-bit floats with mma.sync, which are empty on architectures without this instruction. */
const e4m3Kernels = /^tensor_e4m3_\w*kernel$/;
/**
 * Parts of the mangled names of kernels that are empty, by architecture. Devices of 12.0 lack the shared memory for wide tiles, and those of
 * 9.0 use wgmma instead (is_used in gemm_multistage.cuh). The latter also use wgmma for long segments over the cache (is_used in
 * cached_attention_prefill.cu).
 */
const longSegments = [64, 128].map((width) => `11PrefillPlanINS0_4Bf16ELi1ELi${width}E`);
const wideTiles = "4TileILi128ELi256E";
const unused = { "90a": [...longSegments, wideTiles], 120: [wideTiles] };
/** The most instructions of an empty kernel. */
const EMPTY = 48;
const productOf = (kernel) => (/fp8/.test(kernel) ? "wgmma.e4m3" : "wgmma");
/**
 * Exact numbers of instructions in the attention gradients of sm_90a, by a part of the kernel's mangled name. A wgmma instruction sums over 16
 * elements. `wgmma` has both operands in shared memory: S' and dP' sum over the width, and dq over 128 keys. `wgmma.left` has the left operand
 * in registers: dv and dk sum over 64 queries. At width 64 the warpgroups take turns at dq, so the code contains dk twice.
 */
const attentionCounts = [64, 96, 128].map((width) => ({
  architectures: ["90a"],
  kernel: `tensor_warpgroup_attention_gradient_kernelINS0_8gradient4PlanILi${width}E`,
  source: "attention_backward_sm90.cu",
  wgmma: (2 * width) / 16 + 128 / 16,
  "wgmma.left": ((width > 64 ? 2 : 3) * 64) / 16,
  "bulk.add": 1,
}));
/**
 * Exact numbers of instructions in the forward pass of attention on sm_90a, over whole sequences and over the cache. The code has the first
 * and the last product of a block before and after the loop. S sums over the width, and O over 128 keys, or 64 for heads of 256.
 */
const forwardCounts = [
  ...[64, 96, 128, 256].map((width) => ({ kernel: "attention_kernel", source: "attention_sm90.cu", width })),
  ...[64, 128].map((width) => ({ kernel: "prefill_kernel", source: "cached_attention_sm90.cu", width })),
].map(({ kernel, source, width }) => ({
  architectures: ["90a"],
  kernel: `tensor_warpgroup_${kernel}INS0_7forward4TileILi${width}E`,
  source,
  wgmma: (2 * width) / 16,
  "wgmma.left": 16,
}));
/**
 * Exact numbers of instructions in the expert products. A warp multiplies 64 x 32 elements of a large tile, and 32 x 32 of a small one. mma.sync
 * has 16 x 8 elements, and a stage has four times 16 elements along k. ldmatrix loads 16 x 16 elements of one operand.
 */
const expertCounts = ["tensor_experts_kernel", "tensor_experts_gradient_kernel"].flatMap((name) =>
  [
    { tile: "128ELi128", rows: 4 },
    { tile: "64ELi64", rows: 2 },
  ].map(({ tile, rows }) => ({
    architectures: ["80", "90a"],
    kernel: `${name}INS0_10multistage4TileILi${tile}E`,
    source: "experts_tensor.cu",
    mma: 4 * rows * 4,
    ldmatrix: 4 * (rows + 2),
  })),
);
/** Exact numbers of TMA stores: one for each 64 columns of a tile. */
const storedCounts = [128, 256].flatMap((width) =>
  [
    { kernel: `StoredTileINS3_6PairedINS3_8RingTileILi${width}E`, source: "gemm_sm90.cu" },
    { kernel: `StoredTileINS4_8RingTileILi${width}E`, source: "logits_sm90.cu" },
  ].map((place) => ({ architectures: ["90a"], ...place, "tma.store": width / 64 })),
);
const productCounts = [...attentionCounts, ...forwardCounts, ...expertCounts, ...storedCounts];
const countsOf = (architecture) => productCounts.filter(({ architectures }) => architectures.includes(architecture));
/** Bytes that a file's kernels may spill, by architecture. Default 0. The kernels were tuned for sm_80 and sm_90a. */
const spillAllowance = {
  "attention_backward.cu": { 100: 664, 120: 664 },
  "attention_tensor_backward.cu": { 100: 28 },
  "cache.cu": { 100: 8, 120: 8 },
  "fp8_linear.cu": { 120: 8 },
  "gemm.cu": { 100: 8, 120: 4 },
  "gemm_int8.cu": { 120: 8 },
};
const MAX_BYTES = 12e6;

const architectures = CUDA_ARCHITECTURES.split(";").map((a) => a.replace("-real", ""));
// For sm_89, only the files of `sm89_sources` are shipped.
const cmake = readFileSync(join(root, "CMakeLists.txt"), "utf8");
const shippedFor89 = /set\(sm89_sources ([^)]+)\)/.exec(cmake)[1].split(" ");
const shipped = (source) => architectures.filter((a) => a !== "89" || shippedFor89.includes(source));
const folder = join(root, "native", "cuda");
const asked = process.argv.slice(2).map((file) => basename(file));
const paths = new Map(readdirSync(folder, { recursive: true }).map((path) => [basename(path), join(folder, path)]));
const sources = [...paths.keys()].filter((f) => f.endsWith(".cu") && (asked.length === 0 || asked.includes(f)));
const unknown = asked.filter((file) => !sources.includes(file));
if (unknown.length > 0) {
  console.error(`check:cuda: expected names of CUDA files, got ${unknown.join(", ")}`);
  process.exit(2);
}
const out = mkdtempSync(join(tmpdir(), "heddle-check-cuda-"));

function compile(source) {
  const keep = join(out, source);
  mkdirSync(keep);
  const args = [
    ...["-c", "-std=c++17", "-O3", `-I${join(root, "native")}`, "-o", join(keep, "object.o"), paths.get(source)],
    ...architectures.flatMap((a) => ["-gencode", `arch=compute_${a},code=sm_${a}`]),
    ...["--compress-mode=size", "--keep", "--keep-dir", keep],
    ...["-Werror", "all-warnings", "-Xptxas=-v"],
  ];
  return new Promise((done) => {
    const child = spawn(nvcc, args, { stdio: ["ignore", "ignore", "pipe"] });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text) => {
      stderr += text;
    });
    child.on("error", (error) => done({ status: 1, stderr: error.message }));
    child.on("close", (status) => done({ status, stderr }));
  });
}

/**
 * Returns the compressed size of a source's code for the architectures that are shipped. Packs the machine code that nvcc kept once for all
 * architectures and once for the shipped ones. The difference corrects the size in the object file.
 */
function shippedBytes(source) {
  const keep = join(out, source);
  const images = (list) =>
    list.map((a) => `--image3=kind=elf,sm=${a},file=${join(keep, `${basename(source, ".cu")}.compute_${a}.cubin`)}`);
  const container = (list) => {
    const file = join(keep, "again.fatbin");
    const made = spawnSync(fatbinary, ["-64", `--create=${file}`, "--compress-mode=size", ...images(list)]);
    if (made.status !== 0) throw new Error(`fatbinary: ${made.error?.message ?? made.stderr}`);
    return statSync(file).size;
  };
  const sections = sectionsOf(join(keep, "object.o")).filter(({ name }) => /fatbin/i.test(name));
  const all = sections.reduce((bytes, section) => bytes + section.bytes, 0);
  return all === 0 ? 0 : all - container(architectures) + container(shipped(source));
}

/** Returns the lines of ptxas's output about one architecture. */
function notesOf(stderr, architecture) {
  const notes = [];
  let own = false;
  for (const line of stderr.split("\n")) {
    const named = /for 'sm_(\w+)'/.exec(line);
    if (named) own = named[1] === architecture;
    if (own) notes.push(line);
  }
  return notes.join("\n");
}

/** Checks one source for one architecture. Returns its problems and a summary line. */
function judge(source, architecture, stderr) {
  const problems = [];
  const notes = notesOf(stderr, architecture);
  // ptxas prints a line of registers for each kernel and device function. Take the maximum.
  const most = (pattern) => Math.max(0, ...[...notes.matchAll(pattern)].map(([, n]) => Number(n)));
  const [registers, spilled] = [most(/Used (\d+) registers/g), most(/(\d+) bytes spill stores/g)];
  const frame = most(/(\d+) bytes stack frame/g);
  const allowed = spillAllowance[source]?.[architecture] ?? 0;
  if (spilled > allowed) problems.push(`spills ${spilled} bytes`);
  // Without spills, a stack frame holds an array that is indexed at run time, or a copy of the parameters.
  if (frame > 0 && allowed === 0) problems.push(`has a stack frame of ${frame} bytes`);
  const stem = join(out, source, `${basename(source, ".cu")}.compute_${architecture}`);
  const counted = existsSync(`${stem}.cubin`) ? countInstructions(`${stem}.cubin`) : new Map();
  const totals = Object.fromEntries(Object.keys(instructions).map((kind) => [kind, 0]));
  for (const [kernel, accesses] of existsSync(`${stem}.cubin`) ? accessesBeforeWait(`${stem}.cubin`) : [])
    if (accesses.length > 0)
      problems.push(`${plainName(kernel)}: expected no access of global memory before grid.wait, got ${accesses}`);
  for (const kernel of unorderedLoads(`${stem}.ptx`))
    problems.push(`${plainName(kernel)}: expected no ld.global.nc in a kernel with grid.wait`);
  for (const [kernel, written] of writtenInstructions(`${stem}.ptx`)) {
    const found = counted.get(kernel);
    const name = plainName(kernel);
    if (!found) problems.push(`${name}: expected machine code, got none`);
    for (const kind of found ? Object.keys(instructions) : []) {
      totals[kind] += found[kind];
      if (written[kind] > 0 && found[kind] === 0)
        problems.push(`${name}: expected ${kind}, which its PTX has ${written[kind]} times, got none`);
    }
    if (found && unused[architecture]?.some((part) => kernel.includes(part))) {
      if (found.all > EMPTY) problems.push(`${name}: expected an empty kernel, got ${found.all} instructions`);
      continue;
    }
    const exact = countsOf(architecture).find((counts) => kernel.includes(counts.kernel));
    for (const kind of exact ? Object.keys(exact).filter((key) => key in instructions) : [])
      if (found?.[kind] !== exact[kind])
        problems.push(`${name}: expected ${exact[kind]} ${kind}, got ${found?.[kind]}`);
    if (found && warpgroupKernels.test(name)) {
      if (architecture === "90a")
        for (const kinds of [["tma", "cp.async"], [productOf(name)], ...warpgroupInstructions.map((kind) => [kind])])
          if (kinds.every((kind) => found[kind] === 0))
            problems.push(`${name}: expected ${kinds.join(" or ")}, got none`);
    } else if (found && e4m3Kernels.test(name)) {
      if (["89", "120"].includes(architecture) && found["mma.e4m3"] === 0)
        problems.push(`${name}: expected mma.e4m3, got none`);
    } else if (found && tensorKernels.test(name) && found.mma + found["mma.tf32"] + found["mma.s8"] + found.wgmma === 0)
      problems.push(`${name}: expected instructions of tensor cores, got none`);
  }
  const expected = countsOf(architecture).filter((counts) => counts.source === source);
  for (const { kernel } of expected)
    if (![...counted.keys()].some((found) => found.includes(kernel)))
      problems.push(`${kernel}: expected a kernel of this name, got none`);
  if (totals["mma.e4m3"] > 0 && !shipped(source).includes(architecture))
    problems.push(
      `sm_${architecture}: expected ${source} in sm89_sources of CMakeLists.txt, because it has mma.e4m3 instructions`,
    );
  const special = Object.entries(totals)
    .filter(([, n]) => n > 0)
    .map(([kind, n]) => `${n} ${kind}`);
  const line = `${counted.size} kernels, at most ${registers} registers${spilled ? `, ${spilled} bytes spilled` : ""}${special.length ? `, ${special.join(", ")}` : ""}`;
  return { problems, line };
}

let failed = 0;
let fatbins = 0;
const queue = [...sources];
async function work() {
  for (let source = queue.shift(); source !== undefined; source = queue.shift()) {
    const { status, stderr } = await compile(source);
    const serialized = stderr.split("\n").filter((line) => /\(C75\d\d\)/.test(line));
    const warnings = stderr.split("\n").filter((line) => /warning|error/i.test(line));
    if (status !== 0 || serialized.length > 0) {
      failed += 1;
      console.error(
        `FAILED ${source}\n${[...new Set([...serialized, ...warnings])].join("\n") || stderr.slice(-2000)}`,
      );
      if (status !== 0) continue;
    }
    for (const architecture of architectures) {
      const { problems, line } = judge(source, architecture, stderr);
      console.log(`${problems.length ? "FAILED" : "ok    "} ${source.padEnd(24)} sm_${architecture.padEnd(4)} ${line}`);
      for (const problem of problems) console.error(`       ${problem}`);
      failed += problems.length > 0 ? 1 : 0;
    }
    fatbins += shippedBytes(source);
    rmSync(join(out, source), { recursive: true }); // the files that nvcc keeps are large
  }
}
await Promise.all(Array.from({ length: availableParallelism() }, work));
rmSync(out, { recursive: true });

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`;
console.log(
  `kernels of ${sources.length} files for ${architectures.length} architectures: ${megabytes(fatbins)} compressed`,
);
if (asked.length === 0) {
  const cubinPath = compiler();
  for (const card of Object.keys(cards)) {
    let problems;
    try {
      problems = forecast(card, cubinPath).results.flatMap(({ title, notes }) =>
        notes.map((note) => `${title}: ${note}`),
      );
    } catch (error) {
      problems = [error.message];
    }
    console.log(`${problems.length ? "FAILED" : "ok    "} forecast for ${cards[card].title}`);
    for (const problem of problems) console.error(`       ${problem}`);
    failed += problems.length > 0 ? 1 : 0;
  }
}
const addon = join(root, "build", "Release", "heddle.node");
if (asked.length === 0 && existsSync(addon)) {
  const kept = sectionsOf(addon).filter((s) => s.kept);
  const sum = (list) => list.reduce((n, s) => n + s.bytes, 0);
  const size = sum(kept.filter((s) => !/fatbin/i.test(s.name))) + fatbins;
  console.log(`the stripped addon with these kernels: ${megabytes(size)} of at most ${megabytes(MAX_BYTES)}`);
  if (size > MAX_BYTES) failed += 1;
} else if (asked.length === 0) console.warn("the addon's size: NOT CHECKED, build/Release/heddle.node is missing");
if (failed > 0) console.error(`check:cuda: ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
