// Ranks that the real torchrun starts: Debian's python3-torch, or that of HEDDLE_PYTHON. They exchange bytes in the way in which ranks
// exchange NCCL's id.
import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, expect, test } from "vitest";

const hasTorch = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)";
const candidates = [process.env.HEDDLE_PYTHON, "/usr/bin/python3", "python3"].filter((name) => name !== undefined);
const python = candidates.find((name) => spawnSync(name, ["-c", hasTorch]).status === 0);
if (!python) console.warn("python3-torch is not installed: ranks are not started with the real torchrun");

const launcher = fileURLToPath(new URL("torchrun.py", import.meta.url));

let folder: string;
let script: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-torchrun-"));
  script = join(folder, "exchange.mjs");
  const bundle = await rolldown({
    input: fileURLToPath(new URL("exchange.ts", import.meta.url)),
    platform: "node",
    treeshake: { moduleSideEffects: false }, // without the native addon, which the exchange does not use
  });
  await bundle.write({ file: script, format: "esm" });
  await bundle.close();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Line {
  rank: number;
  size: number;
  agentStore: boolean;
  attempt: number;
  mine: string;
  got: string;
}

/** Starts two ranks with torchrun, and once more after rank 1 has failed. Returns the lines that they print. */
async function torchrun(variables: Record<string, string>): Promise<Line[]> {
  const run = [launcher, "--standalone", "--nproc-per-node=2", "--max-restarts=1"];
  const child = spawn(python!, [...run, "--monitor-interval=0.2", "--no-python", process.execPath, script], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, OMP_NUM_THREADS: "1", ...variables },
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect(code, stderr).toBe(0);
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

test.skipIf(!python).each([
  ["the store of torchrun's agent", {}, true],
  ["MASTER_PORT, where no store listens", { TORCH_DISABLE_SHARE_RDZV_TCP_STORE: "1" }, false],
])(
  "ranks of torchrun get rank 0's bytes through %s, in every attempt",
  async (_, variables, agentStore) => {
    const lines = await torchrun(variables);
    expect(lines).toHaveLength(4);
    const ids = [0, 1].map((attempt) => {
      const ranks = lines.filter((line) => line.attempt === attempt).sort((a, b) => a.rank - b.rank);
      expect(ranks).toMatchObject([
        { rank: 0, size: 2, agentStore, got: ranks[0]!.mine },
        { rank: 1, size: 2, agentStore, got: ranks[0]!.mine },
      ]);
      expect(ranks[0]!.mine).toMatch(/^[0-9a-f]{256}$/);
      return ranks[0]!.mine;
    });
    expect(ids[1]).not.toBe(ids[0]);
  },
  120_000,
);
