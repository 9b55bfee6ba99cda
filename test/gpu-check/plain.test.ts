// scripts/gpu-check.sh on fake machines without Node: what it builds, its table and its exit code, and the sentence for each machine that cannot
// run it.
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { FakeMachine } from "./fake-machine.ts";

const machines: FakeMachine[] = [];
afterEach(() => {
  for (const { root } of machines.splice(0)) rmSync(root, { recursive: true, force: true });
});
function machine(...cards: string[]): FakeMachine {
  const one = cards.length > 0 ? new FakeMachine(cards) : new FakeMachine();
  machines.push(one);
  return one;
}
const MEASURED = [
  '{"name":"gemm bf16 4096x4096x4096 NT","unit":"GFLOP/s","value":601234}',
  '{"name":"gemv bf16 4096x4096","unit":"GB/s","value":912.5}',
];
const bench = { FAKE_bench: `printf '%s\\n' '${MEASURED.join("' '")}'` };
/** The status of each step in the summary. */
function statuses(one: FakeMachine): Record<string, string> {
  const { steps } = JSON.parse(one.file("summary.json")) as {
    steps: { phase: string; name: string; status: string }[];
  };
  return Object.fromEntries(steps.map(({ phase, name, status }) => [`${phase} ${name}`, status]));
}

test("without Node, nvcc builds the programs, and both phases run and are summarized", () => {
  const one = machine();
  const { status, stdout, stderr } = one.check([], bench);
  expect(stderr).toBe("gpu-check: node is not on PATH, so only what needs neither Node nor CMake is run\n");
  expect(status).toBe(0);
  expect(statuses(one)).toEqual({
    "correctness build": "passed",
    "correctness fragments": "passed",
    "correctness kernels": "passed",
    "correctness memcheck": "passed",
    "correctness racecheck": "passed",
    "bench build": "passed",
    "bench bench": "passed",
  });
  const table = one.file("summary.txt");
  expect(stdout.endsWith(table)).toBe(true);
  expect(table).toContain("RTX 5090, compute capability 12.0, driver 570.86.10, CUDA 12.8, commit abc1234\n");
  expect(table).toMatch(/^gemm bf16 4096x4096x4096 NT +601\.2 TFLOP\/s$/m);
  expect(table).toMatch(/^gemv bf16 4096x4096 +912\.5 GB\/s$/m);
  for (const line of table.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
  expect(table.split("\n").length).toBeLessThanOrEqual(50);
  const results = one.files().find((name) => name.endsWith("-rtx-5090.jsonl"))!;
  const [first, ...lines] = one.file(results).trim().split("\n");
  expect(JSON.parse(first!).machine).toMatchObject({
    gpu: "NVIDIA GeForce RTX 5090",
    driver: "570.86.10",
    cuda: "12.8",
    commit: "abc1234",
  });
  expect(lines).toEqual(MEASURED);
});

test.each([
  ["an old Node", { node: "18.19.1" }, false, "node 18.19.1 is older than 20"],
  ["no packages", { node: "20.20.2" }, false, "node_modules is missing"],
  ["no CMake", { node: "20.20.2" }, true, "cmake is not on PATH"],
  ["an old CMake", { node: "20.20.2", cmake: "3.18.4" }, true, "cmake 3.18.4 is older than 3.22"],
  ["neither ninja nor make", { node: "20.20.2", cmake: "3.25.1" }, true, "neither ninja nor make is on PATH"],
] as [string, { node: string; cmake?: string }, boolean, string][])(
  "a machine with %s runs what needs neither Node nor CMake",
  (_, { node, cmake }, packages, reason) => {
    const one = machine();
    withNode(one, node, cmake);
    if (packages) mkdirSync(join(one.root, "node_modules"));
    const { status, stderr } = one.check(["correctness", "--only", "build"]);
    expect(stderr).toBe(`gpu-check: ${reason}, so only what needs neither Node nor CMake is run\n`);
    expect(status).toBe(0);
  },
);

/** Adds a Node that prints a program's name instead of running it, and CMake if `cmake` is given. */
function withNode(one: FakeMachine, node: string, cmake?: string): void {
  const version = `case $2 in *split*) echo ${node.split(".")[0]} ;; *) echo ${node} ;; esac`;
  one.tool("node", `#!/bin/bash\nif [ "$1" = -p ]; then ${version}; else echo "runs $(basename "$1")"; fi\n`);
  if (cmake) one.tool("cmake", `#!/bin/bash\necho "cmake version ${cmake}"\n`);
}

test.each([
  ["make on PATH", (one: FakeMachine) => one.tool("make", "#!/bin/bash\n")],
  ["ninja on PATH", (one: FakeMachine) => one.tool("ninja", "#!/bin/bash\n")],
  ["ninja from npm", (one: FakeMachine) => withPackages(one, "ninja")],
])("a machine with Node, CMake and %s runs all steps", (_, prepare) => {
  const one = machine();
  withNode(one, "20.20.2", "3.25.1");
  mkdirSync(join(one.root, "node_modules"));
  prepare(one);
  expect(one.check()).toEqual({ status: 0, stdout: "runs main.mjs\n", stderr: "" });
});

test("CMake from npm counts only if its package is installed", () => {
  const one = machine();
  withNode(one, "20.20.2");
  mkdirSync(join(one.root, "node_modules"));
  withPackages(one, "ninja");
  expect(one.check(["--only", "build"]).stderr).toMatch(/^gpu-check: cmake is not on PATH, so /);
  withPackages(one, "cmake");
  expect(one.check().stdout).toBe("runs main.mjs\n");
});

/** Adds a tool of the build as build-tools.mjs installs it from npm. */
function withPackages(one: FakeMachine, tool: string): void {
  const folder = join(one.root, ".cmake", "tools", "node_modules", `${tool}-runtime-linux-x64`, "bin");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, tool), "");
}

test.each([
  ["8.0", "arch=compute_80,code=sm_80"],
  ["8.6", "arch=compute_86,code=sm_86"],
  ["8.9", "arch=compute_89,code=sm_89"],
  ["9.0", "arch=compute_90a,code=sm_90a"],
  ["12.0", "arch=compute_120,code=sm_120"],
])(
  "compiles CUDA sources for a card of compute capability %s, and leaves out other systems' sources",
  (capability, code) => {
    const one = machine(`${capability}, 570.86.10, A card`);
    expect(one.check(["correctness", "--only", "build"]).status).toBe(0);
    const compiled = one.compiled();
    const options = compiled.filter((line) => line.endsWith(" native/cuda/g.cu"));
    expect(options).toHaveLength(1);
    expect(options[0]).toContain(`-gencode ${code} `);
    expect(compiled[0]).toMatch(/empty\.cu$/);
    expect(compiled[0]).toContain(`-gencode ${code} `);
    expect(compiled.some((line) => line.endsWith("platform/linux/b.cc"))).toBe(true);
    expect(compiled.some((line) => line.endsWith("platform/darwin/c.cc"))).toBe(false);
  },
);

test("a build that finds no sources fails", () => {
  const one = machine();
  rmSync(join(one.bin, "find"));
  expect(one.check(["correctness", "--only", "build"]).status).toBe(1);
  expect(one.file("correctness.log")).toContain("expected sources below native, found none");
});

test("a second call compiles nothing, unless a source has changed", () => {
  const one = machine();
  one.check(["correctness", "--only", "build"]);
  const calls = one.compiled().length;
  one.check(["bench", "--only", "build"]);
  expect(one.compiled().length).toBe(calls + 1); // the call that checks the compiler
  writeFileSync(join(one.root, "native", "cuda", "g.cu"), "changed");
  one.check(["bench", "--only", "build"]);
  expect(one.compiled().length).toBeGreaterThan(calls + 5);
});

test("a second call with the other phase keeps the first one's results, and has its own exit code", () => {
  const one = machine();
  expect(one.check(["correctness", "--only", "build,fragments"], { FAKE_fragments: "exit 1" }).status).toBe(1);
  const { status, stdout } = one.check(["bench"], bench);
  expect(status).toBe(0);
  expect(statuses(one)).toEqual({
    "correctness build": "passed",
    "correctness fragments": "failed",
    "bench build": "passed",
    "bench bench": "passed",
  });
  expect(stdout).toContain("correctness: 1 passed, 1 failed, 0 skipped, 0 no time\n");
  // Nothing is kept from another commit, and no figures from a benchmark that failed.
  one.check(["bench"], { FAKE_bench: "exit 1", HEDDLE_COMMIT: "def5678" });
  expect(statuses(one)).toEqual({ "bench build": "passed", "bench bench": "failed" });
  expect(one.file("summary.txt")).not.toContain("measured");
});

test("a failed program fails the check, and what needs it is skipped", () => {
  const one = machine();
  const { status } = one.check(["correctness"], { FAKE_kernels: "echo 'FAILED norms: error 1'; exit 1" });
  expect(status).toBe(1);
  expect(statuses(one)).toMatchObject({
    "correctness fragments": "passed",
    "correctness kernels": "failed",
    "correctness racecheck": "skipped",
  });
  expect(one.file("summary.txt")).toMatch(/failed +kernels \d+ s: ended with exit status 1; FAILED norms: error 1/);
  expect(one.file("correctness.log")).toContain("FAILED norms: error 1");
});

test.each([
  [
    "a finding",
    "echo '========= Invalid __global__ read'; echo '========= ERROR SUMMARY: 3 errors'; exit 9",
    1,
    "3 findings",
  ],
  [
    "a hazard with exit status 0",
    "echo '========= RACECHECK SUMMARY: 2 hazards displayed (2 errors, 0 warnings)'",
    1,
    "2 findings",
  ],
  [
    "a card that it does not know",
    "echo '========= Error: device not supported'; exit 1",
    3,
    "compute-sanitizer does not work here (exit status 1)",
  ],
])("the summary and the exit code report what compute-sanitizer finds: %s", (_, script, code, why) => {
  const one = machine();
  const { status } = one.check(["correctness", "--only", "memcheck"], { FAKE_SANITIZER: script });
  expect(status).toBe(code);
  expect(one.file("summary.txt").replace(/ \d+ s: /, ": ")).toContain(`memcheck: ${why}\n`);
});

test("a check without compute-sanitizer ends with the exit code of skipped steps", () => {
  const one = machine();
  rmSync(join(one.bin, "compute-sanitizer"));
  expect(one.check(["correctness"]).status).toBe(3);
  expect(one.file("summary.txt")).toContain("3 passed, 0 failed, 2 skipped, 0 no time");
});

test("steps for which the time does not suffice are listed, and the exit code is 4", () => {
  const one = machine();
  const { status } = one.check(["correctness", "--seconds", "16"], { FAKE_fragments: "sleep 5" });
  expect(status).toBe(4);
  expect(statuses(one)).toEqual({
    "correctness build": "passed",
    "correctness fragments": "passed",
    "correctness kernels": "passed",
    "correctness memcheck": "no time",
    "correctness racecheck": "no time",
  });
  const cut = machine();
  expect(
    cut.check(["correctness", "--seconds", "15", "--only", "build,kernels"], { FAKE_kernels: "sleep 60" }).status,
  ).toBe(4);
  expect(cut.file("summary.txt")).toMatch(/no time +kernels \d+ s: still running after/);
});

test("a step is given up and fails if SIGKILL does not end its process", () => {
  const one = machine();
  expect(one.check(["correctness", "--only", "build"]).status).toBe(0);
  // This `timeout` waits, like the real one, for a process that SIGKILL does not end.
  rmSync(join(one.bin, "timeout"));
  one.tool(
    "timeout",
    '#!/bin/bash\ncase "$*" in "-k 2 "*/kernels) exec sleep 60 ;; esac\nexec /usr/bin/timeout "$@"\n',
  );
  const { status } = one.check(["correctness", "--seconds", "12", "--only", "kernels,memcheck"]);
  expect(status).toBe(1);
  expect(one.file("summary.txt")).toMatch(
    / failed {3}kernels \d+ s: does not end after SIGKILL: it may wait in the driver\n/,
  );
  expect(statuses(one)).toMatchObject({ "correctness memcheck": "skipped" });
});

type Preparation = (one: FakeMachine) => Record<string, string>;
const without =
  (name: string): Preparation =>
  (one) => {
    rmSync(join(one.bin, name));
    return {};
  };
const withTool =
  (name: string, script: string): Preparation =>
  (one) => {
    rmSync(join(one.bin, name));
    one.tool(name, `#!/bin/bash\n${script}\n`);
    return {};
  };

test("a build that runs out of time has the status 'no time', and the next call continues it", () => {
  const one = machine();
  const first = one.check(["correctness", "--seconds", "16"], { FAKE_NVCC_SLEEP: "4", HEDDLE_BUILD_JOBS: "1" });
  expect(first.status).toBe(4);
  expect(new Set(Object.values(statuses(one)))).toEqual(new Set(["no time"]));
  const before = one
    .compiled()
    .filter((line) => line.includes(" -c "))
    .map((line) => line.split(" ").at(-1));
  expect(one.check(["correctness", "--only", "build"]).status).toBe(0);
  const compiled = one
    .compiled()
    .filter((line) => line.includes(" -c "))
    .map((line) => line.split(" ").at(-1));
  // Only the source whose compilation was cut short is compiled twice.
  expect(compiled.length - new Set(compiled).size).toBeLessThanOrEqual(1);
  expect(before.length).toBeGreaterThan(1);
  expect(compiled.length).toBeGreaterThan(before.length);
});

test.each<[string, Preparation, string | RegExp]>([
  [
    "an old nvcc",
    () => ({ FAKE_CUDA: "12.4" }),
    "nvcc of CUDA 12.4 has no code for compute capability 12.0 (NVIDIA GeForce RTX 5090): install CUDA 12.8 or newer",
  ],
  [
    "a CUDA release that is too old for the kernels",
    () => ({ FAKE_CUDA: "12.4", FAKE_CAPABILITY: "9.0" }),
    "nvcc is from CUDA 12.4, but the kernels need CUDA 12.5 or newer",
  ],
  [
    "an old driver",
    () => ({ FAKE_DRIVER_CUDA: "11.8" }),
    "driver 570.86.10 supports CUDA 11.8, but nvcc is from CUDA 12.8: install a newer driver, or CUDA 11",
  ],
  [
    "a compiler that nvcc rejects",
    () => ({ FAKE_NVCC_ERROR: "host_config.h: error: unsupported GNU version!" }),
    "nvcc of CUDA 12.8 cannot compile with g++: host_config.h: error: unsupported GNU version!",
  ],
  ["no nvcc", without("nvcc"), "nvcc was not found: install CUDA 12.8 or newer, which compute capability 12.0 needs"],
  [
    "no compiler",
    without("g++"),
    "no C++ compiler was found: nvcc needs one, for example g++ (Debian: apt-get install g++)",
  ],
  [
    "a driver that fails",
    withTool("nvidia-smi", "echo 'NVIDIA-SMI has failed'; exit 9"),
    "nvidia-smi failed: NVIDIA-SMI has failed",
  ],
  [
    "an unknown capability",
    withTool("nvidia-smi", "echo '[N/A], 1, x'"),
    "nvidia-smi does not know the card's compute capability: expected a number such as 9.0, got [N/A]",
  ],
  ["no card", withTool("nvidia-smi", "true"), "nvidia-smi lists no card"],
  [
    "a driver that hangs",
    withTool("timeout", 'case "$*" in *" nvidia-smi "*) exit 137 ;; esac; exec /usr/bin/timeout "$@"'),
    "nvidia-smi did not answer within 60 seconds: the driver hangs",
  ],
  [
    "a full disk",
    withTool("df", "printf 'Filesystem\\n/dev/x 100 50 51200 50%% /\\n'"),
    /has 50 MiB of free disk space, but 2048 MiB are needed$/,
  ],
])("a machine with %s gets one sentence and exit code 2", (_, prepare, sentence) => {
  const one = machine();
  const { status, stdout, stderr } = one.check([], prepare(one));
  expect(stderr.trim()).toMatch(sentence);
  if (typeof sentence === "string") expect(stderr).toBe(`gpu-check: ${sentence}\n`);
  expect(stdout).toBe("");
  expect(status).toBe(2);
});

test("in errors.cu, a check of the CUDA version guards the errors that CUDA 12.5 lacks", () => {
  const source = readFileSync(new URL("../../native/cuda/runtime/errors.cu", import.meta.url), "utf8");
  const guarded = /^#if CUDART_VERSION >= 12080.*\n((?: .*\n)+)#endif$/m.exec(source)!;
  expect(guarded[1]!.match(/cudaError\w+/g)).toEqual(["cudaErrorContained", "cudaErrorTensorMemoryLeak"]);
  expect(source.replace(guarded[0], "")).not.toMatch(/cudaErrorContained|cudaErrorTensorMemoryLeak/);
});

test.each([
  ["an unknown phase", ["correct"], "expected the phases correctness and bench, got correct"],
  [
    "an unknown step",
    ["--only", "ops"],
    "--only: expected one of build, fragments, kernels, memcheck, racecheck, bench, got ops",
  ],
  ["an option that needs Node", ["--emulator"], "--emulator needs Node and CMake: node is not on PATH"],
  ["a time that is not a number", ["--seconds", "none"], "--seconds: expected a positive whole number, got none"],
])("%s gets one sentence and exit code 2", (_, args, sentence) => {
  const { status, stderr } = machine().check(args);
  expect(stderr.trim().split("\n").at(-1)).toBe(`gpu-check: ${sentence}`);
  expect(status).toBe(2);
});

test("an output folder that is a file gets one sentence", () => {
  const one = machine();
  const { status, stderr } = one.check([], {}, join(one.root, "scripts", "gpu-check.sh"));
  expect(stderr).toMatch(/^gpu-check: .*gpu-check\.sh cannot be created: (File exists|Not a directory)\n$/);
  expect(status).toBe(2);
});

test("a machine without nvidia-smi, and one with an old card, get one sentence", () => {
  const empty = machine();
  rmSync(join(empty.bin, "nvidia-smi"));
  expect(empty.check()).toMatchObject({
    status: 2,
    stderr:
      "gpu-check: nvidia-smi was not found: this machine has no NVIDIA driver. --emulator and --simulator rehearse the check without a card\n",
  });
  expect(machine("7.5, 570.86.10, Tesla T4").check().stderr).toBe(
    "gpu-check: the kernels need compute capability 8.0 or newer, but the Tesla T4 has 7.5\n",
  );
});

test.skipIf(process.getuid?.() === 0)("a folder that cannot be written gets one sentence", () => {
  const one = machine();
  mkdirSync(one.out);
  chmodSync(one.out, 0o555);
  expect(one.check().stderr).toBe(`gpu-check: ${one.out} cannot be written: Permission denied\n`);
});
