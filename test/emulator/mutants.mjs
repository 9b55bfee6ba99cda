// Mutation tests of the CUDA kernels on the emulator. emulator_kernels of the race build must detect each mutation by a wrong result, a
// race or another error of the emulator. Needs .cmake/races, built with its tests (`npm run test:emulator` builds it).
//
// The script recompiles the mutated file with the build's options and links it with the rest of the build. Then it runs the cases of
// that file up to the first failure. The unmodified emulator_kernels is the control.
//
// A mutation is [name, file, text, replacement, source?, cases?]. `file` is the name of a file in native/cuda. The first occurrence of
// `text` in it is replaced. `source` is the file to compile, and `cases` is the prefix of the cases to run. The defaults are those of
// casesOf and headers.
//
//   node test/emulator/mutants.mjs [--checked] [PATTERN]     PATTERN selects mutations by name; --checked skips the control
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { root } from "../../scripts/testing.mjs";
import { attention } from "./mutants/attention.mjs";
import { clusters } from "./mutants/clusters.mjs";
import { decoded } from "./mutants/decoded.mjs";
import { epilogues } from "./mutants/epilogues.mjs";
import { fp8 } from "./mutants/fp8.mjs";
import { launches } from "./mutants/launches.mjs";
import { logits } from "./mutants/logits.mjs";
import { others } from "./mutants/others.mjs";
import { products } from "./mutants/products.mjs";
import { prompts } from "./mutants/prompts.mjs";
import { warpgroupAttention } from "./mutants/warpgroup-attention.mjs";
import { warpgroupGradients } from "./mutants/warpgroup-gradients.mjs";
import { warpgroupPrompts } from "./mutants/warpgroup-prompts.mjs";
import { warpgroups } from "./mutants/warpgroups.mjs";

const mutants = [
  ...[...products, ...decoded, ...attention, ...prompts, ...fp8, ...epilogues, ...launches, ...logits, ...others],
  ...[...warpgroups, ...clusters, ...warpgroupAttention, ...warpgroupPrompts, ...warpgroupGradients],
];

// For each source file, the prefix of the cases that run its kernels (kernels.cc).
const casesOf = {
  "gemm.cu": "linear f32",
  "gemm_tensor.cu": "linear bf16",
  "gemm_tf32.cu": "tf32:",
  "gemm_sm90.cu": "sm_90:",
  "gemm_fp8_sm90.cu": "sm_90 fp8",
  "gemm_fp8_tensor.cu": "sm_89 fp8",
  "fp8_linear.cu": "fp8",
  "fp8_product.cu": "sm_89 fp8, rounded",
  "tensor_map.cu": "sm_90:",
  "attention_sm90.cu": "sm_90 attention",
  "attention_backward_sm90.cu": "sm_90 gradients",
  "norm.cu": "norms",
  "norm_backward.cu": "norms",
  "attention.cu": "attention",
  "attention_tensor.cu": "attention bf16",
  "attention_tensor_backward.cu": "attention bf16",
  "attention_backward.cu": "attention",
  "cache.cu": "cached attention",
  "cached_attention_tensor.cu": "cached tensor",
  "cached_attention_prefill.cu": "cached prompts",
  "cached_attention_sm90.cu": "sm_90 prompts",
  "rows.cu": "rows",
  "add_rows.cu": "summed rows",
  "rope.cu": "rows",
  "stored_logits.cu": "rows",
  "gradient_products.cu": "rows",
  "token_logprob.cu": "logits:",
  "combine_parts.cu": "logits:",
  "logits_tensor.cu": "logits:",
  "logits_sm90.cu": "sm_90 logits",
  "sample.cu": "sampling",
  "sample_draw.cu": "sampling",
  "gemm_int8.cu": "quantized",
  "gemm_decoded.cu": "decoded",
  "experts.cu": "experts",
  "experts_tensor.cu": "experts bf16",
  "routing.cu": "experts",
};
// For each header, a source file that includes it, and the prefix of the cases to run.
const headers = {
  "attention_tile.cuh": ["attention_tensor.cu", "attention bf16"],
  "attention_sm90.cuh": ["attention_sm90.cu", "sm_90 attention"],
  "cache.cuh": ["cache.cu", "cached attention"],
  "cached_attention_tensor.cuh": ["cached_attention_tensor.cu", "cached tensor"],
  "attention_backward_sm90.cuh": ["attention_backward_sm90.cu", "sm_90 gradients"],
  "math.cuh": ["norm.cu", "norms"],
  "columns.cuh": ["norm_backward.cu", "norms"],
  "sample.cuh": ["sample_draw.cu", "sampling"],
  "gemm_tile.cuh": ["gemm.cu", "linear f32"],
  "sm90_tiles.cuh": ["gemm_sm90.cu", "sm_90:"],
  "fp8.cuh": ["fp8_linear.cu", "fp8"],
  "decoded_gemm.cuh": ["gemm_decoded.cu", "decoded"],
  "gemm.cuh": ["gemm.cu", "linear f32"],
  "gemm_sm90.cuh": ["gemm_sm90.cu", "sm_90:"],
  "gemm_sm90_loop.cuh": ["gemm_sm90.cu", "sm_90:"],
  "gemm_end.cuh": ["gemm_tensor.cu", "epilogue bf16"],
  "gemm_multistage.cuh": ["gemm_tensor.cu", "linear bf16"],
  "tensor_tile.cuh": ["gemm_tensor.cu", "linear bf16"],
  "softmax_part.cuh": ["logits_tensor.cu", "logits:"],
  "logit_gradient.cuh": ["logits_tensor.cu", "logits:"],
  "quant.cuh": ["gemm.cu", "quantized"],
  "int8_rows.cuh": ["gemm_int8.cu", "quantized"],
};
/** Returns the file to compile and the prefix of the cases to run. `named` and `cases` are those of the mutation, if any. */
const placeOf = (file, named, cases) =>
  named ? [named, cases ?? casesOf[named]] : (headers[file] ?? [file, casesOf[file]]);

const build = join(root, ".cmake", "races");
const database = join(build, "compile_commands.json");
if (!existsSync(database)) {
  console.error("mutants: build first with `node scripts/build-addon.mjs --races -D HEDDLE_TESTS=ON`");
  process.exit(1);
}
const commands = JSON.parse(readFileSync(database, "utf8"));
// A build folder may also hold objects of files that were moved.
const objects = commands
  .map(({ directory, output }) => join(directory, output))
  .filter((path) => path.includes(join("CMakeFiles", "heddle_core.dir")));
const driver = join(build, "CMakeFiles", "emulator_kernels.dir", "test", "emulator", "kernels.cc.o");
const compiler = process.env.CXX ?? "c++";

/** Runs a program to completion. */
function run(program, args) {
  return new Promise((done) => {
    const child = spawn(program, args, { timeout: 1_200_000 });
    const output = { stdout: "", stderr: "" };
    for (const stream of ["stdout", "stderr"])
      child[stream].setEncoding("utf8").on("data", (text) => {
        output[stream] += text;
      });
    child.on("error", (error) => done({ ...output, status: 1, stderr: error.message }));
    child.on("close", (status, signal) => done({ ...output, status, signal }));
  });
}

/** The paths of the files of native/cuda, relative to native/, by name. Names are unique. */
const paths = new Map(
  readdirSync(join(root, "native", "cuda"), { recursive: true }).map((path) => [basename(path), `cuda/${path}`]),
);
const pathOf = (file) => `native/${paths.get(file)}`;

/** Compiles `source` with `text` as the content of `file`, and links emulator_kernels with it. Returns the program, which is in `work`. */
async function linkMutant(work, source, file, text) {
  rmSync(join(work, "include"), { recursive: true, force: true }); // removes the header of the previous mutation
  const command = commands.find((c) => c.file.endsWith(pathOf(source))).command.split(" ");
  const args = command.slice(command.findIndex((a) => /(^|\/)(c\+\+|g\+\+|clang\+\+)[^/]*$/.test(a)) + 1);
  const changed = join(work, file === source ? source : join("include", paths.get(file)));
  mkdirSync(dirname(changed), { recursive: true });
  writeFileSync(changed, text);
  const object = join(work, "mutant.o");
  const own = args.map((a, i) =>
    args[i - 1] === "-o" || args[i - 1] === "-MF" ? (a.endsWith(".d") ? `${object}.d` : object) : a,
  );
  const input = file === source ? changed : join(root, pathOf(source));
  const compile = await run(compiler, [
    ...["-I", join(work, "include")],
    ...own.map((a) => (a.endsWith(pathOf(source)) ? input : a)),
  ]);
  if (compile.status !== 0) throw new Error(compile.stderr || `the compiler ended with ${compile.signal}`);
  const program = join(work, "mutant");
  const others = objects.filter((o) => !o.endsWith(`${pathOf(source)}.o`));
  const link = await run(compiler, ["-o", program, driver, object, ...others, "-pthread"]);
  if (link.status !== 0) throw new Error(link.stderr);
  return program;
}

const asked = process.argv.slice(2);
const pattern = new RegExp(asked.find((argument) => argument !== "--checked") ?? "");
const chosen = mutants.filter(([name]) => pattern.test(name));
if (chosen.length === 0) {
  console.error(`mutants: expected a pattern that matches a mutation, got ${pattern}`);
  process.exit(1);
}
const textOf = (file) => readFileSync(join(root, pathOf(file)), "utf8");
let survived = 0;
let failedControls = 0;

/** Prefixes of the cases of the chosen mutations. They must pass without a mutation. */
const controls = new Set(
  asked.includes("--checked") ? [] : chosen.map(([, file, , , named, cases]) => placeOf(file, named, cases)[1]),
);
async function control(beginning) {
  const { status, stdout } = await run(join(build, "emulator_kernels"), [beginning, "first"]);
  if (status === 0) return;
  console.error(`CONTROL   ${beginning} fails without a mutation: ${stdout.split("\n")[0]}`);
  failedControls += 1;
}

/** Runs one mutation, and prints whether it was detected. */
async function plant(work, name, file, from, to, named, cases) {
  if (!textOf(file).includes(from)) {
    console.error(`STALE     ${name}: ${file} does not contain the text to replace`);
    survived += 1;
    return;
  }
  const [source, beginning] = placeOf(file, named, cases);
  const program = await linkMutant(
    work,
    source,
    file,
    textOf(file).replace(from, () => to),
  );
  const { status, stdout, signal } = await run(program, [beginning, "first"]);
  const noticed = status !== 0 && signal !== "SIGTERM"; // a crash counts as detected, a timeout does not
  if (!noticed) survived += 1;
  const how = stdout.split("\n")[0].replace(/^FAILED /, "");
  console.log(
    `${noticed ? "detected " : "SURVIVED "} ${name}${noticed ? `: ${(how || signal).slice(0, 150)}` : ` (${signal ?? status})`}`,
  );
}

const tasks = [
  ...[...controls].map((beginning) => () => control(beginning)),
  ...chosen.map((mutant) => (work) => plant(work, ...mutant)),
];
await Promise.all(
  Array.from({ length: availableParallelism() }, async () => {
    const work = mkdtempSync(join(tmpdir(), "heddle-mutants-"));
    for (let task = tasks.shift(); task; task = tasks.shift()) await task(work);
    rmSync(work, { recursive: true });
  }),
);
console.log(`${chosen.length - survived} of ${chosen.length} mutations detected`);
process.exit(survived + failedControls > 0 ? 1 : 0);
