// Tests which card scripts/gpu-check.sh selects on fake machines with several cards, MIG instances and CUDA_VISIBLE_DEVICES. Also tests which
// compute capability a rehearsal, a run with --simulator, has.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { FakeMachine } from "./fake-machine.ts";

const machines: FakeMachine[] = [];
afterEach(() => {
  for (const { root } of machines.splice(0)) rmSync(root, { recursive: true, force: true });
});
function machine(...cards: string[]): FakeMachine {
  const one = new FakeMachine(cards);
  machines.push(one);
  return one;
}
const bench = { FAKE_bench: `echo '{"name":"gemm bf16 4096x4096x4096 NT","unit":"GFLOP/s","value":601234}'` };
const T4 = "7.5, 570.86.10, Tesla T4";
const H100 = "9.0, 570.86.10, NVIDIA H100 80GB HBM3";

test.each([
  ["an index", "1"],
  ["several indices", "1,0"],
  ["a UUID", "GPU-1111-aaaa"],
  ["the beginning of a UUID", "GPU-11,GPU-00"],
])("checks the card that CUDA_VISIBLE_DEVICES names by %s", (_, visible) => {
  const one = machine(T4, H100);
  const env = { CUDA_VISIBLE_DEVICES: visible };
  expect(one.check(["correctness", "--only", "build"], env).status).toBe(0);
  expect(one.file("summary.txt")).toContain("NVIDIA H100 80GB HBM3, compute capability 9.0");
  expect(one.compiled().at(0)).toContain("arch=compute_90a,code=sm_90a");
  expect(one.deviceFacts(env)).toEqual({
    name: "NVIDIA H100 80GB HBM3",
    compute_cap: "9.0",
    driver_version: "570.86.10",
    ...Object.fromEntries(
      ["memory.total", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks_throttle_reasons.active"].map((name) => [
        name,
        `${name} of 1`,
      ]),
    ),
  });
});

test("without CUDA_VISIBLE_DEVICES, checks the first card, and says how to select another if that one is too old", () => {
  expect(machine(H100, T4).check(["correctness", "--only", "build"]).status).toBe(0);
  expect(machine(T4, H100).check().stderr).toBe(
    "gpu-check: the kernels need compute capability 8.0 or newer, but the Tesla T4 has 7.5. CUDA_VISIBLE_DEVICES selects another of the 2 cards\n",
  );
});

test.each([
  ["", "CUDA_VISIBLE_DEVICES is '', which hides every card"],
  ["-1", "CUDA_VISIBLE_DEVICES is '-1', which hides every card"],
  ["4", "nvidia-smi failed for CUDA_VISIBLE_DEVICES=4: No devices were found"],
  ["GPU-7", "CUDA_VISIBLE_DEVICES is GPU-7, but nvidia-smi -L does not list its first entry"],
])("CUDA_VISIBLE_DEVICES of '%s' gets one sentence and exit code 2", (visible, sentence) => {
  const one = machine(H100);
  const env = { CUDA_VISIBLE_DEVICES: visible };
  expect(one.check([], env)).toEqual({ status: 2, stdout: "", stderr: `gpu-check: ${sentence}\n` });
  expect(one.deviceFacts(env)).toBeUndefined();
});

test.each([
  ["of the first card", [`${H100}, MIG 1g.10gb 2g.20gb`], undefined, "1g.10gb"],
  ["selected by UUID", [`${H100}, MIG 1g.10gb`, `${H100}, MIG 3g.40gb 2g.20gb`], "MIG-1-2g", "2g.20gb"],
  ["of the card selected by index", [H100, `${H100}, MIG 3g.40gb`], "1", "3g.40gb"],
] as [string, string[], string | undefined, string][])(
  "reports a MIG instance %s by CUDA's name, so that its results are not mistaken for a whole card's",
  (_, cards, visible, profile) => {
    const one = machine(...cards);
    const env: Record<string, string> = visible === undefined ? {} : { CUDA_VISIBLE_DEVICES: visible };
    expect(one.check(["bench"], { ...bench, ...env }).status).toBe(0);
    expect(one.file("summary.txt")).toContain(`NVIDIA H100 80GB HBM3 MIG ${profile}, compute capability 9.0`);
    expect(one.files().find((name) => name.endsWith(".jsonl"))).toContain(`-mig-${profile.replace(".", "-")}.jsonl`);
    expect(one.deviceFacts(env)!.name).toBe(`NVIDIA H100 80GB HBM3 MIG ${profile}`);
  },
);

test("rejects a card in MIG mode without an instance, with one sentence and exit code 2", () => {
  expect(machine(`${H100}, MIG`).check()).toEqual({
    status: 2,
    stdout: "",
    stderr:
      "gpu-check: the NVIDIA H100 80GB HBM3 is in MIG mode, but has no instance: create one (nvidia-smi mig -cgi), or set CUDA_VISIBLE_DEVICES to another card\n",
  });
});

test("device facts omit a field that nvidia-smi does not know, and keep the others", () => {
  const facts = machine(H100).deviceFacts({ FAKE_UNKNOWN_FIELD: "clocks_throttle_reasons.active" });
  expect(facts).toMatchObject({ name: "NVIDIA H100 80GB HBM3", "clocks.sm": "clocks.sm of 0" });
  expect(facts).not.toHaveProperty("clocks_throttle_reasons.active");
});

test("the simulator is compiled with the headers of nvcc's toolkit, even if nvcc on PATH is a script elsewhere", () => {
  const one = machine(H100);
  const source = join(one.root, "native", "simulator", "s.cc");
  mkdirSync(dirname(source), { recursive: true });
  writeFileSync(source, "");
  const log = join(one.root, "g++.txt");
  one.tool("g++", `#!/bin/bash\necho "$@" >>${log}\n`);
  one.check(["correctness", "--only", "build", "--simulator"]);
  const compiled = readFileSync(log, "utf8").split("\n");
  expect(compiled.find((line) => line.endsWith(" native/simulator/s.cc"))).toContain("-isystem /fake/toolkit/include ");
});

test.each([
  ["of HEDDLE_SIMULATOR", { HEDDLE_SIMULATOR: "sm_90" }, undefined, "90a"],
  ["of HEDDLE_SIMULATOR rather than the card's", { HEDDLE_SIMULATOR: "sm_80" }, H100, "80"],
  ["of the machine's card", {}, H100, "90a"],
  ["8.0 without a card", {}, undefined, "80"],
] as [string, Record<string, string>, string | undefined, string][])(
  "a rehearsal simulates the compute capability %s",
  (_, env, card, code) => {
    const one = machine(...(card === undefined ? [] : [card]));
    if (card === undefined) rmSync(join(one.bin, "nvidia-smi"));
    one.check(["correctness", "--only", "build", "--simulator"], env);
    expect(one.compiled().find((line) => line.endsWith(" native/cuda/g.cu"))).toContain(
      `-gencode arch=compute_${code},code=[compute_${code},sm_${code}] --compress-mode=none `,
    );
  },
);
